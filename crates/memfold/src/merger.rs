//! The background merger: a thread that looks for equal pages with a share of one core.
//!
//! It works in small steps, reads its own processor time after each, and sleeps until what it has used is its share of the time
//! that has passed. Time that it did not use (there was nothing to merge) is forgotten beyond a little, so that
//! it does not catch up in one burst. It holds the manager only weakly while it sleeps.

use crate::memory::Inner;
use memfold_linux::{spawn_quiet, thread_cpu_time};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// Pages of one step: some tenths of a millisecond.
pub(crate) const STEP_PAGES: u64 = 128;
/// How long the thread sleeps at a time at the most: bounds how long it outlives its manager.
const NAP: Duration = Duration::from_millis(100);
/// Time not used that is not forgotten.
const CREDIT: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Merger {
    /// Nanoseconds of processor time.
    cpu: AtomicU64,
    /// Held while the thread works; never by a fault.
    working: Mutex<()>,
}

impl Merger {
    pub fn new() -> Self {
        Self {
            cpu: AtomicU64::new(0),
            working: Mutex::new(()),
        }
    }

    /// Starts the thread; without one (the system refuses) nothing is merged in the background.
    pub fn start(inner: Weak<Inner>, share: f64) {
        let spawned = spawn_quiet("memfold-merge", move || run(&inner, share));
        drop(spawned);
    }

    /// Waits until the thread rests, and keeps it resting while the guard lives.
    pub fn pause(&self) -> MutexGuard<'_, ()> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread says how much it has used.
    pub fn note_cpu(&self) {
        // Relaxed: a number for people.
        self.cpu
            .store(thread_cpu_time().as_nanos() as u64, Ordering::Relaxed);
    }

    pub fn cpu(&self) -> Duration {
        // Relaxed: a number for people.
        Duration::from_nanos(self.cpu.load(Ordering::Relaxed))
    }
}

/// What a thread may use.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    /// Of one core.
    share: f64,
    /// When all that was used so far would have been its share.
    even: Duration,
}

impl Allowance {
    /// How long to sleep, now that so much was used, `now` after the beginning.
    fn sleep(&mut self, used: Duration, now: Duration) -> Duration {
        self.even += used.div_f64(self.share);
        self.even = self.even.max(now.saturating_sub(CREDIT));
        self.even.saturating_sub(now)
    }
}

/// Ends with the manager.
fn run(weak: &Weak<Inner>, share: f64) {
    let begin = Instant::now();
    let mut used = thread_cpu_time();
    let mut allowance = Allowance {
        share,
        even: Duration::ZERO,
    };
    loop {
        let Some(inner) = weak.upgrade() else { return };
        let busy = inner.merge_step();
        drop(inner);
        let now = thread_cpu_time();
        let due = allowance.sleep(now - used, begin.elapsed());
        used = now;
        let mut rest = if busy { due } else { due.max(NAP) };
        while !rest.is_zero() {
            let nap = rest.min(NAP);
            thread::sleep(nap);
            rest -= nap;
            if weak.strong_count() == 0 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Goal: what is used stays its share of the time. Method: steps of different cost, and sleeps that last too long.
    #[test]
    fn the_share_is_kept() {
        let mut allowance = Allowance {
            share: 0.02,
            even: Duration::ZERO,
        };
        let (mut now, mut used) = (Duration::ZERO, Duration::ZERO);
        for n in 0..1000 {
            let cost = MS / (1 + n % 5);
            used += cost;
            now += cost;
            now += allowance.sleep(cost, now) + MS / 2;
        }
        let share = used.as_secs_f64() / now.as_secs_f64();
        assert!((0.0195..=0.0205).contains(&share), "{share}");
    }

    /// Goal: time that was not used is not made up for.
    #[test]
    fn no_burst_after_a_rest() {
        let mut allowance = Allowance {
            share: 0.1,
            even: Duration::ZERO,
        };
        assert_eq!(allowance.sleep(MS, MS), 9 * MS);
        let later = Duration::from_secs(60);
        assert_eq!(allowance.sleep(MS, later), Duration::ZERO);
        assert_eq!(allowance.sleep(4 * MS, later), 20 * MS);
    }
}
