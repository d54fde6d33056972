//! What a space that becomes shorter gives back, and what it refuses.

use super::*;
use crate::addr::{Access, SpaceNo};
use crate::host::Domain;
use crate::rig::{Harness, frame_at, harness, put, read, run, sound, value, write};
use crate::space::FaultError;
use crate::{Digest, Size};

/// A space of 80 pages of 100, with bytes at pages 0 to 4 and 38 to 62.
fn long(mm: &Harness) -> SpaceNo {
    let size = Size {
        len: 80,
        reserve: 100,
    };
    let space = mm.create(size, Domain(3)).expect("room");
    write(mm, space, 0..4, 1);
    write(mm, space, 38..62, 2);
    space
}

/// Goal: what stood behind the end is gone, from memory and from the store, and zeros when the
/// space grows again; a fork keeps it.
#[test]
fn what_is_behind_the_end_goes() {
    let mm = harness();
    let a = long(&mm);
    let before = mm.usage().private;
    assert_eq!(mm.evict(a, run(50, 4)), Ok(4));
    let fork = mm.fork(a).expect("room");
    write(&mm, a, 60..61, 3);
    read(&mm, a, 70);
    mm.areas(a).shrink(40).expect("nothing keeps it");
    assert_eq!(mm.len(a), Ok(40));
    assert_eq!([38, 39].map(|page| value(&mm, a, page)), [2, 2]);
    let beyond = mm.fault(a, PageNo(40), Access::Read);
    assert!(matches!(beyond, Err(FaultError::OutOfRange { .. })), "{beyond:?}");
    for page in [40, 51, 61] {
        assert_eq!(
            mm.host.shown(a, PageNo(page)),
            None,
            "its window still shows page {page}"
        );
    }
    assert_eq!([40, 51, 60, 61].map(|page| value(&mm, fork, page)), [2; 4]);
    mm.drop_space(fork).expect("it lives");
    sound(&mm);
    mm.grow(a, 80).expect("the reserve has them");
    assert_eq!([39, 40, 51, 60].map(|page| value(&mm, a, page)), [2, 0, 0, 0]);
    put(&mm, a, 60, 9);
    assert_eq!(value(&mm, a, 60), 9);
    assert!(mm.usage().private < before);
    sound(&mm);
}

/// Goal: to the length that it has is nothing; no length at all, and a longer one, are refused.
#[test]
fn lengths_have_bounds() {
    let mm = harness();
    let a = long(&mm);
    let digest = Digest::of(&mm);
    assert_eq!(mm.areas(a).shrink(80), Ok(()));
    for pages in [0, 81] {
        let refused = SpaceError::BadSize {
            pages: pages.into(),
            most: 80,
        };
        assert_eq!(mm.areas(a).shrink(pages), Err(refused));
    }
    assert_eq!(
        mm.areas(SpaceNo(9)).shrink(1),
        Err(SpaceError::NoSuchSpace(SpaceNo(9)))
    );
    assert_eq!(Digest::of(&mm), digest);
}

/// Goal: a page behind the end that somebody has pinned or locked keeps the space as it is.
#[test]
fn pins_and_locks_refuse() {
    let mm = harness();
    let a = long(&mm);
    mm.pin(a, run(60, 1)).expect("room");
    let digest = Digest::of(&mm);
    assert_eq!(mm.areas(a).shrink(40), Err(SpaceError::Pinned(a)));
    assert_eq!(Digest::of(&mm), digest);
    mm.unpin(a, run(60, 1));
    mm.areas(a).lock(run(45, 2)).expect("room");
    let digest = Digest::of(&mm);
    assert_eq!(mm.areas(a).shrink(40), Err(SpaceError::Locked(a)));
    assert_eq!(Digest::of(&mm), digest);
    mm.areas(a).shrink(63).expect("neither lies there");
    mm.areas(a).unlock(run(45, 2)).expect("it lives");
    mm.areas(a).shrink(1).expect("nothing keeps it");
    assert!(frame_at(&mm, a, 0).is_some());
    sound(&mm);
}
