//! What merging says, and what it leaves alone. (That it changes no byte is shown in `verify`.)

use super::*;
use crate::Rights;
use crate::budget::{Class, Need};
use crate::host::Domain;
use crate::mm::PAGE;
use crate::rig::{Harness, Request, harness, limited, poke, resident, run, sound, space, value, write};
use memfold_sim::program::Place;

/// A cold space that takes part, and so many forks of it.
fn siblings(mm: &Harness, pages: u32, n: usize) -> Vec<SpaceNo> {
    let root = space(mm, pages);
    mm.set_merging(root, Merging::On).expect("it lives");
    (0..n).map(|_| mm.fork(root).expect("room")).collect()
}

/// Goal: who takes part is what was set, for forks as well.
#[test]
fn who_takes_part() {
    let mm = harness();
    let a = siblings(&mm, 8, 1)[0];
    assert_eq!(mm.merging(a), Ok(Merging::On));
    mm.set_merging(a, Merging::Off).expect("it lives");
    assert_eq!(mm.merging(a), Ok(Merging::Off));
    let b = mm.fork(a).expect("room");
    assert_eq!(mm.merging(b), Ok(Merging::Off));
    let nobody = SpaceError::NoSuchSpace(SpaceNo(9));
    assert_eq!(mm.merging(SpaceNo(9)), Err(nobody));
    assert_eq!(mm.set_merging(SpaceNo(9), Merging::On), Err(nobody));
}

/// Goal: neighbours are merged together: one call protects them, one moves them, one hides them.
#[test]
fn neighbours_are_merged_together() {
    let mm = harness();
    let [a, b] = siblings(&mm, 40, 2)[..] else {
        panic!("two were asked for")
    };
    for space in [a, b] {
        write(&mm, space, 3..7, 7);
        write(&mm, space, 9..10, 7);
    }
    mm.host.requests();
    assert_eq!(mm.merge_round(None).expect("room").merged, 5);
    let calls = mm.host.requests();
    for space in [a, b] {
        for pages in [run(3, 4), run(9, 1)] {
            assert!(calls.contains(&Request::Protect(space, pages)), "{calls:?}");
            assert!(calls.contains(&Request::Drop(space, pages)), "{calls:?}");
        }
    }
    assert_eq!(calls.len(), 8, "{calls:?}");
    sound(&mm);
}

/// Goal: a round looks where something was written, and not at what all share; exported pages, and
/// pages that stand apart from their places, are found wherever they are named.
#[test]
fn what_nobody_wrote_is_not_looked_at() {
    let mm = harness();
    let root = space(&mm, 400);
    write(&mm, root, 0..320, 1);
    mm.set_merging(root, Merging::On).expect("it lives");
    let template = mm.freeze(root).expect("room");
    mm.drop_space(root).expect("it lives");
    let [a, b] = [(); 2].map(|()| mm.fork(template).expect("room"));
    assert_eq!(mm.merge_round(None).expect("room").scanned, 0);
    for space in [a, b] {
        write(&mm, space, 300..301, 7);
    }
    // The template's page stands at the place, so each has its own.
    let step = mm.merge_round(None).expect("room");
    assert_eq!((step.scanned, step.merged), (2, 0));
    write(&mm, a, 350..351, 8);
    let c = mm.fork(a).expect("room");
    write(&mm, b, 350..351, 8);
    let step = mm.merge_round(None).expect("room");
    assert_eq!(step.merged, 1, "with an exported page: {step:?}");
    write(&mm, a, 300..301, 9);
    write(&mm, b, 300..301, 1);
    assert_ne!(mm.backings.overflow_used(), 0);
    let step = mm.merge_round(None).expect("room");
    assert_eq!(step.merged, 1, "{step:?}");
    assert_eq!([a, b, c].map(|s| value(&mm, s, 300)), [9, 1, 7]);
    assert_eq!([a, b, c].map(|s| value(&mm, s, 350)), [8; 3]);
    sound(&mm);
}

