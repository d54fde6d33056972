//! What is locked stays, and goes when it is not any more.

use crate::Digest;
use crate::addr::{Access, PAGE_SIZE, PageNo, Run, SpaceNo};
use crate::backing::areas::{InFork, Rights};
use crate::error::SpaceError;
use crate::host::Piece;
use crate::rig::{Harness, frame_at, limited, open, resident, run, sound, space, value, write};
use crate::space::FaultError;
use memfold_sim::{Calls, Lasting, Plan, SimSource, When};

fn source() -> SimSource {
    SimSource::new(1, vec![7; 60 * PAGE_SIZE])
}

/// Everything that can go goes.
fn squeeze(mm: &Harness) {
    mm.host.say_young(false);
    mm.reclaim(4096);
    sound(mm);
}

fn locked(mm: &Harness, space: SpaceNo) -> Vec<Run> {
    let areas = mm.areas(space).list().expect("it lives");
    let locked = areas.iter().filter(|area| area.locked);
    locked.map(|area| area.run).collect()
}

fn count(mm: &Harness) -> (u64, u32) {
    let stats = mm.stats();
    (stats.locked_pages, stats.unevictable_frames)
}

/// Goal: locked pages are there, wherever they were, and stay, whoever wants room; unlocked they go
/// (R40). What lies beside them is none of it.
#[test]
fn locked_pages_stay() {
    let mm = limited(8 << 20);
    let a = space(&mm, 100);
    write(&mm, a, 0..30, 1);
    mm.evict(a, run(0, 10)).expect("it lives");
    assert_eq!(mm.areas(a).lock(run(5, 15)), Ok(()));
    assert_eq!(mm.areas(a).lock(run(50, 2)), Ok(()), "never touched");
    assert_eq!(
        (locked(&mm, a), count(&mm)),
        (vec![run(5, 15), run(50, 2)], (17, 17))
    );
    squeeze(&mm);
    let stay: Vec<u32> = (5..20).chain(50..52).collect();
    assert_eq!(resident(&mm, a), stay);
    assert_eq!(mm.evict(a, run(0, 100)), Ok(0));
    mm.advise_cold(a, run(0, 100)).expect("it lives");
    squeeze(&mm);
    assert_eq!(resident(&mm, a), stay);
    assert_eq!(
        [4, 5, 19, 20, 50].map(|page| value(&mm, a, page)),
        [1, 1, 1, 1, 0]
    );

    assert_eq!(mm.areas(a).unlock(run(0, 10)), Ok(()));
    assert_eq!(mm.areas(a).unlock(run(0, 10)), Ok(()), "which changes nothing");
    assert_eq!(
        (locked(&mm, a), count(&mm).0),
        (vec![run(10, 10), run(50, 2)], 12)
    );
    squeeze(&mm);
    assert_eq!(resident(&mm, a), (10..20).chain(50..52).collect::<Vec<_>>());
    assert_eq!(mm.areas(a).unlock(run(0, 100)), Ok(()));
    assert_eq!(mm.areas(a).list(), Ok(vec![]));
    squeeze(&mm);
    assert_eq!((resident(&mm, a), count(&mm)), (vec![], (0, 0)));
    mm.drop_space(a).expect("it lives");
    sound(&mm);
}

/// Goal: a fork has the pages and not the lock; what the two no longer share is kept for the one
/// that locked it, and the other's goes, whichever of them stores first, and ends first.
#[test]
fn forks_are_not_locked() {
    let mm = limited(8 << 20);
    let a = space(&mm, 40);
    write(&mm, a, 0..20, 1);
    assert_eq!(mm.areas(a).lock(run(0, 20)), Ok(()));
    assert_eq!(mm.areas(a).set_in_fork(run(15, 5), InFork::Zeros), Ok(()));
    let b = mm.fork(a).expect("room");
    let c = mm.freeze(a).expect("room");
    assert_eq!(
        (locked(&mm, b), locked(&mm, c), count(&mm).0),
        (vec![], vec![], 20)
    );
    squeeze(&mm);
    assert_eq!(resident(&mm, a).len(), 20);
    let before = frame_at(&mm, a, 3);
    write(&mm, a, 0..5, 2);
    write(&mm, b, 5..10, 3);
    assert!(frame_at(&mm, a, 3) != before && frame_at(&mm, b, 3) == before);
    squeeze(&mm);
    assert_eq!(
        (resident(&mm, a).len(), resident(&mm, b)),
        (20, (10..15).collect())
    );
    assert_eq!([3, 7, 12, 17].map(|page| value(&mm, b, page)), [1, 3, 1, 0]);
    assert_eq!(mm.areas(b).lock(run(0, 20)), Ok(()));
    mm.drop_space(a).expect("it lives");
    squeeze(&mm);
    assert_eq!((resident(&mm, b).len(), count(&mm)), (20, (20, 20)));
    mm.drop_space(c).expect("it lives");
    mm.drop_space(b).expect("it lives");
    sound(&mm);
    assert_eq!(count(&mm), (0, 0));
}

