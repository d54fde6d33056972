//! How long faults and forks take, counted by duration while somebody records: [`Timings`].
//!
//! Nobody who is not recorded pays more than a load for it. One step in eight is timed, two looks
//! at the clock (20 to 30 ns each, without a system call), so that a fault pays some nanoseconds
//! on average. Atomic numbers for people; async-signal-safe.

use memfold_record::{BUCKETS, Latency, bucket_of};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

/// One step of so many is timed.
pub(crate) const EACH: u32 = 8;

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A fault of a load, until the page is there.
    Load,
    /// The same of a store.
    Store,
    /// A fork of a space.
    Fork,
    /// A space that becomes again what a relative is.
    Reset,
}

impl Step {
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Load, "load"),
        (Self::Store, "store"),
        (Self::Fork, "fork"),
        (Self::Reset, "reset"),
    ];
}

#[derive(Debug)]
struct Times([AtomicU64; BUCKETS]);

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Timings {
    /// How many record.
    wanted: AtomicU32,
    turn: AtomicU32,
    times: Box<[Times; Step::ALL.len()]>,
}

/// A step that is timed: when it began.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct Begun(Option<Instant>);

impl Timings {
    pub fn new() -> Self {
        let times = || Times(std::array::from_fn(|_| AtomicU64::new(0)));
        Self {
            wanted: AtomicU32::new(0),
            turn: AtomicU32::new(0),
            times: Box::new(std::array::from_fn(|_| times())),
        }
    }

    /// Somebody records from now on.
    pub fn want(&self) {
        // Relaxed: a hint; steps that begin a moment later are timed.
        self.wanted.fetch_add(1, Ordering::Relaxed);
    }

    /// And does so no more.
    pub fn leave(&self) {
        // Relaxed: as above.
        self.wanted.fetch_sub(1, Ordering::Relaxed);
    }

    /// A step begins.
    #[inline]
    pub fn begin(&self) -> Begun {
        // Relaxed: a hint.
        if self.wanted.load(Ordering::Relaxed) == 0 {
            return Begun(None);
        }
        // Relaxed: a number on its own.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        Begun(turn.is_multiple_of(EACH).then(Instant::now))
    }

    /// It has ended.
    #[inline]
    pub fn end(&self, step: Step, begun: Begun) {
        if let Some(begin) = begun.0 {
            let ns = begin.elapsed().as_nanos() as u64;
            // Relaxed: a number for people.
            self.times[step as usize].0[bucket_of(ns)].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The times of a step so far, those that were timed.
    pub fn read(&self, step: Step) -> Latency {
        let times = self.times[step as usize].0.iter();
        // Relaxed: a number for people.
        let counts = times.map(|n| n.load(Ordering::Relaxed));
        Latency {
            counts: counts.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: steps are timed while somebody wants it, one in eight, each as what it is.
    #[test]
    fn one_step_in_eight_is_timed_while_somebody_records() {
        let timings = Timings::new();
        let steps = |step, times: u32| {
            for _ in 0..times * EACH {
                let begun = timings.begin();
                timings.end(step, begun);
            }
        };
        steps(Step::Load, 3);
        timings.want();
        steps(Step::Store, 2);
        steps(Step::Fork, 5);
        timings.leave();
        steps(Step::Fork, 7);
        let totals = Step::ALL.map(|(step, _)| timings.read(step).total());
        assert_eq!(totals, [0, 2, 5, 0]);
    }
}
