//! What reclaim keeps between calls: the policy with its queues, and what it learned.
//!
//! The manager holds one of it; its fields are open to this room alone. Others report what happened
//! to a frame, and name no queue and no policy. The queues have a lock of their own
//! (`replacer.rs`), all else is hints without a lock. Called by faults, pins, loans and drops.

pub use super::choice::Replacement;
pub(crate) use super::replacer::Origin;
use super::replacer::Replacer;
use crate::addr::FrameNo;
use crate::frame::Frame;
use crate::stalled::{Room, Stalled, Watching};
use crate::stats::Stats;
use memfold_sync::Slots;
use memfold_sync::atomic::{AtomicU64, Ordering};

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct State {
    pub(super) replacer: Replacer,
    pub(super) stalled: Stalled,
    pub(super) room: Room,
    pub(super) watching: Watching,
    /// Pages of spaces that stay in memory.
    locked: AtomicU64,
}

impl State {
    /// No frames.
    pub fn new(replacement: Replacement) -> Self {
        Self {
            replacer: Replacer::new(replacement),
            stalled: Stalled::default(),
            room: Room::default(),
            watching: Watching::default(),
            locked: AtomicU64::new(0),
        }
    }

    /// A page that could not go may be able to.
    pub fn something_changed(&self) {
        self.stalled.something_changed();
    }

    /// A page that was protected to see whether it is used was stored to.
    pub fn stored(&self) {
        self.watching.stored();
    }

    /// A frame is mapped from now on; whether its content came back so early that it should not
    /// have gone.
    pub fn arrived(&self, frames: &Slots<Frame>, no: FrameNo, origin: Origin) -> bool {
        self.replacer.add(frames, no, origin)
    }

    /// A frame cannot go any more. Under the frame lock.
    pub fn set_aside(&self, frames: &Slots<Frame>, no: FrameNo) {
        self.replacer.set_aside(frames, no);
    }

    /// A frame can go again; whether it was set aside. Under the frame lock.
    pub fn bring_back(&self, frames: &Slots<Frame>, no: FrameNo) -> bool {
        self.replacer.bring_back(frames, no)
    }

    /// A frame that did not compress was stored to; whether it was set aside. Under the frame lock.
    pub fn doubt(&self, frames: &Slots<Frame>, no: FrameNo) -> bool {
        self.replacer.doubt(frames, no)
    }

    /// A frame is dying.
    pub fn removed(&self, frames: &Slots<Frame>, no: FrameNo) {
        self.replacer.forget(frames, no);
    }

    /// So many pages more are to stay in memory, unless there would be more than `most` of them.
    pub fn lock_pages(&self, more: u64, most: u64) -> bool {
        let fits = |now: u64| now.checked_add(more).filter(|&all| all <= most);
        // Relaxed: a number on its own; that a page stays is known under its frame's lock, or its
        // file's.
        (self.locked)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .is_ok()
    }

    /// So many pages need not stay any more.
    pub fn unlock_pages(&self, fewer: u64) {
        // Relaxed: as above.
        let before = self.locked.fetch_sub(fewer, Ordering::Relaxed);
        assert!(before >= fewer, "more pages were unlocked than were locked");
    }

    /// How many pages of spaces stay in memory.
    pub fn locked_pages(&self) -> u64 {
        // Relaxed: as above.
        self.locked.load(Ordering::Relaxed)
    }

    /// How many frames' contents went so far.
    pub fn clock(&self) -> u32 {
        self.replacer.clock()
    }

    /// Writes how many frames there are into the statistics.
    pub fn count(&self, stats: &mut Stats) {
        let census = self.replacer.census();
        stats.active_frames = census.proven + self.replacer.doubted();
        stats.inactive_frames = census.candidates;
        stats.unevictable_frames = self.replacer.unevictable();
        stats.locked_pages = self.locked_pages();
    }

    /// Those that nobody looks for victims at, for checks.
    pub fn set_aside_now(&self, frames: &Slots<Frame>) -> Vec<FrameNo> {
        self.replacer.unevictable_numbers(frames)
    }

    /// All frames, for checks.
    ///
    /// # Panics
    /// When a queue is not sound.
    pub fn numbers(&self, frames: &Slots<Frame>) -> Vec<FrameNo> {
        self.replacer.numbers(frames)
    }
}
