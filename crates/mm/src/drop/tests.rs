//! Which pages a dying space gives away, and where to.

use crate::addr::SpaceNo;
use crate::drop::Remains;
use crate::error::SpaceError;
use crate::merge::Effort;
use crate::mm::PAGE;
use crate::rig::{Harness, Request, harness, read, run, sound, space, value, write};
use crate::space::Merging;

/// Ends a space; how many of its pages moved to the pool.
fn end(mm: &Harness, space: SpaceNo) -> u64 {
    let before = mm.stats().promoted;
    mm.drop_space(space).expect("there is room");
    assert!(mm.host.requests().contains(&Request::Close(space)));
    assert_eq!(mm.len(space), Err(SpaceError::NoSuchSpace(space)));
    sound(mm);
    mm.stats().promoted - before
}

/// Goal: what a fork still shares outlives its writer, across holes and in shared and split tables;
/// nothing else is kept.
#[test]
fn shared_pages_outlive_their_writer() {
    let mm = harness();
    let a = space(&mm, 100);
    for page in [16, 20, 40, 64, 99] {
        write(&mm, a, page..page + 1, page as u8);
    }
    let b = mm.fork(a).expect("room");
    // This leaf is b's own from now on: its frames have two mappers.
    write(&mm, b, 18..19, 5);
    // Pages that a has for itself: written after the fork, over a shared one, and where nothing
    // was.
    write(&mm, a, 64..65, 6);
    write(&mm, a, 21..22, 7);
    assert_eq!(end(&mm, a), 4, "but 64, which moved when it was written");
    for page in [16, 20, 40, 64, 99] {
        assert_eq!(value(&mm, b, page), page as u8);
    }
    assert_eq!((value(&mm, b, 18), value(&mm, b, 21)), (5, 0));
    let usage = mm.usage();
    assert_eq!((usage.private, usage.pool), (PAGE, 5 * PAGE));
    assert_eq!(end(&mm, b), 0, "nobody else is there");
    assert_eq!(mm.usage().pool, 0);
}

/// Goal: pages that were shared once, and that nobody shares any more, are not moved anywhere.
#[test]
fn what_nobody_shares_just_goes() {
    let mm = harness();
    let a = space(&mm, 100);
    write(&mm, a, 16..20, 1);
    let b = mm.fork(a).expect("room");
    write(&mm, b, 18..19, 5);
    assert_eq!(end(&mm, b), 0);
    assert_eq!(end(&mm, a), 0);
    let usage = mm.usage();
    assert_eq!((usage.private, usage.pool), (0, 0));
}

/// Goal: a page whose place another version has taken goes to the overflow range; both versions
/// live on.
#[test]
fn a_taken_place_is_no_obstacle() {
    let mm = harness();
    let a = space(&mm, 16);
    write(&mm, a, 0..2, 1);
    let b = mm.fork(a).expect("room");
    read(&mm, b, 0);
    write(&mm, b, 0..1, 2);
    let c = mm.fork(b).expect("room");
    assert_eq!(end(&mm, b), 1);
    assert_eq!((value(&mm, a, 0), value(&mm, a, 1)), (1, 1));
    assert_eq!((value(&mm, c, 0), value(&mm, c, 1)), (2, 1));
    assert_eq!(end(&mm, a), 0, "its pages are in the pool already");
    assert_eq!((value(&mm, c, 0), value(&mm, c, 1)), (2, 1));
    end(&mm, c);
    let usage = mm.usage();
    assert_eq!((usage.private, usage.pool), (0, 0));
    // The overflow place is free again.
    assert_eq!(mm.backings.alloc_overflow().expect("memory").0.0, 0);
}

/// Goal: pool pages that nobody names any more are freed in runs of neighbours: one call for each.
#[test]
fn pool_pages_go_in_runs() {
    let mm = harness();
    let a = space(&mm, 200);
    write(&mm, a, 3..7, 1);
    write(&mm, a, 9..10, 1);
    write(&mm, a, 90..170, 1);
    let copy = mm.freeze(a).expect("room");
    mm.drop_space(copy).expect("nobody needs it");
    mm.host.requests();
    let first = mm.backings.first(mm.lock_space(a).expect("it lives").backing);
    mm.drop_space(a).expect("nobody shares");
    let freed = mm.host.requests();
    let free = |page, len| Request::Free(first.plus(page), len);
    // A run has 64 pages at most.
    assert_eq!(
        freed,
        [
            free(3, 4),
            free(9, 1),
            free(90, 64),
            free(154, 16),
            Request::Close(a)
        ]
    );
    sound(&mm);
    assert_eq!(mm.usage().pool, 0);
}

/// Goal: who finds a space by its number while it ends is told at once that it is dead: nobody
/// waits for its lock. Method: the two halves of the end, and in between whatever looks for spaces.
#[test]
fn nobody_waits_for_a_space_that_ends() {
    let mm = harness();
    let a = space(&mm, 100);
    write(&mm, a, 0..100, 1);
    let b = mm.fork(a).expect("room");
    write(&mm, b, 3..40, 2);
    mm.set_merging(b, Merging::On).expect("it lives");
    let remains = Remains::take(&mut mm.lock_space(b).expect("it lives"));
    assert!(mm.spaces.get(b.0).try_lock().is_some());
    let no = Err(SpaceError::NoSuchSpace(b));
    assert_eq!(mm.len(b), no);
    assert!(mm.fork(b).is_err());
    assert!(mm.merge(1000, Effort::Everything).round_over);
    assert_eq!(mm.reclaim(0), 0);
    assert_eq!(value(&mm, a, 3), 1);
    remains.free(&mm);
    mm.spaces.free(b.0);
    sound(&mm);
    assert_eq!(end(&mm, a), 0);
    assert_eq!((mm.usage().private, mm.usage().pool), (0, 0));
}

/// Goal: the private pages of a large window are freed in pieces before it is closed; those of a
/// small one with it.
#[test]
fn large_windows_are_emptied_in_pieces() {
    let mm = harness();
    let a = space(&mm, 5000);
    write(&mm, a, 0..2100, 1);
    write(&mm, a, 4990..5000, 1);
    mm.host.requests();
    mm.drop_space(a).expect("nobody shares");
    let empty = |first, len| Request::Drop(a, run(first, len));
    let pieces = [
        empty(0, 2048),
        empty(2048, 2048),
        empty(4096, 904),
        Request::Close(a),
    ];
    assert_eq!(mm.host.requests(), pieces);
    let b = space(&mm, 5000);
    write(&mm, b, 0..100, 1);
    mm.host.requests();
    mm.drop_space(b).expect("nobody shares");
    assert_eq!(mm.host.requests(), [Request::Close(b)]);
    sound(&mm);
}

/// Goal: pins that were left end with their space, however many.
#[test]
fn pins_end_with_their_space() {
    let mm = harness();
    let a = space(&mm, 3000);
    mm.pin(a, run(100, 2500)).expect("room");
    mm.pin(a, run(100, 1)).expect("room");
    assert_eq!(end(&mm, a), 0);
    assert_eq!((mm.usage().private, mm.stats().unevictable_frames), (0, 0));
}
