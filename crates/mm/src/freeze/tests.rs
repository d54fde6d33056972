//! Frozen copies: all pages at their places, or a backing of its own; and reading without showing.

use super::*;
use crate::Rights;
use crate::addr::PAGE_SIZE;
use crate::host::Piece;
use crate::rig::{Harness, frame_at, harness, read, resident, run, sound, space, value, write};
use crate::space::Merging;
use memfold_sim::SimSource;

/// How many pages of a space stand at their places of its backing.
fn settled(mm: &Harness, no: SpaceNo) -> usize {
    let backing = mm.lock_space(no).expect("it lives").backing;
    let at_backing = |&page: &u32| {
        let frame = frame_at(mm, no, page).expect("in memory");
        mm.frames.lock(frame).residence == Residence::Backing(backing)
    };
    resident(mm, no).iter().filter(|page| at_backing(page)).count()
}

/// Goal: all pages of the frozen copy stand in the pool, with no second copy; what is in the store
/// stays there.
#[test]
fn all_pages_settle() {
    let mm = harness();
    let a = space(&mm, 100);
    for page in [16, 20, 40, 99] {
        write(&mm, a, page..page + 1, page as u8);
    }
    mm.evict(a, run(40, 1)).expect("it lives");
    let copy = mm.freeze(a).expect("room");
    let usage = mm.usage();
    assert_eq!((usage.private, usage.pool), (0, 3 * PAGE));
    assert_eq!((resident(&mm, copy), settled(&mm, copy)), (vec![16, 20, 99], 3));
    write(&mm, a, 20..21, 1);
    let fork = mm.fork(copy).expect("room");
    let values = |s| [16, 20, 40, 99, 0].map(|page| value(&mm, s, page));
    assert_eq!(values(a), [16, 1, 40, 99, 0]);
    assert_eq!(values(copy), [16, 20, 40, 99, 0]);
    assert_eq!(values(fork), [16, 20, 40, 99, 0]);
    sound(&mm);
    let again = mm.freeze(copy).expect("room");
    let backing = |s| mm.lock_space(s).expect("it lives").backing;
    assert_eq!(backing(again), backing(a));
    sound(&mm);
}

/// A family of two whose second went its own way at page 0, and has that page in its window or in
/// the overflow range.
fn diverged(overflow: bool) -> (Harness, SpaceNo, SpaceNo) {
    let mm = harness();
    let a = space(&mm, 100);
    write(&mm, a, 0..1, 1);
    write(&mm, a, 33..34, 1);
    let b = mm.fork(a).expect("room");
    read(&mm, b, 0);
    write(&mm, b, 0..1, 2);
    write(&mm, b, 70..71, 3);
    if overflow {
        let c = mm.fork(b).expect("room");
        write(&mm, b, 0..1, 2);
        // Two versions share the place's page: the older one of b's is in the overflow range now.
        let d = mm.fork(c).expect("room");
        mm.drop_space(b).expect("room");
        return (mm, a, d);
    }
    (mm, a, b)
}

/// Goal: where another version stands at a page's place, the frozen copy gets a backing of its own,
/// with all pages and no more.
#[test]
fn a_diverged_space_gets_a_backing() {
    for overflow in [false, true] {
        let (mm, a, b) = diverged(overflow);
        mm.set_merging(b, Merging::On).expect("it lives");
        mm.evict(b, run(70, 1)).expect("it lives");
        let copy = mm.freeze(b).expect("room");
        let backing = |s| mm.lock_space(s).expect("it lives").backing;
        assert_ne!(backing(copy), backing(b));
        assert_eq!(mm.merging(copy), Ok(Merging::On));
        assert_eq!((resident(&mm, copy), settled(&mm, copy)), (vec![0, 33, 70], 3));
        assert_eq!([0, 33, 70, 1].map(|page| value(&mm, copy, page)), [2, 1, 3, 0]);
        assert_eq!([0, 33, 70, 1].map(|page| value(&mm, a, page)), [1, 1, 0, 0]);
        sound(&mm);
    }
}

