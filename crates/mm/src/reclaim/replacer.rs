//! All frames that hold a page, in the order in which the replacement policy would let them go.
//!
//! One lock guards the policy's queues, the links inside the frames, and two queues that are the
//! manager's, whatever the policy is: of frames that cannot go, pinned or such as would hold as
//! much in the store, among which nobody looks for victims; and of frames that did not compress and
//! were stored to since. To find out that a page is noise costs more than to evict one that is not,
//! and noise that is rewritten is noise again, as a rule: a run of reclaim tries a few of these,
//! and more only when nothing else goes. Here is also the clock of refault distances, which counts
//! evictions. Faults, pins and drops report what happened; reclaim asks what is next. The caller of
//! `settle` drops the isolation's reference *afterwards*, so that a frame whose last holder it is
//! can be taken off again by `forget`.

use super::choice::{Chosen, Replacement};
use super::policy::{Arrival, Census, Finding, Policy};
use super::queue::{Isolated, Queue, Tag};
use crate::addr::FrameNo;
use crate::frame::Frame;
use memfold_sync::atomic::{AtomicU32, Ordering};
use memfold_sync::{Mutex, Rank, Slots};

/// Where the content of a frame comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It is new, or nobody has asked for it yet.
    New,
    /// From the store, because it was needed; it went when the clock said so.
    Evicted { at: u32 },
}

/// Under the lock of the queues.
#[derive(Debug)]
struct Queues {
    policy: Chosen,
    unevictable: Queue,
    doubted: Queue,
}

impl Queues {
    /// Takes a frame off whichever queue it is on.
    fn remove(&mut self, frames: &Slots<Frame>, no: FrameNo) -> Tag {
        let from = Tag::of(frames.get(no.0));
        match from {
            Tag::NONE => (),
            Tag::UNEVICTABLE => self.unevictable.remove(frames, no),
            Tag::DOUBTED => self.doubted.remove(frames, no),
            _ => self.policy.removed(frames, no, from),
        }
        from
    }

    /// Takes a frame off the queue of those that cannot go; false when it is not on it.
    fn leave_aside(&mut self, frames: &Slots<Frame>, no: FrameNo) -> bool {
        let aside = Tag::of(frames.get(no.0)) == Tag::UNEVICTABLE;
        if aside {
            self.unevictable.remove(frames, no);
        }
        aside
    }

    fn isolate_if(
        &mut self,
        frames: &Slots<Frame>,
        no: FrameNo,
        fits: impl FnOnce(&Chosen, Tag) -> bool,
    ) -> Option<Isolated> {
        let frame = frames.get(no.0);
        let on = Tag::of(frame);
        if on == Tag::NONE || !fits(&self.policy, on) || !frame.count.try_get() {
            return None;
        }
        let from = self.remove(frames, no);
        Some(Isolated { no, from })
    }

    fn isolate_candidate(&mut self, frames: &Slots<Frame>, no: FrameNo) -> Option<Isolated> {
        self.isolate_if(frames, no, |policy, on| {
            ![Tag::UNEVICTABLE, Tag::DOUBTED].contains(&on) && policy.is_candidate(on)
        })
    }
}

/// The policy, its queues and its clock.
#[derive(Debug)]
pub(crate) struct Replacer {
    queues: Mutex<Queues>,
    clock: AtomicU32,
}

impl Replacer {
    /// No frames.
    pub fn new(replacement: Replacement) -> Self {
        let queues = Queues {
            policy: Chosen::new(replacement),
            unevictable: Queue::new(Tag::UNEVICTABLE),
            doubted: Queue::new(Tag::DOUBTED),
        };
        Self {
            queues: Mutex::new(Rank::Queues, queues),
            clock: AtomicU32::new(0),
        }
    }

    /// A frame, which is on no queue, is mapped; whether its content came back so early that it
    /// should not have gone.
    pub fn add(&self, frames: &Slots<Frame>, no: FrameNo, origin: Origin) -> bool {
        let policy = &mut self.queues.lock().policy;
        let how = match origin {
            Origin::New => Arrival::New,
            Origin::Evicted { at } => {
                let distance = self.clock().wrapping_sub(at);
                let early = policy.is_early(distance);
                Arrival::Returned { early }
            }
        };
        policy.arrived(frames, no, how);
        how == Arrival::Returned { early: true }
    }

