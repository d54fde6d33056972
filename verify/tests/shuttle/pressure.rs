//! A budget that has no room: threads reclaim for themselves, in their faults, all at once.

use super::*;
use memfold_mm::FaultError;
use std::sync::atomic::{AtomicU64, Ordering};

/// A family and a stranger, and room for one page more before faults must reclaim.
fn hemmed_in(mm: &Manager) -> (SpaceNo, SpaceNo, SpaceNo) {
    let (a, b) = family(mm);
    let c = three_pages(mm);
    mm.refusals().set_aside((mm.usage().free / 4096 - 1) * 4096);
    (a, b, c)
}

/// A store that may find no room; whether it happened.
fn try_put(mm: &Manager, space: SpaceNo, page: u32, byte: u8) -> bool {
    match program::store(mm, space, place(page), &[byte]) {
        Ok(()) => true,
        Err(FaultError::OverBudget { .. }) => false,
        Err(other) => panic!("{other}"),
    }
}

/// A store and then a load of the same page, be there room or not.
fn put_and_get(mm: &Manager, space: SpaceNo, page: u32, before: u8, byte: u8) {
    let expected = if try_put(mm, space, page, byte) {
        byte
    } else {
        before
    };
    let mut out = [0];
    match program::load(mm, space, place(page), &mut out) {
        Ok(()) => assert_eq!(out[0], expected),
        Err(FaultError::OverBudget { .. }) => (),
        Err(other) => panic!("{other}"),
    }
}

fn either(mm: &Manager, space: SpaceNo, page: u32, bytes: [u8; 2]) {
    let found = get(mm, space, page);
    assert!(
        bytes.contains(&found),
        "page {page} of space {space} reads {found}"
    );
}

/// Direct reclaims of all schedules. A number: nothing hangs on its order.
static RECLAIMS: AtomicU64 = AtomicU64::new(0);

/// There is room again, and spaces that lost a store go on.
fn relax(mm: &Manager, spaces: &[SpaceNo]) {
    mm.refusals().set_aside(0);
    for &space in spaces {
        let _ = mm.take_failure(space);
    }
    // Relaxed: a count.
    RECLAIMS.fetch_add(mm.stats().direct_reclaims, Ordering::Relaxed);
}

/// Goal: direct reclaim, by the faulting thread itself, with its space locked by nobody or by
/// others.
#[test]
fn direct_reclaim_by_faulting_threads() {
    explore_within(
        3 << 20,
        hemmed_in,
        |(a, b, c)| {
            [
                task(move |mm| put_and_get(mm, a, 0, 10, 20)),
                task(move |mm| put_and_get(mm, b, 1, 11, 31)),
                task(move |mm| put_and_get(mm, c, 2, 12, 42)),
            ]
        },
        |mm, (a, b, c)| {
            relax(mm, &[a, b, c]);
            either(mm, a, 0, [10, 20]);
            either(mm, b, 1, [11, 31]);
            either(mm, c, 2, [12, 42]);
            assert_eq!((get(mm, a, 1), get(mm, b, 0), get(mm, c, 0)), (11, 10, 10));
        },
    );
    // Relaxed: a count.
    let reclaims = RECLAIMS.load(Ordering::Relaxed);
    assert!(
        reclaims > 1000,
        "threads reclaimed for themselves {reclaims} times only"
    );
}

/// The same while another thread reclaims, forks and drops, and merges.
#[test]
fn direct_reclaim_against_fork_drop_and_merging() {
    explore_within(
        3 << 20,
        |mm| {
            let (a, b) = siblings(mm);
            mm.refusals().set_aside((mm.usage().free / 4096 - 1) * 4096);
            (a, b)
        },
        |(a, b)| {
            [
                task(move |mm| put_and_get(mm, a, 0, 10, 20)),
                task(move |mm| put_and_get(mm, b, 1, 11, 31)),
                task(move |mm| {
                    if let Ok(child) = mm.fork(a) {
                        let _ = mm.drop_space(child);
                    }
                }),
                task(move |mm| {
                    let _ = mm.merge_round(Some(a));
                }),
            ]
        },
        |mm, (a, b)| {
            relax(mm, &[a, b]);
            either(mm, a, 0, [10, 20]);
            either(mm, b, 1, [11, 31]);
            assert_eq!((get(mm, a, 1), get(mm, b, 0), get(mm, b, 2)), (11, 10, 12));
        },
    );
}
