//! Files that tests map, their words as a space sees them, and as the file itself has them.

use memfold::{PAGE_SIZE, Space};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

pub const PAGE: u64 = PAGE_SIZE as u64;
/// Words of a page.
pub const WORDS: usize = PAGE_SIZE / 8;
// Relaxed: words that one thread uses at a time; joins order the rest.
pub const WORD: Ordering = Ordering::Relaxed;

/// A file of its own for each test, which goes with it.
pub struct Temporary(pub PathBuf);

impl Temporary {
    /// Zeros, as long as so many pages.
    pub fn new(name: &str, pages: u64) -> Self {
        let path = std::env::temp_dir().join(format!("memfold-file-{}-{name}", std::process::id()));
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
pub fn words(space: &Space, page: u64) -> &[AtomicU64; WORDS] {
    assert!((page + 1) * PAGE <= space.len());
    let at = space.as_ptr().as_ptr() as usize + page as usize * PAGE_SIZE;
    // SAFETY: inside of a space that lives, by atomics only.
    unsafe { &*(at as *const [AtomicU64; WORDS]) }
}

/// What the words of a page of the file itself are.
pub fn on_disk(path: &Path, page: u64) -> Vec<u64> {
    let mut bytes = vec![0; PAGE_SIZE];
    let file = std::fs::File::open(path).expect("it is there");
    file.read_exact_at(&mut bytes, page * PAGE)
        .expect("it is long enough");
    let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
    bytes.chunks_exact(8).map(word).collect()
}
