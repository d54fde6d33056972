//! The active, inactive and unevictable lists (Linux: the lruvec). Nothing here about why a frame moves.
//!
//! One lock guards the lists and the links inside the frames. A frame is on one list, or
//! *isolated* (off the lists, with a reference held by who took it), or on none. The reference is taken
//! before the frame leaves its list, under the lock; a frame that dies at that moment is
//! left for its last holder, who takes it off the list (`forget`) before it is reused.
//!
//! ```text
//!   new, refaulted early --> head [ active ] tail --> head [ inactive ] tail --> evicted
//!                                  ^ used again while inactive |
//!   pinned, does not compress --> [ unevictable ] --> head [ active ]   nobody looks for victims here
//! ```

use crate::addr::FrameNo;
use crate::frame::Frame;
use memfold_sync::atomic::{AtomicU32, Ordering};
use memfold_sync::{Mutex, Rank, Slots};

/// Which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Frames that proved useful.
    Active = 0,
    /// Frames on probation; the tail is evicted next.
    Inactive = 1,
    /// Frames that cannot go as they are: pinned, or such as would hold as much in the store.
    Unevictable = 2,
}

const OFF: u32 = 3;

/// A frame's place: its neighbours and its list. All under the LRU lock.
#[derive(Debug)]
pub struct Links {
    next: AtomicU32,
    prev: AtomicU32,
    on: AtomicU32,
}

impl Links {
    /// On no list.
    #[must_use]
    pub fn new() -> Self {
        Self {
            next: AtomicU32::new(0),
            prev: AtomicU32::new(0),
            on: AtomicU32::new(OFF),
        }
    }
}

impl Default for Links {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg_attr(loom, track_caller)]
fn get(word: &AtomicU32) -> u32 {
    // Relaxed: only touched under the LRU lock.
    word.load(Ordering::Relaxed)
}

#[cfg_attr(loom, track_caller)]
fn set(word: &AtomicU32, value: u32) {
    // Relaxed: only touched under the LRU lock.
    word.store(value, Ordering::Relaxed);
}

#[derive(Debug, Default)]
struct Ends {
    head: u32,
    tail: u32,
    len: u32,
}

/// A frame off the lists, and the reference that keeps it: give it to `putback`.
#[derive(Debug)]
#[must_use = "an isolated frame is put back or freed"]
pub struct Isolated(pub FrameNo);

/// All lists.
#[derive(Debug)]
pub struct Lru {
    lists: Mutex<[Ends; 3]>,
}

impl Default for Lru {
    fn default() -> Self {
        Self::new()
    }
}

impl Lru {
    /// Empty lists.
    #[must_use]
    pub fn new() -> Self {
        Self {
            lists: Mutex::new(Rank::Lru, Default::default()),
        }
    }

    /// Puts a frame that is on no list at the head of one.
    pub fn add(&self, frames: &Slots<Frame>, no: FrameNo, list: List) {
        let mut lists = self.lists.lock();
        push_head(&mut lists[list as usize], frames, no, list);
    }

    /// Takes up to `out.len()` frames off the tail of a list; returns how many. Dying frames are passed over.
    pub fn isolate_tail(&self, frames: &Slots<Frame>, list: List, out: &mut [Option<Isolated>]) -> usize {
        let mut lists = self.lists.lock();
        let mut taken = 0;
        let mut at = lists[list as usize].tail;
        while at != 0 && taken < out.len() {
            let frame = frames.get(at);
            let before = get(&frame.links.prev);
            if frame.count.try_get() {
                unlink(&mut lists[list as usize], frames, frame);
                out[taken] = Some(Isolated(FrameNo(at)));
                taken += 1;
            }
            at = before;
        }
        taken
    }

    /// Takes this frame off its list; `None` when it is on none or dying.
    pub fn isolate(&self, frames: &Slots<Frame>, no: FrameNo) -> Option<Isolated> {
        self.isolate_if(frames, no, |list| list != OFF)
    }

    /// The same, if it is on this list.
    pub(crate) fn isolate_from(&self, frames: &Slots<Frame>, no: FrameNo, from: List) -> Option<Isolated> {
        self.isolate_if(frames, no, |list| list == from as u32)
    }

