//! The manager: all arrays, both seams, the statistics.
//!
//! `Mm` is built from these parts: arrays of descriptors that never move (`frames`, `tables`,
//! `spaces`, `swap`, `backings`), the budget, and what single rooms keep between calls, which no
//! other room sees into. Its operations live in the files beside this one: `fault/`, `fork.rs`,
//! `drop.rs`, `pin.rs`, `reclaim/`, `freeze.rs`; `check.rs` holds it to its invariants. It may be
//! called from any thread and from fault handlers; it starts no thread. Lock order:
//! `memfold_sync::Rank`.

use crate::addr::{FrameNo, PAGE_SIZE, PageNo, SpaceNo};
use crate::backing::file::{Files, MOST_FILES};
use crate::backing::{BackingNo, Backings};
use crate::budget::{Budget, Class, Need, PageTables, UNLIMITED, Usage};
use crate::drop::doomed::DoomedSpaces;
use crate::error::{BuildError, Stop};
use crate::frame::{Frames, Put};
use crate::host::{Host, Store};
use crate::loans::ring::LoanRing;
use crate::merge::scanner::RoundUnderWay;
use crate::native::queue::{Native, NativeQueue};
use crate::reclaim::state::{Replacement, State as Reclaim};
use crate::scratch::Scratch;
use crate::space::{NoSuchSpace, SpaceGuard, SpaceSlot};
use crate::standby::ring::Standby;
use crate::stats::{Counters, Stats};
use crate::swap::{Swap, SwapRef};
use crate::table::{Table, Tables};
use crate::window::hand::Hand;
use memfold_sync::Slots;

/// Bytes of a page, as budgets count.
pub(crate) const PAGE: u64 = PAGE_SIZE as u64;

/// The sizes of a manager.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Most bytes that may be held; [`UNLIMITED`] for none.
    pub limit_bytes: u64,
    /// Memory that the machine has: bounds the arrays when the budget does not.
    pub machine_bytes: u64,
    /// Most spaces at a time.
    pub spaces: u32,
    /// Bytes that the store holds from the start and does not charge itself.
    pub store_bytes: u64,
    /// Whether the machine's page tables are part of the limit.
    pub page_tables: PageTables,
    /// Which pages go first when room is needed.
    pub replacement: Replacement,
    /// Whether the machine may serve forks by itself while there is room.
    pub native: Native,
}

/// The part of the budget that may be pages of files which wait to be written, before they are
/// written without delay. Where it is twice that, who stores to more of them writes some first.
const DIRTY_PART: u64 = 10;

/// The least budget with which anything works.
pub const LEAST_LIMIT: u64 = 1 << 20;

/// The manager.
pub struct Mm<H, S> {
    pub(crate) host: H,
    pub(crate) store: S,
    pub(crate) budget: Budget,
    pub(crate) frames: Frames,
    pub(crate) tables: Tables,
    pub(crate) spaces: Slots<SpaceSlot>,
    pub(crate) swap: Swap,
    pub(crate) backings: Backings,
    pub(crate) files: Files,
    pub(crate) counters: Counters,
    pub(crate) scratch: Scratch,
    // What rooms keep between calls: each is open to its own room alone, and takes reports.
    pub(crate) reclaim: Reclaim,
    pub(crate) standby: Standby,
    pub(crate) loans: LoanRing,
    pub(crate) natives: NativeQueue,
    pub(crate) window_hand: Hand,
    pub(crate) merge_round: RoundUnderWay,
    pub(crate) doomed: DoomedSpaces,
    most_spaces: u32,
    /// Bytes that are charged from the start beside the arrays: page buffers, standby pages, and
    /// what the store begins with.
    fixed_bytes: u64,
}

