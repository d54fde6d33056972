//! Which frames reclaim takes, how many, and when it gives up.

mod aging;

use super::batch::BATCH;
use super::*;
use crate::addr::{Access, FrameNo, PageNo};
use crate::budget::{Charge, Class, Need};
use crate::mm::PAGE;
use crate::rig::{
    Harness, Request, frame_at, harness, limited, read, resident, roomy, run, saves, saves_nothing, sound,
    space, value, write,
};
use crate::space::FaultError;

/// Takes a frame off its queue, if it may go before its turn.
pub(crate) fn isolate(mm: &Harness, no: FrameNo) -> Option<Isolated> {
    let mut taken = [None];
    let numbers = std::iter::once(no);
    mm.reclaim
        .replacer
        .isolate_candidates(&mm.frames, numbers, &mut taken);
    taken[0].take()
}

/// Puts all inactive frames onto the active list.
fn activate(mm: &Harness) {
    for no in mm.reclaim.replacer.numbers(&mm.frames) {
        settle(mm, &mut isolate(mm, no), Finding::Used);
    }
}

/// How many frames were looked at and did not go.
fn looks(mm: &Harness) -> u64 {
    mm.stats().evictions_failed + mm.stats().activated
}

/// Goal: reclaim takes whole batches, oldest first with what stands beside them, until it has
/// enough.
#[test]
fn enough_is_enough() {
    let mm = harness();
    let a = space(&mm, 200);
    write(&mm, a, 0..150, 1);
    assert_eq!(mm.reclaim(0), 0);
    assert_eq!(mm.reclaim(1), 32);
    assert_eq!(mm.reclaim(32), 32);
    let left = resident(&mm, a);
    assert_eq!((left.len(), &left[..80]), (86, &(0..80).collect::<Vec<_>>()[..]));
    assert_eq!(mm.reclaim(33), 64);
    assert_eq!(mm.reclaim(100), 22, "all that there is");
    assert_eq!(mm.reclaim(100), 0);
    assert_eq!(mm.stats().evictions, 150);
    sound(&mm);
}

/// Goal: frames that stand on the active list alone are found as well: batches are aged until as
/// many are on probation.
#[test]
fn the_active_list_is_aged() {
    let mm = harness();
    let a = space(&mm, 200);
    write(&mm, a, 0..100, 1);
    activate(&mm);
    assert_eq!(mm.reclaim(32), 32);
    assert_eq!(mm.stats().deactivated, 64);
    assert_eq!(mm.reclaim(1000), 68);
    assert_eq!(mm.stats().deactivated, 100);
    sound(&mm);
}

/// Goal: frames that cannot go are no obstacle: pinned ones are not looked at, such as do not
/// compress once, until they are stored to. Method: many that are older than a few others.
#[test]
fn what_cannot_go_is_set_aside() {
    let mm = harness();
    let a = space(&mm, 1000);
    write(&mm, a, 0..644, 1);
    mm.pin(a, run(4, 640)).expect("room");
    assert_eq!((mm.reclaim(4), looks(&mm)), (4, 0));
    assert_eq!((mm.reclaim(1), looks(&mm)), (0, 0));
    mm.unpin(a, run(4, 640));
    sound(&mm);
    mm.store.price(saves_nothing);
    assert_eq!((mm.reclaim(1), looks(&mm)), (0, 640));
    assert_eq!(mm.stats().unevictable_frames, 640);
    assert_eq!((mm.reclaim(1), looks(&mm)), (0, 640), "nobody looks again");
    mm.store.price(saves);
    write(&mm, a, 7..9, 2);
    assert_eq!(mm.stats().unevictable_frames, 638);
    assert_eq!(mm.reclaim(1000), 2);
    assert_eq!((value(&mm, a, 7), value(&mm, a, 9)), (2, 1));
    sound(&mm);
    assert_eq!(mm.evict(a, run(0, 1000)), Ok(638), "whoever asks for it gets it");
    sound(&mm);
}

