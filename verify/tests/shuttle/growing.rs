//! A space that several threads make longer at once, while others use it.

use super::*;
use memfold_mm::SpaceError;

/// A space of two pages that can grow to five.
fn short(mm: &Manager) -> SpaceNo {
    let space = mm.create(Size { len: 2, reserve: 5 }, Domain(0)).unwrap();
    (0..2).for_each(|page| put(mm, space, page, 10 + page as u8));
    space
}

/// Grows to `to` pages, unless another thread has grown further already; then the last of them can
/// be used.
fn grow(mm: &Manager, space: SpaceNo, to: u32) {
    match mm.grow(space, to) {
        Ok(()) => (),
        Err(SpaceError::BadSize { pages, most }) => assert_eq!((pages, most), (u64::from(to), 5)),
        Err(other) => panic!("{other}"),
    }
    assert!(mm.len(space).unwrap() >= to);
    put(mm, space, to - 1, 20 + to as u8);
}

/// Goal: a space only grows, whoever is first, and its window with it. Method: two threads grow it
/// by different lengths and store to their last page; a third forks it meanwhile and uses what the
/// fork has.
#[test]
fn two_threads_grow_one_space() {
    explore(
        short,
        |a| {
            [
                task(move |mm| grow(mm, a, 3)),
                task(move |mm| grow(mm, a, 5)),
                task(move |mm| {
                    let child = mm.fork(a).unwrap();
                    let len = mm.len(child).unwrap();
                    assert!([2, 3, 5].contains(&len), "{len}");
                    put(mm, child, len - 1, 40);
                    assert_eq!(get(mm, child, 0), 10);
                    grow(mm, child, 5);
                    assert_eq!(get(mm, child, 4), 25);
                }),
            ]
        },
        |mm, a| {
            assert_eq!(mm.len(a), Ok(5));
            assert_eq!(mm.grow(a, 6), Err(SpaceError::BadSize { pages: 6, most: 5 }));
            let bytes = [0, 1, 2, 3, 4].map(|page| get(mm, a, page));
            assert_eq!(bytes, [10, 11, 23, 0, 25]);
        },
    );
}

/// The same with a round of eviction over what is new, and a sibling that goes.
#[test]
fn growth_against_eviction_and_drop() {
    explore(
        |mm| {
            let space = short(mm);
            (space, mm.fork(space).unwrap())
        },
        |(a, b)| {
            [
                task(move |mm| grow(mm, a, 4)),
                task(move |mm| grow(mm, a, 3)),
                task(move |mm| evict(mm, a)),
                task(move |mm| mm.drop_space(b).unwrap()),
            ]
        },
        |mm, (a, _)| {
            assert_eq!(mm.len(a), Ok(4));
            let bytes = [0, 1, 2, 3].map(|page| get(mm, a, page));
            assert_eq!(bytes, [10, 11, 23, 24]);
        },
    );
}
