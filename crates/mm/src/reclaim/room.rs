//! Room for the next faults, made by the threads that fault where nobody does it for them.
//!
//! Ahead of need only a small part of what can go is taken, and where that did not make enough room
//! it is left alone for a while: in a budget full of what cannot go, it would take out what others
//! are about to use, again and again. Called from faults.

use super::batch::BATCH;
use super::round::Reclaim;
use crate::addr::SpaceNo;
use crate::host::{Host, Store};
use crate::mm::{Mm, PAGE};

/// The most frames that go in a fault, ahead of need, where nobody else makes room: so many that
/// not one access in a hundred meets it.
const MOST: u32 = 256;

/// The part of the frames that can go which goes ahead of need.
const PART: u32 = 16;

impl<H: Host, S: Store> Mm<H, S> {
    /// For a thread whose fault in this space is to be resolved: where little room is left, `call`
    /// calls somebody who makes some meanwhile, and says whether there is somebody. Where there is
    /// not, or that is not enough, the thread makes room itself, for this fault and the next ones:
    /// before the fault is resolved, since afterwards the page that it asked for could be among
    /// those that go. Nothing is done for a condemned space, whose faults fail.
    /// Bounded; from handlers of faults, with no lock held; a few loads where there is room.
    pub fn make_room(&self, space: SpaceNo, call: impl FnOnce() -> bool) {
        if !self.wants_reclaim() || self.reclaim.room.is_resting() {
            return;
        }
        let helped = call();
        if helped && !self.budget.is_scarce() || self.failure(space).is_some() {
            return;
        }
        let part = self.reclaim.replacer.census().total() / PART;
        if part < BATCH as u32 {
            return;
        }
        self.counters.direct_reclaims.one();
        let ahead = if helped {
            0
        } else {
            (self.budget.reserve() / PAGE / 2) as u32
        };
        Reclaim::new(self).free_some(ahead.clamp(BATCH as u32, part.min(MOST)));
        let little = if helped {
            self.budget.is_scarce()
        } else {
            self.budget.is_low()
        };
        if little {
            self.reclaim.room.rest();
        }
    }
}
