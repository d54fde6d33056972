//! Runs by seed: so many steps of a mix, and how to replay them.
//!
//! A run that fails says its mix, seed and step on standard error. `MEMFOLD_SEED` makes the tests
//! run that seed alone; `MEMFOLD_EFFORT` multiplies how many seeds (or schedules) they run.

use crate::harness::{Harness, Tally};
use crate::stores::Built;
use crate::workload::{Mix, Op};
use memfold_sim::Rng;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a run left: the same for the same seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What happened.
    pub tally: Tally,
    /// One number for every call that the manager made.
    pub trace: u64,
}

/// Says how to replay a run that panics.
struct Replay<'a> {
    mix: &'a Mix,
    seed: u64,
    step: u64,
    op: Option<Op>,
}

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { mix, seed, step, op } = self;
            eprintln!(
                "mix {:?}, seed {seed}, step {step}: {op:?}; replay with MEMFOLD_SEED={seed}",
                mix.name
            );
        }
    }
}

/// `steps` operations of the mix, drawn from the seed, then the end of all spaces.
///
/// # Panics
/// When manager and oracle differ, after having said how to replay the run.
pub fn seeded<S: Built>(mix: &Mix, seed: u64, steps: u64) -> Outcome {
    let mut rng = Rng::new(seed);
    let mut harness: Harness<S> = Harness::new(seed, mix);
    let mut replay = Replay {
        mix,
        seed,
        step: 0,
        op: None,
    };
    for step in 0..steps {
        let op = Op::from_word(rng.word(), &mix.weights);
        (replay.step, replay.op) = (step, Some(op));
        harness.step(op);
    }
    replay.op = None;
    let trace = harness.mm.host().trace_hash();
    Outcome {
        tally: harness.finish(),
        trace,
    }
}

/// The operations that these words mean, then the end of all spaces.
///
/// # Panics
/// When manager and oracle differ.
pub fn words<S: Built>(mix: &Mix, words: &[u64]) -> Outcome {
    let mut harness: Harness<S> = Harness::new(0, mix);
    for &word in words {
        harness.step(Op::from_word(word, &mix.weights));
    }
    let trace = harness.mm.host().trace_hash();
    Outcome {
        tally: harness.finish(),
        trace,
    }
}

/// The seeds that a test runs: `usual` many times the effort, or the one that the environment
/// names.
pub fn seeds(usual: u64) -> std::ops::Range<u64> {
    match number("MEMFOLD_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..usual * effort(),
    }
}

/// How many times the usual effort is asked for.
#[must_use]
pub fn effort() -> u64 {
    number("MEMFOLD_EFFORT").unwrap_or(1).max(1)
}

/// A number from the environment.
pub(crate) fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text:?}")),
    )
}

/// What `work` makes of each item, on as many threads as there are cores; in no order. For runs
/// that know nothing of one another.
///
/// # Panics
/// When `work` panics for an item.
pub fn on_all_cores<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let some = || {
        // Relaxed: each number is given out once, and nothing else hangs on it.
        std::iter::from_fn(|| items.get(next.fetch_add(1, Ordering::Relaxed)))
            .map(&work)
            .collect::<Vec<R>>()
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(some)).collect();
        let done = workers.into_iter().map(std::thread::ScopedJoinHandle::join);
        done.flat_map(|made| made.expect("each run ends well")).collect()
    })
}
