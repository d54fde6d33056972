//! Goal: pages that are given up go first, without being stored, and only as long as nobody stored
//! to them; nobody else loses anything. Method: the manager on the simulated machine.

use crate::addr::{PAGE_SIZE, PageNo, SpaceNo};
use crate::host::{Piece, Store};
use crate::rig::{
    Harness, limited, map, numbered, open, poke, put, read, resident, run, sound, space, value, write,
};
use crate::{Rights, SpaceError};

/// A space of 64 pages of which the first so many are ones.
fn ones(pages: u32) -> (Harness, SpaceNo) {
    let mm = limited(8 << 20);
    let a = space(&mm, 64);
    write(&mm, a, 0..pages, 1);
    (mm, a)
}

fn free(mm: &Harness, space: SpaceNo, first: u32, len: u32) {
    assert_eq!(mm.areas(space).free(run(first, len)), Ok(()));
    sound(mm);
}

/// Pages given up, of these dropped, and kept.
fn counts(mm: &Harness) -> (u64, u64, u64) {
    let stats = mm.stats();
    (stats.given_up, stats.given_up_dropped, stats.given_up_kept)
}

/// Goal: they have their bytes until room is needed; then they go before older ones, as zeros, and
/// nothing is stored.
#[test]
fn they_go_first() {
    let (mm, a) = ones(64);
    free(&mm, a, 16, 32);
    assert_eq!((resident(&mm, a).len(), value(&mm, a, 17)), (64, 1));
    assert_eq!((mm.reclaim(8), resident(&mm, a).len()), (32, 32));
    assert_eq!([15, 16, 47, 48].map(|page| value(&mm, a, page)), [1, 0, 0, 1]);
    let (evictions, usage) = (mm.stats().evictions, mm.usage());
    assert_eq!((counts(&mm), evictions, usage.stored), ((32, 32, 0), 0, 0));
    assert_eq!(usage.private, 32 * PAGE_SIZE as u64);
    assert!((16..48).all(|page| mm.host.shown(a, PageNo(page)).is_none()));
    sound(&mm);
}

/// Goal (R38): a store takes a page back, for good; a load does not.
#[test]
fn a_store_keeps_a_page() {
    let (mm, a) = ones(8);
    free(&mm, a, 0, 8);
    put(&mm, a, 3, 7);
    read(&mm, a, 5);
    assert_eq!(counts(&mm), (8, 0, 1));
    assert_eq!(mm.evict(a, run(0, 64)), Ok(8));
    assert_eq!([2, 3, 5].map(|page| value(&mm, a, page)), [0, 7, 0]);
    assert_eq!((counts(&mm), mm.stats().evictions), ((8, 7, 1), 1));
    sound(&mm);
}

/// Goal (R38): a page that was stored to stays, though it is protected again later.
#[test]
fn a_page_that_is_protected_again_stays() {
    let (mm, a) = ones(4);
    free(&mm, a, 0, 4);
    put(&mm, a, 2, 9);
    assert_eq!(mm.areas(a).protect(run(0, 4), Rights::Read), Ok(()));
    assert_eq!((mm.evict(a, run(0, 4)), counts(&mm)), (Ok(4), (4, 3, 1)));
    assert_eq!([1, 2].map(|page| value(&mm, a, page)), [0, 9]);
    sound(&mm);
}

/// Goal: what is in the store goes at once, a page that does not compress can go, and is looked at.
#[test]
fn what_is_stored_goes_at_once() {
    let (mm, a) = ones(8);
    assert_eq!(mm.evict(a, run(0, 4)), Ok(4));
    mm.store.price(crate::rig::saves_nothing);
    assert_eq!((mm.reclaim(4), mm.stats().unevictable_frames), (0, 4));
    free(&mm, a, 2, 4);
    assert_eq!((mm.store.stats().pages, mm.stats().unevictable_frames), (2, 2));
    assert_eq!(mm.reclaim(4), 2);
    assert_eq!(
        [1, 2, 3, 4, 5, 6].map(|page| value(&mm, a, page)),
        [1, 0, 0, 0, 0, 1]
    );
    sound(&mm);
}

