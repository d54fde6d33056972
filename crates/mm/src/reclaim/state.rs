//! What reclaim keeps between calls: the policy with its queues, and what it learned.
//!
//! The manager holds one of it; its fields are open to this room alone. Others report what happened
//! to a frame, and name no queue and no policy. The queues have a lock of their own
//! (`replacer.rs`), all else is hints without a lock. Called by faults, pins, loans and drops.

pub use super::choice::Replacement;
pub(crate) use super::queue::Kind;
pub(crate) use super::replacer::Origin;
use super::replacer::Replacer;
use crate::addr::FrameNo;
use crate::backing::Stamp;
use crate::frame::Frame;
use crate::stalled::{Room, Stalled, Watching};
use crate::stats::Stats;
use memfold_sync::Slots;
use memfold_sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::num::NonZero;

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct State {
    pub(super) replacer: Replacer,
    pub(super) stalled: Stalled,
    pub(super) room: Room,
    pub(super) watching: Watching,
    /// Pages of spaces that stay in memory.
    locked: AtomicU64,
    /// Whether a space ever gave pages up that are to go when room is needed. A hint.
    given_up: AtomicBool,
    /// One step of a [`Stamp`] is two to the power of this many evictions.
    stamp_shift: u32,
}

/// Most steps of a stamp in which all frames can go: it is told from later ones for sixteen times
/// as many evictions as there can be frames.
const STEPS: u32 = 1 << 12;

impl State {
    /// No frames; there can be so many.
    pub fn new(replacement: Replacement, frames: u32) -> Self {
        Self {
            replacer: Replacer::new(replacement),
            stalled: Stalled::default(),
            room: Room::default(),
            watching: Watching::default(),
            locked: AtomicU64::new(0),
            given_up: AtomicBool::new(false),
            stamp_shift: u32::BITS - (frames / STEPS).leading_zeros(),
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
    pub fn arrived(&self, frames: &Slots<Frame>, no: FrameNo, kind: Kind, origin: Origin) -> bool {
        self.replacer.add(frames, no, kind, origin)
    }

    /// So many frames of this kind had to be written before they could go.
    pub fn wrote(&self, kind: Kind, frames: u32) {
        if frames != 0 {
            self.replacer.wrote(kind, frames);
        }
    }

    /// A page of a file goes: when that is, roughly, for its file's index to remember (Linux: a
    /// shadow entry).
    pub fn stamp(&self) -> Stamp {
        let step = self.replacer.evicted() >> self.stamp_shift;
        // One step is as good as the next one.
        Stamp(NonZero::new(step as u16).unwrap_or(NonZero::<u16>::MIN))
    }

    /// A page that was stamped so, or not, comes back because it is needed.
    pub fn origin(&self, stamp: Option<Stamp>) -> Origin {
        let Some(Stamp(step)) = stamp else {
            return Origin::New;
        };
        let now = self.clock() >> self.stamp_shift;
        let steps = (now as u16).wrapping_sub(step.get());
        let at = now.wrapping_sub(u32::from(steps)) << self.stamp_shift;
        Origin::Evicted { at }
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

    /// Whether pages may have been given up.
    pub fn are_given_up(&self) -> bool {
        // Relaxed: a hint; who misses it stores pages that nobody needs.
        self.given_up.load(Ordering::Relaxed)
    }

    /// Pages are given up.
    pub fn now_given_up(&self) {
        // Relaxed: as above.
        self.given_up.store(true, Ordering::Relaxed);
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
        let [_, files] = self.replacer.census_by_kind();
        stats.active_file_frames = files.proven;
        stats.inactive_file_frames = files.candidates;
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
