//! All frames that hold a page, in the order in which the replacement policy would let them go.
//!
//! What goes to the store and what goes to files have the policy's queues each for themselves, and
//! of which kind the next victims are says the balance of what they cost (`balance.rs`). One lock
//! guards these queues, the links inside the frames, and two queues that are the manager's,
//! whatever the policy and the kind are: of frames that cannot go, pinned or such as would hold as
//! much in the store, among which nobody looks for victims; and of frames that did not compress and
//! were stored to since. To find out that a page is noise costs more than to evict one that is not,
//! and noise that is rewritten is noise again, as a rule: a run of reclaim tries a few of these,
//! and more only when nothing else goes. Here is also the clock of refault distances, which counts
//! evictions. Faults, pins and drops report what happened; reclaim asks what is next. The caller of
//! `settle` drops the isolation's reference *afterwards*, so that a frame whose last holder it is
//! can be taken off again by `forget`.

use super::balance::{Balance, MOVED};
use super::choice::{Chosen, Replacement};
use super::policy::{Arrival, Census, Finding, Policy};
use super::queue::{Isolated, Kind, Queue, Tag};
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
    /// By kind.
    policies: [Chosen; 2],
    balance: Balance,
    unevictable: Queue,
    doubted: Queue,
}

impl Queues {
    /// The policy that has the frame in its care.
    fn policy_of(&mut self, frame: &Frame) -> &mut Chosen {
        &mut self.policies[Kind::of(frame) as usize]
    }

    /// A frame that is on no queue comes under its policy's care.
    fn arrived(&mut self, frames: &Slots<Frame>, no: FrameNo, how: Arrival) {
        self.policy_of(frames.get(no.0)).arrived(frames, no, how);
    }

    /// How many frames the policies have of each kind.
    fn sizes(&self) -> [u32; 2] {
        [0, 1].map(|kind| self.policies[kind].census().total())
    }

    fn total(&self) -> u32 {
        self.sizes().iter().sum()
    }

    /// To take a frame of this kind cost so much.
    fn note(&mut self, kind: Kind, cost: u32) {
        let frames = self.total();
        self.balance.note(kind, cost, frames);
    }

    /// A frame that was to go comes back, in time so short that it should not have gone.
    fn is_early(&mut self, kind: Kind, distance: u32) -> bool {
        let frames = self.total();
        let early = self.policies[kind as usize].is_early(distance, frames);
        if early {
            self.balance.note(kind, MOVED, frames);
        }
        early
    }

    /// Takes the next victims of the kind whose turn it is, or of the other one; how many.
    fn isolate_victims(&mut self, frames: &Slots<Frame>, out: &mut [Option<Isolated>]) -> usize {
        let sizes = self.sizes();
        let first = self.balance.next(sizes);
        for kind in [first, first.other()] {
            let taken = self.policies[kind as usize].isolate_victims(frames, out);
            if taken != 0 {
                self.balance.took(kind, taken as u32, sizes);
                return taken;
            }
        }
        0
    }

    fn isolate_to_age(&mut self, frames: &Slots<Frame>, out: &mut [Option<Isolated>]) -> usize {
        let first = self.balance.next_watched();
        let mut taken = [first, first.other()]
            .into_iter()
            .map(|kind| self.policies[kind as usize].isolate_to_age(frames, out));
        taken.find(|&taken| taken != 0).unwrap_or(0)
    }

    /// Takes a frame off whichever queue it is on.
    fn remove(&mut self, frames: &Slots<Frame>, no: FrameNo) -> Tag {
        let frame = frames.get(no.0);
        let from = Tag::of(frame);
        match from {
            Tag::NONE => (),
            Tag::UNEVICTABLE => self.unevictable.remove(frames, no),
            Tag::DOUBTED => self.doubted.remove(frames, no),
            _ => self.policy_of(frame).removed(frames, no, from),
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
        if on == Tag::NONE || !fits(self.policy_of(frame), on) || !frame.count.try_get() {
            return None;
        }
        let from = self.remove(frames, no);
        Some(Isolated { no, from })
    }

    /// Takes a frame that is in the policy's care and that it is ready to let go.
    fn isolate_victim(
        &mut self,
        frames: &Slots<Frame>,
        no: FrameNo,
        fits: impl FnOnce(&Chosen, Tag) -> bool,
    ) -> Option<Isolated> {
        let isolated = self.isolate_if(frames, no, |policy, on| {
            ![Tag::UNEVICTABLE, Tag::DOUBTED].contains(&on) && fits(policy, on)
        })?;
        let sizes = self.sizes();
        self.balance.took(Kind::of(frames.get(no.0)), 1, sizes);
        Some(isolated)
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
            policies: [0, 1].map(|_| Chosen::new(replacement)),
            balance: Balance::default(),
            unevictable: Queue::new(Tag::UNEVICTABLE),
            doubted: Queue::new(Tag::DOUBTED),
        };
        Self {
            queues: Mutex::new(Rank::Queues, queues),
            clock: AtomicU32::new(0),
        }
    }

