//! What a round remembers: whom it visits, where it is, and the pages that it has seen.
//!
//! A round visits the spaces that take part, backing by backing; of each backing the same window of
//! pages in all siblings, then the next window. So what has to be remembered of pages seen is one
//! window's versions, and equal pages are found while the first of them is still in the processor's
//! cache. Nothing here depends on time or chance, and nothing asks the manager: the thread that
//! runs the round owns it (`scan.rs`), and between two steps it lies in the manager, under a lock
//! that is held for taking it out or putting it back.

use crate::addr::{FrameNo, PAGE_SIZE, PageBytes, PageNo, SpaceNo};
use crate::backing::BackingNo;
use crate::frame::Locked;
use memfold_sync::{Mutex, Rank};

/// Pages of a space that are looked at together: one change of protection serves up to as many.
pub(super) const WINDOW: u32 = if cfg!(any(loom, shuttle)) { 2 } else { 128 };

/// Versions of one page that are remembered.
const VERSIONS: usize = 8;

/// A space that takes part, as it was when the round began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ScanTarget {
    backing: u32,
    pub space: SpaceNo,
}

impl ScanTarget {
    pub fn new(backing: BackingNo, space: SpaceNo) -> Self {
        Self {
            backing: backing.0,
            space,
        }
    }

    pub fn backing(self) -> BackingNo {
        BackingNo(self.backing)
    }
}

/// A round under way.
#[derive(Debug)]
pub(crate) struct Scanner {
    /// Those that are to be visited, backing by backing.
    targets: Vec<ScanTarget>,
    /// The one to visit next,
    next: usize,
    /// and where its family begins.
    family: usize,
    /// The first page of the window that is looked at in all of the family.
    first: PageNo,
    /// The first page beyond that window that any of them has a table for.
    beyond: Option<PageNo>,
    pub(super) seen: Seen,
    pub(super) buffers: Buffers,
    bytes: u64,
}

/// The round that is under way in the background, between two steps of it.
#[derive(Debug)]
pub(crate) struct RoundUnderWay(Mutex<Option<Scanner>>);

impl RoundUnderWay {
    pub fn new() -> Self {
        Self(Mutex::new(Rank::Slots, None))
    }

    pub(super) fn take(&self) -> Option<Scanner> {
        self.0.lock().take()
    }

    /// Whoever puts one back while another lies there gets that one.
    pub(super) fn keep(&self, scanner: Scanner) -> Option<Scanner> {
        self.0.lock().replace(scanner)
    }

    /// See [`Scanner::forget_pages`].
    pub fn forget_pages(&self) {
        if let Some(scanner) = &mut *self.0.lock() {
            scanner.forget_pages();
        }
    }

    /// Bytes that are charged for it.
    pub fn bytes(&self) -> u64 {
        self.0.lock().as_ref().map_or(0, Scanner::bytes)
    }
}

impl Scanner {
    /// Bytes of a round over so many targets.
    pub(super) fn bytes_of(targets: usize) -> u64 {
        (targets * size_of::<ScanTarget>()) as u64 + Seen::BYTES + Buffers::BYTES
    }

    /// A round over these targets, for which so many bytes are charged.
    pub(super) fn new(mut targets: Vec<ScanTarget>, bytes: u64) -> Self {
        targets.sort_unstable();
        Self {
            targets,
            next: 0,
            family: 0,
            first: PageNo(0),
            beyond: None,
            seen: Seen::new(),
            buffers: Buffers::new(),
            bytes,
        }
    }

    /// The numbers of frames that are remembered may mean others from now on.
    fn forget_pages(&mut self) {
        self.seen.clear();
    }

    /// Bytes that are charged for the round.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whom to visit next, and the first page of the window to look at; `None` when the round is
    /// over.
    pub(super) fn target(&self) -> Option<(ScanTarget, PageNo)> {
        Some((*self.targets.get(self.next)?, self.first))
    }

    /// On to the next sibling; after the last one to the next window; after the last of these to
    /// the next family. `beyond`: the first page from the next window on for which the target just
    /// visited has a table.
    pub(super) fn advance(&mut self, beyond: Option<PageNo>) {
        self.beyond = match (self.beyond, beyond) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let backing = self.targets[self.next].backing;
        self.next += 1;
        if self.targets.get(self.next).is_some_and(|m| m.backing == backing) {
            return;
        }
        self.seen.clear();
        match self.beyond.take() {
            Some(page) => {
                self.first = PageNo(page.0 - page.0 % WINDOW);
                self.next = self.family;
            }
            None => {
                self.first = PageNo(0);
                self.family = self.next;
            }
        }
    }
}

/// Room for the page at hand, and for one beside it.
#[derive(Debug)]
pub(super) struct Buffers {
    pub one: Box<PageBytes>,
    pub other: Box<PageBytes>,
}

impl Buffers {
    const BYTES: u64 = 2 * PAGE_SIZE as u64;

    fn new() -> Self {
        let page = || Box::new([0; PAGE_SIZE]);
        Self {
            one: page(),
            other: page(),
        }
    }
}

/// A page that was seen, for siblings visited later.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version {
    /// Not known until another version turns up that has to be told from it.
    pub hash: Option<u128>,
    pub space: SpaceNo,
    pub frame: FrameNo,
    /// Which use of the frame it was: a frame that was reused since is not what was seen.
    pub generation: u32,
}

impl Version {
    pub fn new(space: SpaceNo, locked: &Locked<'_>, hash: Option<u128>) -> Self {
        Self {
            hash,
            space,
            frame: locked.no,
            generation: locked.frame.word.load().generation,
        }
    }
}

/// The pages of a window that stand at no place yet.
#[derive(Debug)]
pub(super) struct Seen(Box<[Vec<Version>]>);

impl Seen {
    const BYTES: u64 = (WINDOW as usize * (VERSIONS * size_of::<Version>() + 24)) as u64;

    fn new() -> Self {
        Self((0..WINDOW).map(|_| Vec::with_capacity(VERSIONS)).collect())
    }

    fn clear(&mut self) {
        self.0.iter_mut().for_each(Vec::clear);
    }

    /// The versions of a page.
    pub fn of(&mut self, page: PageNo) -> &mut Vec<Version> {
        &mut self.0[(page.0 % WINDOW) as usize]
    }

    /// Remembers one version more, while there is room: the vectors do not grow.
    pub fn remember(&mut self, page: PageNo, version: Version) {
        let versions = self.of(page);
        if versions.len() < VERSIONS {
            versions.push(version);
        }
    }
}
