//! Goal: merging changes no byte and leaves nothing behind whatever runs beside it: stores, loads,
//! forks, eviction, drops, another merger, unmerging. Method: as `main.rs`; siblings that wrote the
//! same bytes each for itself.

use super::{ALL, Manager, evict, explore, get, put, reads, task};
use memfold_host::Domain;
use memfold_host::addr::SpaceNo;
use memfold_mm::{MergeStep, Merging, Size};

/// Two siblings that read 10, 11, 12 in pages that are not shared, and take part in merging.
fn twins(mm: &Manager) -> (SpaceNo, SpaceNo) {
    let pristine = mm.create(Size { len: 3, reserve: 3 }, Domain(0)).unwrap();
    let (a, b) = (mm.fork(pristine).unwrap(), mm.fork(pristine).unwrap());
    for space in [a, b] {
        (0..3).for_each(|page| put(mm, space, page, 10 + page as u8));
        mm.set_merging(space, Merging::On).unwrap();
    }
    (a, b)
}

/// The same, merged: a setup that merges nothing would test nothing.
fn merged(mm: &Manager) -> (SpaceNo, SpaceNo) {
    let (a, b) = twins(mm);
    assert!(merge(mm).merged + merge(mm).merged > 1);
    (a, b)
}

fn merge(mm: &Manager) -> MergeStep {
    mm.merge_round(None).unwrap()
}

fn merger(mm: &Manager) {
    let _ = merge(mm);
}

fn both_read(mm: &Manager, (a, b): (SpaceNo, SpaceNo)) {
    reads(mm, a);
    reads(mm, b);
}

#[test]
fn a_store_is_seen_by_its_space_alone() {
    explore(
        twins,
        |(a, b)| {
            [
                task(merger),
                task(move |mm| {
                    put(mm, a, 0, 30);
                    assert_eq!(get(mm, a, 0), 30);
                }),
                task(move |mm| (0..2).for_each(|_| assert_eq!(get(mm, b, 0), 10))),
            ]
        },
        |mm, (a, b)| assert_eq!((get(mm, a, 0), get(mm, b, 0), get(mm, b, 1)), (30, 10, 11)),
    );
}

#[test]
fn both_siblings_store_to_a_merged_page() {
    explore(
        merged,
        |(a, b)| {
            [
                task(move |mm| put(mm, a, 0, 30)),
                task(move |mm| put(mm, b, 0, 40)),
                task(merger),
            ]
        },
        |mm, (a, b)| assert_eq!((get(mm, a, 0), get(mm, b, 0), get(mm, a, 2)), (30, 40, 12)),
    );
}

#[test]
fn eviction_beside_a_merger() {
    explore(
        twins,
        |(a, b)| {
            [
                task(merger),
                task(move |mm| evict(mm, a)),
                task(move |mm| reads(mm, b)),
            ]
        },
        both_read,
    );
}

#[test]
fn two_mergers() {
    explore(
        twins,
        |(a, _)| [task(merger), task(merger), task(move |mm| reads(mm, a))],
        both_read,
    );
}

#[test]
fn a_fork_and_a_drop_beside_a_merger() {
    explore(
        twins,
        |(a, b)| {
            [
                task(merger),
                task(move |mm| {
                    let child = mm.fork(a).unwrap();
                    put(mm, child, 1, 51);
                    assert_eq!((get(mm, child, 0), get(mm, child, 1)), (10, 51));
                }),
                task(move |mm| mm.drop_space(b).unwrap()),
            ]
        },
        |mm, (a, _)| reads(mm, a),
    );
}

#[test]
fn unmerging_beside_eviction_and_a_merger() {
    explore(
        merged,
        |(a, b)| {
            [
                task(move |mm| _ = mm.unmerge(a, ALL).unwrap()),
                task(move |mm| evict(mm, b)),
                task(merger),
            ]
        },
        both_read,
    );
}
