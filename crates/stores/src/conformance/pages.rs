//! Pages to test stores with: text, noise, repeated words, small changes. All follow from a seed.
//!
//! Plain functions, thread-safe, nothing shared; used by the conformance suite, tests and
//! benchmarks.

use memfold_host::addr::{PAGE_SIZE, PageBytes};

/// A small generator of pseudo-random numbers (xorshift64*); not for secrets.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The sequence that follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d | 1)
    }

    /// The next number.
    #[expect(
        clippy::should_implement_trait,
        reason = "an endless sequence needs no Option"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    ///
    /// # Panics
    /// When `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 11) as usize % bound
    }
}

/// A page of one repeated word (little endian).
#[must_use]
pub fn filled(word: u64) -> Box<PageBytes> {
    let mut page = blank();
    page.as_chunks_mut::<8>().0.fill(word.to_le_bytes());
    page
}

/// A page that does not compress.
#[must_use]
pub fn noise(seed: u64) -> Box<PageBytes> {
    let mut rng = Rng::new(seed);
    let mut page = blank();
    for word in page.as_chunks_mut::<8>().0 {
        *word = rng.next().to_le_bytes();
    }
    page
}

/// A page of words from a small vocabulary, which LZ4 halves or better.
#[must_use]
pub fn text(seed: u64) -> Box<PageBytes> {
    const WORDS: [&str; 24] = [
        "frame",
        "window",
        "of",
        "the",
        "a",
        "space",
        "is",
        "shared",
        "and",
        "then",
        "stored",
        "owner",
        "generation",
        "page",
        "table",
        "fault",
        "in",
        "reclaim",
        "counts",
        "under",
        "lock",
        "\n",
        "0x7f",
        "which",
    ];
    let mut rng = Rng::new(seed);
    let mut page = blank();
    let mut at = 0;
    // Ends: every turn writes at least two bytes.
    while at < PAGE_SIZE {
        let word = WORDS[rng.below(WORDS.len())].as_bytes();
        for &byte in word.iter().chain(b" ") {
            if let Some(slot) = page.get_mut(at) {
                *slot = byte;
            }
            at += 1;
        }
    }
    page
}

/// The page with `count` changes of 1 to 8 bytes each, at places that follow from `seed`.
#[must_use]
pub fn changed(page: &PageBytes, count: usize, seed: u64) -> Box<PageBytes> {
    let mut rng = Rng::new(seed);
    let mut copy = blank();
    copy.copy_from_slice(page);
    for _ in 0..count {
        let (at, len) = (rng.below(PAGE_SIZE), 1 + rng.below(8));
        for byte in copy.iter_mut().skip(at).take(len) {
            *byte = byte.wrapping_add(1 + rng.below(255) as u8);
        }
    }
    copy
}

/// A page of zeros, on the heap.
///
/// # Panics
/// Never: the slice is one page long.
#[must_use]
pub fn blank() -> Box<PageBytes> {
    vec![0; PAGE_SIZE]
        .into_boxed_slice()
        .try_into()
        .expect("one page long")
}
