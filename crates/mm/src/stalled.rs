//! Whether reclaim has found that nothing can go, and nothing has changed since; and whether room
//! is made ahead of need, and whether idle pages are watched.
//!
//! A run of reclaim that fails looks at every frame; when all are pinned, in use or do not
//! compress, the next run would look at all of them again for nothing. So a failed run notes the
//! number of changes that it began at, and while that is the present number nobody tries again. A
//! change is whatever can make a page go that could not: a fault that was resolved (a frame is new,
//! or was stored to), a pin that ended, a space that ended, a merge. Counted without a lock: a
//! change in the middle of a run makes the note worthless, and one that is seen late costs a run
//! that could have been spared. A run that fails beside another notes nothing: frames that the
//! other holds were not looked at.

use memfold_sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Two numbers of changes: all, and those before the last run that failed.
#[derive(Debug, Default)]
pub(crate) struct Stalled {
    changes: AtomicU64,
    /// One more than the number of changes at which nothing could go; 0: never.
    at: AtomicU64,
    /// Runs of reclaim that are under way: what they have off the queues may go, or come back.
    under_way: AtomicU32,
    /// Runs that have ended; wraps around.
    ended: AtomicU32,
}

/// A run of reclaim that is under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay<'a>(&'a Stalled);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        // Relaxed: hints.
        self.0.ended.fetch_add(1, Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How often a fault that found nothing to go yields to others that reclaim: some milliseconds.
pub(crate) const YIELDS: u32 = if cfg!(any(loom, shuttle)) { 1 } else { 2000 };

/// For a fault that found nothing to go: what could go may all be in the hands of other runs.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// Runs that had ended when it began to wait.
    ended: u32,
    /// How often it yields at the most.
    yields: u32,
}

impl Waiting {
    /// Waits for nobody.
    pub fn no_more() -> Self {
        Self { ended: 0, yields: 0 }
    }

    /// Yields and says yes, as long as none of the other runs has ended, though not for ever.
    pub fn goes_on(&mut self, stalled: &Stalled) -> bool {
        let waits = self.yields > 0
            && stalled.under_way() != 0
            // Relaxed: a hint.
            && stalled.ended.load(Ordering::Relaxed) == self.ended;
        if waits {
            self.yields -= 1;
            memfold_sync::thread::yield_now();
        }
        waits
    }
}

impl Stalled {
    /// A page that could not go may be able to.
    pub fn something_changed(&self) {
        // Relaxed: a hint; whoever finds no room looks again.
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// A run begins.
    pub fn begin(&self) -> UnderWay<'_> {
        // Relaxed: a hint.
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(self)
    }

    /// Begins to wait for the runs that are under way.
    pub fn wait(&self) -> Waiting {
        // Relaxed: a hint.
        let ended = self.ended.load(Ordering::Relaxed);
        Waiting {
            ended,
            yields: YIELDS,
        }
    }

    /// How many runs are under way.
    pub fn under_way(&self) -> u32 {
        // Relaxed: a hint.
        self.under_way.load(Ordering::Relaxed)
    }

    /// Changes so far.
    pub fn now(&self) -> u64 {
        // Relaxed: a hint.
        self.changes.load(Ordering::Relaxed)
    }

    /// A run that began after so many changes found nothing that can go.
    pub fn stall(&self, changes: u64) {
        // Relaxed: a hint.
        self.at.store(changes + 1, Ordering::Relaxed);
    }

    /// Whether nothing could go after so many changes.
    pub fn is_at(&self, changes: u64) -> bool {
        // Relaxed: a hint.
        self.at.load(Ordering::Relaxed) == changes + 1
    }
}

/// Faults that make no room after one that could not make enough.
const RESTING: u32 = 1024;

/// Whether it is worth it to make room ahead of need (`reclaim/room.rs`).
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// Faults that still make none.
    resting: AtomicU32,
}

impl Room {
    /// One fault more; whether it makes no room.
    pub fn is_resting(&self) -> bool {
        // Relaxed: policy only.
        (self.resting)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .is_ok()
    }

    /// What went was not enough.
    pub fn rest(&self) {
        // Relaxed: policy only.
        self.resting.store(RESTING, Ordering::Relaxed);
    }
}

/// Frames watched after which the older ones count half.
const REMEMBERED: u32 = 4096;

/// Frames of which one must be stored to, for it to be worth it to watch them. To protect a page
/// beside a running thread and to let a store through again interrupts each of the two; an eviction
/// and a return for nothing costs as much, and half of it is done by whoever reclaims in the
/// background.
const WORTH: u32 = 2;

/// Whether it is worth it to protect pages that seem to be idle (`reclaim/age.rs`): each call
/// interrupts every other running thread, and where hardly a page is stored to before it goes,
/// nothing is learned. Then only some are watched, to see whether that changes.
#[derive(Debug, Default)]
pub(crate) struct Watching {
    watched: AtomicU32,
    stored: AtomicU32,
}

impl Watching {
    /// So many pages were protected.
    pub fn watched(&self, pages: u32) {
        // Relaxed: policy only.
        let watched = self.watched.fetch_add(pages, Ordering::Relaxed) + pages;
        if watched >= REMEMBERED {
            // Relaxed: as above.
            self.watched.store(watched / 2, Ordering::Relaxed);
            // Relaxed: as above.
            let stored = self.stored.load(Ordering::Relaxed);
            // Relaxed: as above.
            self.stored.store(stored / 2, Ordering::Relaxed);
        }
    }

    /// A store to one of them was noticed.
    pub fn stored(&self) {
        // Relaxed: policy only.
        self.stored.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether to watch all that seem to be idle, and not only some.
    pub fn is_worth_it(&self) -> bool {
        // Relaxed: policy only.
        let watched = self.watched.load(Ordering::Relaxed);
        // Relaxed: as above.
        let stored = self.stored.load(Ordering::Relaxed);
        watched < REMEMBERED / 4 || stored >= watched / WORTH
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// Goal: what is never stored to is watched no more but in part, until stores are seen again.
    #[test]
    fn watching_pays_or_ends() {
        let watching = Watching::default();
        watching.watched(REMEMBERED / 8);
        assert!(watching.is_worth_it(), "too little is known");
        watching.watched(REMEMBERED);
        assert!(!watching.is_worth_it());
        (0..REMEMBERED / 2).for_each(|_| watching.stored());
        assert!(watching.is_worth_it());
    }

    /// Goal: a failed run is remembered until something changes, also when that was during the run.
    #[test]
    fn until_something_changes() {
        let stalled = Stalled::default();
        let begun = stalled.now();
        assert!(!stalled.is_at(begun));
        stalled.stall(begun);
        assert!(stalled.is_at(stalled.now()));
        stalled.something_changed();
        assert!(!stalled.is_at(stalled.now()));
        let begun = stalled.now();
        stalled.something_changed();
        stalled.stall(begun);
        assert!(!stalled.is_at(stalled.now()), "it changed during the run");
    }

    /// Goal: who waits for others that reclaim waits until one of them has ended, and not for ever.
    #[test]
    fn the_end_of_one_run_is_waited_for() {
        let stalled = Stalled::default();
        assert!(!stalled.wait().goes_on(&stalled), "nobody reclaims");
        let (one, other) = (stalled.begin(), stalled.begin());
        let mut waiting = stalled.wait();
        assert!(waiting.goes_on(&stalled));
        drop(one);
        assert!(!waiting.goes_on(&stalled));
        let mut waiting = stalled.wait();
        assert_eq!(
            (0..).take_while(|_| waiting.goes_on(&stalled)).count(),
            YIELDS as usize
        );
        drop(other);
    }
}
