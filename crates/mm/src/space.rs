//! A space: one memory image, its window's size, its root table.
//!
//! The state stands under the space lock, which a fault, a fork, a drop, a pin holds for as long as
//! it works on the space. Reclaim never takes it. The links into the root table's chain of parents
//! are guarded by that table's lock; `exported` counts, atomically, the frames that others share
//! while their bytes still are private pages of this space's window.

pub(crate) mod ahead;
mod fence;
mod guard;
pub(crate) mod kin;
pub(crate) mod native;
mod notes;

use ahead::{Ahead, Stores};
use fence::Fence;
pub(crate) use guard::{NoSuchSpace, SpaceGuard};
use kin::Kin;
use native::{NativeRun, Steady};

use crate::addr::{Access, PageNo, Run, SpaceNo};
use crate::backing::BackingNo;
use crate::backing::areas::Areas;
use crate::host::{Domain, HostError, SourceError, StoreError};
use crate::table::{ChainLinks, Roots, Tree};
use crate::window_tables::WindowTables;
use memfold_sync::atomic::{AtomicU32, AtomicU64, Ordering};
use memfold_sync::{Mutex, MutexGuard, Rank, Slots};
use std::collections::BTreeMap;

/// Why a fault could not be resolved; the page is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// The space was dropped.
    #[error("space {0} does not exist")]
    NoSuchSpace(SpaceNo),
    /// The page is beyond the space's length.
    #[error("page {page} is beyond the {len} pages of space {space}")]
    OutOfRange {
        /// The space.
        space: SpaceNo,
        /// The page asked for.
        page: PageNo,
        /// The length of the space in pages.
        len: u32,
    },
    /// Everything that could be reclaimed was, and the budget still has no room.
    #[error(
        "the budget of {limit} bytes has no room for page {page} of space {space}, and nothing more can be reclaimed; raise the budget or drop spaces"
    )]
    OverBudget {
        /// The space.
        space: SpaceNo,
        /// The page asked for.
        page: PageNo,
        /// The budget.
        limit: u64,
    },
    /// The page's bytes are lost: the store has them no more, or they were given up
    /// ([`StoreError::CalledIn`]).
    #[error("page {page} of space {space} is lost: {source}")]
    PageLost {
        /// The space.
        space: SpaceNo,
        /// The page asked for.
        page: PageNo,
        /// What the store said.
        source: StoreError,
    },
    /// The page lies in an area that does not allow such an access.
    #[error("page {page} of space {space} lies in an area that allows no {}", match .access {
        Access::Read => "loads",
        Access::Write => "stores",
    })]
    Forbidden {
        /// The space.
        space: SpaceNo,
        /// The page asked for.
        page: PageNo,
        /// What was wanted of it.
        access: Access,
    },
    /// The page is one of a file, which is not so long any more.
    #[error("page {page} of space {space} lies behind the end of the file that is mapped there")]
    BeyondEnd {
        /// The space.
        space: SpaceNo,
        /// The page asked for.
        page: PageNo,
    },
    /// The page is one of a file, which could not be read.
    #[error("page {page} of space {space} could not be read: {source}")]
    Source {
        /// The space.
        space: SpaceNo,
        /// The page asked for.
        page: PageNo,
        /// What the file said.
        source: SourceError,
    },
    /// The page is one of a file that others may store to as well; such pages cannot be pinned.
    #[error("page {page} of space {space} is shared with all who map the file so, and cannot be pinned")]
    PinOfShared {
        /// The space.
        space: SpaceNo,
        /// The page asked for.
        page: PageNo,
    },
    /// The page is pinned as often as can be counted.
    #[error(
        "page {page} of space {space} is pinned {most} times already, which is the most; unpin it before it is pinned again"
    )]
    TooManyPins {
        /// The space.
        space: SpaceNo,
        /// The page asked for.
        page: PageNo,
        /// The most pins of one page.
        most: u32,
    },
    /// The machine refused a step.
    #[error("page {page} of space {space} could not be shown: {source}")]
    Host {
        /// The space.
        space: SpaceNo,
        /// The page asked for.
        page: PageNo,
        /// What the machine said.
        source: HostError,
    },
}

