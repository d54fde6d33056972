//! Two lists and a second chance (Linux: the active and the inactive list).
//!
//! ```text
//!   refaulted early --> head [ active ] tail --> head [ inactive ] tail --> evicted
//!   (in a loop: late, too)       ^ used again while inactive |    ^ new
//! ```
//! What came back soon after it went starts on the active list. Where nearly all comes back late,
//! programs go round in more memory than there is: what was used longest ago is needed next, and
//! lists that let it go find nothing again. There the first that come back are kept, as many as
//! three quarters of all frames, and the others take turns in the rest (Qureshi and others,
//! "Adaptive insertion policies for high performance caching", ISCA 2007, for the idea). Under the
//! lock of the queues; called by `policy.rs`.

use super::policy::{Arrival, Census, Finding, Policy};
use super::queue::{Isolated, Queue, Tag};
use crate::addr::FrameNo;
use crate::frame::Frame;
use memfold_sync::Slots;

const ACTIVE: Tag = Tag::of_policy(0);
const INACTIVE: Tag = Tag::of_policy(1);

/// What comes back late counts one, up to so many.
const LATE_MOST: u32 = 64;
/// What comes back early takes so many away: where one in nine does, there is no loop.
const EARLY: u32 = 8;
/// From here on programs go round in loops.
const LATE_IN_LOOPS: u32 = 48;
/// The share of all frames that is on probation, at the least, is one of so many.
const PROBATION: u32 = 2;
/// The same in loops: what proves useful there proves it soon.
const PROBATION_IN_LOOPS: u32 = 8;
/// In loops what comes back late is kept while more than one of so many is on probation. More than
/// [`PROBATION_IN_LOOPS`] asks for, or each that is kept would be in another's place.
const FREE_IN_LOOPS: u32 = 4;

/// The lists.
#[derive(Debug)]
pub(super) struct TwoLists {
    /// Frames that proved useful.
    active: Queue,
    /// Frames on probation; the tail is evicted next.
    inactive: Queue,
    /// How much came back late, of late: up to [`LATE_MOST`].
    late: u32,
}

impl TwoLists {
    pub fn new() -> Self {
        Self {
            active: Queue::new(ACTIVE),
            inactive: Queue::new(INACTIVE),
            late: 0,
        }
    }

    fn in_loops(&self) -> bool {
        self.late >= LATE_IN_LOOPS
    }

    /// Whether a frame whose content comes back is kept from now on.
    fn is_kept(&mut self, early: bool) -> bool {
        if early {
            self.late = self.late.saturating_sub(EARLY);
            return true;
        }
        self.late = (self.late + 1).min(LATE_MOST);
        self.in_loops() && self.inactive.len() > self.census().total() / FREE_IN_LOOPS
    }
}

impl Policy for TwoLists {
    fn arrived(&mut self, frames: &Slots<Frame>, no: FrameNo, how: Arrival) {
        let proven = match how {
            Arrival::New => false,
            Arrival::Returned { early } => self.is_kept(early),
            Arrival::CanGo => true,
        };
        match proven {
            true => self.active.push_head(frames, no),
            false => self.inactive.push_head(frames, no),
        }
    }

    fn settled(&mut self, frames: &Slots<Frame>, isolated: &Isolated, found: Finding) {
        match found {
            Finding::Used | Finding::Stayed => self.active.push_head(frames, isolated.no),
            Finding::Idle | Finding::Spared => self.inactive.push_head(frames, isolated.no),
            Finding::Deferred | Finding::Cold => self.inactive.push_tail(frames, isolated.no),
        }
    }

    fn removed(&mut self, frames: &Slots<Frame>, no: FrameNo, from: Tag) {
        let list = if from == ACTIVE {
            &mut self.active
        } else {
            &mut self.inactive
        };
        list.remove(frames, no);
    }

    /// Half of the frames are on probation, fewer in loops.
    fn isolate_to_age(&mut self, frames: &Slots<Frame>, out: &mut [Option<Isolated>]) -> usize {
        let share = if self.in_loops() {
            PROBATION_IN_LOOPS
        } else {
            PROBATION
        };
        if self.inactive.len() > self.census().total() / share {
            return 0;
        }
        self.active.isolate_tail(frames, out)
    }

    fn isolate_victims(&mut self, frames: &Slots<Frame>, out: &mut [Option<Isolated>]) -> usize {
        self.inactive.isolate_tail(frames, out)
    }

    fn is_candidate(&self, on: Tag) -> bool {
        on == INACTIVE
    }

    fn census(&self) -> Census {
        Census {
            proven: self.active.len(),
            candidates: self.inactive.len(),
        }
    }

    fn numbers(&self, frames: &Slots<Frame>) -> Vec<FrameNo> {
        let mut all = self.active.numbers(frames);
        all.extend(self.inactive.numbers(frames));
        all
    }
}
