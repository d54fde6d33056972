//! A move that is refused has moved nothing.

use super::{areas, end, source, values};
use crate::addr::{PAGE_SIZE, PageNo, SpaceNo};
use crate::backing::areas::{Area, MOST_AREAS, Rights};
use crate::error::SpaceError;
use crate::host::Piece;
use crate::rig::{Harness, harness, limited, map, open, put, run, sound, space, write};
use crate::{Digest, OpenFile, SpaceDigest};
use memfold_sim::{Call, Calls, Lasting, Plan, When};

/// Goal: what cannot be is refused by name, and changes nothing.
#[test]
fn what_cannot_be() {
    let mm = limited(8 << 20);
    let a = space(&mm, 40);
    write(&mm, a, 0..40, 1);
    let there = mm.areas(a);
    let (len, from) = (8, PageNo(8));
    for to in [1, 8, 15].map(PageNo) {
        let overlap = SpaceError::Overlap { from, to, len };
        assert_eq!(there.remap(run(8, 8), to), Err(overlap));
    }
    for (from, to) in [
        (run(8, 8), 33),
        (run(33, 8), 0),
        (run(0, 0), 20),
        (run(0, 8), u32::MAX),
    ] {
        let refused = there.remap(from, PageNo(to));
        assert!(matches!(refused, Err(SpaceError::BadRun { .. })), "{refused:?}");
    }
    mm.pin(a, run(20, 1)).expect("room");
    assert_eq!(there.remap(run(20, 4), PageNo(0)), Err(SpaceError::Pinned(a)));
    assert_eq!(there.remap(run(0, 4), PageNo(17)), Err(SpaceError::Pinned(a)));
    mm.unpin(a, run(20, 1));
    assert_eq!((values(&mm, a, 0..40), areas(&mm, a)), (vec![1; 40], vec![]));
    assert_eq!(there.remap(run(8, 8), PageNo(0)), Ok(()));
    assert_eq!(there.remap(run(16, 8), PageNo(8)), Ok(()));
    assert_eq!(
        values(&mm, a, 0..40),
        [[1; 16].as_slice(), &[0; 8], &[1; 16]].concat()
    );
    end(&mm, &[a]);

    let a = space(&mm, 4 * MOST_AREAS as u32);
    let there = mm.areas(a);
    (0..MOST_AREAS as u32 - 1)
        .for_each(|n| there.protect(run(2 * n, 1), Rights::Read).expect("there is room"));
    let many = SpaceError::TooManyAreas(MOST_AREAS as u32);
    assert_eq!(there.remap(run(0, 8), PageNo(3000)), Err(many));
    assert_eq!(there.remap(run(0, 1), PageNo(3000)), Ok(()));
    assert_eq!(areas(&mm, a).len(), MOST_AREAS - 1);
    end(&mm, &[a]);
}

/// A space with areas in both runs, 2 to 18 and 30 to 46, and stores in them; its fork.
fn two_runs(mm: &Harness, file: &OpenFile) -> [SpaceNo; 2] {
    let a = space(mm, 64);
    map(mm, a, (2, 6), file, 0, Piece::Private);
    map(mm, a, (10, 6), file, 2, Piece::Shared);
    map(mm, a, (28, 8), file, 4, Piece::Private);
    map(mm, a, (40, 10), file, 1, Piece::Shared);
    put(mm, a, 4, 1);
    put(mm, a, 9, 2);
    put(mm, a, 30, 3);
    put(mm, a, 37, 4);
    let b = mm.fork(a).expect("room");
    put(mm, a, 5, 5);
    put(mm, a, 8, 6);
    put(mm, a, 17, 7);
    assert_eq!(mm.evict(a, run(17, 1)), Ok(1));
    assert_eq!(mm.areas(a).protect(run(6, 1), Rights::Read), Ok(()));
    assert_eq!(mm.areas(a).protect(run(8, 1), Rights::None), Ok(()));
    [a, b]
}

/// What a move that was refused leaves as it was, as far as programs can tell: of a space, its
/// size, its settings, and which of its pages were written, but for those from 30 on.
fn told_of(digest: &Digest, space: SpaceNo) -> (SpaceDigest, Vec<bool>) {
    let mut of = digest.spaces[&space.0].clone();
    let pages = std::mem::take(&mut of.pages);
    of.areas.clear();
    (of, pages[..30].iter().map(Option::is_some).collect())
}

fn told(mm: &Harness, space: SpaceNo) -> (SpaceDigest, Vec<bool>) {
    told_of(&Digest::of(mm), space)
}

