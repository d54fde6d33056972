//! Memory that spaces share: its bytes are nowhere but in memory and in the store.

use crate::addr::{Access, PAGE_SIZE, PageNo, SpaceNo};
use crate::host::{Domain, Piece, Store};
use crate::rig::{Harness, limited, put, resident, run, saves, saves_nothing, sound, space, value};
use crate::space::FaultError;
use crate::{OpenFile, Rights};
use memfold_sim::program::Place;
use memfold_sim::{Call, Calls, Lasting, Plan, When};

fn shared(mm: &Harness, pages: u32) -> OpenFile {
    mm.files().share(pages, Domain(3)).expect("room")
}

/// A space that maps the memory from a page of its own on.
fn mapping(mm: &Harness, file: &OpenFile, at: u32, pages: u32, kind: Piece) -> SpaceNo {
    let no = space(mm, 100);
    let mapped = mm
        .areas(no)
        .map(run(at, pages), file, PageNo(0), kind, Rights::ReadWrite);
    assert_eq!(mapped, Ok(()));
    no
}

/// A program loads from a page.
fn get(mm: &Harness, space: SpaceNo, page: u32) -> u8 {
    let at = Place {
        page: PageNo(page),
        offset: 9,
    };
    let mut out = [99];
    if mm.host.load(space, at, &mut out).is_err() {
        mm.fault(space, PageNo(page), Access::Read).expect("it may");
        mm.host.load(space, at, &mut out).expect("it is shown");
    }
    out[0]
}

/// Pages that are in memory, and such as the store has.
fn there(mm: &Harness) -> (u64, u64) {
    (mm.files().stats().resident, mm.store.stats().pages)
}

fn squeeze(mm: &Harness) {
    mm.host.say_young(false);
    mm.reclaim(4096);
    sound(mm);
}

/// Goal: stores are seen by all who share the memory, forks included, before its pages went to the
/// store and after; private copies are their space's; with the last user all of it is gone.
#[test]
fn shared_and_stored() {
    let mm = limited(8 << 20);
    let before = mm.usage();
    let file = shared(&mm, 40);
    let a = mapping(&mm, &file, 0, 40, Piece::Shared);
    let b = mapping(&mm, &file, 50, 20, Piece::Shared);
    let c = mapping(&mm, &file, 10, 40, Piece::Private);
    (0..30).for_each(|page| put(&mm, a, page, page as u8 + 1));
    assert_eq!((get(&mm, b, 55), get(&mm, a, 35), get(&mm, c, 15)), (6, 0, 6));
    put(&mm, c, 15, 77);
    let fork = mm.fork(a).expect("room");
    put(&mm, b, 55, 66);
    squeeze(&mm);
    assert_eq!((there(&mm).0, resident(&mm, c)), (0, vec![]));
    assert_eq!(
        there(&mm).1,
        31,
        "zeros are not stored: nobody has stored to them"
    );
    assert_eq!([0, 5, 29, 35].map(|page| get(&mm, fork, page)), [1, 66, 30, 0]);
    assert_eq!([get(&mm, b, 50), get(&mm, c, 15), value(&mm, c, 16)], [1, 77, 7]);
    put(&mm, fork, 0, 5);
    assert_eq!((get(&mm, a, 0), get(&mm, b, 50)), (5, 5));
    mm.drop_space(b).expect("it lives");
    mm.files().close(file);
    squeeze(&mm);
    assert_eq!((get(&mm, a, 0), value(&mm, a, 28)), (5, 29));
    sound(&mm);
    for space in [fork, c, a] {
        mm.drop_space(space).expect("it lives");
    }
    sound(&mm);
    let after = mm.usage();
    assert_eq!(
        (there(&mm), after.pool, after.stored),
        ((0, 0), before.pool, before.stored)
    );
}