    fn isolate_if(
        &self,
        frames: &Slots<Frame>,
        no: FrameNo,
        fits: impl FnOnce(u32) -> bool,
    ) -> Option<Isolated> {
        let frame = frames.get(no.0);
        let mut lists = self.lists.lock();
        let list = get(&frame.links.on);
        if !fits(list) || !frame.count.try_get() {
            return None;
        }
        unlink(&mut lists[list as usize], frames, frame);
        Some(Isolated(no))
    }

    /// Puts an isolated frame at the head of a list. The caller drops the reference *afterwards*, so that
    /// a frame whose last holder it is can be taken off again by `forget`.
    #[must_use]
    pub fn putback(&self, frames: &Slots<Frame>, isolated: Isolated, list: List) -> FrameNo {
        self.add(frames, isolated.0, list);
        isolated.0
    }

    /// The same at the tail: it goes next.
    #[must_use]
    pub fn putback_tail(&self, frames: &Slots<Frame>, isolated: Isolated, list: List) -> FrameNo {
        let mut lists = self.lists.lock();
        push_tail(&mut lists[list as usize], frames, isolated.0, list);
        isolated.0
    }

    /// A frame cannot go any more: it leaves the lists on which victims are looked for. One that is isolated is put where it
    /// belongs by whoever isolated it. Under the frame lock.
    pub(crate) fn set_aside(&self, frames: &Slots<Frame>, no: FrameNo) {
        self.change(frames, no, &[List::Active, List::Inactive], List::Unevictable);
    }

    /// A frame can go again. Under the frame lock.
    pub(crate) fn bring_back(&self, frames: &Slots<Frame>, no: FrameNo) {
        self.change(frames, no, &[List::Unevictable], List::Active);
    }

    fn change(&self, frames: &Slots<Frame>, no: FrameNo, from: &[List], to: List) {
        let frame = frames.get(no.0);
        let mut lists = self.lists.lock();
        let on = get(&frame.links.on);
        if from.iter().any(|&list| list as u32 == on) {
            unlink(&mut lists[on as usize], frames, frame);
            push_head(&mut lists[to as usize], frames, no, to);
        }
    }

    /// Takes a dying frame off whichever list it is on.
    pub fn forget(&self, frames: &Slots<Frame>, no: FrameNo) {
        let frame = frames.get(no.0);
        let mut lists = self.lists.lock();
        let list = get(&frame.links.on);
        if list != OFF {
            unlink(&mut lists[list as usize], frames, frame);
        }
    }

    /// How many frames are on a list.
    #[must_use]
    pub fn len(&self, list: List) -> u32 {
        self.lists.lock()[list as usize].len
    }

    /// Whether there is nothing to look for victims among.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len(List::Active) == 0 && self.len(List::Inactive) == 0
    }

    /// The frames of a list from head to tail, for checks.
    #[must_use]
    pub fn frames(&self, frames: &Slots<Frame>, list: List) -> Vec<FrameNo> {
        let lists = self.lists.lock();
        let mut all = Vec::new();
        let mut at = lists[list as usize].head;
        while at != 0 {
            assert_eq!(
                get(&frames.get(at).links.on),
                list as u32,
                "frame {at} thinks it is on another list"
            );
            all.push(FrameNo(at));
            assert!(
                all.len() <= lists[list as usize].len as usize,
                "the {list:?} list is longer than its count"
            );
            at = get(&frames.get(at).links.next);
        }
        assert_eq!(
            all.len(),
            lists[list as usize].len as usize,
            "the {list:?} list is shorter than its count"
        );
        all
    }
}

fn push_head(ends: &mut Ends, frames: &Slots<Frame>, no: FrameNo, list: List) {
    let links = &frames.get(no.0).links;
    assert_eq!(get(&links.on), OFF, "frame {no} is on a list already");
    set(&links.on, list as u32);
    set(&links.prev, 0);
    set(&links.next, ends.head);
    match ends.head {
        0 => ends.tail = no.0,
        head => set(&frames.get(head).links.prev, no.0),
    }
    ends.head = no.0;
    ends.len += 1;
}

