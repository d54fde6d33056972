//! What a file has after a sync, whoever stores to it, and whatever ends the process.
//!
//! `stamps.rs`: a file larger than the budget, mapped by four spaces at different places, private
//! and shared, used by two threads; `killed.rs`: processes that are killed in the middle;
//! `unsynced.rs`: stores that nobody syncs. The file itself is read back, past memfold.
//! `MEMFOLD_SECONDS` says how long the first goes on (3, ten minutes in `cargo xtask hostile`),
//! `MEMFOLD_KILLS` how often the second kills (20, or 200).

#[path = "../common/file.rs"]
mod file;
mod killed;
mod stamps;
mod unsynced;

use file::{PAGE, Temporary, WORD, WORDS, on_disk, words};

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