/// Goal: of pages that did not compress and were stored to since a run tries a few, as long as
/// others go, and all of them when nothing else does. Method: such pages beside fresh ones.
#[test]
fn doubted_pages_are_tried_slowly() {
    let mm = harness();
    let (a, b) = (space(&mm, 640), space(&mm, 64));
    write(&mm, a, 0..640, 1);
    mm.store.price(saves_nothing);
    assert_eq!((mm.reclaim(1), looks(&mm)), (0, 640));
    write(&mm, a, 0..640, 2);
    assert_eq!(mm.stats().unevictable_frames, 0);
    write(&mm, b, 0..64, 3);
    mm.store.price(saves);
    assert!(mm.reclaim(32) >= 32);
    assert_eq!(mm.reclaim.replacer.doubted(), 632);
    assert!(resident(&mm, a).len() >= 632);
    sound(&mm);
    let left = (resident(&mm, a).len() + resident(&mm, b).len()) as u32;
    assert_eq!(mm.reclaim(1000), left);
    assert_eq!((value(&mm, a, 639), value(&mm, b, 63)), (2, 3));
    sound(&mm);
}

/// Goal: what is asked to go goes, no page more and none less, across holes and whole batches.
#[test]
fn ranges_are_exact() {
    let mm = harness();
    let a = space(&mm, 1000);
    write(&mm, a, 16..17, 1);
    write(&mm, a, 40..90, 1);
    write(&mm, a, 999..1000, 1);
    assert_eq!(mm.evict(a, run(0, 40)), Ok(1));
    assert_eq!(mm.evict(a, run(20, 21)), Ok(1), "from within a hole");
    assert_eq!(resident(&mm, a), (41..90).chain(999..1000).collect::<Vec<_>>());
    assert_eq!(mm.evict(a, run(42, 40)), Ok(40), "more than a batch");
    assert_eq!(mm.evict(a, run(500, 5000)), Ok(1), "beyond the end");
    assert_eq!(resident(&mm, a), [41, 82, 83, 84, 85, 86, 87, 88, 89]);
    assert_eq!(
        mm.evict(SpaceNo(9), run(0, 1)),
        Err(SpaceError::NoSuchSpace(SpaceNo(9)))
    );
    sound(&mm);
}

/// Goal: neighbours go together: one call protects those of a leaf, with what lies between, one
/// hides each run of them.
#[test]
fn neighbours_go_together() {
    let mm = harness();
    let a = space(&mm, 64);
    write(&mm, a, 0..5, 1);
    write(&mm, a, 7..9, 1);
    mm.host.requests();
    assert_eq!(mm.evict(a, run(0, 64)), Ok(7));
    let (first, second) = (run(0, 5), run(7, 2));
    assert_eq!(
        mm.host.requests(),
        [
            Request::Protect(a, run(0, 9)),
            Request::Drop(a, first),
            Request::Drop(a, second)
        ]
    );
    // The same pages of two spaces, and of a backing.
    let b = space(&mm, 64);
    write(&mm, b, 9..11, 1);
    let c = mm.fork(b).expect("room");
    read(&mm, c, 9);
    mm.host.requests();
    assert_eq!(mm.evict(c, run(0, 64)), Ok(2));
    let first = mm.backings.first(mm.lock_space(b).expect("it lives").backing);
    assert_eq!(mm.host.requests(), [Request::Free(first.plus(9), 2)]);
    sound(&mm);
}

/// Goal: pages that are called cold go before all others, though they were used.
#[test]
fn cold_pages_go_first() {
    let mm = harness();
    let a = space(&mm, 100);
    write(&mm, a, 0..80, 1);
    mm.frames
        .at(frame_at(&mm, a, 70).expect("written"))
        .mark_referenced();
    mm.advise_cold(a, run(50, 30)).expect("it lives");
    assert_eq!(Reclaim::new(&mm).evict_next(), 32);
    assert_eq!(resident(&mm, a), (0..48).collect::<Vec<_>>());
    assert_eq!(
        mm.advise_cold(SpaceNo(9), run(0, 1)),
        Err(SpaceError::NoSuchSpace(SpaceNo(9)))
    );
    sound(&mm);
}

