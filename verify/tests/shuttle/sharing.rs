//! Spaces that share pages: forks, stores on one side, copies that are frozen or pinned, the end of
//! a parent.

use super::*;

#[test]
fn fork_sees_each_page_at_one_moment() {
    explore(
        three_pages,
        |a| {
            [
                task(move |mm| put(mm, a, 0, 20)),
                task(move |mm| {
                    let child = mm.fork(a).unwrap();
                    let first = get(mm, child, 0);
                    assert!(first == 10 || first == 20, "{first}");
                    assert_eq!(get(mm, child, 0), first);
                    assert_eq!(get(mm, child, 1), 11);
                }),
                task(move |mm| {
                    mm.reclaim(2);
                }),
            ]
        },
        |mm, a| assert_eq!(get(mm, a, 0), 20),
    );
}

#[test]
fn a_write_is_never_seen_by_the_other_space() {
    explore(
        family,
        |(a, b)| {
            [
                task(move |mm| {
                    put(mm, a, 0, 30);
                    assert_eq!(get(mm, a, 0), 30);
                }),
                task(move |mm| (0..2).for_each(|_| assert_eq!(get(mm, b, 0), 10))),
                task(move |mm| evict(mm, a)),
            ]
        },
        |mm, (a, b)| assert_eq!((get(mm, a, 0), get(mm, b, 0)), (30, 10)),
    );
}

#[test]
fn promotion_against_a_write_of_the_parent() {
    explore(
        family,
        |(a, b)| {
            [
                task(move |mm| put(mm, a, 1, 31)),
                task(move |mm| reads(mm, b)),
                task(move |mm| put(mm, a, 2, 32)),
            ]
        },
        |mm, (a, b)| {
            reads(mm, b);
            assert_eq!((get(mm, a, 0), get(mm, a, 1), get(mm, a, 2)), (10, 31, 32));
        },
    );
}

#[test]
fn drop_of_the_grandparent_against_a_fork() {
    explore(
        family,
        |(a, b)| {
            [
                task(move |mm| mm.drop_space(a).unwrap()),
                task(move |mm| {
                    let c = mm.fork(b).unwrap();
                    reads(mm, c);
                }),
                task(move |mm| evict(mm, b)),
            ]
        },
        |mm, (_, b)| reads(mm, b),
    );
}

#[test]
fn drop_of_the_parent_against_the_child() {
    explore(
        family,
        |(a, b)| {
            [
                task(move |mm| mm.drop_space(a).unwrap()),
                task(move |mm| {
                    assert_eq!(get(mm, b, 0), 10);
                    put(mm, b, 1, 41);
                }),
                task(move |mm| {
                    mm.reclaim(2);
                }),
            ]
        },
        |mm, (_, b)| assert_eq!((get(mm, b, 0), get(mm, b, 1), get(mm, b, 2)), (10, 41, 12)),
    );
}

#[test]
fn a_pinned_page_stays_and_is_copied_by_a_fork() {
    explore(
        three_pages,
        |a| {
            [
                task(move |mm| {
                    let run = Run {
                        first: PageNo(0),
                        len: 2,
                    };
                    mm.host().expect_hold(a, run);
                    mm.pin(a, run).unwrap();
                    mm.host().hold(a, run);
                    mm.host().kernel_store(a, place(0), &[70]);
                    thread::yield_now();
                    mm.host().kernel_store(a, place(1), &[71]);
                    mm.host().let_go(a, run);
                    mm.unpin(a, run);
                }),
                task(move |mm| evict(mm, a)),
                task(move |mm| {
                    let child = mm.fork(a).unwrap();
                    let seen = get(mm, child, 0);
                    assert!(seen == 10 || seen == 70, "{seen}");
                    assert_eq!(get(mm, child, 0), seen);
                }),
            ]
        },
        |mm, a| assert_eq!((get(mm, a, 0), get(mm, a, 1), get(mm, a, 2)), (70, 71, 12)),
    );
}

#[test]
fn freeze_against_writes_and_eviction() {
    explore(
        family,
        |(a, b)| {
            [
                task(move |mm| put(mm, b, 0, 40)),
                task(move |mm| {
                    let frozen = mm.freeze(b).unwrap();
                    let seen = get(mm, frozen, 0);
                    assert!(seen == 10 || seen == 40, "{seen}");
                    assert_eq!((get(mm, frozen, 0), get(mm, frozen, 1)), (seen, 11));
                }),
                task(move |mm| evict(mm, a)),
            ]
        },
        |mm, (a, b)| {
            reads(mm, a);
            assert_eq!(get(mm, b, 0), 40);
        },
    );
}