/// Goal: a run is unmerged page by page: each copy is counted, and none is made behind its end.
#[test]
fn a_run_is_unmerged_and_no_more() {
    let mm = harness();
    let root = space(&mm, 64);
    write(&mm, root, 0..64, 1);
    let template = mm.freeze(root).expect("room");
    mm.drop_space(root).expect("it lives");
    let a = mm.fork(template).expect("room");
    let private = mm.usage().private;
    assert_eq!(mm.unmerge(a, run(0, 37)), Ok(37));
    assert_eq!(mm.usage().private - private, 37 * PAGE);
    assert_eq!(mm.unmerge(a, run(30, 10)), Ok(3));
    sound(&mm);
}

/// Goal: without room for a round there is none, and that is said: the caller does not go on for
/// ever.
#[test]
fn a_round_needs_room() {
    let mm = limited(8 << 20);
    siblings(&mm, 8, 2);
    let usage = mm.usage();
    let rest = usage.limit - usage.total;
    assert!(mm.budget.charge(Class::Stored, rest, Need::Reclaim));
    let step = mm.merge(10, Effort::Everything);
    assert_eq!((step.scanned, step.round_over), (0, true));
    let over = SpaceError::OverBudget { limit: 8 << 20 };
    assert_eq!(mm.merge_round(None), Err(over));
    mm.budget.refund(Class::Stored, rest);
    assert!(mm.merge_round(None).is_ok());
    sound(&mm);
}

/// Goal: unmerging copies what is shared, and leaves alone what is not: own pages, own pages in the
/// store, zeros, and whatever is beyond the end.
#[test]
fn own_pages_are_not_unmerged() {
    let mm = harness();
    let [a, b] = siblings(&mm, 40, 2)[..] else {
        panic!("two were asked for")
    };
    for space in [a, b] {
        write(&mm, space, 0..2, 7);
        write(&mm, space, 20..21, 7);
    }
    assert_eq!(mm.merge_round(Some(a)).expect("room").merged, 3);
    write(&mm, a, 5..7, 1);
    mm.evict(a, run(6, 1)).expect("it lives");
    mm.evict(a, run(20, 1)).expect("it lives");
    assert_eq!(mm.unmerge(a, run(0, 50)), Ok(3));
    assert_eq!(
        resident(&mm, a),
        [0, 1, 5, 20],
        "what only a has stays in the store"
    );
    assert_eq!(mm.stats().unmerged, 3);
    assert_eq!([0, 1, 20].map(|page| value(&mm, b, page)), [7; 3]);
    let stats = crate::SpaceStats::of(&mm, a).expect("it lives");
    assert_eq!((stats.exclusive, stats.shared), (4, 0));
    assert_eq!(mm.unmerge(a, run(0, 50)), Ok(0));
    assert!(mm.unmerge(SpaceNo(9), run(0, 1)).is_err());
    sound(&mm);
}

/// Goal: a round takes the steps that it is allowed, page by page, and visits each space once: not
/// more, not less.
#[test]
fn rounds_are_cut_into_steps() {
    let mm = harness();
    let spaces = siblings(&mm, 1000, 3);
    for &space in &spaces {
        write(&mm, space, 0..3, space.0 as u8);
        write(&mm, space, 500..502, space.0 as u8);
    }
    let whole = mm.merge_round(None).expect("room");
    assert_eq!((whole.scanned, whole.merged, whole.round_over), (15, 0, true));
    let mut steps = Vec::new();
    loop {
        let step = mm.merge(1, Effort::Everything);
        steps.push(step.scanned);
        if step.round_over {
            break;
        }
    }
    // The root has nothing at all; the others have two windows.
    assert_eq!(steps.iter().sum::<u64>(), 15);
    assert!(
        steps.iter().all(|&scanned| scanned <= 3) && steps.len() >= 7,
        "{steps:?}"
    );
    assert_eq!(mm.merge(0, Effort::Everything), MergeStep::default());
    assert_eq!(mm.stats().merge_scanned, 30);
    sound(&mm);
}

