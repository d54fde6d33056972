//! Pages that move keep what they are, whatever that is.

mod refused;

use crate::addr::{Access, PAGE_SIZE, PageNo, SpaceNo};
use crate::backing::areas::{Area, AreaKind, InFork, Rights};
use crate::host::Piece;
use crate::rig::{
    Harness, frame_at, harness, limited, map, numbered, open, put, read, resident, run, sound, space, value,
    write,
};
use crate::space::{FaultError, Merging};
use crate::{OpenFile, Order};
use memfold_sim::SimSource;

const PAGES: u32 = 12;

/// A file of some pages.
fn source() -> SimSource {
    numbered(PAGES)
}

fn values(mm: &Harness, space: SpaceNo, pages: std::ops::Range<u32>) -> Vec<u8> {
    pages.map(|page| value(mm, space, page)).collect()
}

fn areas(mm: &Harness, space: SpaceNo) -> Vec<Area> {
    mm.areas(space).list().expect("it lives")
}

fn end(mm: &Harness, spaces: &[SpaceNo]) {
    sound(mm);
    spaces
        .iter()
        .for_each(|&space| mm.drop_space(space).expect("nothing shared is left"));
    sound(mm);
    assert_eq!((mm.usage().pool, mm.usage().private, mm.swap.used()), (0, 0, 0));
}

/// Pages of all kinds from 10 on: in memory, in the store, shared with a fork in memory and in the
/// store, never written; the fork.
fn all_kinds(mm: &Harness) -> [SpaceNo; 2] {
    let a = space(mm, 80);
    write(mm, a, 10..14, 1);
    let b = mm.fork(a).expect("room");
    assert_eq!(mm.evict(a, run(12, 2)), Ok(2));
    write(mm, a, 16..20, 2);
    assert_eq!(mm.evict(a, run(18, 2)), Ok(2));
    read(mm, a, 21);
    [a, b]
}

/// Goal: whatever a page is, its bytes are at the new place and zeros at the old one; what was at
/// the new one is gone; forks keep what they have; what is stored for this space alone does not
/// come in, and what was never written needs nothing (R15).
#[test]
fn pages_of_all_kinds_move() {
    let mm = limited(8 << 20);
    let [a, b] = all_kinds(&mm);
    write(&mm, a, 44..60, 9);
    let c = mm.fork(a).expect("room");
    let before = values(&mm, a, 8..24);
    assert_eq!(mm.areas(a).remap(run(8, 16), PageNo(40)), Ok(()));
    sound(&mm);
    assert_eq!(values(&mm, a, 40..56), before);
    assert_eq!((values(&mm, a, 8..24), value(&mm, a, 56)), (vec![0; 16], 9));
    assert_eq!(
        values(&mm, c, 8..24),
        before,
        "a fork keeps what its parent moves away"
    );
    assert_eq!(
        (values(&mm, b, 10..14), values(&mm, c, 44..60)),
        (vec![1; 4], vec![9; 16])
    );
    mm.drop_space(c).expect("it lives");
    assert_eq!(mm.areas(a).remap(run(40, 16), PageNo(61)), Ok(()));
    put(&mm, a, 63, 5);
    put(&mm, a, 10, 6);
    assert_eq!(values(&mm, a, 61..69), [0, 0, 5, 1, 1, 1, 0, 0]);
    assert_eq!(values(&mm, a, 69..77), [2, 2, 2, 2, 0, 0, 0, 0]);
    assert_eq!([10, 42].map(|page| value(&mm, a, page)), [6, 0]);
    assert_eq!(values(&mm, b, 10..14), [1; 4]);
    end(&mm, &[a, b]);
}

/// Goal: what is in the store for this space alone stays there, and the move needs no room for it;
/// the page has its bytes when it comes in.
#[test]
fn what_is_stored_stays_stored() {
    let mm = limited(8 << 20);
    let a = space(&mm, 80);
    write(&mm, a, 0..20, 3);
    assert_eq!(mm.evict(a, run(0, 20)), Ok(20));
    let (slots, brought) = (mm.swap.used(), mm.stats().swapped_in);
    assert_eq!(mm.areas(a).remap(run(0, 20), PageNo(37)), Ok(()));
    assert_eq!((mm.swap.used(), mm.stats().swapped_in), (slots, brought));
    assert_eq!(resident(&mm, a), vec![]);
    assert_eq!(mm.usage().private, 0);
    sound(&mm);
    (37..57).for_each(|page| read(&mm, a, page));
    assert_eq!(values(&mm, a, 37..57), [3; 20]);
    end(&mm, &[a]);
}