fn push_tail(ends: &mut Ends, frames: &Slots<Frame>, no: FrameNo, list: List) {
    let links = &frames.get(no.0).links;
    assert_eq!(get(&links.on), OFF, "frame {no} is on a list already");
    set(&links.on, list as u32);
    set(&links.next, 0);
    set(&links.prev, ends.tail);
    match ends.tail {
        0 => ends.head = no.0,
        tail => set(&frames.get(tail).links.next, no.0),
    }
    ends.tail = no.0;
    ends.len += 1;
}

fn unlink(ends: &mut Ends, frames: &Slots<Frame>, frame: &Frame) {
    let (next, prev) = (get(&frame.links.next), get(&frame.links.prev));
    match prev {
        0 => ends.head = next,
        prev => set(&frames.get(prev).links.next, next),
    }
    match next {
        0 => ends.tail = prev,
        next => set(&frames.get(next).links.prev, prev),
    }
    set(&frame.links.on, OFF);
    ends.len -= 1;
}

#[cfg(all(loom, any(test, feature = "explored")))]
pub(crate) mod races;

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::frame::Put;

    fn three() -> (Slots<Frame>, Lru, [FrameNo; 3]) {
        let frames = Slots::new(8, Frame::new);
        let lru = Lru::new();
        let all = [(); 3].map(|()| {
            let no = FrameNo(frames.alloc(|_| true).unwrap());
            frames.get(no.0).count.begin();
            lru.add(&frames, no, List::Inactive);
            no
        });
        (frames, lru, all)
    }

    /// Goal: oldest first, and an isolated frame cannot be isolated twice.
    #[test]
    fn tail_is_oldest() {
        let (frames, lru, [a, b, c]) = three();
        let mut out = [None, None];
        assert_eq!(lru.isolate_tail(&frames, List::Inactive, &mut out), 2);
        assert_eq!(out[0].as_ref().unwrap().0, a);
        assert_eq!(out[1].as_ref().unwrap().0, b);
        assert!(lru.isolate(&frames, a).is_none());
        let again = lru.putback(&frames, out[0].take().unwrap(), List::Active);
        assert_eq!(frames.get(again.0).count.put(), Put::Held);
        assert_eq!(lru.frames(&frames, List::Inactive), [c]);
        assert_eq!(lru.frames(&frames, List::Active), [a]);
    }

    /// Goal: a dying frame is passed over and can still be forgotten.
    #[test]
    fn dying_frames_stay() {
        let (frames, lru, [a, b, c]) = three();
        assert_eq!(frames.get(a.0).count.unmap(), Put::Last);
        let mut out = [const { None }; 3];
        assert_eq!(lru.isolate_tail(&frames, List::Inactive, &mut out), 2);
        assert_eq!(out[0].as_ref().unwrap().0, b);
        assert_eq!(out[1].as_ref().unwrap().0, c);
        lru.forget(&frames, a);
        assert!(lru.is_empty());
    }

    /// Goal: what is put back at the tail goes next, and lists count what is on them.
    #[test]
    fn put_back_at_the_tail() {
        let (frames, lru, [a, b, c]) = three();
        for list in [List::Inactive, List::Active] {
            let isolated = lru.isolate(&frames, c).unwrap();
            let again = lru.putback_tail(&frames, isolated, list);
            assert_eq!(frames.get(again.0).count.put(), Put::Held);
            assert_eq!(lru.len(List::Active) + lru.len(List::Inactive), 3);
            let mut out = [const { None }; 1];
            assert_eq!(lru.isolate_tail(&frames, list, &mut out), 1);
            let taken = out[0].take().unwrap();
            assert_eq!(taken.0, c);
            let again = lru.putback(&frames, taken, List::Inactive);
            assert_eq!(frames.get(again.0).count.put(), Put::Held);
        }
        assert_eq!(lru.frames(&frames, List::Inactive), [c, b, a]);
        // Two at one tail: the later goes first.
        for no in [b, c] {
            let isolated = lru.isolate(&frames, no).unwrap();
            let again = lru.putback_tail(&frames, isolated, List::Active);
            assert_eq!(frames.get(again.0).count.put(), Put::Held);
        }
        assert_eq!(lru.frames(&frames, List::Active), [b, c]);
        assert_eq!((lru.len(List::Active), lru.len(List::Inactive)), (2, 1));
        assert!(!lru.is_empty());
        lru.forget(&frames, a);
        assert!(!lru.is_empty(), "one list is not");
    }
}