/// Goal: the background reclaimer works between its two marks, in single batches, and says when it
/// is done.
#[test]
fn background_works_between_the_marks() {
    let mm = limited(8 << 20);
    let reserve = (8 << 20) / 64;
    let a = space(&mm, 3000);
    write(&mm, a, 0..200, 1);
    let free = mm.budget.free();
    assert_eq!(mm.usage().free / PAGE, free / PAGE);
    assert!(!mm.wants_reclaim() && !mm.reclaim_in_background());
    let charge = |bytes| Charge::take(&mm.budget, Class::Pool, bytes, Need::Normal).expect("it is free");
    let held = charge(free - reserve / 2);
    assert!(!mm.wants_reclaim(), "not below the lower mark yet");
    let more = charge(PAGE);
    assert!(mm.wants_reclaim());
    assert!(!mm.reclaim_in_background(), "one batch was enough");
    assert_eq!(mm.stats().evictions, 32);
    assert!(!mm.wants_reclaim() && !mm.reclaim_in_background());
    assert_eq!(mm.stats().evictions, 32);
    let much = charge(mm.budget.free());
    assert!(mm.reclaim_in_background(), "more is needed");
    assert_eq!(mm.stats().evictions, 64);
    mm.reclaim(1000);
    let rest = charge(mm.budget.free());
    assert!(
        mm.wants_reclaim() && !mm.reclaim_in_background(),
        "there is nothing left to go"
    );
    drop((held, more, much, rest));
}

/// Goal: a fault without room learns whether looking again is worth it.
#[test]
fn faults_reclaim_for_themselves() {
    let mm = harness();
    assert!(!reclaim_for_fault(&mm));
    let a = space(&mm, 100);
    write(&mm, a, 0..33, 1);
    assert!(reclaim_for_fault(&mm));
    assert_eq!((mm.stats().evictions, mm.stats().direct_reclaims), (32, 2));
}

/// Goal: a fault makes room while little is left, for itself and the next ones; not for a condemned
/// space, whose faults fail.
#[test]
fn little_room_is_made_more() {
    let mm = limited(8 << 20);
    let a = space(&mm, 4000);
    let touch = |page| mm.fault(a, PageNo(page), Access::Write);
    let mut pages = 0..4000;
    assert!(pages.any(|page| touch(page).is_err() || mm.wants_reclaim()));
    assert!(mm.wants_reclaim() && mm.stats().evictions == 0);
    let full = FaultError::OverBudget {
        space: a,
        page: PageNo(0),
        limit: 8 << 20,
    };
    crate::fault::note_failure(&mm, a, full);
    mm.make_room(a, || false);
    assert_eq!(mm.stats().evictions, 0, "somebody reclaims for a condemned space");
    assert_eq!(mm.take_failure(a), Some(full));
    mm.make_room(a, || false);
    assert!(mm.stats().evictions != 0 && !mm.wants_reclaim());
    sound(&mm);
}

/// Goal: where somebody makes room, faults do it only when that is not enough, a batch each; and
/// nobody is called while nothing can be done.
#[test]
fn faults_help_whoever_makes_room() {
    let mm = limited(32 << 20);
    let a = space(&mm, 10_000);
    let touch = |page| mm.fault(a, PageNo(page), Access::Write);
    let called = std::cell::Cell::new(0);
    let make_room = || {
        mm.make_room(a, || {
            called.set(called.get() + 1);
            true
        });
    };
    make_room();
    assert_eq!(called.get(), 0, "there is room");
    let mut pages = 0..10_000;
    assert!(pages.any(|page| touch(page).is_err() || mm.wants_reclaim()));
    make_room();
    assert_eq!((called.get(), mm.stats().evictions), (1, 0));
    assert!(pages.any(|page| touch(page).is_err() || mm.budget.is_scarce()));
    let before = mm.stats().evictions;
    make_room();
    assert_eq!((called.get(), mm.stats().evictions - before), (2, BATCH as u64));
    sound(&mm);
}

/// Goal: pages that the store saves nothing on stay, are not tried again until they change, and go
/// when that is asked for.
#[test]
fn what_saves_nothing_stays() {
    let mm = harness();
    let a = space(&mm, 64);
    write(&mm, a, 0..8, 1);
    mm.store.price(saves_nothing);
    assert_eq!(mm.reclaim(8), 0);
    let stats = mm.stats();
    assert_eq!((stats.incompressible, mm.store().stats().pages), (8, 0));
    mm.store.price(saves);
    assert_eq!(
        (mm.reclaim(8), mm.stats().incompressible),
        (0, 8),
        "it is remembered"
    );
    mm.fault(a, PageNo(3), crate::addr::Access::Write).expect("room");
    assert_eq!(mm.reclaim(8), 1, "it may have changed");
    mm.store.price(saves_nothing);
    assert_eq!(mm.evict(a, run(0, 64)), Ok(7));
    assert_eq!(mm.stats().incompressible, 8);
    sound(&mm);
}

