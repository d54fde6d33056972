//! From an address to its window, without a lock: what the signal handler looks up first.
//!
//! One table for the process and all its hosts: a place for each 64 MiB of user addresses, holding the
//! number of a window record or 0. The records are type-stable: made once, reused, never freed, so a
//! handler that read an old number still finds a record, and sees in it that the window is gone or another
//! one.
//!
//! Before a record's fields stands a [`Gate`], whose race models are beside it: the fields change only while it is closed
//! and nobody is inside. `close` waits for those inside, who finish without it, because nothing they wait for is held by who
//! closes. The free records stand under one lock, taken to open and close only.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use memfold_mm::addr::{PAGE_SIZE, PageNo, PoolPage, SpaceNo};
use memfold_sync::{Gate, Mutex, Rank};

use crate::arena::GRANULE;
use crate::fault::Site;
use crate::span::Span;
use crate::sparse::Sparse;
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
static FREE: OnceLock<Mutex<FreeRecords>> = OnceLock::new();

#[derive(Debug, Default)]
struct FreeRecords {
    free: Vec<u32>,
    made: u32,
}

/// One window, as the handler sees it.
#[derive(Debug, Default)]
pub(crate) struct Record {
    gate: Gate,
    // Written while the gate is closed and nobody is inside:
    base: AtomicUsize,
    bytes: AtomicUsize,
    home: AtomicU64,
    space: AtomicU32,
    reserve: AtomicU32,
    site: AtomicPtr<Site>,
    // Atomic; grows while open, written by the manager's one resizing thread:
    len: AtomicU32,
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

fn free_records() -> &'static Mutex<FreeRecords> {
    FREE.get_or_init(|| Mutex::new(Rank::Host, FreeRecords::default()))
}

/// What a new window is.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) slot: Span,
    pub(crate) home: PoolPage,
    pub(crate) space: SpaceNo,
    /// How many pages may become accessible.
    pub(crate) reserve: u32,
    /// How many are.
    pub(crate) len: u32,
    /// Whom faults are for; outlives the window.
    pub(crate) site: *const Site,
}

/// Makes a window known. `None`: there are more windows than records.
pub(crate) fn open(opening: &Opening) -> Option<RecordNo> {
    let number = {
        let mut records = free_records().lock();
        match records.free.pop() {
            Some(number) => number,
            None if records.made as usize == Sparse::<Record>::PLACES => return None,
            None => {
                records.made += 1;
                records.made - 1
            }
        }
    };
    let record = RECORDS.make(number as usize);
    let Opening {
        slot,
        home,
        space,
        reserve,
        len,
        site,
    } = *opening;
    // Relaxed: published by the gate below.
    record.base.store(slot.addr(), Ordering::Relaxed);
    record.bytes.store(slot.len(), Ordering::Relaxed); // Relaxed: as above.
    record.home.store(home.0, Ordering::Relaxed); // Relaxed: as above.
    record.space.store(space.0, Ordering::Relaxed); // Relaxed: as above.
    record.reserve.store(reserve, Ordering::Relaxed); // Relaxed: as above.
    record.site.store(site.cast_mut(), Ordering::Relaxed); // Relaxed: as above.
    record.len.store(len, Ordering::Relaxed); // Relaxed: as above.
    record.gate.open();
    for place in places(slot) {
        // Release: publishes the record's leaf and fields.
        TABLE[place].store(number + 1, Ordering::Release);
    }
    Some(RecordNo(number))
}

/// Makes a window unknown; when it returns nobody is inside, and nobody will be.
pub(crate) fn close(number: RecordNo) {
    let record = number.record();
    for place in places(record.slot()) {
        // Relaxed: a late reader is caught by the record's gate.
        TABLE[place].store(0, Ordering::Relaxed);
    }
    record.gate.close(sys::yield_now);
    free_records().lock().free.push(number.0);
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
    let _inside = record.gate.enter()?;
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

    pub(crate) fn home(&self) -> PoolPage {
        PoolPage(self.home.load(Ordering::Relaxed)) // Relaxed: see above.
    }

    /// Pages that may become accessible.
    pub(crate) fn reserve(&self) -> u32 {
        self.reserve.load(Ordering::Relaxed) // Relaxed: see above.
    }

    /// Accessible pages.
    pub(crate) fn len(&self) -> u32 {
        self.len.load(Ordering::Relaxed) // Relaxed: see above.
    }

    /// Called by the one thread that resizes the window.
    pub(crate) fn grown(&self, len: u32) {
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
