//! Long runs: what a seed means in one, and the lines by which it is counted.
//!
//! A seed chooses the mix, the store, how often calls are refused, and all operations. Every long
//! run refuses calls: that failures are survived is to be seen everywhere, not in a mix of its own.
//! Whoever runs long says so in lines that begin with `campaign:` and go on with `name=number`;
//! `cargo xtask campaign` adds up the numbers of each name. A line is printed past the capture of
//! the test harness, when the work is done and not when it is planned.

use crate::run::{self, Outcome};
use crate::workload::{MIXES, Mix};
use memfold_sim::{Rng, SimStore};
use memfold_stores::CompressedStore;
use std::fmt::Write as _;
use std::io::Write as _;

/// Calls refused, in 65,536ths: one of these for each seed.
const REFUSALS: [u32; 4] = [16, 64, 330, 1300];
/// Steps between two full comparisons.
const AUDIT_EVERY: u32 = 64;
/// The starved mix reclaims all there is before every second operation: so much fewer of them are
/// run.
const STARVED_FEWER: u64 = 20;

/// Where pages go in the run of a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The store of copies, which refuses, too.
    Copies,
    /// The real one.
    Compressed,
}

/// What a seed means.
#[must_use]
pub fn plan(seed: u64) -> (Mix, Kind) {
    let mut rng = Rng::new(seed ^ 0x6361_6d70);
    let mix = MIXES[(seed % MIXES.len() as u64) as usize];
    let kind = match rng.below(2) {
        0 => Kind::Copies,
        _ => Kind::Compressed,
    };
    let refusals = REFUSALS[rng.below(REFUSALS.len() as u32) as usize];
    let mix = Mix {
        refusals,
        audit_every: AUDIT_EVERY,
        ..mix
    };
    (mix, kind)
}

/// Runs a seed.
///
/// # Panics
/// When manager and oracle differ.
#[must_use]
pub fn simulate(seed: u64, steps: u64) -> Outcome {
    let (mix, kind) = plan(seed);
    let steps = match mix.name {
        "starved" => steps / STARVED_FEWER,
        _ => steps,
    };
    match kind {
        Kind::Copies => run::seeded::<SimStore>(&mix, seed, steps),
        Kind::Compressed => run::seeded::<CompressedStore>(&mix, seed, steps),
    }
}

/// Prints a line to be counted.
pub fn say(counts: &[(&str, u64)]) {
    let mut line = "campaign:".to_owned();
    for (name, count) in counts {
        let _ = write!(line, " {name}={count}");
    }
    line.push('\n');
    // Not `println!`: the line is to be seen for tests that pass, too.
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
}

/// Prints a line that says what failed and how to see it again.
pub fn accuse(what: &str) {
    let line = format!("campaign failure: {what}\n");
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    /// Goal: a few seeds are enough for every mix with either store; every one refuses calls.
    /// Method: count them.
    #[test]
    fn seeds_reach_every_mix_and_store() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let (mix, kind) = plan(seed);
            assert_ne!(mix.refusals, 0);
            seen.insert((mix.name, kind == Kind::Copies));
        }
        assert_eq!(seen.len(), MIXES.len() * 2);
    }

    /// Goal: the numbers of a run are what happened. Method: one run that refuses, and its
    /// repetition.
    #[test]
    fn a_run_is_counted() {
        let seed = (0..)
            .find(|&seed| plan(seed).0.refusals == 1300)
            .expect("a seed that refuses often");
        let outcome = simulate(seed, 500);
        assert_eq!(outcome.tally.steps, 500);
        assert!(outcome.tally.refused > 0, "{outcome:?}");
        assert_eq!(outcome, simulate(seed, 500));
    }
}
