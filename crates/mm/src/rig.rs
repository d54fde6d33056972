//! The manager on the simulated machine, for unit tests that look inside it.
//!
//! A test calls the manager's own operations, and looks at what it decided and at what it asked of
//! the machine ([`SimHost::requests`]), which has no page tables and answers as it is told.
//! (Behaviour seen from outside is the business of `verify`.) The race models run on the same
//! machine: `races/programs.rs`.

use crate::addr::{Access, FrameNo, PAGE_SIZE, PageNo, Run, SpaceNo};
use crate::host::{Domain, Piece};
use crate::table::LeafEntry;
use crate::{Config, Mm, OpenFile, PageTables, Replacement, Rights, Size, UNLIMITED};
use memfold_sim::Prices;
use memfold_sim::program::Place;
pub(crate) use memfold_sim::{Request, SimHost, SimSource, SimStore};

/// The manager on this machine.
pub(crate) type Harness = Mm<SimHost, SimStore>;

/// A machine that keeps what it is asked, and whose pages nobody uses unless a test says so.
pub(crate) fn machine() -> SimHost {
    let host = SimHost::plain();
    host.keep_requests();
    host.say_young(false);
    host
}

/// An empty manager without a limit.
pub(crate) fn harness() -> Harness {
    limited(UNLIMITED)
}

/// An empty manager with a budget.
pub(crate) fn limited(limit_bytes: u64) -> Harness {
    roomy(limit_bytes, 16)
}

/// The same for so many spaces.
pub(crate) fn roomy(limit_bytes: u64, spaces: u32) -> Harness {
    let config = Config {
        limit_bytes,
        machine_bytes: 64 << 20,
        spaces,
        store_bytes: 0,
        page_tables: PageTables::Counted,
        replacement: Replacement::default(),
        native: crate::Native::Off,
    };
    Mm::new(machine(), SimStore::priced(), config).expect("the limit holds the tables")
}

/// A space of so many pages.
pub(crate) fn space(mm: &Harness, pages: u32) -> SpaceNo {
    let size = Size {
        len: pages,
        reserve: pages,
    };
    mm.create(size, Domain(3)).expect("room for a space")
}

/// A program fills each page of a range, from its end on: so none is made ahead of need, and the
/// last page is the oldest.
pub(crate) fn write(mm: &Harness, space: SpaceNo, pages: std::ops::Range<u32>, value: u8) {
    for page in pages.rev() {
        mm.fault(space, PageNo(page), Access::Write)
            .expect("room for a page");
        poke(mm, space, page, value);
    }
}

/// A program stores to a page that is its own, and may be stored to.
pub(crate) fn poke(mm: &Harness, space: SpaceNo, page: u32, value: u8) {
    let at = Place {
        page: PageNo(page),
        offset: 0,
    };
    let stored = mm.host.store(space, at, &[value; PAGE_SIZE]);
    assert_eq!(stored, Ok(()), "a program stored to a page that is not its own");
}

/// A program stores to a page, with a fault if need be.
pub(crate) fn put(mm: &Harness, space: SpaceNo, page: u32, value: u8) {
    let at = Place {
        page: PageNo(page),
        offset: 0,
    };
    if mm.host.store(space, at, &[value; PAGE_SIZE]).is_err() {
        mm.fault(space, PageNo(page), Access::Write).expect("it may");
        poke(mm, space, page, value);
    }
}

/// A program loads from a page.
pub(crate) fn read(mm: &Harness, space: SpaceNo, page: u32) {
    mm.fault(space, PageNo(page), Access::Read)
        .expect("room for a page");
}

/// Pages from `first` on.
pub(crate) fn run(first: u32, len: u32) -> Run {
    Run {
        first: PageNo(first),
        len,
    }
}

/// The frame of a page, if it is in memory.
pub(crate) fn frame_at(mm: &Harness, space: SpaceNo, page: u32) -> Option<FrameNo> {
    let st = mm.lock_space(space).expect("it lives");
    match mm.tables.lookup(&st.tree, PageNo(page)).entry() {
        LeafEntry::Frame(no) => Some(no),
        _ => None,
    }
}

/// The pages of a space that are in memory.
pub(crate) fn resident(mm: &Harness, space: SpaceNo) -> Vec<u32> {
    let len = mm.len(space).expect("it lives");
    (0..len)
        .filter(|&page| frame_at(mm, space, page).is_some())
        .collect()
}

/// What all bytes of a page are.
pub(crate) fn value(mm: &Harness, space: SpaceNo, page: u32) -> u8 {
    let mut bytes = [99; PAGE_SIZE];
    let read = mm.host.at_rest(|| mm.read_page(space, PageNo(page), &mut bytes));
    read.expect("it can be read");
    assert!(
        bytes.iter().all(|&byte| byte == bytes[0]),
        "page {page} of space {space} is torn"
    );
    bytes[0]
}

/// Nothing that is stored from now on saves anything.
pub(crate) fn saves_nothing(prices: &mut Prices) {
    prices.plain = PAGE_SIZE as u64;
    prices.delta = Some(PAGE_SIZE as u64);
}

/// It does again, as in the beginning.
pub(crate) fn saves(prices: &mut Prices) {
    prices.plain = PAGE_SIZE as u64 / 4;
    prices.delta = Some(100);
}

/// The invariants hold.
pub(crate) fn sound(mm: &Harness) {
    assert_eq!(crate::check(mm), Ok(()));
}

/// A file of so many pages, each of which is full of its number plus 100.
pub(crate) fn numbered(pages: u32) -> SimSource {
    let page = |n: u32| [n as u8 + 100; PAGE_SIZE];
    SimSource::new(1, (0..pages).flat_map(page).collect())
}

pub(crate) fn open(mm: &Harness, source: &SimSource) -> OpenFile {
    mm.files().open(Box::new(source.clone())).expect("room")
}

/// Maps pages of a file from `first` on at so many pages of a space.
pub(crate) fn map(mm: &Harness, space: SpaceNo, at: (u32, u32), file: &OpenFile, first: u32, kind: Piece) {
    let mapped = mm
        .areas(space)
        .map(run(at.0, at.1), file, PageNo(first), kind, Rights::ReadWrite);
    assert_eq!(mapped, Ok(()));
}
