//! Standby pages: what a full budget still serves, and what a store without room reaches.

use super::Losses;
use super::ring::FEWEST;
use crate::addr::{Access, PAGE_SIZE, PageNo, SpaceNo};
use crate::budget::{Class, Need};
use crate::error::SpaceError;
use crate::frame::Residence;
use crate::host::{Piece, VacateReply};
use crate::mm::{PAGE, alloc_frame};
use crate::rig::{Harness, Request, limited, poke, read, run, saves_nothing, sound, space, value, write};
use crate::space::FaultError;
use crate::{Giving, Rights};
use memfold_sim::SimSource;

/// Fills the budget to the last byte, with what cannot be reclaimed.
fn fill_up(mm: &Harness) {
    let usage = mm.usage();
    let rest = usage.limit - usage.total;
    assert!(mm.budget.charge(Class::Stored, rest, Need::Reclaim));
    // What compresses would make room.
    mm.store.price(saves_nothing);
}

fn stores(mm: &Harness, space: SpaceNo, page: u32) -> Result<(), FaultError> {
    mm.fault(space, PageNo(page), Access::Write)
}

/// What the window shows at a page, in the space's own memory or a standby page.
fn shown(mm: &Harness, space: SpaceNo, page: u32) -> Option<u8> {
    let bytes = mm.host.shown(space, PageNo(page))?;
    Some(bytes[PAGE_SIZE - 1])
}

/// A parent with pages 0 to 3, a fork that shares them, and no room.
fn family() -> (Harness, SpaceNo, SpaceNo) {
    let mm = limited(4 << 20);
    let a = space(&mm, 100);
    write(&mm, a, 0..4, 1);
    let b = mm.fork(a).expect("room");
    fill_up(&mm);
    (mm, a, b)
}

/// Goal: a store without room to a page that a fork shares leaves the fork's bytes, and the storing
/// space's, as they were; the page stands in the pool from then on, for the machine still lets
/// nobody store to it.
#[test]
fn an_exported_page_leaves_before_it_is_stored_to() {
    let (mm, a, b) = family();
    let failed = stores(&mm, a, 2).expect_err("there is no room");
    let before = mm.usage();
    assert_eq!(Losses::of(&mm).sink(a, PageNo(2)), Ok(()));
    // The store that is lost.
    poke(&mm, a, 2, 9);
    assert_eq!((value(&mm, a, 2), value(&mm, b, 2)), (1, 1));
    let usage = mm.usage();
    assert_eq!((usage.total, usage.peak), (before.total, before.peak));
    assert_eq!((usage.private, usage.pool), (before.private - PAGE, PAGE));
    sound(&mm);
    assert_eq!(mm.take_failure(a), Some(failed));
    assert_eq!((shown(&mm, a, 2), mm.stats().standby_pages), (None, 0));
    assert_eq!((value(&mm, a, 2), value(&mm, b, 2)), (1, 1));
    assert_eq!(mm.failure(b), None);
    sound(&mm);
}

/// Goal: a sink is there for condemned spaces only, and takes no page that is the space's own.
#[test]
fn sinks_are_for_condemned_spaces() {
    let (mm, a, b) = family();
    assert_eq!(
        (Losses::of(&mm).sink(a, PageNo(2)), mm.stats().standby_pages),
        (Ok(()), 0)
    );
    let failed = stores(&mm, b, 50).expect_err("there is no room");
    assert_eq!(Losses::of(&mm).sink(a, PageNo(2)), Ok(()));
    assert_eq!(mm.stats().standby_pages, 0, "another space's failure");
    let beyond = Losses::of(&mm).sink(b, PageNo(100));
    assert!(matches!(beyond, Err(FaultError::OutOfRange { len: 100, .. })));
    assert_eq!(mm.take_failure(b), Some(failed));
    let mm = limited(4 << 20);
    let a = space(&mm, 100);
    write(&mm, a, 0..1, 1);
    fill_up(&mm);
    let failed = stores(&mm, a, 50).expect_err("there is no room");
    // Its own page needs no room, and may be protected because reclaim wants to know whether it is
    // used.
    mm.host.requests();
    assert_eq!(Losses::of(&mm).sink(a, PageNo(0)), Ok(()), "its own page");
    assert_eq!(mm.host.requests(), [Request::Unprotect(a, run(0, 1))]);
    assert_eq!((mm.stats().standby_pages, mm.failure(a)), (0, Some(failed)));
    assert_eq!(
        (
            Losses::of(&mm).vacate(a, PageNo(0)),
            Losses::of(&mm).vacate(a, PageNo(7))
        ),
        (Ok(VacateReply::Open), Ok(VacateReply::Vacated))
    );
    assert_eq!(value(&mm, a, 0), 1);
    sound(&mm);
}

