//! Goal: what is prepared runs as the original does, whatever it is. Method: modules that
//! wasm-smith makes of random bytes, components made of them, and published modules, each on stock
//! Wasmtime and on memfold: the same calls, and after each of them the same answer, globals,
//! memories and tables; half-way it is forked, frozen and forked again, and evicted before each
//! call.
//!
//! Some dozens of each in the gate; `MEMFOLD_SECONDS` goes on for so long, `MEMFOLD_SEED` says with
//! which bytes to begin (each line on standard error has the seed of one case).

mod composed;
mod draw;
mod generated;
mod modules;
mod probe;
mod published;

use std::time::{Duration, Instant};

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The seeds of a test that tries so many cases, or goes on for as long as it was told.
fn seeds(usual: u64) -> impl Iterator<Item = u64> {
    let first = number("MEMFOLD_SEED").unwrap_or(0);
    let end = number("MEMFOLD_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    (first..).take_while(move |seed| match end {
        Some(end) => Instant::now() < end,
        None => *seed < first + usual,
    })
}

/// What the cases of a test came to.
#[derive(Debug, Default)]
struct Tally {
    equal: u64,
    calls: usize,
    refused: u64,
    never_ran: u64,
}

/// What one case came to; that something differs is a panic.
enum Verdict {
    /// In so many calls.
    Equal(usize),
    /// memfold says why it does not take it, or cannot fork it now.
    Refused(String),
    /// On stock Wasmtime it cannot even be instantiated.
    NeverRan,
}

impl Tally {
    fn note(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Equal(calls) => {
                self.equal += 1;
                self.calls += calls;
            }
            Verdict::Refused(reason) => {
                eprintln!("  refused: {}", reason.lines().nth(1).unwrap_or(&reason));
                self.refused += 1;
            }
            Verdict::NeverRan => self.never_ran += 1,
        }
    }
}
