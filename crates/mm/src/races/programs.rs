//! The programs of the models, on the simulated machine: it stands outside of the model, panics
//! when a duty of the seam is broken, and reports two calls on one page that no lock of the manager
//! orders.
//!
//! A page's bytes are one number. A program loads and stores as a processor does, and faults when
//! it cannot go on.

use crate::addr::{Access, PAGE_SIZE, PageNo, Run, SpaceNo};
use crate::budget::UNLIMITED;
use crate::create::Size;
use crate::host::Domain;
use crate::{Config, Mm, PageTables, Replacement};
use memfold_sim::program::Place;
use memfold_sim::{SimHost, SimStore};
use memfold_sync::Arc;

/// The merge domain of all spaces here.
pub(super) const DOMAIN: Domain = Domain(5);
/// Pages of each space.
const PAGES: u32 = 2;

/// The manager on this machine.
pub(super) type Harness = Mm<SimHost, SimStore>;

/// All pages of a space.
pub(super) fn all() -> Run {
    Run {
        first: PageNo(0),
        len: PAGES,
    }
}

/// An empty manager and a space; its tree has `levels` levels, 1 or 2.
pub(super) fn harness(levels: u32) -> (Arc<Harness>, SpaceNo) {
    let config = Config {
        limit_bytes: UNLIMITED,
        machine_bytes: 1 << 20,
        spaces: 6,
        store_bytes: 0,
        page_tables: PageTables::Counted,
        replacement: Replacement::default(),
        native: crate::Native::Off,
    };
    let store = SimStore::priced();
    store.expect_only(DOMAIN);
    // Every page by itself, in little room.
    store.price(|prices| (prices.plain, prices.delta) = (100, None));
    let mm = Mm::new(SimHost::plain(), store, config).expect("no limit");
    let space = create(&mm, levels);
    (Arc::new(mm), space)
}

/// One space more.
pub(super) fn create(mm: &Harness, levels: u32) -> SpaceNo {
    let reserve = if levels == 1 { PAGES } else { 17 };
    mm.create(Size { len: PAGES, reserve }, DOMAIN).expect("no limit")
}

fn first_word(page: u32) -> Place {
    Place {
        page: PageNo(page),
        offset: 0,
    }
}

/// A program's load.
pub(super) fn load(mm: &Harness, space: SpaceNo, page: u32) -> u64 {
    let mut word = [0; 8];
    while mm.host().load(space, first_word(page), &mut word).is_err() {
        mm.fault(space, PageNo(page), Access::Read)
            .expect("nothing fails here");
    }
    u64::from_le_bytes(word)
}

/// A program's store.
pub(super) fn store(mm: &Harness, space: SpaceNo, page: u32, value: u64) {
    while !stores(mm, space, page, value) {
        mm.fault(space, PageNo(page), Access::Write)
            .expect("nothing fails here");
    }
}

/// One attempt at a store; false when the program must fault.
pub(super) fn stores(mm: &Harness, space: SpaceNo, page: u32, value: u64) -> bool {
    let word = value.to_le_bytes();
    mm.host().store(space, first_word(page), &word).is_ok()
}

/// Everything is as it must be when nothing runs: the invariants, and what the machine holds.
pub(super) fn check(mm: &Harness) {
    if let Err(violations) = crate::check(mm) {
        let words: Vec<String> = violations.iter().map(ToString::to_string).collect();
        panic!("{}", words.join("; "));
    }
    let usage = mm.usage();
    let page = PAGE_SIZE as u64;
    let held = mm.host().memory();
    assert_eq!(
        (held.private, held.pool),
        (usage.private / page, usage.pool / page),
        "the machine holds what was charged"
    );
}