/// Goal: what a fork shares stays, pages that were given up before the fork included; so does what
/// is locked or pinned.
#[test]
fn what_others_rely_on_stays() {
    let (mm, a) = ones(16);
    free(&mm, a, 0, 2);
    let b = mm.fork(a).expect("room");
    free(&mm, a, 0, 4);
    free(&mm, b, 0, 4);
    assert_eq!(mm.evict(a, run(0, 4)), Ok(4));
    assert_eq!([a, b].map(|space| value(&mm, space, 1)), [1, 1]);
    mm.drop_space(b).expect("it lives");
    write(&mm, a, 20..24, 1);
    assert_eq!(mm.areas(a).lock(run(20, 1)), Ok(()));
    mm.pin(a, run(21, 1)).expect("room");
    free(&mm, a, 20, 4);
    mm.unpin(a, run(21, 1));
    assert_eq!(mm.evict(a, run(20, 4)), Ok(3));
    assert_eq!([20, 21, 22, 23].map(|page| value(&mm, a, page)), [1, 1, 0, 0]);
    sound(&mm);
}

/// Goal: a page whose fork has gone is stored to in place, and stays. Method: it was given up
/// before the fork.
#[test]
fn a_page_that_was_shared_stays() {
    let (mm, a) = ones(4);
    free(&mm, a, 0, 4);
    let b = mm.fork(a).expect("room");
    mm.drop_space(b).expect("it lives");
    put(&mm, a, 2, 9);
    assert_eq!(mm.evict(a, run(2, 1)), Ok(1));
    assert_eq!(value(&mm, a, 2), 9);
    sound(&mm);
}

/// Goal: copies of a file's pages become the file's again; pages of shared areas stay.
#[test]
fn pages_of_files() {
    let (mm, a) = ones(0);
    let source = numbered(12);
    let file = open(&mm, &source);
    map(&mm, a, (0, 6), &file, 0, Piece::Private);
    map(&mm, a, (10, 6), &file, 6, Piece::Shared);
    put(&mm, a, 1, 9);
    put(&mm, a, 11, 9);
    free(&mm, a, 0, 20);
    assert_eq!((value(&mm, a, 1), mm.evict(a, run(1, 1))), (9, Ok(1)));
    assert_eq!([1, 11].map(|page| value(&mm, a, page)), [101, 9]);
    sound(&mm);
    mm.drop_space(a).expect("it lives");
    mm.files().close(file);
}

/// Goal: a page that only is to be loaded from is given up as well, and a machine that refuses to
/// protect changes nothing.
#[test]
fn refusals() {
    use memfold_sim::{Call, Calls, Lasting, Plan, When};
    let (mm, a) = ones(16);
    assert_eq!(mm.areas(a).protect(run(0, 2), Rights::Read), Ok(()));
    let (calls, when) = (Calls::only(Call::Protect), When::Nth(0, Lasting::Once));
    mm.host.set_plan(Plan { calls, when });
    assert!(matches!(mm.areas(a).free(run(0, 16)), Err(SpaceError::Host(_))));
    assert_eq!(counts(&mm), (0, 0, 0));
    free(&mm, a, 0, 16);
    assert_eq!((mm.evict(a, run(0, 64)), counts(&mm)), (Ok(16), (16, 16, 0)));
    assert_eq!(value(&mm, a, 1), 0);
    let bad = |first, len| SpaceError::BadRun {
        first: PageNo(first),
        len,
    };
    assert_eq!(mm.areas(a).free(run(60, 5)), Err(bad(60, 5)));
    assert_eq!(mm.areas(a).free(run(6, 0)), Err(bad(6, 0)));
}

/// Goal: where the machine may have lost a protection, a store could have come unseen: nothing is
/// given up, and what was is stored.
#[test]
fn protections_that_may_be_lost() {
    let (mm, a) = ones(16);
    free(&mm, a, 0, 8);
    mm.host.lose_protection(a, PageNo(1));
    poke(&mm, a, 1, 5);
    free(&mm, a, 8, 8);
    assert_eq!((mm.evict(a, run(0, 64)), counts(&mm)), (Ok(16), (8, 0, 0)));
    assert_eq!([0, 1, 9].map(|page| value(&mm, a, page)), [1, 5, 1]);
}