/// Goal: a page goes to the store beside the version that stands at its place, or another's that
/// went before; the first of a family offers its own; a space without relatives offers nothing.
#[test]
fn versions_are_stored_beside_a_base() {
    let mm = harness();
    let near = |mm: &Harness| mm.store.nears();
    let alone = space(&mm, 16);
    write(&mm, alone, 0..1, 1);
    mm.evict(alone, run(0, 1)).expect("it lives");
    assert_eq!((near(&mm), mm.store().stats().pages), (vec![None], 1));
    let a = space(&mm, 16);
    write(&mm, a, 0..2, 1);
    let b = mm.fork(a).expect("room");
    read(&mm, b, 0);
    // What stands in the pool becomes the base (2) of what is stored (3).
    write(&mm, b, 0..1, 2);
    mm.evict(b, run(0, 1)).expect("it lives");
    assert_eq!(near(&mm), [None, Some(2)]);
    // The frame in the pool follows, beside the same base.
    mm.evict(a, run(0, 1)).expect("it lives");
    assert_eq!(near(&mm), [Some(2)]);
    // Nothing stands there: the page (5) and a base (6) of the same bytes, for the next one.
    write(&mm, b, 9..10, 3);
    mm.evict(b, run(9, 1)).expect("it lives");
    assert_eq!(near(&mm), [None, None]);
    write(&mm, a, 9..10, 4);
    mm.evict(a, run(9, 1)).expect("it lives");
    assert_eq!(near(&mm), [Some(6)]);
    sound(&mm);
}

/// Goal: where nothing can go no frame is looked at again, by a fault or in the background, until
/// something has changed. Method: a full budget, and one frame that could go but for its lock,
/// which somebody holds; looks are counted. Then the end of the lock and of a pin.
#[test]
fn a_failed_run_is_remembered() {
    let mm = limited(8 << 20);
    let [a, b] = [(); 2].map(|()| space(&mm, 64));
    write(&mm, a, 0..1, 1);
    write(&mm, b, 0..1, 1);
    mm.pin(b, run(0, 1)).expect("room");
    let rest = Charge::take(&mm.budget, Class::Pool, mm.budget.free(), Need::Normal).expect("it is free");
    let looks = || mm.stats().scanned;
    let busy = mm.frames.lock(frame_at(&mm, a, 0).expect("written"));
    assert!(!reclaim_for_fault(&mm));
    let first = looks();
    assert!(first > 0, "the first looks");
    assert!(!mm.wants_reclaim() && !mm.reclaim_in_background() && !reclaim_for_fault(&mm));
    assert_eq!(looks(), first, "nothing has changed since");
    drop(busy);
    mm.unpin(b, run(0, 1));
    assert!(mm.wants_reclaim(), "the end of a pin is a change");
    assert!(reclaim_for_fault(&mm));
    assert_eq!(mm.stats().evictions, 2);
    drop(rest);
    sound(&mm);
}

/// Goal: a fault that finds nothing to go while another thread reclaims waits for what that thread
/// has off the queues, though not for ever; alone it gives up at once, and a run that fails beside
/// another is not remembered. Method: the attempts are counted; the other run is only announced.
#[test]
fn those_who_reclaim_are_waited_for() {
    let mm = limited(8 << 20);
    let attempts = |succeeds: u32| {
        let mut made = 0;
        let done = mm.retry(|| {
            made += 1;
            if made == succeeds {
                Ok(())
            } else {
                Err(Stop::NoRoom)
            }
        });
        (done, made)
    };
    let other = mm.reclaim.stalled.begin();
    assert_eq!(attempts(100), (Ok(()), 100));
    assert!(!mm.reclaim.stalled.is_at(mm.reclaim.stalled.now()));
    let (done, made) = attempts(u32::MAX);
    assert_eq!(done, Err(Stop::NoRoom));
    assert!(made <= 4 * (crate::stalled::YIELDS + 1), "{made} attempts");
    drop(other);
    assert_eq!(attempts(100), (Err(Stop::NoRoom), 4));
    assert!(mm.reclaim.stalled.is_at(mm.reclaim.stalled.now()));
}