/// Goal: a page that was merged with others moves as a copy: the others keep theirs, and the next
/// round merges what stands at equal places again (R47).
#[test]
fn merged_pages_move() {
    let mm = harness();
    let root = space(&mm, 80);
    mm.set_merging(root, Merging::On).expect("it lives");
    let [a, b] = [(); 2].map(|()| mm.fork(root).expect("room"));
    for space in [a, b] {
        write(&mm, space, 3..7, 7);
    }
    assert_eq!(mm.merge_round(None).expect("room").merged, 4);
    assert_eq!(frame_at(&mm, a, 3), frame_at(&mm, b, 3));
    for stored in [false, true] {
        if stored {
            assert_ne!(mm.evict(b, run(3, 4)), Ok(0));
        }
        let to = if stored { 20 } else { 33 };
        let from = if stored { 33 } else { 3 };
        assert_eq!(mm.areas(a).remap(run(from, 4), PageNo(to)), Ok(()));
        sound(&mm);
        assert_eq!(
            (values(&mm, a, to..to + 4), values(&mm, b, 3..7)),
            (vec![7; 4], vec![7; 4])
        );
        (to..to + 4).for_each(|page| read(&mm, a, page));
        (3..7).for_each(|page| read(&mm, b, page));
    }
    write(&mm, b, 20..24, 7);
    assert_eq!(mm.merge_round(None).expect("room").merged, 4);
    assert_eq!(frame_at(&mm, a, 21), frame_at(&mm, b, 21));
    // Both have it in the store: an entry that others share does not go along.
    assert_ne!(mm.evict(a, run(20, 4)), Ok(0));
    assert_eq!(mm.areas(a).remap(run(20, 4), PageNo(50)), Ok(()));
    sound(&mm);
    (20..24).for_each(|page| read(&mm, b, page));
    (50..54).for_each(|page| read(&mm, a, page));
    assert_eq!(
        (values(&mm, a, 50..54), values(&mm, b, 20..24)),
        (vec![7; 4], vec![7; 4])
    );
    end(&mm, &[a, b, root]);
}

/// Areas of all kinds from 4 on, with stores in them, and one at 50.
fn areas_of_all_kinds(mm: &Harness, file: &OpenFile) -> SpaceNo {
    let a = space(mm, 80);
    map(mm, a, (4, 8), file, 0, Piece::Private);
    map(mm, a, (12, 8), file, 4, Piece::Shared);
    map(mm, a, (50, 4), file, 8, Piece::Private);
    put(mm, a, 6, 1);
    put(mm, a, 14, 2);
    put(mm, a, 21, 3);
    put(mm, a, 23, 4);
    put(mm, a, 51, 5);
    let there = mm.areas(a);
    assert_eq!(there.protect(run(5, 2), Rights::Read), Ok(()));
    assert_eq!(there.protect(run(23, 1), Rights::None), Ok(()));
    assert_eq!(there.set_order(run(12, 2), Order::Random), Ok(()));
    assert_eq!(there.set_in_fork(run(21, 1), InFork::Zeros), Ok(()));
    a
}

