//! A frame: one page worth of content and its descriptor (Linux: `struct page`).
//!
//! ```text
//!            begin                 fork                    write fault, sole mapper
//!   Free ------------> Exclusive ---------> Shared -----------------------> Exclusive
//!    ^                     |                   |
//!    +------ last put -----+---- last unmap ---+
//! ```
//! *Exclusive*: one leaf table maps it and its space may write it in place. *Shared*: read-only to
//! everybody, its bytes never change; also when it is *merged*: shared because pages were equal. A
//! *file*'s frame goes from free to the file and back; whoever maps the page so may write it in
//! place. Where the bytes are (the residence) and which swap slot
//! caches them stand under the frame lock, which also guards the mapping word and the chain of
//! mappers. Flags and list links are atomics: flags are hints, links belong to the lock of the
//! queues.

pub mod count;
pub(crate) mod history;
pub(crate) mod links;
pub(crate) mod shown;
pub mod word;

pub use count::{Count, Counts, Put};
pub use word::{MappingWord, Owner, Snapshot};

use crate::addr::{FrameNo, PageNo, PoolPage, SpaceNo};
use crate::backing::file::FileNo;
use crate::backing::{BackingNo, Backings};
use crate::budget::PageCharge;
use crate::host::PageRef;
use crate::swap::SwapRef;
use history::History;
use memfold_sync::atomic::{AtomicBool, AtomicU16, Ordering};
use memfold_sync::{Mutex, MutexGuard, Rank, Slots};
use shown::Shown;
use std::num::NonZero;

/// Where the bytes of a frame are. The order is one in which neighbours stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Residence {
    /// Nowhere: the frame is free or being built.
    Nowhere,
    /// A private page under the window of this space, at the page that the owner's slot stands for.
    Private(SpaceNo),
    /// The pool page at the frame's own page of this backing, immutable: windows of the backing can
    /// show it.
    Backing(BackingNo),
    /// A pool page of the overflow range, immutable: it can be copied, not shown.
    Overflow(PoolPage),
    /// The pool page at this page of a file: who maps the file can show it, and may store to it.
    File(FileNo, PageNo),
}

impl Residence {
    /// Where the machine has the bytes of a frame that is mapped, at its page.
    ///
    /// # Panics
    /// When they are nowhere.
    pub(crate) fn page_ref(self, backings: &Backings, page: PageNo) -> PageRef {
        match self {
            Self::Private(space) => PageRef::Private(space),
            Self::Backing(backing) => PageRef::Pool(backings.first(backing).plus(page.0)),
            Self::Overflow(at) => PageRef::Pool(at),
            Self::Nowhere | Self::File(..) => panic!("page {page} is mapped but has no bytes of a space"),
        }
    }
}

/// Under the frame lock.
#[derive(Debug)]
pub struct FrameState {
    /// Where the bytes are.
    pub residence: Residence,
    /// The swap slot that still holds the same bytes; its `frame` names this frame.
    pub cached: Option<SwapRef>,
    /// What its page is charged as; none while it has no bytes.
    pub charge: Option<PageCharge>,
    /// The bytes are a private page, and the next store to it is a fault, unless the machine lost
    /// that protection.
    pub protected: bool,
    /// The bytes are a private page that its space gave up: protected since then, so that a store
    /// to it is a fault, and until then it may go without being stored.
    pub given_up: bool,
    /// The page of a file was stored to since it was read or written out. While it is not, no
    /// window lets stores through to it.
    pub dirty: bool,
    /// Pages of spaces that name it and are locked: while there are any, the bytes stay in memory.
    /// (What keeps the pages of files is known to the file.)
    pub keepers: u32,
}

/// The descriptor.
#[derive(Debug)]
pub struct Frame {
    /// Atomic; transitions in `frame/word.rs`.
    pub word: MappingWord,
    /// Atomic; transitions in `frame/count.rs`.
    pub count: Count,
    state: Mutex<FrameState>,
    referenced: AtomicBool,
    incompressible: AtomicBool,
    /// The number of the loan that its page is on; 0: of none.
    on_loan: AtomicU16,
    /// Hints about the windows that show it: under the frame lock.
    pub(crate) shown: Shown,
    /// What the merge scanner found here last: a hint.
    pub(crate) history: History,
    /// Which queue the frame is on, and its neighbours there: under the lock of the queues.
    pub(crate) links: links::Links,
}

impl Frame {
    /// A free frame.
    #[must_use]
    pub fn new() -> Self {
        Self {
            word: MappingWord::new(),
            count: Count::new(),
            state: Mutex::new(
                Rank::Frame,
                FrameState {
                    residence: Residence::Nowhere,
                    cached: None,
                    charge: None,
                    protected: false,
                    given_up: false,
                    dirty: false,
                    keepers: 0,
                },
            ),
            referenced: AtomicBool::new(false),
            incompressible: AtomicBool::new(false),
            on_loan: AtomicU16::new(0),
            shown: Shown::new(),
            history: History::default(),
            links: links::Links::default(),
        }
    }

    /// Whether one leaf of one space names the frame, and its bytes are that space's own. A hint,
    /// unless the frame is locked.
    pub(crate) fn is_exclusive(&self) -> bool {
        matches!(self.word.load().owner, Owner::Exclusive(_))
    }

    /// Whether others may name the frame too, so that nobody stores to its bytes. A hint, unless
    /// the frame is locked.
    pub(crate) fn is_shared(&self) -> bool {
        self.word.load().owner.shared_head().is_some()
    }