/// Goal: whichever call of the machine is refused, the source is what it was, and so are the areas;
/// the destination is so too, but for what was stored to it, or, where the machine refuses all that
/// follows, is the source's from its beginning on (R15).
#[test]
fn refused_in_the_middle() {
    let mut refused = 0;
    for (nth, lasting) in (0..40).flat_map(|nth| [(nth, Lasting::Once), (nth, Lasting::FromThenOn)]) {
        let (mm, source) = (limited(8 << 20), source());
        let file = open(&mm, &source);
        let [a, b] = two_runs(&mm, &file);
        let before = (values(&mm, a, 2..18), values(&mm, b, 0..64), areas(&mm, a));
        let digest = Digest::of(&mm);
        let plan = Plan {
            calls: Calls::ALL,
            when: When::Nth(nth, lasting),
        };
        mm.host.set_plan(plan);
        let moved = mm.areas(a).remap(run(2, 16), PageNo(30));
        mm.host.set_plan(Plan::NONE);
        sound(&mm);
        let now = areas(&mm, a);
        match moved {
            Ok(()) => {
                assert_eq!(values(&mm, a, 30..46), before.0);
                assert_eq!(values(&mm, a, 2..18), [0; 16]);
            }
            Err(error) => {
                refused += 1;
                assert!(matches!(error, SpaceError::Host(_)), "{error}");
                assert_eq!(values(&mm, a, 2..18), before.0);
                assert!(lasting == Lasting::FromThenOn || now == before.2, "{now:?}");
                let source_of = |list: &[Area]| -> Vec<Area> {
                    list.iter()
                        .copied()
                        .filter(|area| area.run.end() <= PageNo(18))
                        .collect()
                };
                assert_eq!(source_of(&now), source_of(&before.2));
                assert_eq!(told(&mm, a), told_of(&digest, a));
                assert_eq!(told(&mm, b), told_of(&digest, b));
            }
        }
        assert_eq!(values(&mm, b, 0..64), before.1, "a fork keeps what it has");
        // Nothing is in the way of the next one.
        if moved.is_err() {
            assert_eq!(mm.areas(a).remap(run(2, 16), PageNo(30)), Ok(()));
            assert_eq!(values(&mm, a, 30..46), before.0);
            assert_eq!(values(&mm, a, 2..18), [0; 16]);
        }
        sound(&mm);
        for space in [a, b] {
            mm.drop_space(space).expect("it lives");
        }
        mm.files().close(file);
        sound(&mm);
        assert_eq!((mm.usage().pool, mm.usage().private, mm.swap.used()), (0, 0, 0));
    }
    assert!(refused > 30, "{refused}");
}

/// Goal: no store goes through to a page from the moment on in which it is copied: it would be in
/// none of the two. Method: a move that is refused at its last copy.
#[test]
fn what_is_copied_is_still() {
    let mm = harness();
    let a = space(&mm, 40);
    write(&mm, a, 0..4, 1);
    assert_eq!(mm.host.stores_go_through(a), [0, 1, 2, 3].map(PageNo));
    let plan = Plan {
        calls: Calls::only(Call::Fill),
        when: When::Nth(3, Lasting::Once),
    };
    mm.host.set_plan(plan);
    let refused = mm.areas(a).remap(run(0, 4), PageNo(20));
    mm.host.set_plan(Plan::NONE);
    assert!(matches!(refused, Err(SpaceError::Host(_))), "{refused:?}");
    assert_eq!(mm.host.stores_go_through(a), []);
    assert_eq!(
        (values(&mm, a, 0..4), values(&mm, a, 20..24)),
        (vec![1; 4], vec![0; 4])
    );
    put(&mm, a, 2, 2);
    assert_eq!(mm.areas(a).remap(run(0, 4), PageNo(20)), Ok(()));
    assert_eq!(values(&mm, a, 20..24), [1, 1, 2, 1]);
    end(&mm, &[a]);
}

/// Goal: in a full budget what cannot be copied at once goes to the store, from where it moves
/// without a copy; where nothing can go, the move is refused and all is as it was.
#[test]
fn in_little_room() {
    let mm = limited(2 << 20);
    let a = space(&mm, 1000);
    write(&mm, a, 0..300, 1);
    let room = mm.budget.free() / PAGE_SIZE as u64;
    assert!(room < 300, "{room} pages of room");
    assert_eq!(mm.areas(a).remap(run(0, 300), PageNo(500)), Ok(()));
    sound(&mm);
    assert_eq!(values(&mm, a, 500..800), [1; 300]);
    assert_eq!(values(&mm, a, 0..300), [0; 300]);
    assert_eq!(mm.areas(a).lock(run(500, 260)), Ok(()));
    let full = mm.areas(a).remap(run(500, 300), PageNo(100));
    assert!(matches!(full, Err(SpaceError::OverBudget { .. })), "{full:?}");
    sound(&mm);
    assert_eq!(
        (values(&mm, a, 500..800), mm.stats().locked_pages),
        (vec![1; 300], 260)
    );
    assert_eq!(mm.areas(a).unlock(run(500, 260)), Ok(()));
    end(&mm, &[a]);
}