/// Goal: in the background a page rests for a round when it is new, and for more each time that it
/// has changed.
#[test]
fn changing_pages_rest() {
    let mm = harness();
    let spaces = siblings(&mm, 8, 2);
    spaces.iter().for_each(|&space| write(&mm, space, 0..2, 7));
    let round = || {
        let step = mm.merge(1000, Effort::Steady);
        assert!(step.round_over);
        step.merged
    };
    poke(&mm, spaces[0], 1, 1);
    assert_eq!((round(), mm.stats().merge_resting), (0, 4), "all are new");
    poke(&mm, spaces[0], 1, 7);
    assert_eq!(round(), 1, "page 1 has changed");
    assert_eq!(mm.stats().merge_resting, 5);
    assert_eq!(round(), 0, "it rests");
    assert_eq!(round(), 1);
    assert_eq!(mm.stats().merged, 2);
    sound(&mm);
}

/// Goal: pages that turn out to be different can be stored to again where their areas allow it, and
/// only there. Method: pages of siblings that differ where nobody looks at first; one of each pair
/// is read-only.
#[test]
fn what_differs_keeps_its_rights() {
    let mm = harness();
    let [a, b] = siblings(&mm, 40, 2)[..] else {
        panic!("two were asked for")
    };
    for space in [a, b] {
        write(&mm, space, 3..9, 7);
    }
    for page in (3..9).map(PageNo) {
        let at = Place { page, offset: 1001 };
        assert_eq!(mm.host.store(b, at, &[9]), Ok(()));
    }
    for space in [a, b] {
        let read = mm.areas(space).protect(run(5, 2), Rights::Read);
        assert_eq!(read, Ok(()));
    }
    for _ in 0..3 {
        assert_eq!(mm.merge_round(None).expect("room").merged, 0);
    }
    let stats = mm.stats();
    assert!(stats.merge_changed + stats.merge_differ > 0, "{stats:?}");
    for space in [a, b] {
        let open = mm.host.stores_go_through(space);
        assert!(
            !open.contains(&PageNo(5)) && !open.contains(&PageNo(6)),
            "{open:?}"
        );
    }
    sound(&mm);
}

/// Goal: what is shared is counted: spaces and pages of the domain, frames once, and those that
/// several share.
#[test]
fn sharing_is_counted() {
    let mm = harness();
    let a = space(&mm, 40);
    write(&mm, a, 0..5, 1);
    let b = mm.fork(a).expect("room");
    write(&mm, b, 0..2, 2);
    mm.evict(a, run(4, 1)).expect("it lives");
    let size = crate::Size { len: 8, reserve: 8 };
    let other = mm.create(size, Domain(9)).expect("room");
    write(&mm, other, 0..3, 3);
    let counts = |domain| {
        let s = crate::Sharing::of(&mm, domain);
        (s.spaces, s.pages, s.frames, s.shared_frames, s.saved_pages())
    };
    assert_eq!(counts(Some(Domain(3))), (2, 8, 6, 2, 2));
    assert_eq!(counts(Some(Domain(9))), (1, 3, 3, 0, 0));
    assert_eq!(counts(None), (3, 11, 9, 2, 2));
    assert_eq!(counts(Some(Domain(4))), (0, 0, 0, 0, 0));
}

/// Goal: a step of a round names no frame that an earlier step saw and whose memory went in
/// between. Method: the first of two equal siblings is seen, then evicted, and the chunks of its
/// frames are freed; then the second one is.
#[test]
fn freed_frames_are_not_remembered() {
    let mut mm = harness();
    let [a, b] = siblings(&mm, 200, 2)[..] else {
        panic!("two were asked for")
    };
    for space in [a, b] {
        write(&mm, space, 0..200, 7);
    }
    // The root, which has no pages, counts as one.
    assert!(mm.merge(2, Effort::Everything).scanned > 0);
    assert_eq!(mm.evict(a, run(0, 200)), Ok(200));
    assert!(crate::give_back_tables(&mut mm, crate::Giving::All) > 0);
    while !mm.merge(1000, Effort::Everything).round_over {}
    assert_eq!((value(&mm, a, 70), value(&mm, b, 70)), (7, 7));
    sound(&mm);
}
