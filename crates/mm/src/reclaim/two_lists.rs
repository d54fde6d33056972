//! Two lists and a second chance (Linux: the active and the inactive list).
//!
//! ```text
//!   refaulted early --> head [ active ] tail --> head [ inactive ] tail --> evicted
//!                              ^ used again while inactive |    ^ new
//! ```
//! What came back soon after it went starts on the active list. Under the lock of the queues;
//! called by `policy.rs`.

use super::policy::{Arrival, Census, Finding, Policy};
use super::queue::{Isolated, Queue, Tag};
use crate::addr::FrameNo;
use crate::frame::Frame;
use memfold_sync::Slots;

const ACTIVE: Tag = Tag::of_policy(0);
const INACTIVE: Tag = Tag::of_policy(1);

/// The lists.
#[derive(Debug)]
pub(super) struct TwoLists {
    /// Frames that proved useful.
    active: Queue,
    /// Frames on probation; the tail is evicted next.
    inactive: Queue,
}

impl TwoLists {
    pub fn new() -> Self {
        Self {
            active: Queue::new(ACTIVE),
            inactive: Queue::new(INACTIVE),
        }
    }
}

impl Policy for TwoLists {
    fn arrived(&mut self, frames: &Slots<Frame>, no: FrameNo, how: Arrival) {
        match how.is_proven() {
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

    /// Half of the frames are on probation.
    fn isolate_to_age(&mut self, frames: &Slots<Frame>, out: &mut [Option<Isolated>]) -> usize {
        if self.inactive.len() > self.active.len() {
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
