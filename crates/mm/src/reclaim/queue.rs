//! One queue of frames, linked through their descriptors: what a replacement policy is made of
//! (Linux: a list of the lruvec).
//!
//! Nothing here about why a frame moves. A frame is on one queue, or on none: *isolated*, with a
//! reference held by who took it, or not listed yet. The reference is taken before the frame leaves
//! its queue; a frame that dies at that moment is left for its last holder, who takes it off the
//! queue before it is reused. All of it is under the lock of the queues (`replacer.rs`), which owns
//! them all; policies call this.

use crate::addr::FrameNo;
use crate::frame::Frame;
use memfold_sync::Slots;

/// Which queue. Beside it a frame's link has which kind of content the frame holds ([`Tag::FILE`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag(u32);

impl Tag {
    /// On no queue.
    pub const NONE: Self = Self(0);
    /// Frames that cannot go as they are; no policy sees them.
    pub const UNEVICTABLE: Self = Self(1);
    /// Frames that did not compress and were stored to since; no policy sees them.
    pub const DOUBTED: Self = Self(2);

    /// In a frame's link, beside the tag: its content goes to a file.
    pub const FILE: u32 = 1 << 31;

    /// A policy's queue: it numbers them itself.
    pub const fn of_policy(n: u32) -> Self {
        Self(n + 3)
    }

    /// The queue that a frame is on.
    pub fn of(frame: &Frame) -> Self {
        Self(frame.links.on.get() & !Self::FILE)
    }

    /// The frame is on this queue from now on, and holds what it did.
    fn set(self, frame: &Frame) {
        let on = &frame.links.on;
        on.set(on.get() & Self::FILE | self.0);
    }
}

/// Where the content of a frame goes when room is needed. It stays the same as long as the frame is
/// in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To the store: what spaces stored themselves, and memory that they share.
    Anonymous,
    /// Back to its file.
    File,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Anonymous, Self::File];

    /// What a frame that was listed holds.
    pub fn of(frame: &Frame) -> Self {
        match frame.links.on.get() & Tag::FILE {
            0 => Self::Anonymous,
            _ => Self::File,
        }
    }

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Anonymous => Self::File,
            Self::File => Self::Anonymous,
        }
    }

    /// The frame, which is on no queue, holds this from now on.
    pub fn set(self, frame: &Frame) {
        let file = match self {
            Self::Anonymous => 0,
            Self::File => Tag::FILE,
        };
        frame.links.on.set(Tag::of(frame).0 | file);
    }
}

/// A frame off the queues, and the reference that keeps it: give it to
/// [`Replacer::settle`](super::Replacer::settle).
#[derive(Debug)]
#[must_use = "an isolated frame is put back or freed"]
pub(crate) struct Isolated {
    /// The frame.
    pub no: FrameNo,
    /// Where it was.
    pub from: Tag,
}

/// The queue. Every operation but `numbers` is constant, or linear in what it takes.
#[derive(Debug)]
pub(crate) struct Queue {
    tag: Tag,
    head: u32,
    tail: u32,
    len: u32,
}

impl Queue {
    /// An empty one.
    pub const fn new(tag: Tag) -> Self {
        let (head, tail, len) = (0, 0, 0);
        Self { tag, head, tail, len }
    }

    /// How many frames are on it.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// The frame that goes next.
    pub fn tail(&self) -> Option<FrameNo> {
        Some(FrameNo(self.tail)).filter(|&no| no != FrameNo(0))
    }

    /// Puts a frame that is on no queue at the head: it goes last.
    pub fn push_head(&mut self, frames: &Slots<Frame>, no: FrameNo) {
        let frame = frames.get(no.0);
        self.enter(frame, no);
        let links = &frame.links;
        links.prev.set(0);
        links.next.set(self.head);
        match self.head {
            0 => self.tail = no.0,
            head => frames.get(head).links.prev.set(no.0),
        }
        self.head = no.0;
    }

    /// Puts a frame that is on no queue at the tail: it goes next.
    pub fn push_tail(&mut self, frames: &Slots<Frame>, no: FrameNo) {
        let frame = frames.get(no.0);
        self.enter(frame, no);
        let links = &frame.links;
        links.next.set(0);
        links.prev.set(self.tail);
        match self.tail {
            0 => self.head = no.0,
            tail => frames.get(tail).links.next.set(no.0),
        }
        self.tail = no.0;
    }

    fn enter(&mut self, frame: &Frame, no: FrameNo) {
        assert_eq!(Tag::of(frame), Tag::NONE, "frame {no} is on a queue already");
        self.tag.set(frame);
        self.len += 1;
    }

    /// Takes a frame off, which is on this queue.
    pub fn remove(&mut self, frames: &Slots<Frame>, no: FrameNo) {
        self.unlink(frames, frames.get(no.0));
    }

    fn unlink(&mut self, frames: &Slots<Frame>, frame: &Frame) {
        let links = &frame.links;
        let (next, prev) = (links.next.get(), links.prev.get());
        match prev {
            0 => self.head = next,
            prev => frames.get(prev).links.next.set(next),
        }
        match next {
            0 => self.tail = prev,
            next => frames.get(next).links.prev.set(prev),
        }
        Tag::NONE.set(frame);
        self.len -= 1;
    }

    /// Takes up to `out.len()` frames off the tail; returns how many. Dying frames are passed over.
    pub fn isolate_tail(&mut self, frames: &Slots<Frame>, out: &mut [Option<Isolated>]) -> usize {
        let mut taken = 0;
        let mut at = self.tail;
        while at != 0 && taken < out.len() {
            let frame = frames.get(at);
            let before = frame.links.prev.get();
            if frame.count.try_get() {
                let (no, from) = (FrameNo(at), self.tag);
                self.unlink(frames, frame);
                out[taken] = Some(Isolated { no, from });
                taken += 1;
            }
            at = before;
        }
        taken
    }

    /// Its frames from head to tail, for checks.
    ///
    /// # Panics
    /// When the links, the tags and the length do not say the same.
    pub fn numbers(&self, frames: &Slots<Frame>) -> Vec<FrameNo> {
        let mut all = Vec::new();
        let mut at = self.head;
        while at != 0 {
            let frame = frames.get(at);
            assert_eq!(
                Tag::of(frame),
                self.tag,
                "frame {at} thinks it is on another queue"
            );
            all.push(FrameNo(at));
            assert!(all.len() <= self.len as usize, "a queue is longer than its count");
            at = frame.links.next.get();
        }
        assert_eq!(all.len(), self.len as usize, "a queue is shorter than its count");
        all
    }
}
