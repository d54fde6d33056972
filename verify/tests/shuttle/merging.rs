//! Merging while programs store, fork, pin, evict, unmerge and drop: no byte is lost or seen by who
//! must not see it.

use super::*;

#[test]
fn merging_against_stores_and_eviction() {
    explore(
        siblings,
        |(a, b)| {
            [
                task(merge),
                task(move |mm| put(mm, a, 0, 30)),
                task(move |mm| put(mm, b, 1, 41)),
                task(move |mm| evict(mm, a)),
            ]
        },
        |mm, (a, b)| {
            assert_eq!((get(mm, a, 0), get(mm, a, 1), get(mm, a, 2)), (30, 11, 12));
            assert_eq!((get(mm, b, 0), get(mm, b, 1), get(mm, b, 2)), (10, 41, 12));
        },
    );
}

#[test]
fn merging_fork_reclaim_and_drop_at_once() {
    explore(
        siblings,
        |(a, b)| {
            [
                task(merge),
                task(move |mm| {
                    let child = mm.fork(a).unwrap();
                    reads(mm, child);
                    put(mm, child, 2, 62);
                }),
                task(move |mm| {
                    mm.reclaim(3);
                }),
                task(move |mm| mm.drop_space(b).unwrap()),
            ]
        },
        |mm, (a, _)| reads(mm, a),
    );
}

#[test]
fn merging_of_merged_pages_against_swap_in_and_unmerge() {
    explore(
        |mm| {
            let (a, b) = siblings(mm);
            merge(mm);
            evict(mm, a);
            put(mm, b, 1, 11);
            (a, b)
        },
        |(a, b)| {
            [
                task(merge),
                task(move |mm| reads(mm, a)),
                task(move |mm| {
                    mm.unmerge(b, ALL).unwrap();
                    put(mm, b, 2, 42);
                }),
                task(move |mm| evict(mm, b)),
            ]
        },
        |mm, (a, b)| {
            reads(mm, a);
            assert_eq!((get(mm, b, 0), get(mm, b, 1), get(mm, b, 2)), (10, 11, 42));
        },
    );
}

#[test]
fn merging_against_a_pin() {
    explore(
        siblings,
        |(a, b)| {
            [
                task(merge),
                task(move |mm| {
                    let run = Run::one(PageNo(0));
                    mm.host().expect_hold(a, run);
                    mm.pin(a, run).unwrap();
                    mm.host().hold(a, run);
                    mm.host().kernel_store(a, place(0), &[70]);
                    thread::yield_now();
                    mm.host().kernel_store(a, place(0), &[71]);
                    mm.host().let_go(a, run);
                    mm.unpin(a, run);
                }),
                task(move |mm| reads(mm, b)),
            ]
        },
        |mm, (a, b)| {
            reads(mm, b);
            assert_eq!((get(mm, a, 0), get(mm, a, 1)), (71, 11));
        },
    );
}

/// Pages that nothing distinguishes from zeros are given up while they are written.
#[test]
fn zeros_against_stores_and_a_fork() {
    explore(
        |mm| {
            let (a, b) = siblings(mm);
            (0..3).for_each(|page| put(mm, a, page, 0));
            (a, b)
        },
        |(a, _)| {
            [
                task(merge),
                task(move |mm| put(mm, a, 1, 33)),
                task(move |mm| {
                    let child = mm.fork(a).unwrap();
                    assert_eq!((get(mm, child, 0), get(mm, child, 2)), (0, 0));
                }),
                task(merge),
            ]
        },
        |mm, (a, b)| {
            assert_eq!((get(mm, a, 0), get(mm, a, 1), get(mm, a, 2)), (0, 33, 0));
            reads(mm, b);
        },
    );
}
