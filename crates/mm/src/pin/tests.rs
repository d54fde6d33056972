//! Pins nest, stay, and leave nothing behind when they fail.

use crate::addr::PageNo;
use crate::frame::count::MOST_PINS;
use crate::rig::{Request, harness, resident, run, sound, space, value, write};
use crate::space::FaultError;

/// Goal: a page stays as long as it is pinned, however often.
#[test]
fn pins_nest() {
    let mm = harness();
    let a = space(&mm, 40);
    write(&mm, a, 0..8, 1);
    mm.evict(a, run(3, 1)).expect("it lives");
    mm.pin(a, run(2, 3)).expect("room");
    mm.pin(a, run(4, 2)).expect("room");
    let pinned = |mm: &crate::rig::Harness| crate::SpaceStats::of(mm, a).expect("it lives").pinned;
    assert_eq!(pinned(&mm), 4);
    assert_eq!(
        mm.lock_space(a).expect("it lives").pins,
        [2, 3, 4, 5].map(|p| (PageNo(p), 1 + u32::from(p == 4))).into()
    );
    sound(&mm);
    mm.evict(a, run(0, 40)).expect("it lives");
    assert_eq!(resident(&mm, a), [2, 3, 4, 5]);
    mm.unpin(a, run(2, 3));
    mm.evict(a, run(0, 40)).expect("it lives");
    assert_eq!((resident(&mm, a), pinned(&mm)), (vec![4, 5], 2));
    sound(&mm);
    mm.unpin(a, run(4, 2));
    mm.evict(a, run(0, 40)).expect("it lives");
    assert_eq!((resident(&mm, a), pinned(&mm)), (vec![], 0));
    assert_eq!(value(&mm, a, 3), 1);
    sound(&mm);
}

/// Goal: a pin that fails midway pins nothing, and a pin of one page that fails takes back nobody
/// else's.
#[test]
fn a_failed_pin_leaves_nothing() {
    let mm = harness();
    let a = space(&mm, 40);
    mm.pin(a, run(37, 1)).expect("room");
    let beyond = FaultError::OutOfRange {
        space: a,
        page: PageNo(40),
        len: 40,
    };
    assert_eq!(mm.pin(a, run(37, 4)), Err(beyond));
    assert_eq!(mm.pin(a, run(40, 1)), Err(beyond));
    assert_eq!(mm.lock_space(a).expect("it lives").pins, [(PageNo(37), 1)].into());
    sound(&mm);
}

/// Goal: a pinned page is writable, whatever ageing did to it before (the kernel takes no fault).
#[test]
fn a_pinned_page_is_writable() {
    let mm = harness();
    let a = space(&mm, 40);
    write(&mm, a, 5..6, 1);
    mm.host.requests();
    mm.pin(a, run(5, 1)).expect("room");
    assert!(mm.host.requests().contains(&Request::Unprotect(a, run(5, 1))));
    mm.unpin(a, run(5, 1));
}

/// Goal: pins that are left end with their space.
#[test]
fn pins_end_with_their_space() {
    let mm = harness();
    let a = space(&mm, 40);
    mm.pin(a, run(5, 3)).expect("room");
    mm.pin(a, run(6, 1)).expect("room");
    mm.drop_space(a).expect("nobody shares");
    mm.unpin(a, run(5, 3));
    sound(&mm);
    assert_eq!(mm.usage().private, 0);
}

/// Goal: a page that is pinned as often as can be counted is an error, and stays pinned as it was.
#[test]
fn pins_have_a_bound() {
    let mm = harness();
    let a = space(&mm, 40);
    (0..MOST_PINS).for_each(|_| mm.pin(a, run(3, 1)).expect("it can be counted"));
    let (page, most) = (PageNo(3), MOST_PINS);
    let refused = Err(FaultError::TooManyPins { space: a, page, most });
    assert_eq!(mm.pin(a, run(2, 3)), refused);
    assert_eq!(crate::SpaceStats::of(&mm, a).expect("it lives").pinned, 1);
    (0..MOST_PINS).for_each(|_| mm.unpin(a, run(3, 1)));
    assert_eq!(crate::SpaceStats::of(&mm, a).expect("it lives").pinned, 0);
    mm.pin(a, run(3, 1)).expect("again");
    sound(&mm);
}

/// Goal: pinned pages are on no list that reclaim looks at, and come back to one with their last
/// pin.
#[test]
fn pinned_pages_are_set_aside() {
    let mm = harness();
    let a = space(&mm, 40);
    write(&mm, a, 0..8, 1);
    let listed = |mm: &crate::rig::Harness| {
        let stats = mm.stats();
        (
            stats.active_frames + stats.inactive_frames,
            stats.unevictable_frames,
        )
    };
    mm.pin(a, run(2, 3)).expect("room");
    mm.pin(a, run(4, 1)).expect("room");
    assert_eq!(listed(&mm), (5, 3));
    assert_eq!(mm.reclaim(100), 5);
    mm.unpin(a, run(4, 1));
    assert_eq!(listed(&mm), (0, 3));
    mm.unpin(a, run(2, 3));
    assert_eq!(listed(&mm), (3, 0));
    assert_eq!(mm.reclaim(100), 3);
    sound(&mm);
}

/// Goal: a long run is unpinned as it was pinned, whatever the pieces.
#[test]
fn long_runs_are_unpinned() {
    let mm = harness();
    let a = space(&mm, 3000);
    mm.pin(a, run(1, 2600)).expect("room");
    mm.pin(a, run(2000, 100)).expect("room");
    mm.unpin(a, run(1, 2600));
    assert_eq!(crate::SpaceStats::of(&mm, a).expect("it lives").pinned, 100);
    mm.unpin(a, run(2000, 100));
    assert_eq!(crate::SpaceStats::of(&mm, a).expect("it lives").pinned, 0);
    sound(&mm);
}
