//! A piece of our own address space, as a capability.
//!
//! A [`Span`] is page-aligned and lies wholly inside one arena of `arena.rs`; no Rust
//! reference ever points into it and only this crate's mappings stand there. It is made
//! unsafely in one place (the arena) and narrowed by checked methods, so that
//! the functions of `sys.rs` which remap, protect or empty memory can be safe: they take a
//! `Span`. A plain `Copy` value; immutable.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use memfold_host::SAMPLES;
use memfold_host::addr::{PAGE_SIZE, PageBytes};

/// Addresses `addr..addr + len` of one of our arenas; may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    addr: usize,
    len: usize,
}

impl Span {
    /// # Safety
    /// The addresses belong to an arena of ours that is never unmapped while the span is used.
    pub(crate) unsafe fn new(addr: usize, len: usize) -> Self {
        assert!(
            addr.is_multiple_of(PAGE_SIZE) && len.is_multiple_of(PAGE_SIZE),
            "a span is made of whole pages"
        );
        Self { addr, len }
    }

    /// The first address.
    pub(crate) fn addr(self) -> usize {
        self.addr
    }

    /// Bytes.
    pub(crate) fn len(self) -> usize {
        self.len
    }

    /// How many pages.
    pub(crate) fn pages(self) -> usize {
        self.len / PAGE_SIZE
    }

    pub(crate) fn is_empty(self) -> bool {
        self.len == 0
    }

    /// How far into the span `addr` is, in bytes.
    pub(crate) fn offset_of(self, addr: usize) -> Option<usize> {
        addr.checked_sub(self.addr).filter(|&offset| offset < self.len)
    }

    /// The `pages` pages from page `first` on.
    pub(crate) fn part(self, first: usize, pages: usize) -> Self {
        assert!(
            first + pages <= self.pages(),
            "pages {first}+{pages} of a span of {}",
            self.pages()
        );
        Self {
            addr: self.addr + first * PAGE_SIZE,
            len: pages * PAGE_SIZE,
        }
    }

    /// The first `pages` pages, or all when there are fewer.
    pub(crate) fn head(self, pages: usize) -> Self {
        self.part(0, pages.min(self.pages()))
    }

    /// Without the first `pages` pages.
    pub(crate) fn skip(self, pages: usize) -> Self {
        self.part(pages, self.pages() - pages)
    }

    /// Both together, where `next` begins at the end of this one.
    pub(crate) fn joined(self, next: Self) -> Option<Self> {
        let len = self.len + next.len;
        (self.addr + self.len == next.addr).then_some(Self { len, ..self })
    }

    /// Copies bytes in, from byte `start` on, by words where they are aligned. Other threads may
    /// use the memory meanwhile, also through this; the pages are there and writable (pinned).
    pub(crate) fn copy_in(self, start: usize, bytes: &[u8]) {
        assert!(
            start + bytes.len() <= self.len,
            "{} bytes at {start} of a span of {}",
            bytes.len(),
            self.len
        );
        let at = self.addr + start;
        let (head, rest) = bytes.split_at(bytes.len().min(at.next_multiple_of(8) - at));
        let (words, tail) = rest.split_at(rest.len() / 8 * 8);
        let first_word = at + head.len();
        // SAFETY: bytes inside the span, mapped memory of ours (see `new`) that no Rust reference
        // points into.
        unsafe { store_bytes(at, head) };
        for (n, word) in words.chunks_exact(8).enumerate() {
            // SAFETY: as above; aligned, by the head's length.
            let to = unsafe { &*((first_word + n * 8) as *const AtomicU64) };
            let word = u64::from_ne_bytes(word.try_into().expect("eight bytes"));
            // Relaxed: the order of what programs store is theirs.
            to.store(word, Ordering::Relaxed);
        }
        // SAFETY: as the head.
        unsafe { store_bytes(first_word + words.len(), tail) };
    }

