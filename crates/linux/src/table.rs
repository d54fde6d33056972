//! From an address to its window, without a lock: what the signal handler looks up first.
//!
//! One table for the process and all its hosts: a place for each 64 MiB of user addresses, holding
//! the number of a window record or 0. The records are type-stable: made once, reused, never freed,
//! so a handler that read an old number still finds a record, and sees in it that the window is
//! gone or another one.
//!
//! Before a record's fields stands a [`Revocable`], whose race models are beside it: the fields
//! change only while it is closed and nobody is inside. `close` waits for those inside, who finish
//! without it, because nothing they wait for is held by who closes. The free records stand under
//! one lock, taken to open and close only.
//!
//! A child of `fork(2)` inherits table and records, but none of the windows: it enters none of them
//! (each record knows the generation that opened it), and its own windows take records of its own,
//! under a lock of its own.

use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use memfold_host::addr::{PAGE_SIZE, PageNo, PoolPage, SpaceNo};
use memfold_sync::{Mutex, Rank, Revocable};

use crate::arena::GRANULE;
use crate::fault::Site;
use crate::lineage;
use crate::pieces::Pieces;
use crate::span::Span;
use crate::sparse::{LEAF, Sparse};
use crate::sys;

/// How many bits a user address has.
#[cfg(target_arch = "x86_64")]
const ADDRESS_BITS: u32 = 47;
#[cfg(not(target_arch = "x86_64"))]
const ADDRESS_BITS: u32 = 48;

const PLACES: usize = 1 << (ADDRESS_BITS - GRANULE.trailing_zeros());

/// A record's number + 1, or 0. Untouched parts cost no memory.
static TABLE: [AtomicU32; PLACES] = [const { AtomicU32::new(0) }; PLACES];
static RECORDS: Sparse<Record> = Sparse::new();
/// How many records were made, ancestors' included.
static MADE: AtomicUsize = AtomicUsize::new(0);
/// This process's free records, or those of an ancestor. What it points to is never freed.
static FREE: AtomicPtr<FreeRecords> = AtomicPtr::new(std::ptr::null_mut());

#[derive(Debug)]
struct FreeRecords {
    generation: u64,
    numbers: Mutex<Vec<u32>>,
}

/// One window, as the handler sees it.
#[derive(Debug, Default)]
pub(crate) struct Record {
    access: Revocable,
    // Written while access is revoked and nobody is inside:
    generation: AtomicU64,
    base: AtomicUsize,
    bytes: AtomicUsize,
    backing: AtomicU64,
    space: AtomicU32,
    reserve: AtomicU32,
    site: AtomicPtr<Site>,
    // Atomic; grows while open, written by the manager's one resizing thread:
    len: AtomicU32,
    /// Guards itself; empty while the window is not open.
    pieces: Pieces,
}

/// The number of an open window's record, for the host that opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordNo(u32);

/// Being inside an open window's record: the window is not closed before this is dropped.
#[derive(Debug)]
pub(crate) struct Inside {
    record: &'static Record,
    _inside: memfold_sync::Inside<'static>,
}

/// Those of this process. An ancestor's are left alone: their lock may be held by a thread that is
/// not here.
fn free_records() -> &'static Mutex<Vec<u32>> {
    let generation = lineage::generation();
    // Acquire: pairs with the publishing exchange.
    let known = FREE.load(Ordering::Acquire);
    // SAFETY: null, or leaked below and never freed.
    if let Some(records) = unsafe { known.as_ref() }.filter(|records| records.generation == generation) {
        return &records.numbers;
    }
    if !known.is_null() {
        // A thread of the parent may have been about to make a leaf of records, and never ends that
        // here. Relaxed: a number; who makes records of it publishes them by the table.
        let _ = MADE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |made| {
            Some(made.next_multiple_of(LEAF))
        });
    }
    let numbers = Mutex::new(Rank::Host, Vec::new());
    let fresh = Box::into_raw(Box::new(FreeRecords { generation, numbers }));
    // AcqRel: publishes ours, or takes the other thread's. Acquire: as above.
    let current = match FREE.compare_exchange(known, fresh, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => fresh,
        // Ours is lost, which costs a few bytes, once in a process.
        Err(theirs) => theirs,
    };
    // SAFETY: leaked, here or by the other thread.
    unsafe { &(*current).numbers }
}

/// The number of a record that nobody uses, and which is there. `None`: there is none left, or no
/// memory for one.
fn free_number() -> Option<u32> {
    let mut free = free_records().lock();
    if let Some(number) = free.pop() {
        return Some(number);
    }
    // Relaxed: as above.
    let made = MADE.load(Ordering::Relaxed);
    // So that giving back cannot fail; others' numbers among them do no harm. The lock makes this
    // the only thread here.
    free.try_reserve(made + 1).ok()?;
    if made >= Sparse::<Record>::PLACES {
        return None;
    }
    RECORDS.make(made)?;
    // Relaxed: as above.
    MADE.store(made + 1, Ordering::Relaxed);
    Some(u32::try_from(made).expect("fewer records than that"))
}

/// What a new window is.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) slot: Span,
    pub(crate) backing: PoolPage,
    pub(crate) space: SpaceNo,
    /// How many pages may become accessible.
    pub(crate) reserve: u32,
    /// How many are.
    pub(crate) len: u32,
    /// Whom faults are for; outlives the window.
    pub(crate) site: *const Site,
}