/// Goal: when all standby pages are in use the space's own oldest stands in for the next page, or
/// the oldest of all when it has none; those of a space end with its failure.
#[test]
fn the_oldest_goes_first() {
    let (mm, a, b) = family();
    let pages = FEWEST as u32;
    stores(&mm, a, 50).expect_err("there is no room");
    stores(&mm, b, 50).expect_err("there is no room");
    assert_eq!(Losses::of(&mm).sink(b, PageNo(99)), Ok(()));
    for page in 50..50 + pages {
        assert_eq!(Losses::of(&mm).sink(a, PageNo(page)), Ok(()));
        assert_eq!(shown(&mm, a, page), Some(0));
    }
    assert_eq!((shown(&mm, b, 99), shown(&mm, a, 50)), (Some(0), None));
    // The same page again needs no other.
    assert_eq!(Losses::of(&mm).sink(a, PageNo(50 + pages - 1)), Ok(()));
    assert_eq!(Losses::of(&mm).sink(b, PageNo(98)), Ok(()));
    assert_eq!((shown(&mm, b, 99), shown(&mm, a, 51)), (None, Some(0)));
    assert_eq!(mm.stats().standby_pages, pages);
    let c = mm.fork(a).expect_err("it is condemned");
    assert!(matches!(c, SpaceError::Fault(_)));
    sound(&mm);
    assert!(mm.take_failure(a).is_some());
    assert_eq!((mm.stats().standby_pages, shown(&mm, b, 98)), (1, Some(0)));
    mm.drop_space(b).expect("nothing is in the way");
    assert_eq!(mm.stats().standby_pages, 0);
    sound(&mm);
}

/// Goal: a load without room gets the page's bytes, wherever they are, and changes no table; the
/// next store is a fault, which takes the standby page away. Method: a page in the store, one of a
/// relative, one never written.
#[test]
fn loads_need_no_room() {
    let mm = limited(4 << 20);
    let a = space(&mm, 100);
    write(&mm, a, 0..20, 1);
    write(&mm, a, 40..41, 4);
    mm.evict(a, run(40, 1)).expect("it lives");
    let b = mm.fork(a).expect("room");
    fill_up(&mm);
    let digest = crate::Digest::of(&mm);
    for (page, is) in [(40, 4), (1, 1), (60, 0)] {
        read(&mm, b, page);
        assert_eq!(shown(&mm, b, page), Some(is), "page {page}");
    }
    assert_eq!(
        (crate::Digest::of(&mm), mm.stats().standby_pages, mm.failure(b)),
        (digest, 3, None)
    );
    sound(&mm);
    let rest = mm.usage().stored;
    mm.budget.refund(Class::Stored, rest);
    for (page, is) in [(40, 4), (1, 1)] {
        assert_eq!(stores(&mm, b, page), Ok(()));
        assert_eq!(value(&mm, b, page), is);
    }
    assert_eq!(mm.stats().standby_pages, 1);
    sound(&mm);
}

/// Goal: a store of the host's that the area does not allow condemns the space and is lost; it
/// reaches neither a file's page nor one of the space's own.
#[test]
fn what_is_not_allowed_is_sunk() {
    let mm = limited(4 << 20);
    let a = space(&mm, 100);
    let source = SimSource::new(1, vec![7; 4 * PAGE_SIZE]);
    let file = mm.files().open(Box::new(source)).expect("room");
    let mapped = mm
        .areas(a)
        .map(run(4, 4), &file, PageNo(0), Piece::Private, Rights::Read);
    assert_eq!(mapped, Ok(()));
    write(&mm, a, 0..1, 1);
    assert_eq!(mm.areas(a).protect(run(0, 1), Rights::Read), Ok(()));
    for page in [0, 5] {
        read(&mm, a, page);
        let forbidden = stores(&mm, a, page).expect_err("it may not");
        assert_eq!(mm.failure(a), None, "nothing is lost");
        let served = Losses::of(&mm).sink(a, PageNo(page));
        assert_eq!(served, if page == 0 { Err(forbidden) } else { Ok(()) });
        assert_eq!(mm.take_failure(a), Some(forbidden));
    }
    let again = stores(&mm, a, 5).expect_err("it may not");
    assert_eq!(Losses::of(&mm).sink(a, PageNo(5)), Ok(()));
    poke(&mm, a, 5, 9);
    assert_eq!(mm.take_failure(a), Some(again));
    read(&mm, a, 5);
    assert_eq!([0, 5].map(|page| value(&mm, a, page)), [1, 7]);
    sound(&mm);
    mm.drop_space(a).expect("it lives");
    mm.files().close(file);
}

