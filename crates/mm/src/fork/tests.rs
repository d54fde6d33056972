//! What a fork protects and copies.

use super::share::RUN;
use super::*;
use crate::mm::PAGE;
use crate::rig::{Request, harness, poke, read, resident, run, sound, space, value, write};
use memfold_sim::{Call, Calls, Lasting, Plan, When};

/// Goal: a fork protects what was written since the last one, in runs, and nothing else; a run ends
/// at a hole and goes on over the end of a leaf.
#[test]
fn new_pages_are_protected_in_runs() {
    let mm = harness();
    let a = space(&mm, 100);
    write(&mm, a, 3..5, 1);
    write(&mm, a, 14..18, 2);
    write(&mm, a, 64..65, 3);
    mm.host.requests();
    let b = mm.fork(a).expect("room");
    let protect = |space, first, len| Request::Protect(space, run(first, len));
    assert_eq!(
        mm.host.requests(),
        [protect(a, 3, 2), protect(a, 14, 4), protect(a, 64, 1)]
    );
    let c = mm.fork(a).expect("room");
    assert_eq!(mm.host.requests(), [], "nothing was written since");
    write(&mm, a, 15..16, 4);
    write(&mm, a, 65..66, 4);
    mm.host.requests();
    let d = mm.fork(a).expect("room");
    assert_eq!(mm.host.requests(), [protect(a, 15, 1), protect(a, 65, 1)]);
    assert_eq!([b, c, d].map(|s| value(&mm, s, 15)), [2, 2, 4]);
    assert_eq!([b, c, d].map(|s| value(&mm, s, 65)), [0, 0, 4]);
    assert_eq!([b, c, d].map(|s| value(&mm, s, 4)), [1; 3]);
    sound(&mm);
}

/// Goal: a long run is protected a thousand pages at a time.
#[test]
fn long_runs_are_cut() {
    let mm = harness();
    let a = space(&mm, 1100);
    write(&mm, a, 0..1100, 1);
    mm.host.requests();
    mm.fork(a).expect("room");
    let rest = 1100 - RUN as u32;
    assert_eq!(
        mm.host.requests(),
        [
            Request::Protect(a, run(0, RUN as u32)),
            Request::Protect(a, run(RUN as u32, rest))
        ]
    );
}

/// Goal: pinned pages are the parent's own before and after, are never protected, and the child has
/// copies (R16).
#[test]
fn pinned_pages_are_copied() {
    let mm = harness();
    let a = space(&mm, 40);
    write(&mm, a, 0..6, 1);
    mm.pin(a, run(2, 2)).expect("room");
    mm.pin(a, run(20, 1)).expect("room");
    mm.host.hold(a, run(2, 2));
    mm.host.hold(a, run(20, 1));
    poke(&mm, a, 20, 9);
    mm.host.requests();
    let b = mm.fork(a).expect("room");
    let calls = mm.host.requests();
    let protected: Vec<_> = calls
        .iter()
        .filter(|c| matches!(c, Request::Protect(..)))
        .collect();
    assert_eq!(
        protected,
        [&Request::Protect(a, run(0, 2)), &Request::Protect(a, run(4, 2))]
    );
    assert_eq!(resident(&mm, b), [0, 1, 2, 3, 4, 5, 20]);
    let stats = crate::SpaceStats::of(&mm, a).expect("it lives");
    assert_eq!((stats.exclusive, stats.shared, stats.pinned), (3, 4, 3));
    let stats = crate::SpaceStats::of(&mm, b).expect("it lives");
    assert_eq!((stats.exclusive, stats.shared, stats.pinned), (3, 4, 0));
    poke(&mm, a, 2, 7);
    assert_eq!([2, 3, 20].map(|page| value(&mm, b, page)), [1, 1, 9]);
    sound(&mm);
    mm.host.let_go(a, run(2, 2));
    mm.unpin(a, run(2, 2));
    let c = mm.fork(a).expect("room");
    assert_eq!([2, 3, 20].map(|page| value(&mm, c, page)), [7, 1, 9]);
    sound(&mm);
}