    /// Copies the first page out, word by word: the page is present, and programs may be storing to
    /// it (`Host::read_racy`; not so in `Host::read_private`).
    pub(crate) fn copy_out(self, out: &mut PageBytes) {
        assert!(!self.is_empty(), "a page to read");
        for (n, to) in out.chunks_exact_mut(8).enumerate() {
            // SAFETY: an aligned word of a page in an arena of ours (file header), present by the
            // caller's contract.
            to.copy_from_slice(&unsafe { word(self.addr + n * 8) }.to_ne_bytes());
        }
    }

    /// Whether the first page has the bytes of the page at address `other`. Both are present, and
    /// nobody stores to them meanwhile (the contract of `Host::pages_equal`).
    pub(crate) fn equals(self, other: usize) -> bool {
        assert!(!self.is_empty(), "a page to compare");
        // ThreadSanitizer does not know that protecting a page orders the stores before it: it is
        // shown atomic reads.
        #[cfg(memfold_tsan)]
        // SAFETY: aligned words of the two pages; see below.
        return (0..PAGE_SIZE)
            .step_by(8)
            .all(|at| unsafe { word(self.addr + at) == word(other + at) });
        // SAFETY: the page lies in an arena of ours (file header), the other in one or in a direct
        // mapping of the pool; both are present by the caller's contract. No Rust reference is
        // made.
        #[cfg(not(memfold_tsan))]
        let order = unsafe {
            libc::memcmp(
                self.addr as *const libc::c_void,
                other as *const libc::c_void,
                PAGE_SIZE,
            )
        };
        #[cfg(not(memfold_tsan))]
        return order == 0;
    }

    /// A word of each half of the first page. It is present; somebody may be storing to it.
    pub(crate) fn samples(self) -> [u64; 2] {
        assert!(!self.is_empty(), "a page to look at");
        // SAFETY: the page lies in an arena of ours (file header) and is present by the caller's
        // contract.
        unsafe { samples(self.addr) }
    }

    /// Tells the processor that this part of the first page will be read soon. Nothing happens when
    /// it is not there.
    pub(crate) fn expect_read(self, wanted: Wanted) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let expect = |at: usize| {
                // SAFETY: a prefetch reads nothing that a program could see, and never faults.
                unsafe { _mm_prefetch((self.addr + at) as *const i8, _MM_HINT_T0) };
            };
            match wanted {
                Wanted::Samples => SAMPLES.iter().for_each(|&at| expect(at)),
                Wanted::All => (0..PAGE_SIZE).step_by(64).for_each(expect),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = wanted;
    }
}

/// What of a page will be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A word of each half.
    Samples,
    /// All of it.
    All,
}

/// A word of each half of the page at an address.
///
/// # Safety
/// The page is there to be read; somebody may be storing to it.
pub(crate) unsafe fn samples(page: usize) -> [u64; 2] {
    // SAFETY: aligned words inside the page.
    SAMPLES.map(|at| unsafe { word(page + at) })
}

/// Stores bytes one by one; programs may be using the memory.
///
/// # Safety
/// It is there to be stored to.
unsafe fn store_bytes(addr: usize, bytes: &[u8]) {
    for (n, byte) in bytes.iter().enumerate() {
        // SAFETY: by the caller's contract; an atomic may be stored to whoever else does.
        let to = unsafe { &*((addr + n) as *const AtomicU8) };
        // Relaxed: the order of what programs store is theirs.
        to.store(*byte, Ordering::Relaxed);
    }
}

/// A word that programs may be storing to.
///
/// # Safety
/// It is aligned, and there to be read.
unsafe fn word(addr: usize) -> u64 {
    // SAFETY: by the caller's contract; an atomic may be read whoever stores to it.
    let word = unsafe { &*(addr as *const AtomicU64) };
    // Relaxed: the order of what programs store is theirs.
    word.load(Ordering::Relaxed)
}
