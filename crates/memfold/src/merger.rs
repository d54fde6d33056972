//! The background merger: a thread that looks for equal pages with a share of one core.
//!
//! It works in small steps, reads its own processor time after each, and sleeps until what it has
//! used is its share of the time that has passed. Time that it did not use is forgotten beyond a
//! little, so that it does not catch up in one burst. After a whole round in which nothing was
//! merged, no page was new or had changed and nothing else happened, it sleeps without a clock,
//! until a fault or an operation of the memory says that something has happened
//! ([`Merger::note`]): a load for who takes the fault, and a system call only when the thread
//! sleeps. (Stores that take no fault do not wake it; the next fault does.) It holds the manager
//! only weakly while it sleeps; the manager's end wakes it, and ends it.

use memfold_linux::{spawn_quiet, thread_cpu_time};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Pages of one step: some tenths of a millisecond.
pub(crate) const STEP_PAGES: u64 = 128;
/// Time not used that is not forgotten.
const CREDIT: Duration = Duration::from_millis(20);

/// Whose pages are merged.
pub(crate) trait Merges: Send + Sync + 'static {
    /// What the thread tells of itself, and is told by.
    fn merger(&self) -> Option<&Merger>;

    /// One step.
    fn merge_step(&self) -> Found;
}

#[derive(Debug)]
pub(crate) struct Merger {
    /// Nanoseconds of processor time.
    cpu: AtomicU64,
    /// Held while the thread works; never by a fault.
    working: Mutex<()>,
    /// Something has happened since the thread last looked.
    news: AtomicBool,
    /// The thread sleeps until something happens, or is about to.
    asleep: AtomicBool,
    /// Set by the thread itself, before it sleeps.
    thread: OnceLock<Thread>,
}

/// What a step of the merger found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// A round is over.
    pub round_over: bool,
    /// Pages were merged, or such were seen as may be merged later.
    pub busy: bool,
}

impl Merger {
    pub fn new() -> Self {
        Self {
            cpu: AtomicU64::new(0),
            working: Mutex::new(()),
            news: AtomicBool::new(true),
            asleep: AtomicBool::new(false),
            thread: OnceLock::new(),
        }
    }

    /// Something has happened that may have made pages equal. Async-signal-safe.
    pub fn note(&self) {
        // Relaxed: who has set it sees to the rest.
        if self.news.load(Ordering::Relaxed) {
            return;
        }
        // Relaxed: the fence orders it before the load.
        self.news.store(true, Ordering::Relaxed);
        // SeqCst, as the one in `may_sleep`: either the thread sees the news, or we see that it
        // sleeps.
        fence(Ordering::SeqCst);
        // Relaxed: as above.
        if self.asleep.load(Ordering::Relaxed)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Whether something has happened since this was last asked.
    fn take_news(&self) -> bool {
        // Relaxed: a hint; `sleep` looks again.
        self.news.swap(false, Ordering::Relaxed)
    }

    /// Says that the thread is about to sleep; false when something has happened meanwhile.
    fn may_sleep(&self) -> bool {
        self.thread.get_or_init(thread::current);
        // Relaxed: the fence orders it before the load.
        self.asleep.store(true, Ordering::Relaxed);
        // SeqCst: see `note`.
        fence(Ordering::SeqCst);
        // Relaxed: as above.
        let sleeps = !self.news.load(Ordering::Relaxed);
        if !sleeps {
            self.woke();
        }
        sleeps
    }

    fn woke(&self) {
        // Relaxed: at worst one unpark too many.
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Starts the thread; without one (the system refuses) nothing is merged in the background.
    pub fn start(inner: Weak<impl Merges>, share: f64) {
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

impl Drop for Merger {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// Ends with the manager.
fn run(weak: &Weak<impl Merges>, share: f64) {
    let begin = Instant::now();
    let mut used = thread_cpu_time();
    let mut allowance = Allowance {
        share,
        even: Duration::ZERO,
    };
    // Whether there was nothing to do in this round so far.
    let mut calm = true;
    loop {
        let Some(inner) = weak.upgrade() else { return };
        let news = inner.merger().is_some_and(Merger::take_news);
        let found = inner.merge_step();
        calm &= !news && !found.busy;
        let done = found.round_over && calm;
        calm |= found.round_over;
        let sleeps = done && inner.merger().is_some_and(Merger::may_sleep);
        drop(inner);
        if sleeps && !sleep(weak) {
            return;
        }
        let now = thread_cpu_time();
        let due = allowance.sleep(now - used, begin.elapsed());
        used = now;
        if !rest(weak, due) {
            return;
        }
    }
}

/// Sleeps until something happens; false when that is the manager's end.
fn sleep(weak: &Weak<impl Merges>) -> bool {
    if weak.strong_count() == 0 {
        return false;
    }
    thread::park();
    let Some(inner) = weak.upgrade() else { return false };
    if let Some(merger) = inner.merger() {
        merger.woke();
    }
    true
}

/// Sleeps for so long; false when the manager ends meanwhile, which wakes the thread.
fn rest(weak: &Weak<impl Merges>, due: Duration) -> bool {
    let begin = Instant::now();
    // Ends with the time. Somebody's unpark may come in between.
    while let Some(left) = due.checked_sub(begin.elapsed()).filter(|left| !left.is_zero()) {
        if weak.strong_count() == 0 {
            return false;
        }
        thread::park_timeout(left);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Goal: what is used stays its share of the time. Method: steps of different cost, and sleeps
    /// that last too long.
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
