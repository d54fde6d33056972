//! What a file has after a sync, whoever stores to it, and whatever ends the process.
//!
//! `stamps.rs`: a file larger than the budget, mapped by four spaces at different places, private
//! and shared, used by two threads; `killed.rs`: processes that are killed in the middle. The file
//! itself is read back, past memfold. `MEMFOLD_SECONDS` says how long the first goes on (3, ten
//! minutes in `cargo xtask hostile`), `MEMFOLD_KILLS` how often the second kills (20, or 200).

mod killed;
mod stamps;

use memfold::{PAGE_SIZE, Space};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const PAGE: u64 = PAGE_SIZE as u64;
/// Words of a page.
const WORDS: usize = PAGE_SIZE / 8;
// Relaxed: words that one thread uses at a time; joins order the rest.
const WORD: Ordering = Ordering::Relaxed;

/// A file that goes with its test.
struct Temporary(PathBuf);

impl Temporary {
    /// Zeros, as long as so many pages.
    fn new(name: &str, pages: u64) -> Self {
        let path = std::env::temp_dir().join(format!("memfold-durable-{}-{name}", std::process::id()));
        let file = std::fs::File::create(&path).expect("room for a file");
        file.set_len(pages * PAGE).expect("room for a file");
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The words of a page as a space sees them.
fn words(space: &Space, page: u64) -> &[AtomicU64; WORDS] {
    assert!((page + 1) * PAGE <= space.len());
    let at = space.as_ptr().as_ptr() as usize + page as usize * PAGE_SIZE;
    // SAFETY: inside of a space that lives, by atomics only.
    unsafe { &*(at as *const [AtomicU64; WORDS]) }
}

/// What the words of a page of the file itself are.
fn on_disk(path: &Path, page: u64) -> Vec<u64> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; PAGE_SIZE];
    let file = std::fs::File::open(path).expect("it is there");
    file.read_exact_at(&mut bytes, page * PAGE)
        .expect("it is long enough");
    let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
    bytes.chunks_exact(8).map(word).collect()
}

fn number(name: &str, default: u64) -> u64 {
    let said = std::env::var(name).ok();
    said.map_or(default, |said| said.parse().expect("a number"))
}

/// Xorshift.
struct Rng(u64);

impl Rng {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}