    /// A frame's content went: the time that its slot remembers.
    pub fn evicted(&self) -> u32 {
        // Relaxed: policy only.
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    /// How many frames' contents went so far.
    pub fn clock(&self) -> u32 {
        // Relaxed: policy only.
        self.clock.load(Ordering::Relaxed)
    }

    /// Takes the next frames of which it must be known whether they are used; how many.
    pub fn isolate_to_age(&self, frames: &Slots<Frame>, out: &mut [Option<Isolated>]) -> usize {
        self.queues.lock().policy.isolate_to_age(frames, out)
    }

    /// Takes the next victims; how many.
    pub fn isolate_victims(&self, frames: &Slots<Frame>, out: &mut [Option<Isolated>]) -> usize {
        self.queues.lock().policy.isolate_victims(frames, out)
    }

    /// Takes this frame off its queue; `None` when it is on none or dying.
    pub fn isolate(&self, frames: &Slots<Frame>, no: FrameNo) -> Option<Isolated> {
        self.queues.lock().isolate_if(frames, no, |_, _| true)
    }

    /// The same, if it may go before its turn because its neighbours do.
    pub fn isolate_candidate(&self, frames: &Slots<Frame>, no: FrameNo) -> Option<Isolated> {
        self.queues.lock().isolate_candidate(frames, no)
    }

    /// The same for several frames, as far as there is room for them; how many were taken.
    pub fn isolate_candidates(
        &self,
        frames: &Slots<Frame>,
        numbers: impl Iterator<Item = FrameNo>,
        out: &mut [Option<Isolated>],
    ) -> usize {
        let mut queues = self.queues.lock();
        let taken = numbers.filter_map(|no| queues.isolate_candidate(frames, no));
        out.iter_mut()
            .zip(taken)
            .map(|(place, taken)| *place = Some(taken))
            .count()
    }

    /// Puts an isolated frame back, and says what was found about it.
    #[must_use]
    pub fn settle(&self, frames: &Slots<Frame>, isolated: Isolated, found: Finding) -> FrameNo {
        self.queues.lock().policy.settled(frames, &isolated, found);
        isolated.no
    }

    /// The same for a frame that was found not to be able to go as it is. Under the frame lock.
    #[must_use]
    pub fn settle_aside(&self, frames: &Slots<Frame>, isolated: Isolated) -> FrameNo {
        self.queues.lock().unevictable.push_head(frames, isolated.no);
        isolated.no
    }

    /// A frame cannot go any more: nobody looks for victims at it. One that is isolated is put
    /// where it belongs by whoever isolated it. Under the frame lock.
    pub fn set_aside(&self, frames: &Slots<Frame>, no: FrameNo) {
        let mut queues = self.queues.lock();
        if ![Tag::NONE, Tag::UNEVICTABLE].contains(&Tag::of(frames.get(no.0))) {
            queues.remove(frames, no);
            queues.unevictable.push_head(frames, no);
        }
    }

    /// A frame can go again; whether it was set aside. Under the frame lock.
    pub fn bring_back(&self, frames: &Slots<Frame>, no: FrameNo) -> bool {
        let mut queues = self.queues.lock();
        let aside = queues.leave_aside(frames, no);
        if aside {
            queues.policy.arrived(frames, no, Arrival::CanGo);
        }
        aside
    }

    /// A frame that did not compress was stored to: it can go if it does now; whether it was set
    /// aside. Under the frame lock.
    pub fn doubt(&self, frames: &Slots<Frame>, no: FrameNo) -> bool {
        let mut queues = self.queues.lock();
        let aside = queues.leave_aside(frames, no);
        if aside {
            queues.doubted.push_head(frames, no);
        }
        aside
    }

    /// Gives so many of the doubted frames back to the policy, at the most; how many.
    pub fn try_doubted(&self, frames: &Slots<Frame>, most: u32) -> u32 {
        let mut queues = self.queues.lock();
        let mut tried = 0;
        while tried < most
            && let Some(no) = queues.doubted.tail()
        {
            queues.doubted.remove(frames, no);
            queues.policy.arrived(frames, no, Arrival::CanGo);
            tried += 1;
        }
        tried
    }

    /// Takes a dying frame off whichever queue it is on.
    pub fn forget(&self, frames: &Slots<Frame>, no: FrameNo) {
        self.queues.lock().remove(frames, no);
    }

    /// How many frames the policy has, by what it thinks of them.
    pub fn census(&self) -> Census {
        self.queues.lock().policy.census()
    }

    /// How many frames did not compress and were stored to since.
    pub fn doubted(&self) -> u32 {
        self.queues.lock().doubted.len()
    }

    /// How many frames cannot go as they are.
    pub fn unevictable(&self) -> u32 {
        self.queues.lock().unevictable.len()
    }

    /// Those of them, for checks.
    pub fn unevictable_numbers(&self, frames: &Slots<Frame>) -> Vec<FrameNo> {
        self.queues.lock().unevictable.numbers(frames)
    }

    /// All frames, for checks: those of the policy, those that cannot go, and the doubted.
    ///
    /// # Panics
    /// When a queue is not sound.
    pub fn numbers(&self, frames: &Slots<Frame>) -> Vec<FrameNo> {
        let queues = self.queues.lock();
        let mut all = queues.policy.numbers(frames);
        assert_eq!(
            all.len(),
            queues.policy.census().total() as usize,
            "the census is wrong"
        );
        all.extend(queues.unevictable.numbers(frames));
        all.extend(queues.doubted.numbers(frames));
        all
    }
}

#[cfg(all(loom, any(test, feature = "explored")))]
pub(crate) mod races;

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
