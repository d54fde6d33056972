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

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct State {
    pub(super) replacer: Replacer,
    pub(super) stalled: Stalled,
    pub(super) room: Room,
    pub(super) watching: Watching,
}

impl State {
    /// No frames.
    pub fn new(replacement: Replacement) -> Self {
        Self {
            replacer: Replacer::new(replacement),
            stalled: Stalled::default(),
            room: Room::default(),
            watching: Watching::default(),
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

    /// A frame is dying.
    pub fn removed(&self, frames: &Slots<Frame>, no: FrameNo) {
        self.replacer.forget(frames, no);
    }

    /// How many frames' contents went so far.
    pub fn clock(&self) -> u32 {
        self.replacer.clock()
    }

    /// Writes how many frames there are into the statistics.
    pub fn count(&self, stats: &mut Stats) {
        let census = self.replacer.census();
        stats.active_frames = census.proven;
        stats.inactive_frames = census.candidates;
        stats.unevictable_frames = self.replacer.unevictable();
    }

    /// All frames, for checks.
    ///
    /// # Panics
    /// When a queue is not sound.
    pub fn numbers(&self, frames: &Slots<Frame>) -> Vec<FrameNo> {
        self.replacer.numbers(frames)
    }
}