    /// A frame, which is on no queue, holds such a page from now on; whether its content came back
    /// so early that it should not have gone.
    pub fn add(&self, frames: &Slots<Frame>, no: FrameNo, kind: Kind, origin: Origin) -> bool {
        let mut queues = self.queues.lock();
        let how = match origin {
            Origin::New => Arrival::New,
            Origin::Evicted { at } => {
                let early = queues.is_early(kind, self.clock().wrapping_sub(at));
                Arrival::Returned { early }
            }
        };
        kind.set(frames.get(no.0));
        queues.policies[kind as usize].arrived(frames, no, how);
        how == Arrival::Returned { early: true }
    }

    /// So many frames of this kind had to be written before they could go.
    pub fn wrote(&self, kind: Kind, frames: u32) {
        self.queues.lock().note(kind, frames * MOVED);
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
        self.queues.lock().isolate_to_age(frames, out)
    }

    /// Takes the next victims; how many.
    pub fn isolate_victims(&self, frames: &Slots<Frame>, out: &mut [Option<Isolated>]) -> usize {
        self.queues.lock().isolate_victims(frames, out)
    }

    /// Takes this frame off its queue; `None` when it is on none or dying.
    pub fn isolate(&self, frames: &Slots<Frame>, no: FrameNo) -> Option<Isolated> {
        self.queues.lock().isolate_if(frames, no, |_, _| true)
    }

    /// The same, if it can go at all: its neighbours do, whatever the policy thinks of it.
    pub fn isolate_beside(&self, frames: &Slots<Frame>, no: FrameNo) -> Option<Isolated> {
        self.queues.lock().isolate_victim(frames, no, |_, _| true)
    }

    /// Takes those of the frames that may go before their turn because neighbours do, as far as
    /// there is room for them; how many.
    pub fn isolate_candidates(
        &self,
        frames: &Slots<Frame>,
        numbers: impl Iterator<Item = FrameNo>,
        out: &mut [Option<Isolated>],
    ) -> usize {
        let mut queues = self.queues.lock();
        let may = |policy: &Chosen, on| policy.is_candidate(on);
        let taken = numbers.filter_map(|no| queues.isolate_victim(frames, no, may));
        out.iter_mut()
            .zip(taken)
            .map(|(place, taken)| *place = Some(taken))
            .count()
    }

    /// Puts an isolated frame back, and says what was found about it.
    #[must_use]
    pub fn settle(&self, frames: &Slots<Frame>, isolated: Isolated, found: Finding) -> FrameNo {
        let mut queues = self.queues.lock();
        let kind = Kind::of(frames.get(isolated.no.0));
        let policy = &mut queues.policies[kind as usize];
        let for_nothing = matches!(found, Finding::Used | Finding::Stayed);
        let for_nothing = for_nothing && policy.is_candidate(isolated.from);
        policy.settled(frames, &isolated, found);
        if for_nothing {
            queues.note(kind, 1);
        }
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
            queues.arrived(frames, no, Arrival::CanGo);
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
            queues.arrived(frames, no, Arrival::CanGo);
            tried += 1;
        }
        tried
    }

    /// Takes a dying frame off whichever queue it is on.
    pub fn forget(&self, frames: &Slots<Frame>, no: FrameNo) {
        self.queues.lock().remove(frames, no);
    }

    /// How many frames the policy has of both kinds, by what it thinks of them.
    pub fn census(&self) -> Census {
        let [a, b] = self.census_by_kind();
        Census {
            proven: a.proven + b.proven,
            candidates: a.candidates + b.candidates,
        }
    }

    /// The same for each kind.
    pub fn census_by_kind(&self) -> [Census; 2] {
        let queues = self.queues.lock();
        [0, 1].map(|kind| queues.policies[kind].census())
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
        let mut all = Vec::new();
        for (policy, kind) in queues.policies.iter().zip(Kind::ALL) {
            let numbers = policy.numbers(frames);
            let total = policy.census().total() as usize;
            assert_eq!(numbers.len(), total, "the census is wrong");
            let of_kind = |no: &FrameNo| Kind::of(frames.get(no.0)) == kind;
            assert!(
                numbers.iter().all(of_kind),
                "a frame is in the care of another kind's policy"
            );
            all.extend(numbers);
        }
        all.extend(queues.unevictable.numbers(frames));
        all.extend(queues.doubted.numbers(frames));
        all
    }
}

#[cfg(all(loom, any(test, feature = "explored")))]
pub(crate) mod races;

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