/// Goal: a family's backing ends with its last space: its records are refunded, its bases freed,
/// its range used again.
#[test]
fn the_last_of_a_family_leaves_nothing() {
    let mm = harness();
    let first = space(&mm, 40);
    write(&mm, first, 30..31, 1);
    mm.drop_space(first).expect("it lives");
    let before = mm.usage();
    let a = space(&mm, 40);
    let backing = mm.lock_space(a).expect("it lives").backing;
    let range = mm.backings.first(backing);
    write(&mm, a, 0..4, 1);
    let b = mm.fork(a).expect("room");
    read(&mm, b, 1);
    mm.evict(a, run(0, 40)).expect("it lives");
    write(&mm, b, 0..2, 2);
    mm.evict(b, run(0, 40)).expect("it lives");
    assert!(mm.store().stats().pages > 4, "bases are stored beside the pages");
    mm.drop_space(a).expect("room");
    mm.drop_space(b).expect("room");
    assert_eq!(mm.store().stats().pages, 0);
    let usage = mm.usage();
    assert_eq!((usage.private, usage.pool, usage.stored), (0, 0, 0));
    // Descriptors stay for the next use; records of places do not.
    assert!(
        usage.tables >= before.tables && usage.tables - before.tables < 16 * PAGE,
        "{usage:?}"
    );
    let c = space(&mm, 40);
    let backing = mm.lock_space(c).expect("it lives").backing;
    assert_eq!(mm.backings.first(backing), range);
    let tables = mm.usage().tables;
    for _ in 0..3 {
        let d = mm.fork(c).expect("room");
        write(&mm, c, 0..1, 1);
        let e = mm.fork(c).expect("room");
        read(&mm, e, 0);
        let f = space(&mm, 70);
        write(&mm, f, 0..1, 1);
        let g = mm.fork(f).expect("room");
        read(&mm, g, 0);
        [d, e, f, g]
            .into_iter()
            .for_each(|s| mm.drop_space(s).expect("room"));
        sound(&mm);
    }
    let grown = mm.usage().tables - tables;
    assert!(
        grown < 3 * PAGE,
        "records of ended backings are still charged: {grown}"
    );
}

/// Goal: what a space wrote can be shared a few leaves at a time, before the fork; a store takes
/// the page back, a fork finds the rest.
#[test]
fn pages_are_shared_ahead() {
    let mm = harness();
    let a = space(&mm, 200);
    write(&mm, a, 0..100, 1);
    let exported = || mm.spaces.get(a.0).exported();
    // The last written come first: 7 leaves.
    assert_eq!(Fork::share_ahead(&mm, a, 2), Ok(true));
    assert_eq!(exported(), 32);
    sound(&mm);
    write(&mm, a, 2..3, 2);
    assert_eq!(exported(), 31, "it is its own again");
    sound(&mm);
    let b = mm.fork(a).expect("room");
    assert_eq!(exported(), 100);
    assert_eq!((value(&mm, b, 2), value(&mm, b, 99)), (2, 1));
    write(&mm, a, 120..121, 3);
    mm.pin(a, run(121, 1)).expect("room");
    assert_eq!(
        (Fork::share_ahead(&mm, a, 9), exported()),
        (Ok(false), 100),
        "while it has a pin"
    );
    mm.unpin(a, run(121, 1));
    assert_eq!((Fork::share_ahead(&mm, a, 9), exported()), (Ok(false), 102));
    sound(&mm);
}

/// Goal: when the machine refuses in the middle, what was shared already is the parent's own again;
/// a fork that follows shares all of it.
#[test]
fn what_was_shared_is_taken_back() {
    let mm = harness();
    let a = space(&mm, 100);
    write(&mm, a, 3..5, 1);
    write(&mm, a, 40..42, 2);
    write(&mm, a, 43..70, 2);
    let before = crate::Digest::of(&mm);
    // Three runs.
    for n in 0..4 {
        mm.host.set_plan(Plan {
            calls: Calls::only(Call::Protect),
            when: When::Nth(n, Lasting::Once),
        });
        let fork = mm.fork(a);
        mm.host.set_plan(Plan::NONE);
        match fork {
            Ok(child) => {
                assert_eq!(n, 3);
                assert_eq!([4, 41, 69].map(|page| value(&mm, child, page)), [1, 2, 2]);
            }
            Err(_) => assert_eq!(before, crate::Digest::of(&mm)),
        }
        sound(&mm);
    }
}