/// Goal: areas go along, with what they are and allow, cut where the run begins and ends; private
/// stores go along; shared pages are the file's as before, and dirty as before.
#[test]
fn areas_move() {
    let (mm, source) = (limited(8 << 20), source());
    let file = open(&mm, &source);
    let a = areas_of_all_kinds(&mm, &file);
    let there = mm.areas(a);
    let before = values(&mm, a, 5..25);
    let dirty = mm.files().stats().dirty;
    assert_eq!(dirty, 1);
    assert_eq!(there.remap(run(5, 20), PageNo(45)), Ok(()));
    sound(&mm);
    assert_eq!(values(&mm, a, 45..65), before);
    assert_eq!((value(&mm, a, 4), values(&mm, a, 5..25)), (100, vec![0; 20]));
    assert_eq!((mm.files().stats().dirty, source.traffic().1), (dirty, 0));
    let of = |first| move |area: &&Area| area.run.first == PageNo(first);
    let found = areas(&mm, a);
    assert_eq!(found.len(), 7, "{found:?}");
    let read_only = found.iter().find(of(45)).expect("it moved");
    assert_eq!((read_only.run, read_only.rights), (run(45, 2), Rights::Read));
    let random = found.iter().find(of(52)).expect("it moved");
    let AreaKind::File { first, kind, .. } = random.kind else {
        panic!("{random:?}")
    };
    assert_eq!((random.run, random.order), (run(52, 2), Order::Random));
    assert_eq!((first, kind), (PageNo(4), Piece::Shared));
    for (page, access) in [(45, Access::Write), (63, Access::Read)] {
        let refused = mm.fault(a, PageNo(page), access);
        assert!(
            matches!(refused, Err(FaultError::Forbidden { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(mm.host.shown(a, PageNo(63)), None, "it allows no access");
    // The zeros behind it, and what moved, take stores as they should.
    put(&mm, a, 6, 8);
    put(&mm, a, 14, 9);
    put(&mm, a, 55, 6);
    assert_eq!(there.protect(run(63, 1), Rights::ReadWrite), Ok(()));
    put(&mm, a, 63, 7);
    let b = mm.fork(a).expect("room");
    assert_eq!([46, 54, 61, 63].map(|page| value(&mm, b, page)), [1, 2, 0, 7]);
    assert_eq!(mm.files().sync(&file, PageNo(0), PAGES), Ok(()));
    let stored = |page: usize| source.contents()[page * PAGE_SIZE];
    assert_eq!([2, 6, 7].map(stored), [102, 2, 6]);
    sound(&mm);
    for space in [a, b] {
        mm.drop_space(space).expect("it lives");
    }
    mm.files().close(file);
    sound(&mm);
}

/// Goal: what is locked stays locked at its new place, and nothing is left of that at the old one,
/// or of what was locked where it goes (R40).
#[test]
fn locked_pages_move() {
    let (mm, source) = (limited(8 << 20), source());
    let file = open(&mm, &source);
    let a = space(&mm, 80);
    map(&mm, a, (20, 8), &file, 0, Piece::Shared);
    map(&mm, a, (28, 4), &file, 0, Piece::Private);
    write(&mm, a, 0..8, 1);
    let there = mm.areas(a);
    assert_eq!(there.lock(run(2, 4)), Ok(()));
    assert_eq!(there.lock(run(22, 8)), Ok(()));
    assert_eq!(there.lock(run(50, 10)), Ok(()));
    let counts = || {
        let stats = mm.stats();
        (stats.locked_pages, stats.unevictable_frames)
    };
    assert_eq!(counts().0, 22);
    let b = mm.fork(a).expect("room");
    for (from, to) in [(run(0, 8), 40), (run(18, 16), 48), (run(48, 16), 0)] {
        assert_eq!(there.remap(from, PageNo(to)), Ok(()));
        sound(&mm);
        mm.host.say_young(false);
        mm.reclaim(4096);
        sound(&mm);
    }
    assert_eq!(counts(), (12, 12));
    assert!(
        [42, 45, 10, 11]
            .iter()
            .all(|&page| frame_at(&mm, a, page).is_some())
    );
    assert_eq!(values(&mm, a, 40..48), [1; 8]);
    assert_eq!(
        values(&mm, a, 2..14),
        [100, 101, 102, 103, 104, 105, 106, 107, 100, 101, 102, 103]
    );
    assert_eq!(there.unlock(run(0, 80)), Ok(()));
    assert_eq!(counts().0, 0);
    mm.reclaim(4096);
    assert_eq!((resident(&mm, a), counts()), (vec![], (0, 0)));
    sound(&mm);
    for space in [a, b] {
        mm.drop_space(space).expect("it lives");
    }
    mm.files().close(file);
    sound(&mm);
}

/// Goal: neighbours in a leaf are protected in one call, each that is refused by itself; no store
/// gets lost either way. Method: the calls of the machine.
#[test]
fn neighbours_are_protected_together() {
    use crate::rig::Request;
    use memfold_sim::{Call, Calls, Lasting, Plan, When};
    for refused in [false, true] {
        let mm = limited(8 << 20);
        let a = space(&mm, 80);
        write(&mm, a, 4..40, 3);
        if refused {
            let (calls, when) = (Calls::only(Call::Protect), When::Nth(1, Lasting::Once));
            mm.host.set_plan(Plan { calls, when });
        }
        mm.host.requests();
        assert_eq!(mm.areas(a).remap(run(0, 36), PageNo(42)), Ok(()));
        let protect = |call: &Request| match call {
            &Request::Protect(_, run) => Some((run.first.0, run.len)),
            _ => None,
        };
        let calls: Vec<_> = mm.host.requests().iter().filter_map(protect).collect();
        let one_by_one = (16..32).map(|page| (page, 1));
        let expected = match refused {
            false => vec![(4, 12), (16, 16), (32, 4)],
            true => [(4, 12), (16, 16)]
                .into_iter()
                .chain(one_by_one)
                .chain([(32, 4)])
                .collect(),
        };
        assert_eq!(calls, expected);
        assert_eq!([45, 46, 77, 36].map(|page| value(&mm, a, page)), [0, 3, 3, 3]);
        end(&mm, &[a]);
    }
}
