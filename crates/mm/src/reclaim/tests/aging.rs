//! Whether frames were used: who is asked, how often, and which pages are protected to see it.

use super::*;
use crate::frame::shown::EXCUSES;
use crate::reclaim::age::{Aging, Look};
use crate::reclaim::round::THOROUGH_MOST;
use crate::rig::{SimHost, SimStore};

fn aging(mm: &Harness, look: Look) -> Aging<'_, SimHost, SimStore> {
    Aging { mm, look }
}

/// The runs that were protected since this was last asked.
fn protected(mm: &Harness) -> Vec<Run> {
    let run = |call| match call {
        Request::Protect(_, run) => Some(run),
        _ => None,
    };
    mm.host.requests().into_iter().filter_map(run).collect()
}

/// Goal: a frame that was used gets a second chance, once.
#[test]
fn used_frames_stay() {
    let mm = harness();
    let a = space(&mm, 64);
    write(&mm, a, 0..40, 1);
    for page in [30, 35] {
        mm.frames
            .at(frame_at(&mm, a, page).expect("written"))
            .mark_referenced();
    }
    assert_eq!(Reclaim::new(&mm).evict_next(), 30);
    assert_eq!((mm.stats().activated, mm.stats().active_frames), (2, 2));
    assert_eq!(resident(&mm, a)[8..], [30, 35]);
    assert_eq!(mm.reclaim(1000), 10);
    assert_eq!(resident(&mm, a), [] as [u32; 0], "used once, long ago");
    sound(&mm);
}

/// Goal: private pages on probation are protected, in runs, so that the next store is noticed;
/// pinned ones are not.
#[test]
fn probation_is_protected() {
    let mm = harness();
    let a = space(&mm, 64);
    write(&mm, a, 0..6, 1);
    write(&mm, a, 8..10, 1);
    let b = space(&mm, 64);
    write(&mm, b, 10..12, 1);
    mm.pin(a, run(3, 1)).expect("room");
    let pinned = frame_at(&mm, a, 3).expect("written");
    assert!(mm.frames.at(pinned).test_and_clear_referenced(), "a pin is a use");
    activate(&mm);
    mm.frames
        .at(frame_at(&mm, a, 1).expect("written"))
        .mark_referenced();
    mm.host.requests();
    aging(&mm, Look::Thorough).next_batch();
    let protect = |space, first, len| Request::Protect(space, run(first, len));
    assert_eq!(
        mm.host.requests(),
        [
            protect(a, 0, 1),
            protect(a, 2, 1),
            protect(a, 4, 2),
            protect(a, 8, 2),
            protect(b, 10, 2)
        ]
    );
    let stats = mm.stats();
    assert_eq!(
        (stats.active_frames, stats.inactive_frames, stats.deactivated),
        (1, 8, 8)
    );
    mm.unpin(a, run(3, 1));
    sound(&mm);
}

/// Goal: of a shared frame's windows a few are asked whether they use it, others each time, and
/// none after one that does.
#[test]
fn windows_are_asked_by_turns() {
    let mm = harness();
    let a = space(&mm, 16);
    write(&mm, a, 2..3, 1);
    let forks: Vec<_> = (0..9).map(|_| mm.fork(a).expect("room")).collect();
    read(&mm, forks[0], 2);
    let frame = frame_at(&mm, a, 2).expect("written");
    let _ = mm.frames.at(frame).test_and_clear_referenced();
    mm.host.requests();
    let mut all = std::collections::BTreeSet::new();
    mm.host.say_young(false);
    for turn in [4, 4, 2, 4, 4] {
        assert!(!aging(&mm, Look::Thorough).page_referenced(&mm.frames.lock(frame)));
        let asked = mm.host.requests();
        assert_eq!(asked.len(), turn, "{asked:?}");
        all.extend(asked.iter().map(|call| match call {
            Request::AskYoung(space, r) if *r == run(2, 1) => space.0,
            other => panic!("{other:?}"),
        }));
    }
    assert_eq!(all.len(), 10, "everybody had a turn");
    mm.host.say_young(true);
    assert!(aging(&mm, Look::Thorough).page_referenced(&mm.frames.lock(frame)));
    assert_eq!(mm.host.requests().len(), 1);
    write(&mm, a, 5..6, 1);
    assert!(
        !aging(&mm, Look::Thorough).page_referenced(&mm.frames.lock(frame_at(&mm, a, 5).expect("written")))
    );
    assert!(
        mm.host
            .requests()
            .iter()
            .all(|c| !matches!(c, Request::AskYoung(..))),
        "nobody shares it"
    );
}

