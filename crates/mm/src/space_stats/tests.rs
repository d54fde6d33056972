//! Goal: each page is counted as what it is. Method: spaces with a different number of pages in
//! each state.

use super::SpaceStats;
use crate::addr::SpaceNo;
use crate::error::SpaceError;
use crate::rig::{harness, read, run, space, write};
use crate::space::Merging;

#[test]
fn pages_are_counted_by_state() {
    let mm = harness();
    let a = space(&mm, 100);
    write(&mm, a, 0..10, 1);
    write(&mm, a, 30..33, 2);
    write(&mm, a, 90..92, 3);
    let b = mm.fork(a).expect("room");
    // Four frames move to the pool; the parent has 11 of them in its window, less those that it
    // writes to.
    write(&mm, b, 5..7, 4);
    mm.evict(a, run(30, 3)).expect("it lives");
    mm.evict(a, run(91, 1)).expect("it lives");
    read(&mm, b, 90);
    write(&mm, a, 40..41, 5);
    mm.pin(a, run(50, 2)).expect("room");
    let own = |exclusive, shared, exported, swapped, pinned| SpaceStats {
        len: 100,
        exclusive,
        shared,
        exported,
        swapped,
        absent: 100 - exclusive - shared - swapped,
        pinned,
        locked: 0,
        merged: 0,
    };
    assert_eq!(crate::SpaceStats::of(&mm, a), Ok(own(3, 11, 10, 4, 2)));
    assert_eq!(crate::SpaceStats::of(&mm, b), Ok(own(2, 9, 0, 4, 0)));
    assert_eq!(
        crate::SpaceStats::of(&mm, SpaceNo(9)),
        Err(SpaceError::NoSuchSpace(SpaceNo(9)))
    );
}

/// Goal: pages that were merged are counted for the space that gave up its own, and not for the
/// next one with its number.
#[test]
fn merged_pages_are_counted() {
    let mm = harness();
    let root = space(&mm, 40);
    mm.set_merging(root, Merging::On).expect("it lives");
    let [a, b] = [(); 2].map(|()| mm.fork(root).expect("room"));
    for space in [a, b] {
        write(&mm, space, 0..4, 7);
        write(&mm, space, 20..21, 0);
    }
    let step = mm.merge_round(None).expect("room");
    assert_eq!(
        (step.scanned, step.merged, step.zeroed, step.round_over),
        (10, 4, 2, true)
    );
    let merged = |space| crate::SpaceStats::of(&mm, space).expect("it lives").merged;
    assert_eq!(merged(a) + merged(b), 6);
    assert_eq!(
        (
            mm.stats().merged,
            mm.stats().merge_zeroed,
            mm.stats().merge_scanned
        ),
        (4, 2, 10)
    );
    let last = if merged(a) > merged(b) { a } else { b };
    mm.drop_space(last).expect("room");
    assert_eq!(mm.fork(root), Ok(last));
    assert_eq!(merged(last), 0);
    assert_eq!(mm.merging(last), Ok(Merging::On));
}
