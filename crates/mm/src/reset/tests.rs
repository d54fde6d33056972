//! What a reset and a discard take away, what they keep, and what they refuse.

use super::*;
use crate::Digest;
use crate::Losses;
use crate::OnLoss;
use crate::addr::Access;
use crate::rig::{
    Harness, Request, frame_at, harness, poke, read, resident, run, sound, space, value, write,
};
use crate::space::FaultError;
use memfold_sim::program::Place;

/// Pages 0 to 39 hold 1; frozen.
fn snapshot(mm: &Harness) -> SpaceNo {
    let a = space(mm, 300);
    write(mm, a, 0..40, 1);
    mm.freeze(a).expect("room")
}

/// What the pages of a space are: the byte map.
fn bytes(mm: &Harness, space: SpaceNo) -> Vec<u8> {
    let len = mm.len(space).expect("it lives");
    (0..len).map(|page| value(mm, space, page)).collect()
}

/// Goal: a reset takes back what was written, wherever, and nothing else leaves the window.
#[test]
fn what_was_written_goes() {
    let mm = harness();
    let s = snapshot(&mm);
    let a = mm.fork(s).expect("room");
    let before = bytes(&mm, s);
    let held = mm.usage();
    for round in 0..3 {
        read(&mm, a, 20);
        write(&mm, a, 3..5, 2);
        write(&mm, a, 39..41, 3);
        write(&mm, a, 299..300, 4);
        mm.host.requests();
        mm.reset(a, s).expect("related");
        let dropped: Vec<_> = mm.host.requests();
        // Pages after 40 came along, as zeros.
        let gone = [run(3, 2), run(39, 9), run(299, 1)].map(|run| Request::Drop(a, run));
        assert_eq!(dropped, gone, "round {round}");
        assert_eq!(bytes(&mm, a), before);
        sound(&mm);
    }
    assert_eq!(mm.usage().private, held.private);
    assert_eq!(mm.usage().pool, held.pool);
    mm.host.requests();
    mm.reset(a, s).expect("nothing was written");
    assert_eq!(mm.host.requests(), []);
    assert_eq!(mm.stats().resets, 4);
}

/// Goal: many resets hold no more than one: tables, frames, charges.
#[test]
fn nothing_is_left_behind() {
    let mm = harness();
    let s = snapshot(&mm);
    let a = mm.fork(s).expect("room");
    let once = |n: u32| {
        write(&mm, a, n % 290..n % 290 + 3, n as u8);
        mm.reset(a, s).expect("related");
    };
    (0..300).for_each(once);
    let (usage, digest) = (mm.usage(), Digest::of(&mm));
    (0..3000).for_each(once);
    assert_eq!((mm.usage(), Digest::of(&mm)), (usage, digest));
    mm.drop_space(a).expect("it ends");
    sound(&mm);
}

/// Goal: what forks of the space still share is moved out of its window first; they keep it.
#[test]
fn forks_keep_what_goes() {
    let mm = harness();
    let s = snapshot(&mm);
    let a = mm.fork(s).expect("room");
    write(&mm, a, 2..6, 5);
    let b = mm.fork(a).expect("room");
    write(&mm, a, 4..5, 6);
    mm.reset(a, s).expect("related");
    assert_eq!((value(&mm, a, 3), value(&mm, a, 4)), (1, 1));
    assert_eq!((value(&mm, b, 3), value(&mm, b, 4)), (5, 5));
    sound(&mm);
    // To the fork, which is a relative as well, and back.
    mm.reset(a, b).expect("related");
    assert_eq!(bytes(&mm, a), bytes(&mm, b));
    write(&mm, a, 3..4, 7);
    mm.reset(b, a).expect("related");
    assert_eq!(value(&mm, b, 3), 7);
    write(&mm, a, 3..4, 8);
    assert_eq!(value(&mm, b, 3), 7, "they share nothing that one of them writes");
    mm.drop_space(a).expect("it ends");
    assert_eq!(value(&mm, b, 3), 7);
    sound(&mm);
}

/// Goal: pages that went to the store come back as the other space has them.
#[test]
fn stored_pages_go_too() {
    let mm = harness();
    let s = snapshot(&mm);
    let a = mm.fork(s).expect("room");
    write(&mm, a, 2..6, 5);
    mm.evict(a, run(0, 300)).expect("it lives");
    mm.reset(a, s).expect("related");
    assert_eq!(bytes(&mm, a), bytes(&mm, s));
    assert_eq!(resident(&mm, a), resident(&mm, s));
    sound(&mm);
}