/// Goal: that a window still shows a frame is a weak sign of use: it counts a few times, and again
/// after certain use.
#[test]
fn a_window_that_shows_is_a_weak_sign() {
    let mm = harness();
    let a = space(&mm, 16);
    write(&mm, a, 2..3, 1);
    let fork = mm.fork(a).expect("room");
    read(&mm, fork, 2);
    let frame = frame_at(&mm, a, 2).expect("written");
    let referenced = |look| aging(&mm, look).page_referenced(&mm.frames.lock(frame));
    let signs = || (0..100).take_while(|_| referenced(Look::Thorough)).count() as u32;
    mm.host.say_young(true);
    assert_eq!(signs(), 1 + EXCUSES, "it was read, and is shown");
    mm.frames.at(frame).mark_referenced();
    assert!(referenced(Look::Hasty), "certain use counts in any case");
    assert!(!referenced(Look::Hasty));
    assert_eq!(signs(), EXCUSES);
}

/// Goal: where windows show everything and nobody uses it, reclaim finds pages all the same,
/// without asking for all of them. Method: 4,096 pages, which a fork reads once; every window
/// always says yes.
#[test]
fn the_search_for_idle_pages_ends() {
    let mm = roomy(64 << 20, 16);
    let a = space(&mm, 4096);
    write(&mm, a, 0..4096, 1);
    let fork = mm.fork(a).expect("room");
    (0..4096).for_each(|page| read(&mm, fork, page));
    for no in mm.frames.numbers() {
        let _ = mm.frames.at(FrameNo(no)).test_and_clear_referenced();
    }
    mm.host.say_young(true);
    mm.host.requests();
    assert_eq!(mm.reclaim(32), 32);
    let asked = mm.host.requests();
    let asked = asked.iter().filter(|call| matches!(call, Request::AskYoung(..)));
    assert!(asked.count() <= 2 * THOROUGH_MOST as usize * BATCH);
    assert_eq!(mm.reclaim(10_000), 4064, "all of them go in the end");
    sound(&mm);
}

/// Goal: windows are asked whichever of the frame's leaves leads to them.
#[test]
fn all_leaves_are_walked() {
    let mm = harness();
    let a = space(&mm, 16);
    write(&mm, a, 2..3, 1);
    let b = mm.fork(a).expect("room");
    // Its leaf is its own from now on, and names the frame as well.
    write(&mm, b, 9..10, 1);
    read(&mm, b, 2);
    let frame = frame_at(&mm, a, 2).expect("written");
    mm.host.requests();
    assert!(
        aging(&mm, Look::Thorough).page_referenced(&mm.frames.lock(frame)),
        "it was read"
    );
    assert_eq!(mm.host.requests(), [], "which is known");
    mm.host.say_young(false);
    assert!(!aging(&mm, Look::Thorough).page_referenced(&mm.frames.lock(frame)));
    let ask = |space| Request::AskYoung(space, run(2, 1));
    assert_eq!(mm.host.requests(), [ask(b), ask(a)]);
}

/// Goal: a pinned page is not protected, though pages on both sides of it are. Method: the calls;
/// the simulated machine panics.
#[test]
fn pinned_pages_are_not_passed_over() {
    let mm = harness();
    let a = space(&mm, 64);
    write(&mm, a, 0..4, 1);
    mm.pin(a, run(1, 1)).expect("room");
    mm.host.requests();
    assert_eq!(mm.evict(a, run(0, 64)), Ok(3));
    assert_eq!(protected(&mm), [run(0, 1), run(2, 2)]);
    mm.unpin(a, run(1, 1));
    assert_eq!(mm.evict(a, run(0, 64)), Ok(1));
    sound(&mm);
}

/// Goal: what is protected already is not protected again before it goes, unless it was stored to,
/// or the machine may have lost protections.
#[test]
fn a_page_is_protected_once() {
    let mm = harness();
    let aged = || {
        let new = space(&mm, 64);
        write(&mm, new, 0..4, 1);
        activate(&mm);
        for no in mm.frames.numbers() {
            let _ = mm.frames.get(no).test_and_clear_referenced();
        }
        protected(&mm);
        aging(&mm, Look::Thorough).next_batch();
        assert_eq!(protected(&mm), [run(0, 4)]);
        new
    };
    let a = aged();
    write(&mm, a, 2..3, 2);
    assert_eq!(mm.evict(a, run(0, 64)), Ok(4));
    assert_eq!(protected(&mm), [run(2, 1)]);
    let b = aged();
    write(&mm, a, 9..10, 1);
    mm.host.lose_protection(a, PageNo(9));
    assert_eq!(mm.evict(b, run(0, 64)), Ok(4));
    assert_eq!(protected(&mm), [run(0, 4)]);
    sound(&mm);
}
