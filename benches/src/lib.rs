//! What the benchmarks share: medians, bytes, whether this is a real run, how threads are
//! scheduled, and the machinery of the kernel's side.
#![deny(unsafe_code)]

pub mod rival;
pub mod schedule;

use std::time::Duration;

/// True when the benchmark was started by `cargo test`, which only wants to see it build and run: a
/// tiny run then.
#[must_use]
pub fn is_smoke_test() -> bool {
    !std::env::args().any(|arg| arg == "--bench")
}

/// The median and the 99th percentile of some times, in microseconds.
///
/// # Panics
/// When there are none.
#[must_use]
pub fn percentiles(times: &mut [Duration]) -> (f64, f64) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    (at(0.5), at(0.99))
}

/// A page of words, another one for each number.
pub fn text(number: u64, page: &mut [u8]) {
    const WORDS: [&[u8]; 16] = [
        b"the ",
        b"memory ",
        b"of ",
        b"a ",
        b"page ",
        b"is ",
        b"shared ",
        b"between ",
        b"spaces ",
        b"and ",
        b"written ",
        b"once ",
        b"in ",
        b"time ",
        b"kept ",
        b"cold\n",
    ];
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut at = 0;
    while at < page.len() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let word = WORDS[(state >> 20) as usize % WORDS.len()];
        let len = word.len().min(page.len() - at);
        page[at..at + len].copy_from_slice(&word[..len]);
        at += len;
    }
    page[..8].copy_from_slice(&number.to_le_bytes());
}
