//! Pages that move inside their space while programs store, fork, evict and merge: each is in one
//! place, whole, and a store is in what moved or in the zeros that follow it.

use super::*;

/// A space of six pages, the first three of which read 10, 11, 12.
fn six_pages(mm: &Manager) -> SpaceNo {
    let space = mm.create(Size { len: 6, reserve: 6 }, Domain(0)).unwrap();
    (0..3).for_each(|page| put(mm, space, page, 10 + page as u8));
    space
}

/// The first three pages go to where the last three are.
fn move_up(mm: &Manager, space: SpaceNo) {
    mm.areas(space).remap(ALL, PageNo(3)).unwrap();
}

fn all(mm: &Manager, space: SpaceNo) -> [u8; 6] {
    std::array::from_fn(|page| get(mm, space, page as u32))
}

#[test]
fn stores_while_pages_move() {
    explore(
        six_pages,
        |a| {
            [
                task(move |mm| put(mm, a, 1, 31)),
                task(move |mm| move_up(mm, a)),
                task(move |mm| evict(mm, a)),
                task(move |mm| {
                    mm.reclaim(3);
                }),
            ]
        },
        |mm, a| {
            let found = all(mm, a);
            assert!(
                [[0, 0, 0, 10, 31, 12], [0, 31, 0, 10, 11, 12]].contains(&found),
                "{found:?}"
            );
        },
    );
}

#[test]
fn forks_while_pages_move() {
    explore(
        |mm| {
            let a = six_pages(mm);
            (a, mm.fork(a).unwrap())
        },
        |(a, b)| {
            [
                task(move |mm| move_up(mm, a)),
                task(move |mm| {
                    let child = mm.fork(a).unwrap();
                    let found = all(mm, child);
                    assert!(
                        [[10, 11, 12, 0, 0, 0], [0, 0, 0, 10, 11, 12]].contains(&found),
                        "{found:?}"
                    );
                    put(mm, child, 4, 62);
                }),
                task(move |mm| {
                    reads(mm, b);
                    put(mm, b, 1, 41);
                }),
                task(move |mm| evict(mm, b)),
            ]
        },
        |mm, (a, b)| {
            assert_eq!(all(mm, a), [0, 0, 0, 10, 11, 12]);
            assert_eq!(all(mm, b), [10, 41, 12, 0, 0, 0]);
        },
    );
}

#[test]
fn merged_pages_move_while_they_merge() {
    explore(
        |mm| {
            let root = mm.create(Size { len: 6, reserve: 6 }, Domain(0)).unwrap();
            mm.set_merging(root, Merging::On).unwrap();
            let both = (mm.fork(root).unwrap(), mm.fork(root).unwrap());
            for space in [both.0, both.1] {
                (0..3).for_each(|page| put(mm, space, page, 10 + page as u8));
            }
            put(mm, both.1, 4, 11);
            both
        },
        |(a, b)| {
            [
                task(merge),
                task(move |mm| move_up(mm, a)),
                task(move |mm| put(mm, b, 0, 40)),
                task(move |mm| evict(mm, b)),
            ]
        },
        |mm, (a, b)| {
            merge(mm);
            assert_eq!(all(mm, a), [0, 0, 0, 10, 11, 12]);
            assert_eq!(all(mm, b), [40, 11, 12, 0, 11, 0]);
        },
    );
}