/// Goal: where the budget has no room the call says so, and nothing is locked; at once where it
/// could not have it in any case, and later where what has to stay leaves none.
#[test]
fn refused_without_room() {
    let mm = limited(2 << 20);
    let (a, b, c) = (space(&mm, 600), space(&mm, 300), space(&mm, 90));
    write(&mm, a, 0..20, 1);
    let before = Digest::of(&mm);
    let refused = mm.areas(a).lock(run(0, 600));
    assert!(
        matches!(
            refused,
            Err(SpaceError::NoRoomToLock {
                pages: 600,
                locked: 0,
                ..
            })
        ),
        "{refused:?}"
    );
    assert_eq!(Digest::of(&mm), before);
    assert_eq!(mm.areas(b).lock(run(0, 200)), Ok(()));
    let refused = mm.areas(a).lock(run(0, 250));
    assert!(
        matches!(refused, Err(SpaceError::NoRoomToLock { pages: 250, .. })),
        "{refused:?}"
    );
    mm.pin(a, run(0, 20)).expect("room");
    mm.pin(c, run(0, 90)).expect("room");
    let (mut refused, mut later) = (0, 0);
    for len in (20..280).step_by(4) {
        let faults = mm.stats().new_pages;
        let (areas, all) = (mm.areas(a).list(), count(&mm).0);
        match mm.areas(a).lock(run(0, len)) {
            Ok(()) => assert_eq!(mm.areas(a).unlock(run(0, len)), Ok(())),
            Err(error) => {
                assert!(matches!(error, SpaceError::NoRoomToLock { .. }), "{error:?}");
                refused += 1;
                later += u32::from(mm.stats().new_pages != faults);
            }
        }
        assert_eq!((mm.areas(a).list(), count(&mm).0), (areas, all));
        sound(&mm);
    }
    assert!(refused > 3 && later > 0, "{refused}, {later}");
    assert!((0..20).all(|page| value(&mm, a, page) == 1));
    mm.unpin(a, run(0, 20));
    for space in [a, b, c] {
        mm.drop_space(space).expect("it lives");
    }
    sound(&mm);
}

/// Goal: a machine that refuses leaves nothing locked, and pages that allow nothing are not locked.
#[test]
fn refused_by_the_machine() {
    let mm = limited(8 << 20);
    let a = space(&mm, 40);
    write(&mm, a, 0..20, 1);
    let b = mm.fork(a).expect("room");
    let mut refused = 0;
    for nth in 0..40 {
        let plan = Plan {
            calls: Calls::ALL,
            when: When::Nth(nth, Lasting::Once),
        };
        mm.host.set_plan(plan);
        let locked_now = mm.areas(b).lock(run(4, 24));
        mm.host.set_plan(Plan::NONE);
        match locked_now {
            Ok(()) => assert_eq!(mm.areas(b).unlock(run(4, 24)), Ok(())),
            Err(error) => {
                assert!(matches!(
                    error,
                    SpaceError::Fault(FaultError::Host { .. }) | SpaceError::Host(_)
                ));
                refused += 1;
            }
        }
        assert_eq!((locked(&mm, b), count(&mm).0), (vec![], 0));
        sound(&mm);
    }
    assert!(refused > 3, "{refused}");
    assert_eq!(mm.areas(b).protect(run(30, 2), Rights::None), Ok(()));
    let refused = mm.areas(b).lock(run(20, 20));
    assert!(
        matches!(
            refused,
            Err(SpaceError::Fault(FaultError::Forbidden { page: PageNo(30), .. }))
        ),
        "{refused:?}"
    );
    assert!(matches!(
        mm.areas(b).lock(run(30, 20)),
        Err(SpaceError::BadRun { .. })
    ));
    assert!(matches!(
        mm.areas(b).unlock(run(30, 0)),
        Err(SpaceError::BadRun { .. })
    ));
    assert_eq!((locked(&mm, b), count(&mm).0), (vec![], 0));
    sound(&mm);
}