/// Goal: reading a page shows nothing, brings nothing in, and fails for a space that is not there.
#[test]
fn reading_changes_nothing() {
    let mm = harness();
    let a = space(&mm, 40);
    write(&mm, a, 0..3, 5);
    mm.evict(a, run(1, 1)).expect("it lives");
    let b = mm.fork(a).expect("room");
    read(&mm, b, 2);
    let before = (mm.usage(), mm.stats());
    mm.host.requests();
    for space in [a, b] {
        assert_eq!(
            [0, 1, 2, 3, 39].map(|page| value(&mm, space, page)),
            [5, 5, 5, 0, 0]
        );
    }
    assert_eq!((mm.usage(), mm.stats()), before);
    assert_eq!(mm.host.requests(), []);
    let nobody = SpaceNo(9);
    let read = mm.read_page(nobody, PageNo(0), &mut [0; crate::addr::PAGE_SIZE]);
    let lost = crate::space::FaultError::NoSuchSpace(nobody);
    assert_eq!(read, Err(SpaceError::Fault(lost)));
    sound(&mm);
}

/// Goal: a pinned page stays where it is, and its space's own; the frozen copy has its bytes.
#[test]
fn pinned_pages_do_not_settle() {
    let mm = harness();
    let a = space(&mm, 40);
    write(&mm, a, 0..1, 5);
    write(&mm, a, 2..3, 5);
    mm.pin(a, run(2, 1)).expect("room");
    mm.host.hold(a, run(2, 1));
    let copy = mm.freeze(a).expect("room");
    let stats = crate::SpaceStats::of(&mm, a).expect("it lives");
    assert_eq!((stats.exclusive, stats.shared, stats.exported), (1, 1, 0));
    assert_eq!((value(&mm, copy, 0), value(&mm, copy, 2)), (5, 5));
    sound(&mm);
    mm.unpin(a, run(2, 1));
}

/// Goal: a frozen copy maps what its origin maps, and keeps what was stored to private areas; its
/// forks read the file's pages once for all. Method: also when another version stands at a page's
/// place, for which a space without areas would be copied.
#[test]
fn frozen_with_areas() {
    for other_version in [false, true] {
        let (mm, source) = (harness(), SimSource::new(1, vec![9; 12 * PAGE_SIZE]));
        let file = mm.files().open(Box::new(source.clone())).expect("room");
        let a = space(&mm, 40);
        write(&mm, a, 30..32, 1);
        let ahead = mm.fork(a).expect("room");
        if other_version {
            read(&mm, ahead, 30);
            write(&mm, a, 30..31, 2);
        }
        for (at, kind) in [(0, Piece::Private), (20, Piece::Shared)] {
            let mapped = mm
                .areas(a)
                .map(run(at, 4), &file, PageNo(at / 4), kind, Rights::ReadWrite);
            assert_eq!(mapped, Ok(()));
        }
        write(&mm, a, 3..4, 7);
        let frozen = mm.freeze(a).expect("room");
        mm.drop_space(a).expect("it lives");
        let forks = [(); 3].map(|()| mm.fork(frozen).expect("room"));
        let reads = source.traffic().0;
        for fork in forks {
            read(&mm, fork, 0);
            read(&mm, fork, 22);
            let own = if other_version { 2 } else { 1 };
            let pages = [3, 0, 22, 30, 31].map(|page| value(&mm, fork, page));
            assert_eq!(pages, [7, 9, 9, own, 1]);
        }
        assert_eq!(source.traffic().0, reads + 2);
        write(&mm, forks[0], 21..22, 8);
        assert_eq!(value(&mm, forks[1], 21), 8);
        sound(&mm);
        for space in [ahead, frozen].iter().chain(&forks) {
            mm.drop_space(*space).expect("it lives");
        }
        mm.files().close(file);
        sound(&mm);
        assert_eq!((mm.usage().pool, mm.usage().private), (0, 0));
    }
}