/// Makes a window known. `None`: there are more windows than records, or no memory for one.
pub(crate) fn open(opening: &Opening) -> Option<RecordNo> {
    let number = free_number()?;
    let record = RecordNo(number).record();
    let Opening {
        slot,
        backing,
        space,
        reserve,
        len,
        site,
    } = *opening;
    // Relaxed: published by the opening below.
    record.generation.store(lineage::generation(), Ordering::Relaxed);
    // Relaxed: as above.
    record.base.store(slot.addr(), Ordering::Relaxed);
    record.bytes.store(slot.len(), Ordering::Relaxed); // Relaxed: as above.
    record.backing.store(backing.0, Ordering::Relaxed); // Relaxed: as above.
    record.space.store(space.0, Ordering::Relaxed); // Relaxed: as above.
    record.reserve.store(reserve, Ordering::Relaxed); // Relaxed: as above.
    record.site.store(site.cast_mut(), Ordering::Relaxed); // Relaxed: as above.
    record.len.store(len, Ordering::Relaxed); // Relaxed: as above.
    record.access.open();
    for place in places(slot) {
        // Release: publishes the record's leaf and fields.
        TABLE[place].store(number + 1, Ordering::Release);
    }
    Some(RecordNo(number))
}

/// Makes a window unknown; when it returns nobody is inside, and nobody will be.
pub(crate) fn close(number: RecordNo) {
    let record = number.record();
    record.pieces.clear();
    for place in places(record.slot()) {
        // Relaxed: a late reader is caught by the record's access.
        TABLE[place].store(0, Ordering::Relaxed);
    }
    record.access.close(sys::yield_now);
    free_records().lock().push(number.0);
}

fn places(slot: Span) -> std::ops::Range<usize> {
    slot.addr() / GRANULE..(slot.addr() + slot.len()) / GRANULE
}

/// Enters the window at `addr`. Lock-free, allocates nothing: for signal handlers.
pub(crate) fn enter(addr: usize) -> Option<Inside> {
    // Acquire: pairs with `open`; the record's leaf exists.
    let number = TABLE
        .get(addr / GRANULE)?
        .load(Ordering::Acquire)
        .checked_sub(1)?;
    let record = RECORDS.get(number as usize)?;
    let _inside = record.access.enter()?;
    // Relaxed: access is open, so this is the window's. Another process's window is no memory of
    // ours.
    if record.generation.load(Ordering::Relaxed) != lineage::generation() {
        return None;
    }
    // A record that was reused meanwhile is another window's: then this address has none.
    record.slot().offset_of(addr).map(|_| Inside { record, _inside })
}

impl RecordNo {
    /// For a host's own table of numbers.
    pub(crate) fn to_number(self) -> u32 {
        self.0
    }

    pub(crate) fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// Enters the window, if it is still open.
    pub(crate) fn enter(self) -> Option<Inside> {
        let record = self.record();
        let _inside = record.access.enter()?;
        Some(Inside { record, _inside })
    }

    pub(crate) fn record(self) -> &'static Record {
        RECORDS.get(self.0 as usize).expect("the record was made")
    }
}

// Relaxed everywhere here: whoever asks is inside the record, or is the host whose window
// it is (its manager orders open, use and close by its own locks).
impl Record {
    /// The whole slot of the window, guard included.
    pub(crate) fn slot(&self) -> Span {
        let base = self.base.load(Ordering::Relaxed); // Relaxed: see above.
        let bytes = self.bytes.load(Ordering::Relaxed); // Relaxed: see above.
        // SAFETY: `open` stored the parts of a slot, whose arena outlives the window.
        unsafe { Span::new(base, bytes) }
    }

    pub(crate) fn backing(&self) -> PoolPage {
        PoolPage(self.backing.load(Ordering::Relaxed)) // Relaxed: see above.
    }

    /// Pages that may become accessible.
    pub(crate) fn reserve(&self) -> u32 {
        self.reserve.load(Ordering::Relaxed) // Relaxed: see above.
    }

    /// What of the window shows something else than its backing.
    pub(crate) fn pieces(&self) -> &Pieces {
        &self.pieces
    }

    /// Accessible pages.
    pub(crate) fn len(&self) -> u32 {
        self.len.load(Ordering::Relaxed) // Relaxed: see above.
    }

    /// Called by the one thread that resizes the window.
    pub(crate) fn resized(&self, len: u32) {
        self.len.store(len, Ordering::Relaxed); // Relaxed: see above.
    }
}

impl Inside {
    /// Whom the window's faults are for.
    pub(crate) fn site(&self) -> &Site {
        // Relaxed: `enter` has seen the window open.
        let site = self.record.site.load(Ordering::Relaxed);
        // SAFETY: a site outlives its windows, and this window is not closed while `self` lives.
        unsafe { &*site }
    }

    /// The whole slot of the window.
    pub(crate) fn slot(&self) -> Span {
        self.record.slot()
    }

    pub(crate) fn space(&self) -> SpaceNo {
        SpaceNo(self.record.space.load(Ordering::Relaxed)) // Relaxed: as in `site`.
    }

    /// The page of `addr`, by number and as memory.
    pub(crate) fn page(&self, addr: usize) -> (PageNo, Span) {
        let slot = self.record.slot();
        let page = slot.offset_of(addr).expect("checked on entering") / PAGE_SIZE;
        (
            PageNo(u32::try_from(page).expect("a window has fewer pages")),
            slot.part(page, 1),
        )
    }
}