    /// Notes that somebody used the frame.
    pub fn mark_referenced(&self) {
        // Relaxed: a hint for reclaim, nothing hangs on it.
        self.referenced.store(true, Ordering::Relaxed);
    }

    /// Notes that storing the bytes saves nothing, until they change: the page is protected or
    /// immutable. Under the frame lock.
    pub(crate) fn mark_incompressible(&self, saves_nothing: bool) {
        // Relaxed: under the frame lock.
        self.incompressible.store(saves_nothing, Ordering::Relaxed);
    }

    /// The frame was nobody's, and has bytes from now on: nothing is known of them. Under the frame
    /// lock.
    pub(crate) fn begin(&self) {
        self.mark_incompressible(false);
        self.set_on_loan(None);
    }

    /// Whether storing the bytes is known to save nothing. Under the frame lock.
    pub(crate) fn is_incompressible(&self) -> bool {
        // Relaxed: under the frame lock.
        self.incompressible.load(Ordering::Relaxed)
    }

    /// Notes on which loan its page is, to be given back in its space's own time (`loans.rs`).
    /// Under the frame lock.
    pub(crate) fn set_on_loan(&self, number: Option<NonZero<u16>>) {
        // Relaxed: under the frame lock.
        self.on_loan
            .store(number.map_or(0, NonZero::get), Ordering::Relaxed);
    }

    /// On which loan its page is. Under the frame lock.
    pub(crate) fn on_loan(&self) -> Option<NonZero<u16>> {
        // Relaxed: under the frame lock.
        NonZero::new(self.on_loan.load(Ordering::Relaxed))
    }

    /// Whether the frame was used since this was last asked.
    #[must_use]
    pub fn test_and_clear_referenced(&self) -> bool {
        // Relaxed: a hint for reclaim, nothing hangs on it.
        self.referenced.swap(false, Ordering::Relaxed)
    }
}

impl Default for Frame {
    fn default() -> Self {
        Self::new()
    }
}

/// All frames.
#[derive(Debug)]
pub(crate) struct Frames(Slots<Frame>);

impl Frames {
    /// None in use, `capacity` at most.
    pub fn new(capacity: u32) -> Self {
        Self(Slots::new(capacity, Frame::new))
    }

    /// The frame of this number.
    pub fn at(&self, no: FrameNo) -> &Frame {
        self.0.get(no.0)
    }

    /// Waits for the frame's lock.
    pub fn lock(&self, no: FrameNo) -> Locked<'_> {
        Locked::wait(no, self.at(no))
    }

    /// The frame's lock, if it is free.
    pub fn try_lock(&self, no: FrameNo) -> Option<Locked<'_>> {
        Locked::attempt(no, self.at(no))
    }
}

impl std::ops::Deref for Frames {
    type Target = Slots<Frame>;
    fn deref(&self) -> &Slots<Frame> {
        &self.0
    }
}

impl std::ops::DerefMut for Frames {
    fn deref_mut(&mut self) -> &mut Slots<Frame> {
        &mut self.0
    }
}

/// The frame lock, held: the right to change who owns the frame and where it is.
#[derive(Debug)]
pub struct Locked<'a> {
    /// Its number.
    pub no: FrameNo,
    /// Its descriptor.
    pub frame: &'a Frame,
    state: MutexGuard<'a, FrameState>,
}

impl<'a> Locked<'a> {
    /// Waits for the frame lock.
    #[must_use]
    pub fn wait(no: FrameNo, frame: &'a Frame) -> Self {
        Self {
            no,
            frame,
            state: frame.state.lock(),
        }
    }

    /// Takes the frame lock if it is free.
    #[must_use]
    pub fn attempt(no: FrameNo, frame: &'a Frame) -> Option<Self> {
        Some(Self {
            no,
            frame,
            state: frame.state.try_lock()?,
        })
    }

    /// Gives the frame another owner: one store. Its chain is as the word will say.
    pub fn set_owner(&self, owner: Owner) {
        self.frame.word.set(owner);
    }

    /// Stores to the bytes, a private page, are no faults any more.
    pub fn let_stores_through(&mut self) {
        (self.protected, self.given_up) = (false, false);
    }

    /// Nobody owns the frame any more, and its bytes are nowhere: this use of it ends.
    ///
    /// # Panics
    /// When a locked page names it.
    pub fn retire(&mut self) {
        assert_eq!(self.keepers, 0, "frame {} was to stay in memory", self.no);
        self.residence = Residence::Nowhere;
        self.given_up = false;
        self.frame.word.retire();
    }
}

impl std::ops::Deref for Locked<'_> {
    type Target = FrameState;
    fn deref(&self) -> &FrameState {
        &self.state
    }
}

impl std::ops::DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut FrameState {
        &mut self.state
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// Goal: use is remembered until somebody asks, once.
    #[test]
    fn use_is_remembered_once() {
        let frame = Frame::new();
        assert!(!frame.test_and_clear_referenced());
        frame.mark_referenced();
        assert!(frame.test_and_clear_referenced());
        assert!(!frame.test_and_clear_referenced());
    }

    /// Goal: that bytes do not compress is remembered until they change.
    #[test]
    fn incompressible_until_it_changes() {
        let frame = Frame::new();
        assert!(!frame.is_incompressible());
        frame.mark_incompressible(true);
        assert!(frame.is_incompressible());
        frame.mark_incompressible(false);
        assert!(!frame.is_incompressible());
    }
}