/// What becomes of an access that host code makes and that cannot be served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLoss {
    /// The thread gets the signal that the kernel sends for a lost page.
    #[default]
    Signal,
    /// The process ends, with a message.
    Abort,
    /// It finds a standby page and goes on: loads get the page's bytes, or zeros where they are
    /// lost, stores go nowhere, and the space is condemned until somebody takes its failure. For
    /// who asks before believing anything.
    Sink,
}

/// Whether a space takes part in merging.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Merging {
    /// Its pages are not compared with anybody's.
    #[default]
    Off,
    /// Its pages may become one with equal pages of siblings that take part as well.
    On,
}

/// Pages that are done while a space's lock is held, where others may wait for it.
pub(crate) const PIECE: u32 = if cfg!(any(loom, shuttle)) { 2 } else { 1024 };

/// Times that who works in pieces yields to others: about as long as it takes to wake somebody.
const PATIENCE: u32 = 512;

/// Under the space lock.
#[derive(Debug)]
pub(crate) struct SpaceState {
    pub alive: bool,
    /// Who it is.
    pub kin: Kin,
    /// Its tables.
    pub tree: Tree,
    pub len: u32,
    pub reserve: u32,
    pub backing: BackingNo,
    pub domain: Domain,
    /// What its pages are where its tables say nothing.
    pub areas: Areas,
    /// Pages of this space that are pinned, with how often.
    pub pins: BTreeMap<PageNo, u32>,
    /// Which of the machine's page tables are charged.
    pub window: WindowTables,
    /// Whether pages are brought back before they are asked for.
    pub ahead: Ahead,
    /// Whether shared pages are copied before they are stored to.
    pub stores: Stores,
    /// What of its window the machine serves by itself.
    pub native: Option<NativeRun>,
    /// What the machine may serve by itself of the windows of its forks.
    pub steady: Steady,
    /// The first fault that could not be resolved, until somebody takes it: the space is condemned.
    pub failure: Option<FaultError>,
}

impl SpaceState {
    /// Whether some pages of the run are pinned.
    pub fn has_pins(&self, run: Run) -> bool {
        self.pins.range(run.first..run.end()).next().is_some()
    }
}

impl Roots for Slots<SpaceSlot> {
    fn root_links(&self, space: SpaceNo) -> &ChainLinks {
        &self.get(space.0).root_links
    }
}

/// One place in the table of spaces.
#[derive(Debug)]
pub(crate) struct SpaceSlot {
    state: Mutex<SpaceState>,
    /// Threads that are about to have the lock: a hint for who works in pieces.
    waiting: AtomicU32,
    /// Guarded by the root table's lock.
    root_links: ChainLinks,
    exported: AtomicU32,
    /// Pins against protections that pass over pages.
    pub fence: Fence,
    /// The same as in the state, for reclaim, which has a frame of the space locked but not the
    /// space.
    backing: AtomicU32,
    domain: AtomicU32,
    /// Whether the space takes part in merging: changed under the space lock, read without.
    merging: AtomicU32,
    /// What becomes of accesses that cannot be served: changed under the space lock, read without.
    on_loss: AtomicU32,
    /// A page that the program has emptied, plus one, until that is the failure in the state; 0:
    /// none (`emptied.rs`).
    emptied: AtomicU32,
    /// Pages of this space that became one with another, or zeros. A number for people.
    merged: AtomicU64,
}

impl SpaceSlot {
    pub fn new() -> Self {
        let state = SpaceState {
            alive: false,
            kin: Kin::created(0),
            tree: Tree::new(1),
            len: 0,
            reserve: 0,
            backing: BackingNo(0),
            domain: Domain(0),
            areas: Areas::default(),
            pins: BTreeMap::new(),
            window: WindowTables::default(),
            ahead: Ahead::new(),
            stores: Stores::default(),
            native: None,
            steady: Steady::Unknown,
            failure: None,
        };
        Self {
            state: Mutex::new(Rank::Space, state),
            waiting: AtomicU32::new(0),
            root_links: ChainLinks::new(),
            exported: AtomicU32::new(0),
            fence: Fence::new(),
            backing: AtomicU32::new(0),
            domain: AtomicU32::new(0),
            merging: AtomicU32::new(0),
            on_loss: AtomicU32::new(0),
            emptied: AtomicU32::new(0),
            merged: AtomicU64::new(0),
        }
    }

