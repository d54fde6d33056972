//! What a replacement policy is told, and what it is asked.
//!
//! A policy orders the frames that could go, and says which are looked at next; it never sees
//! bytes, spaces or locks. Each kind of content has one of its own (`balance.rs`). It forgets as
//! much as it likes but a frame: every frame that it was given stands on one of its queues until it
//! is asked for it or told that it was removed. Called by `replacer.rs` alone, under the lock of
//! the queues, from faults too, so no method waits, allocates or walks further than what it hands
//! out.

use super::queue::{Isolated, Tag};
use crate::addr::FrameNo;
use crate::frame::Frame;
use memfold_sync::Slots;

/// Why a frame comes to a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Its content is new, or came back before anybody asked for it.
    New,
    /// Its content went, and came back because it was needed; `early`: so soon that it should not
    /// have gone ([`Policy::is_early`]).
    Returned { early: bool },
    /// It could not go as it was, and can again.
    CanGo,
}

impl Arrival {
    /// Whether the frame has proved useful.
    pub fn is_proven(self) -> bool {
        match self {
            Self::New => false,
            Self::Returned { early } => early,
            Self::CanGo => true,
        }
    }
}

/// What was found about a frame that the policy was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// It was used since it was last looked at.
    Used,
    /// It was not used, and from now on it is noticed when it is.
    Idle,
    /// It was to go and did not: it was busy, or there was no room for its bytes.
    Stayed,
    /// It was not looked at, and is to be the next that is.
    Deferred,
    /// It was not looked at, and is not to be the next that is.
    Spared,
    /// The user says that it is not needed soon: it goes first.
    Cold,
}

/// How many frames a policy has, by what it thinks of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    /// Such as proved useful: they do not go before they were on probation.
    pub proven: u32,
    /// Candidates for eviction: on probation.
    pub candidates: u32,
}

impl Census {
    pub fn total(self) -> u32 {
        self.proven + self.candidates
    }
}

/// A replacement policy.
pub(crate) trait Policy {
    /// A frame that is on no queue comes under the policy's care. From a fault: constant time.
    fn arrived(&mut self, frames: &Slots<Frame>, no: FrameNo, how: Arrival);

    /// An isolated frame is put back. Its reference is still held, so it is not freed meanwhile.
    /// Constant time.
    fn settled(&mut self, frames: &Slots<Frame>, isolated: &Isolated, found: Finding);

    /// A frame that stands on the queue `from` leaves: it dies, cannot go any more, or is taken out
    /// of turn. The policy unlinks it; what else it knows of the frame it forgets or not. From a
    /// fault: constant time.
    fn removed(&mut self, frames: &Slots<Frame>, no: FrameNo, from: Tag);

    /// Isolates the next frames of which it must be known whether they are used; how many. None
    /// when enough are known. The idle among them are watched from then on, so that their next use
    /// is a fault: this should be no more than needed.
    fn isolate_to_age(&mut self, frames: &Slots<Frame>, out: &mut [Option<Isolated>]) -> usize;

    /// Isolates the next frames that are to go unless they are found to be used; how many. Over a
    /// few rounds, in which frames are settled as stayed or used, every frame must have its turn.
    fn isolate_victims(&mut self, frames: &Slots<Frame>, out: &mut [Option<Isolated>]) -> usize;

    /// Whether a frame on this queue may go before its turn, because its neighbours do.
    fn is_candidate(&self, on: Tag) -> bool;

    /// How many frames there are. Constant time.
    fn census(&self) -> Census;

    /// All frames, for checks.
    fn numbers(&self, frames: &Slots<Frame>) -> Vec<FrameNo>;

    /// Whether a frame whose content comes back after so many evictions of others (Linux: the
    /// refault distance) should not have gone, where there are so many frames of all kinds: had
    /// they been as many more, it would have been here still.
    fn is_early(&self, distance: u32, frames: u32) -> bool {
        distance <= frames
    }
}