/// Goal: the length comes back, and what was written beyond it is gone when the space grows again.
#[test]
fn the_length_comes_back() {
    let mm = harness();
    let size = crate::Size {
        len: 20,
        reserve: 100,
    };
    let a = mm.create(size, crate::host::Domain(3)).expect("room");
    write(&mm, a, 0..3, 1);
    let s = mm.freeze(a).expect("room");
    mm.grow(a, 80).expect("room");
    write(&mm, a, 60..62, 9);
    let long = mm.fork(a).expect("room");
    read(&mm, a, 70);
    mm.reset(a, s).expect("related");
    assert_eq!(mm.len(a), Ok(20));
    let shown = |page| {
        mm.host.load(
            a,
            Place {
                page: PageNo(page),
                offset: 0,
            },
            &mut [0],
        )
    };
    assert!(
        [60, 70].into_iter().all(|page| shown(page).is_err()),
        "its window still shows them"
    );
    assert_eq!(bytes(&mm, a), bytes(&mm, s));
    let beyond = mm.fault(a, PageNo(60), Access::Read);
    assert!(matches!(beyond, Err(FaultError::OutOfRange { .. })), "{beyond:?}");
    let _ = mm.take_failure(a);
    mm.grow(a, 80).expect("room");
    assert_eq!(value(&mm, a, 60), 0);
    mm.reset(s, long).expect("related");
    assert_eq!((mm.len(s), value(&mm, s, 61)), (Ok(80), 9));
    sound(&mm);
}

/// Goal: a condemned space is whole again.
#[test]
fn a_failure_is_forgotten() {
    let mm = harness();
    let s = snapshot(&mm);
    let a = mm.fork(s).expect("room");
    Losses::of(&mm).set_on_loss(a, OnLoss::Sink).expect("it lives");
    mm.lost(a, PageNo(7));
    Losses::of(&mm).sink(a, PageNo(7)).expect("it is condemned");
    poke(&mm, a, 7, 99);
    mm.reset(a, s).expect("related");
    assert_eq!(mm.take_failure(a), None);
    assert_eq!((value(&mm, a, 7), mm.stats().standby_pages), (1, 0));
    // But nobody is made as a condemned one is.
    mm.lost(s, PageNo(7));
    assert!(matches!(mm.reset(a, s), Err(SpaceError::Fault(_))));
    sound(&mm);
}

/// Goal: pins and strangers are refused, and nothing has changed then.
#[test]
fn what_is_refused() {
    let mm = harness();
    let s = snapshot(&mm);
    let a = mm.fork(s).expect("room");
    write(&mm, a, 3..4, 2);
    let before = Digest::of(&mm);
    let stranger = space(&mm, 300);
    assert_eq!(mm.reset(a, stranger), Err(SpaceError::NotRelated(a)));
    mm.drop_space(stranger).expect("it ends");
    assert_eq!(
        mm.reset(a, SpaceNo(14)),
        Err(SpaceError::Fault(FaultError::NoSuchSpace(SpaceNo(14))))
    );
    assert_eq!(Digest::of(&mm), before);
    mm.pin(a, run(3, 1)).expect("room");
    assert_eq!(mm.reset(a, s), Err(SpaceError::Pinned(a)));
    assert_eq!(mm.reset(s, a), Err(SpaceError::Pinned(a)));
    assert_eq!(mm.discard(a, run(0, 5)), Err(SpaceError::Pinned(a)));
    assert_eq!(value(&mm, a, 0), 1);
    mm.unpin(a, run(3, 1));
    mm.reset(a, a).expect("to itself: nothing changes");
    assert_eq!((value(&mm, a, 3), value(&mm, a, 4)), (2, 1));
    sound(&mm);
}

/// Goal: discarded pages are zeros without memory; relatives keep theirs.
#[test]
fn discarded_pages_are_zeros() {
    let mm = harness();
    let s = snapshot(&mm);
    let a = mm.fork(s).expect("room");
    write(&mm, a, 5..7, 2);
    let b = mm.fork(a).expect("room");
    write(&mm, a, 100..140, 3);
    mm.evict(a, run(100, 2)).expect("it lives");
    let pool = mm.usage().pool;
    mm.discard(a, run(4, 130)).expect("room");
    let expected = |page| match page {
        0..4 => 1,
        134..140 => 3,
        _ => 0,
    };
    assert_eq!(bytes(&mm, a), (0..300).map(expected).collect::<Vec<_>>());
    assert_eq!(frame_at(&mm, a, 110), None);
    assert_eq!(mm.usage().private, 6 * crate::mm::PAGE);
    assert!(mm.usage().pool <= pool + 2 * crate::mm::PAGE);
    assert_eq!((value(&mm, b, 5), value(&mm, b, 30), value(&mm, s, 5)), (2, 1, 1));
    write(&mm, a, 5..6, 8);
    assert_eq!((value(&mm, a, 5), value(&mm, b, 5)), (8, 2));
    mm.reset(a, s).expect("related");
    assert_eq!(bytes(&mm, a), bytes(&mm, s));
    let beyond = mm.discard(a, run(299, 2));
    assert!(
        matches!(beyond, Err(SpaceError::Fault(FaultError::OutOfRange { .. }))),
        "{beyond:?}"
    );
    sound(&mm);
}