impl<H: Host, S: Store> Mm<H, S> {
    /// An empty manager.
    ///
    /// # Errors
    /// [`BuildError::BudgetTooSmall`] below [`LEAST_LIMIT`], or when the tables alone would fill a
    /// quarter of it.
    pub fn new(host: H, store: S, config: Config) -> Result<Self, BuildError> {
        let limit = config.limit_bytes;
        let most_bytes = limit.min(config.machine_bytes).max(LEAST_LIMIT);
        let pages = (most_bytes / PAGE).min(1 << 30) as u32;
        // A stored page costs a slot and a hundred bytes or so at the least.
        let slots = if limit == UNLIMITED {
            u64::from(pages)
        } else {
            most_bytes / 96
        };
        let budget = Budget::with(limit, config.page_tables);
        let standby = Standby::new(limit);
        let standby_bytes = standby.base_bytes();
        let loans = LoanRing::new(&budget);
        let natives = NativeQueue::new(config.native);
        let mm = Self {
            host,
            store,
            budget,
            frames: Frames::new(pages),
            tables: Tables::new((most_bytes / size_of::<Table>() as u64).min(1 << 30) as u32),
            spaces: Slots::new(config.spaces, SpaceSlot::new),
            swap: Swap::new(slots.min(1 << 31) as u32),
            backings: Backings::new(config.spaces + MOST_FILES),
            files: Files::new((most_bytes / PAGE / DIRTY_PART).max(1)),
            counters: Counters::default(),
            scratch: Scratch::new(),
            reclaim: Reclaim::new(config.replacement, pages),
            fixed_bytes: Scratch::BYTES
                + config.store_bytes
                + standby_bytes
                + loans.base_bytes()
                + natives.base_bytes(),
            standby,
            loans,
            natives,
            window_hand: Hand::default(),
            merge_round: RoundUnderWay::new(),
            doomed: DoomedSpaces::new(),
            most_spaces: config.spaces,
        };
        let base = mm.frames.base_bytes()
            + mm.tables.base_bytes()
            + mm.spaces.base_bytes()
            + mm.backings.base_bytes()
            + mm.files.base_bytes()
            + mm.swap.base_bytes()
            + mm.fixed_bytes;
        let fixed = mm.host.page_tables().fixed_bytes;
        let least = ((base + fixed) * 4).max(LEAST_LIMIT);
        let charged = limit >= least
            && mm.budget.charge(Class::Tables, base, Need::Normal)
            && mm.budget.charge(Class::PageTables, fixed, Need::Normal);
        if !charged {
            return Err(BuildError::BudgetTooSmall { limit, least });
        }
        Ok(mm)
    }

    /// The machine.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// What is held, by class; in bytes.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.budget.usage()
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.counters.read();
        self.reclaim.count(&mut stats);
        stats.standby_pages = self.standby.used();
        stats
    }

    /// Charges of the budget that are refused by plan; for tests.
    #[cfg(feature = "faults")]
    pub fn refusals(&self) -> &crate::budget::Refusals {
        self.budget.refusals()
    }

    /// Waits for the lock of a space that lives.
    pub(crate) fn lock_space(&self, no: SpaceNo) -> Result<SpaceGuard<'_>, NoSuchSpace> {
        SpaceGuard::lock(&self.spaces, no)
    }
}

/// Most spaces at a time.
pub(crate) fn most_spaces<H, S>(mm: &Mm<H, S>) -> u32 {
    mm.most_spaces
}

/// Bytes that are charged from the start beside the arrays.
pub(crate) fn fixed_bytes<H, S>(mm: &Mm<H, S>) -> u64 {
    mm.fixed_bytes
}

/// A frame that nobody knows yet; the last ones are left for who has a right to them.
pub(crate) fn alloc_frame<H, S>(mm: &Mm<H, S>, need: Need) -> Result<FrameNo, Stop> {
    let no = mm.budget.take_leaving(&mm.frames, frames_kept(mm), need);
    no.map(FrameNo).ok_or(Stop::NoRoom)
}

/// One of the last frames: for a page on loan, and for one that holds as much in the store as in
/// memory. Both come back when there is no room for the array to grow.
pub(crate) fn alloc_kept_frame<H, S>(mm: &Mm<H, S>) -> Result<FrameNo, Stop> {
    mm.frames.alloc_free().map(FrameNo).ok_or(Stop::NoRoom)
}

/// Free frames that are left for those.
pub(crate) fn frames_kept<H, S>(mm: &Mm<H, S>) -> u32 {
    mm.loans.most() as u32 + mm.swap.whole()
}

/// Drops a reference taken by isolation.
pub(crate) fn put_frame<H, S>(mm: &Mm<H, S>, no: FrameNo) {
    match mm.frames.at(no).count.put() {
        Put::Held => (),
        Put::Last => free_frame(mm, no),
    }
}

/// One entry fewer, for this page of the backing, names the slot.
pub(crate) fn put_slot<H, S: Store>(mm: &Mm<H, S>, slot: SwapRef, backing: BackingNo, page: PageNo) {
    if mm.swap.put(slot, &mm.store, &mm.budget) {
        mm.backings.perhaps_idle(backing, page);
    }
}

/// The frame that caches the slot, of this page of the backing, goes or is about to change.
pub(crate) fn drop_cache<H, S: Store>(mm: &Mm<H, S>, slot: SwapRef, backing: BackingNo, page: PageNo) {
    if mm.swap.drop_cache(slot, &mm.store, &mm.budget) {
        mm.backings.perhaps_idle(backing, page);
    }
}

/// The last reference is gone: the descriptor may be reused.
pub(crate) fn free_frame<H, S>(mm: &Mm<H, S>, no: FrameNo) {
    mm.reclaim.removed(&mm.frames, no);
    mm.frames.free(no.0);
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;

impl<H, S> std::fmt::Debug for Mm<H, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mm")
            .field("usage", &self.budget.usage())
            .finish_non_exhaustive()
    }
}
