//! Goal: a machine that takes the protection of an exported page away spoils nobody's bytes in
//! silence: the check names it, nobody is given the page any more, and after the audit its spaces
//! know. Method: a family whose parent has exported all its pages; one loses its protection and is
//! stored to; relatives read, store, merge, fork; reclaim evicts. All in the simulator.
#![cfg(not(shuttle))]

use memfold_host::addr::{PAGE_SIZE, PageNo, SpaceNo};
use memfold_host::{Domain, HostError};
use memfold_mm::{Config, FaultError, Merging, Mm, Size, SpaceError};
use memfold_sim::program::{self, Place};
use memfold_sim::{SimHost, SimStore};

const PAGE: u64 = PAGE_SIZE as u64;
const PAGES: u32 = 4;
const LOST: u32 = 2;

fn place(page: u32) -> Place {
    Place::of(u64::from(page) * PAGE_SIZE as u64)
}

/// A parent that has exported its pages of 7, its child, and one page to which the parent could
/// then store 8.
fn family() -> (Mm<SimHost, SimStore>, [SpaceNo; 2]) {
    family_after(|_| ())
}

/// The same; something is done before the page is lost.
fn family_after(before: impl FnOnce(&Mm<SimHost, SimStore>)) -> (Mm<SimHost, SimStore>, [SpaceNo; 2]) {
    let config = Config {
        replacement: memfold_mm::Replacement::default(),
        native: memfold_mm::Native::Off,
        limit_bytes: 4 << 20,
        machine_bytes: 64 << 20,
        spaces: 8,
        store_bytes: 0,
        page_tables: memfold_mm::PageTables::Counted,
    };
    let mm = Mm::new(SimHost::new(1), SimStore::priced(), config).expect("room");
    let size = Size {
        len: PAGES,
        reserve: PAGES,
    };
    let parent = mm.create(size, Domain(0)).expect("room");
    mm.set_merging(parent, Merging::On).expect("it lives");
    for page in 0..PAGES {
        program::store(&mm, parent, place(page), &[7; PAGE_SIZE]).expect("room");
    }
    let child = mm.fork(parent).expect("room");
    before(&mm);
    assert_eq!(memfold_mm::check(&mm), Ok(()));
    mm.host().lose_protection(parent, PageNo(LOST));
    program::store(&mm, parent, place(LOST), &[8]).expect("no fault");
    (mm, [parent, child])
}

fn is_unprotected(error: FaultError, of: SpaceNo) {
    let expected = FaultError::Host {
        space: of,
        page: PageNo(LOST),
        source: HostError::Unprotected,
    };
    assert_eq!(error, expected);
}

/// What `reader` sees of each page: its own bytes, or that one page is not to be had.
fn reads(mm: &Mm<SimHost, SimStore>, reader: SpaceNo) {
    for page in 0..PAGES {
        let mut seen = [0];
        match program::load(mm, reader, place(page), &mut seen) {
            Ok(()) => assert_eq!((seen, page == LOST), ([7], false), "page {page}"),
            Err(error) => is_unprotected(error, reader),
        }
    }
}

#[test]
fn relatives_are_told() {
    let (mm, [parent, child]) = family();
    let found = memfold_mm::check(&mm).unwrap_err();
    assert!(
        found
            .iter()
            .all(|v| v.invariant == "no window shows a shared frame writable"),
        "{found:?}"
    );
    reads(&mm, child);
    is_unprotected(program::store(&mm, child, place(LOST), &[1]).unwrap_err(), child);
    is_unprotected(mm.take_failure(child).expect("it was refused"), child);
    assert_eq!(memfold_mm::audit(&mm), 1);
    for space in [parent, child] {
        is_unprotected(mm.take_failure(space).expect("all who map it"), space);
    }
    assert_eq!(memfold_mm::check(&mm), Ok(()));
}

#[test]
fn nothing_is_stored_or_merged() {
    let (mm, [parent, child]) = family();
    for page in 0..PAGES {
        // Refused at the lost page.
        let _ = program::store(&mm, child, place(page), &[8]);
    }
    mm.reclaim(100);
    let _step = mm.merge_round(None).expect("room");
    mm.reclaim(100);
    let refused = mm.fork(child).expect_err("its stores are incomplete");
    assert!(matches!(refused, SpaceError::Fault(error) if mm.take_failure(child) == Some(error)));
    let grandchild = mm.fork(child).expect("room");
    let mut seen = [0];
    is_unprotected(
        program::load(&mm, grandchild, place(LOST), &mut seen).unwrap_err(),
        grandchild,
    );
    program::load(&mm, parent, place(LOST), &mut seen).expect("its own");
    assert_eq!(seen, [8]);
}

/// Goal: victims on both sides of a lost page are not protected in one call over it, which would
/// hide that it was lost. Method: what stands beside it is the parent's own again, and is evicted
/// alone: of all other pages it is known that storing them saves nothing.
#[test]
fn nothing_is_protected_over_it() {
    let (mm, [parent, child]) = family_after(|mm| {
        mm.store()
            .price(|prices| (prices.plain, prices.delta) = (PAGE, Some(PAGE)));
        assert_eq!(mm.reclaim(PAGES), 0);
        assert_eq!(mm.stats().unevictable_frames, PAGES);
    });
    mm.store().price(|prices| prices.plain = PAGE / 4);
    for page in [LOST - 1, LOST + 1] {
        program::store(&mm, parent, place(page), &[9]).expect("room");
    }
    assert_eq!(mm.reclaim(2), 2);
    assert_eq!(memfold_mm::audit(&mm), 1);
    for space in [parent, child] {
        is_unprotected(mm.take_failure(space).expect("it maps the page"), space);
    }
}