/// Goal: what stands in for a page goes with it.
#[test]
fn standby_pages_go() {
    let mm = harness();
    let a = space(&mm, 300);
    write(&mm, a, 0..1, 1);
    Losses::of(&mm).set_on_loss(a, OnLoss::Sink).expect("it lives");
    mm.lost(a, PageNo(7));
    Losses::of(&mm).sink(a, PageNo(7)).expect("it is condemned");
    poke(&mm, a, 7, 99);
    assert_eq!(mm.stats().standby_pages, 1);
    mm.discard(a, run(0, 16)).expect("room");
    assert_eq!(
        (value(&mm, a, 0), value(&mm, a, 7), mm.stats().standby_pages),
        (0, 0, 0)
    );
    sound(&mm);
}

/// Goal: what one of two relatives stored to, discarded, or had once and has no more, is told, and
/// nothing that they share, be it in memory or in the store.
#[test]
fn differences_are_told() {
    let mm = harness();
    let s = snapshot(&mm);
    let a = mm.fork(s).expect("room");
    assert_eq!(mm.differing(a, s), Ok(vec![]));
    write(&mm, a, 3..5, 2);
    write(&mm, a, 14..18, 3);
    write(&mm, a, 200..201, 4);
    mm.discard(a, run(30, 2)).expect("room");
    read(&mm, a, 20);
    let told = vec![run(3, 2), run(14, 4), run(30, 2), run(200, 1)];
    assert_eq!(mm.differing(a, s).as_ref(), Ok(&told));
    mm.evict(a, run(0, 300)).expect("it lives");
    assert_eq!(mm.differing(a, s), Ok(told));
    let b = mm.fork(a).expect("room");
    write(&mm, b, 14..15, 5);
    assert_eq!(mm.differing(b, a), Ok(vec![run(14, 1)]));
    assert_eq!(mm.differing(a, b), Ok(vec![run(14, 1)]));
    mm.reset(b, s).expect("related");
    assert_eq!(mm.differing(b, s), Ok(vec![]));
    let other = space(&mm, 300);
    assert_eq!(mm.differing(other, s), Err(SpaceError::NotRelated(other)));
    sound(&mm);
}

/// Goal: a space with areas, of files, with fewer rights, locked, or of which something was
/// advised, is not reset, and nobody is reset to one: that is said, and both are as they were.
/// Without them it works again.
#[test]
fn areas_are_in_the_way() {
    use crate::rig::{map, numbered, open};
    use crate::{InFork, Rights};
    let mm = harness();
    let a = space(&mm, 64);
    write(&mm, a, 0..8, 1);
    let b = mm.fork(a).expect("room");
    write(&mm, b, 2..3, 7);
    let source = numbered(4);
    let file = open(&mm, &source);
    for kind in 0..4 {
        let areas = mm.areas(b);
        match kind {
            0 => map(&mm, b, (20, 4), &file, 0, crate::host::Piece::Private),
            1 => assert_eq!(areas.protect(run(20, 4), Rights::Read), Ok(())),
            2 => assert_eq!(areas.lock(run(20, 4)), Ok(())),
            _ => assert_eq!(areas.set_in_fork(run(20, 4), InFork::Nothing), Ok(())),
        }
        for (space, to) in [(b, a), (a, b)] {
            assert_eq!(mm.reset(space, to), Err(SpaceError::HasAreas(b)));
            assert_eq!(mm.differing(space, to), Err(SpaceError::HasAreas(b)));
        }
        assert_eq!([value(&mm, a, 2), value(&mm, b, 2)], [1, 7]);
        sound(&mm);
        assert_eq!(areas.unmap(run(20, 4)), Ok(()));
    }
    assert_eq!(mm.reset(b, a), Ok(()));
    assert_eq!((value(&mm, b, 2), mm.reclaim.locked_pages()), (1, 0));
    sound(&mm);
    for space in [b, a] {
        mm.drop_space(space).expect("it lives");
    }
    mm.files().close(file);
}