/// Goal: pages of a file stay as long as one of its mappings is locked, also such as come in later;
/// private copies are the space's own, and then the file's pages may go.
#[test]
fn pages_of_files() {
    let (mm, source) = (limited(8 << 20), source());
    let (a, b) = (space(&mm, 100), space(&mm, 100));
    let file = open(&mm, &source);
    for space in [a, b] {
        let mapped = mm
            .areas(space)
            .map(run(0, 40), &file, PageNo(0), Piece::Shared, Rights::ReadWrite);
        assert_eq!(mapped, Ok(()));
    }
    let there = || mm.files().stats().resident;
    assert_eq!(mm.areas(a).lock(run(0, 20)), Ok(()));
    assert_eq!(mm.areas(b).lock(run(10, 20)), Ok(()));
    squeeze(&mm);
    assert_eq!(there(), 30);
    assert_eq!(mm.areas(a).unlock(run(0, 100)), Ok(()));
    squeeze(&mm);
    assert_eq!((there(), count(&mm).0), (20, 20));
    // Shorter and longer again: what comes in then stays as well.
    mm.files().resize(&file, 25 * PAGE_SIZE as u64).expect("it may");
    mm.files().resize(&file, 60 * PAGE_SIZE as u64).expect("it may");
    assert_eq!(there(), 15);
    mm.fault(a, PageNo(27), Access::Read).expect("room");
    squeeze(&mm);
    assert_eq!(there(), 16);
    let private = mm
        .areas(b)
        .map(run(0, 30), &file, PageNo(0), Piece::Private, Rights::ReadWrite);
    assert_eq!(private, Ok(()), "which ends the lock");
    squeeze(&mm);
    assert_eq!((there(), count(&mm)), (0, (0, 0)));
    assert_eq!(mm.areas(b).lock(run(0, 5)), Ok(()));
    squeeze(&mm);
    assert_eq!((there(), resident(&mm, b)), (0, (0..5).collect()));
    assert_eq!(mm.areas(b).protect(run(10, 5), Rights::Read), Ok(()));
    assert_eq!(mm.areas(b).lock(run(10, 5)), Ok(()));
    squeeze(&mm);
    assert_eq!((there(), resident(&mm, b)), (5, (0..5).collect()));
    let refused = mm.areas(b).protect(run(12, 1), Rights::ReadWrite);
    assert_eq!(refused, Err(SpaceError::Locked(b)));
    // A truncation takes private copies away, locked or not.
    mm.files().resize(&file, 3 * PAGE_SIZE as u64).expect("it may");
    squeeze(&mm);
    assert_eq!((there(), resident(&mm, b)), (0, (0..3).collect()));
    for space in [a, b] {
        mm.drop_space(space).expect("it lives");
    }
    mm.files().close(file);
    sound(&mm);
}

/// Goal: what would take locked pages out of memory is refused, or ends the lock; what does not
/// leaves it.
#[test]
fn what_happens_to_locked_pages() {
    let mm = limited(8 << 20);
    let a = space(&mm, 40);
    write(&mm, a, 0..20, 1);
    assert_eq!(mm.areas(a).lock(run(0, 20)), Ok(()));
    assert_eq!(mm.discard(a, run(10, 20)), Err(SpaceError::Locked(a)));
    assert_eq!(mm.discard(a, run(20, 20)), Ok(()));
    assert_eq!(mm.areas(a).protect(run(0, 10), Rights::None), Ok(()));
    squeeze(&mm);
    assert_eq!((resident(&mm, a).len(), value(&mm, a, 3)), (20, 1));
    assert_eq!(mm.areas(a).protect(run(0, 10), Rights::ReadWrite), Ok(()));
    mm.pin(a, run(5, 1)).expect("room");
    mm.unpin(a, run(5, 1));
    squeeze(&mm);
    assert_eq!((resident(&mm, a).len(), count(&mm)), (20, (20, 20)));
    mm.pin(a, run(5, 1)).expect("room");
    assert_eq!(mm.areas(a).unlock(run(0, 10)), Ok(()));
    squeeze(&mm);
    assert_eq!(resident(&mm, a), [5, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
    mm.unpin(a, run(5, 1));
    assert_eq!(mm.areas(a).unmap(run(8, 6)), Ok(()));
    assert_eq!((locked(&mm, a), count(&mm)), (vec![run(14, 6)], (6, 6)));
    squeeze(&mm);
    assert_eq!(resident(&mm, a), [14, 15, 16, 17, 18, 19]);
    mm.drop_space(a).expect("it lives");
    assert_eq!(count(&mm), (0, 0));
    sound(&mm);
}
