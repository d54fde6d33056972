//! S3-FIFO (Yang and others, "FIFO queues are all you need for cache eviction", SOSP 2023), for
//! memory whose use costs a fault to see.
//!
//! ```text
//!   new -----------> head [ small ] tail -------------------------> evicted
//!                             | used
//!   refaulted early --> head [ main ] tail --> head [ watched ] tail --> evicted
//!                         ^ used             ^ used          |
//!                         +------------------+---------------+
//! ```
//! While the small queue holds more than a tenth of the frames, victims come from there: what is
//! used once goes soon, and what is needed again comes back into the main queue. The paper's ghost
//! queue, which remembers what went, is the stamp that every evicted page's swap slot has. The
//! paper's count of uses would cost a fault for each use; so the end of the main queue is a queue
//! of its own, whose frames are watched, and who is used there goes round again. Under the lock of
//! the queues; called by `policy.rs`.

use super::policy::{Arrival, Census, Finding, Policy};
use super::queue::{Isolated, Queue, Tag};
use crate::addr::FrameNo;
use crate::frame::Frame;
use memfold_sync::Slots;

const SMALL: Tag = Tag::of_policy(0);
const MAIN: Tag = Tag::of_policy(1);
const WATCHED: Tag = Tag::of_policy(2);

/// The small queue's share of all frames is one of so many; a larger one feeds evictions.
const SMALL_SHARE: u32 = 10;

/// The watched queue's share of what proved useful is one of so many.
const WATCHED_SHARE: u32 = 4;

/// The queues.
#[derive(Debug)]
pub(super) struct S3Fifo {
    small: Queue,
    main: Queue,
    watched: Queue,
}

impl S3Fifo {
    pub fn new() -> Self {
        Self {
            small: Queue::new(SMALL),
            main: Queue::new(MAIN),
            watched: Queue::new(WATCHED),
        }
    }

    /// Whether new frames have more than their share.
    fn small_is_full(&self) -> bool {
        self.small.len() > self.census().total() / SMALL_SHARE
    }

    /// The queue that victims come from now.
    fn next(&mut self) -> &mut Queue {
        if self.small_is_full() || self.watched.len() == 0 {
            &mut self.small
        } else {
            &mut self.watched
        }
    }
}

impl Policy for S3Fifo {
    fn arrived(&mut self, frames: &Slots<Frame>, no: FrameNo, how: Arrival) {
        match how.is_proven() {
            true => self.main.push_head(frames, no),
            false => self.small.push_head(frames, no),
        }
    }

    fn settled(&mut self, frames: &Slots<Frame>, isolated: &Isolated, found: Finding) {
        let Isolated { no, from } = *isolated;
        match found {
            Finding::Used | Finding::Stayed => self.main.push_head(frames, no),
            Finding::Idle => self.watched.push_head(frames, no),
            Finding::Spared if from == WATCHED => self.watched.push_head(frames, no),
            Finding::Spared => self.small.push_head(frames, no),
            Finding::Deferred if from == WATCHED => self.watched.push_tail(frames, no),
            Finding::Deferred => self.small.push_tail(frames, no),
            Finding::Cold => self.next().push_tail(frames, no),
        }
    }

    fn removed(&mut self, frames: &Slots<Frame>, no: FrameNo, from: Tag) {
        let queue = match from {
            SMALL => &mut self.small,
            MAIN => &mut self.main,
            _ => &mut self.watched,
        };
        queue.remove(frames, no);
    }

    /// A part of what proved useful is watched, once the small queue is down to its share.
    fn isolate_to_age(&mut self, frames: &Slots<Frame>, out: &mut [Option<Isolated>]) -> usize {
        if self.small_is_full() || self.watched.len() > self.main.len() / WATCHED_SHARE {
            return 0;
        }
        self.main.isolate_tail(frames, out)
    }

    fn isolate_victims(&mut self, frames: &Slots<Frame>, out: &mut [Option<Isolated>]) -> usize {
        self.next().isolate_tail(frames, out)
    }

    fn is_candidate(&self, on: Tag) -> bool {
        on == SMALL || on == WATCHED
    }

    fn census(&self) -> Census {
        Census {
            proven: self.main.len(),
            candidates: self.small.len() + self.watched.len(),
        }
    }

    fn numbers(&self, frames: &Slots<Frame>) -> Vec<FrameNo> {
        let mut all = self.small.numbers(frames);
        all.extend(self.main.numbers(frames));
        all.extend(self.watched.numbers(frames));
        all
    }
}