/// Goal: steps on neighbours pass over a page for which another stands in: it is not taken for a
/// page of the space's own.
#[test]
fn neighbours_are_let_be() {
    let mm = limited(4 << 20);
    let a = space(&mm, 100);
    write(&mm, a, 0..1, 1);
    fill_up(&mm);
    read(&mm, a, 35);
    assert_eq!(mm.stats().standby_pages, 1);
    let rest = mm.usage().stored;
    mm.budget.refund(Class::Stored, rest);
    // Each makes as many pages ahead as were written before it.
    for page in 32..35 {
        write(&mm, a, page..page + 1, 2);
    }
    assert_eq!(
        (mm.stats().standby_pages, shown(&mm, a, 35), value(&mm, a, 35)),
        (1, Some(0), 0)
    );
    write(&mm, a, 35..36, 3);
    assert_eq!((mm.stats().standby_pages, value(&mm, a, 35)), (0, 3));
    sound(&mm);
}

/// Goal: a space that exports pages ends in a budget that is full to the last byte; its pages live
/// on.
#[test]
fn an_exporter_ends_without_room() {
    let (mm, a, b) = family();
    let before = mm.usage();
    mm.drop_space(a).expect("room is set aside");
    assert_eq!((0..4).map(|page| value(&mm, b, page)).sum::<u8>(), 4);
    let usage = mm.usage();
    assert_eq!((usage.private, usage.pool), (0, 4 * PAGE));
    assert!(usage.peak == before.peak && usage.total <= before.total);
    sound(&mm);
}

/// Goal: what finds no room for the record of its place waits for it: it is not taken for a page
/// whose place another version has, which everybody would have to copy.
#[test]
fn no_room_for_a_record_is_no_other_version() {
    let (mm, a, b) = family();
    let full = mm.freeze(a).expect_err("there is no room for the record");
    assert!(matches!(full, SpaceError::OverBudget { .. }));
    assert_eq!(mm.stats().promoted, 0);
    let rest = mm.usage().stored;
    mm.budget.refund(Class::Stored, rest);
    let frozen = mm.freeze(a).expect("room");
    let backing = |s| mm.lock_space(s).expect("it lives").backing;
    assert_eq!((backing(frozen), mm.usage().private), (backing(b), 0));
    let stands = Residence::Backing(backing(a));
    for page in 0..4 {
        let frame = crate::rig::frame_at(&mm, b, page).expect("in memory");
        assert_eq!(mm.frames.lock(frame).residence, stands);
    }
    sound(&mm);
}

/// Goal: a page that holds as much in the store as in memory comes back for a store in a budget
/// that has room for nothing else.
#[test]
fn raw_pages_come_back() {
    let mm = limited(4 << 20);
    let a = space(&mm, 100);
    write(&mm, a, 0..2, 1);
    mm.evict(a, run(0, 2)).expect("it lives");
    let usage = mm.usage();
    // Up to where content that comes back ends.
    let rest = usage.limit - usage.total - PAGE;
    assert!(mm.budget.charge(Class::Stored, rest, Need::Reclaim));
    let compressed = stores(&mm, a, 0);
    assert!(matches!(compressed, Err(FaultError::OverBudget { .. })));
    assert!(mm.take_failure(a).is_some());
    mm.store.price(saves_nothing);
    assert_eq!((stores(&mm, a, 0), value(&mm, a, 0)), (Ok(()), 1));
    sound(&mm);
}

/// Goal: so do many, though the array of frames has no room to grow: as many frames are left by
/// others, and when memory of the array is given back.
#[test]
fn raw_pages_have_frames() {
    let mut mm = limited(4 << 20);
    let a = space(&mm, 200);
    mm.store.price(|prices| {
        saves_nothing(prices);
        prices.charged = true;
    });
    (0..200).for_each(|page| write(&mm, a, page..page + 1, page as u8));
    mm.evict(a, run(0, 200)).expect("it lives");
    crate::give_back_tables(&mut mm, Giving::All);
    let others = || alloc_frame(&mm, Need::Reclaim).ok();
    let usage = mm.usage();
    let rest = usage.limit - usage.total - PAGE;
    assert!(mm.budget.charge(Class::Stored, rest, Need::Reclaim));
    let taken: Vec<_> = std::iter::from_fn(others).collect();
    for page in 0..200 {
        assert_eq!(stores(&mm, a, page), Ok(()), "page {page}");
    }
    assert!((0..200).all(|page| value(&mm, a, page) == page as u8));
    taken.into_iter().for_each(|frame| mm.frames.free(frame.0));
    sound(&mm);
}
