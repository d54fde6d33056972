//! Windows that are kept for the next fork of a family.
//!
//! To make a window of which the kernel serves a run, and to take it down, costs more than all the
//! rest of a fork: a mapping, advice, two registrations, a seal. So such a window that is closed is
//! emptied, made inaccessible, and kept as it is; the next one of the same [`Shape`] takes it over.
//! Nobody has its addresses meanwhile, and what it could show is what its successor shows. Few are
//! kept, and none that is large: the kernel walks them when pages of the pool go, and holds tables
//! for them, which stay charged. The manager has them all taken down when it needs room
//! ([`KeptWindows::take_all`]).
//!
//! One lock (rank `Host`), under which nothing else is locked and no system call is made. Called by
//! `windows.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};

use memfold_host::addr::{PoolPage, Run};
use memfold_sync::{Mutex, Rank};

use crate::pagetables::{TABLE_BYTES, TABLE_PAGES, window_bytes};
use crate::span::Span;
use crate::table::RecordNo;

/// Windows that are kept at the most.
const KEPT: usize = 16;

/// Page tables that one may hold.
const TABLES: u64 = 64;

/// What two windows have in common that can take each other's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) backing: PoolPage,
    pub(crate) reserve: u32,
    pub(crate) len: u32,
    /// What the kernel serves.
    pub(crate) native: Run,
}

/// A window that is kept.
#[derive(Debug)]
pub(crate) struct Kept {
    shape: Shape,
    pub(crate) slot: Span,
    /// Page tables that the kernel may hold for it.
    pub(crate) tables: u64,
}

impl Kept {
    /// What the kernel serves. The rest needs no protection while it is kept: there is no window to
    /// which a fault there belongs, and so it ends in a signal.
    pub(crate) fn native(&self) -> Span {
        let run = self.shape.native;
        self.slot.part(run.first.0 as usize, run.len as usize)
    }

    /// What it is charged, beside upper page tables.
    pub(crate) fn bytes(&self) -> u64 {
        window_bytes() + self.tables * TABLE_BYTES
    }
}

/// An open window of which the kernel serves a run, or did.
#[derive(Debug)]
struct Open {
    /// As what it can be kept, while it is what it was when it was opened.
    shape: Option<Shape>,
    /// Page tables that it was kept with.
    tables: u64,
}

#[derive(Debug, Default)]
struct State {
    /// By their records.
    open: BTreeMap<u32, Open>,
    /// The oldest first.
    kept: VecDeque<Kept>,
}

/// All of one host.
#[derive(Debug)]
pub(crate) struct KeptWindows {
    state: Mutex<State>,
    /// How many are kept: a hint, so that who needs room asks in vain for the price of a load.
    kept: AtomicUsize,
}

impl KeptWindows {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(Rank::Host, State::default()),
            kept: AtomicUsize::new(0),
        }
    }

    /// One of this shape, if one is kept: the youngest, whose tables are warm.
    pub(crate) fn take(&self, shape: &Shape) -> Option<Kept> {
        let mut state = self.state.lock();
        let at = state.kept.iter().rposition(|kept| kept.shape == *shape)?;
        let taken = state.kept.remove(at);
        self.count(&state);
        taken
    }

    /// One that was taken is kept on: it could not be used.
    pub(crate) fn put_back(&self, kept: Kept) {
        let mut state = self.state.lock();
        state.kept.push_front(kept);
        self.count(&state);
    }

    /// All of them, to be taken down.
    pub(crate) fn take_all(&self) -> Vec<Kept> {
        // Relaxed: a hint.
        if self.kept.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let mut state = self.state.lock();
        let all = std::mem::take(&mut state.kept).into();
        self.count(&state);
        all
    }

    /// A window is open that can be kept; it came with so many tables.
    pub(crate) fn opened(&self, number: RecordNo, shape: Shape, tables: u64) {
        let shape = Some(shape);
        let open = Open { shape, tables };
        let known = self.state.lock().open.insert(number.to_number(), open);
        debug_assert!(known.is_none(), "{number:?} is open twice");
    }

    /// An open window is no longer what it was when it was opened: it is not kept.
    pub(crate) fn changed(&self, number: RecordNo) {
        if let Some(open) = self.state.lock().open.get_mut(&number.to_number()) {
            open.shape = None;
        }
    }

    /// A window is being closed: the tables that it came with, and what it is kept as, with `made`
    /// more, if it can be.
    pub(crate) fn closing(&self, number: RecordNo, slot: Span, made: u64) -> (u64, Option<Kept>) {
        let Some(open) = self.state.lock().open.remove(&number.to_number()) else {
            return (0, None);
        };
        let kept = open.shape.and_then(|shape| {
            let most = u64::from(shape.len.div_ceil(TABLE_PAGES));
            let tables = (open.tables + made).min(most);
            (tables <= TABLES).then_some(Kept { shape, slot, tables })
        });
        (open.tables, kept)
    }

    /// Keeps a window that is empty and inaccessible; one that has to go for it.
    pub(crate) fn keep(&self, window: Kept) -> Option<Kept> {
        let mut state = self.state.lock();
        let full = state.kept.len() >= KEPT;
        let gone = full.then(|| state.kept.pop_front()).flatten();
        state.kept.push_back(window);
        self.count(&state);
        gone
    }

    fn count(&self, state: &State) {
        // Relaxed: a hint.
        self.kept.store(state.kept.len(), Ordering::Relaxed);
    }
}
