//! What is measured: a kind of fault, on pages that stand alone or side by side; the accesses; the
//! times of them.

use memfold::PAGE_SIZE;
use memfold_benches::is_smoke_test;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

/// What an access finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A store to a page that nobody has touched.
    FirstStore,
    /// A load of a template's page.
    Load,
    /// A store to a template's page that this space has not shown.
    Store,
    /// A store to a template's page that this space shows.
    StoreShown,
    /// A store of a parent's, while a child lives that has the page as well.
    StoreAfterFork,
    /// A load of a page of its own that was compressed.
    SwapIn,
    /// A load of a template's page that was compressed.
    SwapInShared,
    /// No access: what it takes to compress pages of its own.
    Evict,
}

impl Kind {
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::FirstStore, "first store"),
        (Self::Load, "load of a template"),
        (Self::Store, "copy-on-write, not shown"),
        (Self::StoreShown, "copy-on-write, shown"),
        (Self::StoreAfterFork, "store of a parent, after a fork"),
        (Self::SwapIn, "swap-in"),
        (Self::SwapInShared, "swap-in of a template"),
        (Self::Evict, "eviction"),
    ];

    /// Whether the native runs of `MemoryBuilder::native` change it.
    pub fn of_a_template(self) -> bool {
        matches!(self, Self::Load | Self::Store | Self::StoreShown)
    }

    /// Whether the kernel needs somewhere to swap to.
    pub fn needs_swap(self) -> bool {
        matches!(self, Self::SwapIn | Self::SwapInShared | Self::Evict)
    }
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub kind: Kind,
    /// All pages in order; otherwise one of each sixteen, in a random order.
    pub dense: bool,
}

impl Case {
    pub fn all() -> impl Iterator<Item = (Self, String)> {
        Kind::ALL.into_iter().flat_map(|(kind, name)| {
            [(false, "one page of 16"), (true, "all pages")]
                .map(|(dense, how)| (Self { kind, dense }, format!("{name}, {how}")))
        })
    }

    /// Pages of the memory.
    pub fn len(self) -> usize {
        if is_smoke_test() { 1024 } else { 64 << 10 }
    }

    /// Those that are accessed, in order.
    pub fn pages(self) -> Vec<usize> {
        let touched = self.len() / 16;
        let mut pages: Vec<usize> = (0..touched).collect();
        if self.dense {
            return pages;
        }
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for last in (1..touched).rev() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            pages.swap(last, (state % (last as u64 + 1)) as usize);
        }
        pages.iter_mut().for_each(|page| *page = *page * 16 + *page % 16);
        pages
    }
}

/// Loads or stores, of a word each.
#[derive(Clone, Copy, Debug)]
pub enum Access {
    Load,
    Store,
}

/// Times in microseconds a page.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub mean: f64,
    pub p50: f64,
    pub p99: f64,
}

impl Times {
    /// Of something that was done to so many pages together.
    pub fn together(time: Duration, pages: usize) -> Self {
        let mean = time.as_secs_f64() * 1e6 / pages as f64;
        Self {
            mean,
            p50: mean,
            p99: mean,
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        let numbers: Vec<f64> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let [mean, p50, p99] = numbers[..] else {
            return None;
        };
        Some(Self { mean, p50, p99 })
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} {} {}", self.mean, self.p50, self.p99)
    }
}

/// Accesses these pages, and times each.
///
/// # Safety
/// They lie in the memory at `base`, which is ours alone.
pub unsafe fn access(base: NonNull<u8>, pages: &[usize], what: Access) -> Times {
    let mut times = Vec::with_capacity(pages.len());
    let begin = Instant::now();
    let mut before = begin;
    for &page in pages {
        // SAFETY: by the caller's promise.
        unsafe {
            let at = base.as_ptr().add(page * PAGE_SIZE + 64);
            match what {
                Access::Load => drop(at.read_volatile()),
                Access::Store => at.write_volatile(7),
            }
        }
        let now = Instant::now();
        times.push(now - before);
        before = now;
    }
    let mean = (before - begin).as_secs_f64() * 1e6 / pages.len() as f64;
    let (p50, p99) = memfold_benches::percentiles(&mut times);
    Times { mean, p50, p99 }
}

/// Fills a page, each with something else.
///
/// # Safety
/// As of `access`.
pub unsafe fn fill(base: NonNull<u8>, page: usize) {
    let mut bytes = [0; PAGE_SIZE];
    memfold_benches::text(page as u64, &mut bytes);
    // SAFETY: by the caller's promise.
    unsafe {
        let at = base.as_ptr().add(page * PAGE_SIZE);
        at.copy_from_nonoverlapping(bytes.as_ptr(), PAGE_SIZE);
    }
}