    /// Before anybody can reach the space.
    pub fn set_place(&self, backing: BackingNo, domain: Domain) {
        // Relaxed: published by the first entry of the space.
        self.backing.store(backing.0, Ordering::Relaxed);
        // Relaxed: as above.
        self.domain.store(domain.0, Ordering::Relaxed);
        // Relaxed: as above.
        self.merged.store(0, Ordering::Relaxed);
        // Relaxed: as above.
        self.emptied.store(0, Ordering::Relaxed);
        self.set_merging(Merging::Off);
        self.set_on_loss(OnLoss::Signal);
    }

    pub fn set_on_loss(&self, on_loss: OnLoss) {
        // Relaxed: whoever sets it tells those who rely on it by other means.
        self.on_loss.store(on_loss as u32, Ordering::Relaxed);
    }

    pub fn on_loss(&self) -> OnLoss {
        // Relaxed: as `set_on_loss`.
        match self.on_loss.load(Ordering::Relaxed) {
            0 => OnLoss::Signal,
            1 => OnLoss::Abort,
            _ => OnLoss::Sink,
        }
    }

    pub fn set_merging(&self, merging: Merging) {
        // Relaxed: a page is merged by what is read under its frame's lock; a moment later is soon
        // enough.
        self.merging
            .store(u32::from(merging == Merging::On), Ordering::Relaxed);
    }

    pub fn merging(&self) -> Merging {
        // Relaxed: as `set_merging`.
        match self.merging.load(Ordering::Relaxed) {
            0 => Merging::Off,
            _ => Merging::On,
        }
    }

    /// The space's backing; constant while it lives.
    pub fn backing(&self) -> BackingNo {
        // Relaxed: constant while a frame of the space is locked.
        BackingNo(self.backing.load(Ordering::Relaxed))
    }

    /// The space's merge domain; constant while it lives.
    pub fn domain(&self) -> Domain {
        // Relaxed: constant while a frame of the space is locked.
        Domain(self.domain.load(Ordering::Relaxed))
    }

    pub fn lock(&self) -> MutexGuard<'_, SpaceState> {
        if cfg!(any(loom, shuttle)) {
            return self.state.lock();
        }
        // Relaxed: a hint.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let state = self.state.lock();
        // Relaxed: a hint.
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        state
    }

    /// Between two pieces of long work: lets those who wait for the lock have it. A lock is not
    /// fair by itself: who lets it go and takes it again at once is faster than whoever has to be
    /// woken first. Bounded; the lock is not held.
    pub fn let_others(&self) {
        for _ in 0..PATIENCE {
            // Relaxed: a hint.
            if self.waiting.load(Ordering::Relaxed) == 0 {
                return;
            }
            memfold_sync::thread::yield_now();
        }
    }

    /// The lock if it is free: for reclaim, which waits for no space.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, SpaceState>> {
        self.state.try_lock()
    }

    /// For a space that nobody else knows yet. Its maker may hold its parent's lock, so this does
    /// not block; whoever looks at the space that stood here before finds it dead and lets go at
    /// once.
    pub fn lock_new(&self) -> MutexGuard<'_, SpaceState> {
        loop {
            if let Some(state) = self.state.try_lock() {
                return state;
            }
            memfold_sync::thread::yield_now();
        }
    }

    /// A frame of this space became shared while its bytes stay here.
    pub fn export(&self) {
        // Relaxed: it rises under the space lock, which whoever reads it holds.
        self.exported.fetch_add(1, Ordering::Relaxed);
    }

    /// Such a frame's bytes left this space, or are its own again.
    pub fn unexport(&self) {
        // Release: what was done to this window for the frame is done before the window may be
        // closed.
        let before = self.exported.fetch_sub(1, Ordering::Release);
        assert_ne!(before, 0, "a space got back a frame that it had not exported");
    }

    pub fn exported(&self) -> u32 {
        // Acquire: pairs with `unexport`; it can only fall while the space lock is held.
        self.exported.load(Ordering::Acquire)
    }
}
