//! Pages that come and go while others use them: first touches, eviction, swap-in, ageing, numbers
//! that are used again.

use super::*;
use memfold_host::addr::Access;

#[test]
fn two_threads_touch_a_new_page() {
    explore(
        |mm| mm.create(Size { len: 3, reserve: 3 }, Domain(0)).unwrap(),
        |a| {
            [
                task(move |mm| assert!([0, 60].contains(&get(mm, a, 1)))),
                task(move |mm| put(mm, a, 1, 60)),
                task(move |mm| put(mm, a, 2, 61)),
                task(move |mm| evict(mm, a)),
            ]
        },
        |mm, a| assert_eq!((get(mm, a, 0), get(mm, a, 1), get(mm, a, 2)), (0, 60, 61)),
    );
}

#[test]
fn readers_of_shared_pages_against_eviction() {
    explore(
        family,
        |(a, b)| {
            [
                task(move |mm| reads(mm, a)),
                task(move |mm| reads(mm, b)),
                task(move |mm| evict(mm, a)),
                task(move |mm| evict(mm, b)),
            ]
        },
        |mm, (a, b)| [a, b].into_iter().for_each(|space| reads(mm, space)),
    );
}

#[test]
fn both_write_while_pages_are_evicted() {
    explore(
        family,
        |(a, b)| {
            [
                task(move |mm| put(mm, a, 1, 31)),
                task(move |mm| put(mm, b, 1, 41)),
                task(move |mm| {
                    mm.reclaim(3);
                }),
            ]
        },
        |mm, (a, b)| {
            assert_eq!((get(mm, a, 1), get(mm, b, 1)), (31, 41));
            assert_eq!((get(mm, a, 2), get(mm, b, 2)), (12, 12));
        },
    );
}

#[test]
fn one_slot_is_brought_in_by_two() {
    explore(
        cold_family,
        |(a, b)| {
            [
                task(move |mm| assert_eq!(get(mm, a, 0), 10)),
                task(move |mm| assert_eq!(get(mm, b, 0), 10)),
            ]
        },
        |mm, (a, b)| [a, b].into_iter().for_each(|space| reads(mm, space)),
    );
}

#[test]
fn one_slot_is_brought_in_read_written_and_evicted() {
    explore(
        |mm| {
            let (a, b) = cold_family(mm);
            (a, b, mm.fork(a).unwrap())
        },
        |(a, b, c)| {
            [
                task(move |mm| reads(mm, a)),
                task(move |mm| put(mm, b, 0, 42)),
                task(move |mm| {
                    put(mm, c, 1, 52);
                    assert_eq!(get(mm, c, 0), 10);
                }),
                task(move |mm| (0..2).for_each(|_| evict(mm, a))),
            ]
        },
        |mm, (a, b, c)| {
            reads(mm, a);
            assert_eq!((get(mm, b, 0), get(mm, c, 1)), (42, 52));
        },
    );
}

#[test]
fn ageing_hides_and_protects_while_programs_run() {
    explore(
        |mm| {
            let (a, b) = family(mm);
            reads(mm, b);
            put(mm, a, 2, 32);
            (a, b)
        },
        |(a, b)| {
            [
                task(move |mm| put(mm, a, 2, 33)),
                task(move |mm| reads(mm, b)),
                task(move |mm| {
                    mm.advise_cold(a, ALL).unwrap();
                    mm.reclaim(1);
                }),
            ]
        },
        |mm, (a, b)| {
            reads(mm, b);
            assert_eq!((get(mm, a, 1), get(mm, a, 2)), (11, 33));
        },
    );
}

#[test]
fn frames_are_reused_while_others_hold_stale_numbers() {
    explore(
        family,
        |(a, b)| {
            [
                task(move |mm| reads(mm, a)),
                task(move |mm| (0..2).for_each(|_| evict(mm, b))),
                task(move |mm| {
                    let c = mm.create(Size { len: 2, reserve: 2 }, Domain(0)).unwrap();
                    put(mm, c, 0, 80);
                    assert_eq!(get(mm, b, 0), 10);
                    assert_eq!(get(mm, c, 0), 80);
                }),
            ]
        },
        |mm, (a, b)| [a, b].into_iter().for_each(|space| reads(mm, space)),
    );
}

#[test]
fn a_stale_name_of_a_space_is_refused_or_is_the_new_space() {
    explore(
        family,
        |(_, b)| {
            [
                task(move |mm| {
                    mm.drop_space(b).unwrap();
                    let new = mm.create(Size { len: 3, reserve: 3 }, Domain(0)).unwrap();
                    put(mm, new, 0, 90);
                }),
                task(move |mm| {
                    let _ = mm.fault(b, PageNo(0), Access::Read);
                    let _ = mm.len(b);
                }),
                task(move |mm| {
                    mm.reclaim(2);
                }),
            ]
        },
        |mm, (a, _)| reads(mm, a),
    );
}