/// Goal: a page that comes back and is not stored to goes again without new bytes; one that is
/// stored to is not remembered as it was; a look at pages that nobody stored to brings in no more
/// than it asks for.
#[test]
fn clean_pages_go_again() {
    let mm = limited(8 << 20);
    let file = shared(&mm, 40);
    let a = mapping(&mm, &file, 0, 40, Piece::Shared);
    (0..10).for_each(|page| put(&mm, a, page, 1));
    squeeze(&mm);
    let writes = mm.stats().file_writes;
    (0..10).for_each(|page| assert_eq!(get(&mm, a, page), 1));
    assert_eq!(there(&mm), (10, 10));
    squeeze(&mm);
    assert_eq!((there(&mm), mm.stats().file_writes), ((0, 10), writes));
    put(&mm, a, 3, 2);
    assert_eq!(there(&mm).1, 9);
    squeeze(&mm);
    assert_eq!((get(&mm, a, 3), mm.stats().file_writes), (2, writes + 1));
    (20..30).for_each(|page| assert_eq!(get(&mm, a, page), 0));
    assert!(there(&mm).0 <= 11 + 9, "{:?}", there(&mm));
    // The sweep frees what is a cache, and no page.
    (0..50).for_each(|_| assert!(mm.reclaim(1) < 64));
    assert!((0..10).all(|page| value(&mm, a, page) == 1 + u8::from(page == 3)));
    mm.drop_space(a).expect("it lives");
    mm.files().close(file);
    sound(&mm);
}

/// Goal: a page that saves nothing in the store stays, and is not tried again before it changes.
#[test]
fn what_saves_nothing_stays() {
    let mm = limited(8 << 20);
    let file = shared(&mm, 10);
    let a = mapping(&mm, &file, 0, 10, Piece::Shared);
    (0..10).for_each(|page| put(&mm, a, page, page as u8));
    mm.store.price(saves_nothing);
    squeeze(&mm);
    assert_eq!((there(&mm), mm.stats().unevictable_frames), ((10, 0), 10));
    mm.store.price(saves);
    put(&mm, a, 4, 44);
    squeeze(&mm);
    assert_eq!(there(&mm), (9, 1));
    assert_eq!([get(&mm, a, 4), get(&mm, a, 5)], [44, 5]);
    mm.drop_space(a).expect("it lives");
    mm.files().close(file);
    sound(&mm);
}

/// Goal: memory that became shorter has forgotten what lay behind its end, in memory and in the
/// store, and is zeros there when it is longer again.
#[test]
fn shorter_and_longer() {
    let mm = limited(8 << 20);
    let file = shared(&mm, 40);
    let a = mapping(&mm, &file, 0, 40, Piece::Shared);
    (0..20).for_each(|page| put(&mm, a, page, 1));
    squeeze(&mm);
    (15..18).for_each(|page| put(&mm, a, page, 2));
    let bytes = |pages: u64| pages * PAGE_SIZE as u64;
    mm.files().resize(&file, bytes(10) - 7).expect("it may");
    assert_eq!((mm.files().bytes(&file), there(&mm)), (bytes(10), (0, 10)));
    sound(&mm);
    let refused = mm.fault(a, PageNo(12), Access::Read);
    assert!(
        matches!(refused, Err(FaultError::BeyondEnd { .. })),
        "{refused:?}"
    );
    mm.files().resize(&file, bytes(40)).expect("it may");
    assert_eq!([9, 10, 15, 19].map(|page| get(&mm, a, page)), [1, 0, 0, 0]);
    assert_eq!(mm.files().sync(&file, PageNo(0), 40), Ok(()));
    mm.drop_space(a).expect("it lives");
    mm.files().close(file);
    sound(&mm);
}

/// Goal: a store that does not take a page leaves it where it is, one that does not give it is a
/// failure of the access, and neither loses a byte.
#[test]
fn a_store_that_refuses() {
    let mm = limited(8 << 20);
    let file = shared(&mm, 10);
    let a = mapping(&mm, &file, 0, 10, Piece::Shared);
    (0..10).for_each(|page| put(&mm, a, page, 7));
    let all = |call| Plan {
        calls: Calls::only(call),
        when: When::Nth(0, Lasting::FromThenOn),
    };
    mm.store.set_plan(all(Call::Put));
    squeeze(&mm);
    assert_eq!(there(&mm), (10, 0));
    mm.store.set_plan(Plan::NONE);
    squeeze(&mm);
    assert_eq!(there(&mm), (0, 10));
    mm.store.set_plan(all(Call::Get));
    let lost = mm.fault(a, PageNo(3), Access::Read);
    assert!(matches!(lost, Err(FaultError::PageLost { .. })), "{lost:?}");
    mm.store.set_plan(Plan::NONE);
    assert!(mm.take_failure(a).is_some());
    sound(&mm);
    assert!((0..10).all(|page| get(&mm, a, page) == 7));
    mm.drop_space(a).expect("it lives");
    mm.files().close(file);
    sound(&mm);
}
