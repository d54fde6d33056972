//! Goal: the digest sees what programs and budgets can tell, and nothing that is only a cache.
//! Method: change one thing at a time, and compare.

use super::*;
use crate::rig::{Harness, harness, read, run, space, write};

fn pages(mm: &Harness, no: SpaceNo) -> Vec<(usize, u32)> {
    let digest = crate::Digest::of(mm);
    let pages = digest.spaces[&no.0].pages.iter().enumerate();
    pages
        .filter_map(|(n, page)| Some((n, (*page)?.content)))
        .collect()
}

#[test]
fn what_forks_share_has_one_number() {
    let mm = harness();
    let a = space(&mm, 40);
    write(&mm, a, 3..5, 1);
    write(&mm, a, 20..21, 1);
    mm.evict(a, run(20, 1)).expect("it lives");
    let alone = pages(&mm, a);
    assert_eq!(alone, [(3, 0), (4, 1), (20, 2)]);
    let b = mm.fork(a).expect("room");
    assert_eq!((pages(&mm, a), pages(&mm, b)), (alone.clone(), alone.clone()));
    let before = crate::Digest::of(&mm);
    // Promoted, brought in for both, and named by one of them only: all of this is cache.
    read(&mm, b, 3);
    read(&mm, b, 20);
    assert_eq!(crate::Digest::of(&mm), before);
    write(&mm, b, 4..5, 2);
    assert_eq!(
        (pages(&mm, a), pages(&mm, b)),
        (alone, vec![(3, 0), (4, 3), (20, 2)])
    );
}

/// Whose the pages are, in page order.
fn owners(mm: &Harness, no: SpaceNo) -> Vec<Ownership> {
    let digest = crate::Digest::of(mm);
    let pages = digest.spaces[&no.0].pages.iter().flatten();
    pages.map(|page| page.ownership).collect()
}

#[test]
fn whose_a_page_is_is_seen() {
    use Ownership::{Exclusive, Shared, Stored};
    let mm = harness();
    let a = space(&mm, 40);
    write(&mm, a, 3..6, 1);
    mm.evict(a, run(5, 1)).expect("it lives");
    assert_eq!(owners(&mm, a), [Exclusive, Exclusive, Stored]);
    let before = crate::Digest::of(&mm);
    let b = mm.fork(a).expect("room");
    assert_eq!(owners(&mm, a), [Shared, Shared, Stored]);
    assert_eq!(owners(&mm, b), [Shared, Shared, Stored]);
    write(&mm, b, 3..4, 2);
    // Brought in for both: what the store has as well is nobody's own.
    read(&mm, b, 5);
    assert_eq!(owners(&mm, a), [Shared, Shared, Stored]);
    assert_eq!(owners(&mm, b), [Exclusive, Shared, Stored]);
    // Nobody else is left, and nobody has noticed: one digest from before the fork differs by that
    // alone.
    mm.drop_space(b).expect("room");
    assert_eq!(owners(&mm, a), [Shared, Shared, Stored]);
    assert_ne!(crate::Digest::of(&mm).spaces, before.spaces);
    write(&mm, a, 4..5, 1);
    assert_eq!(owners(&mm, a), [Shared, Exclusive, Stored]);
}

#[test]
fn settings_are_seen() {
    let mm = harness();
    let size = crate::Size { len: 8, reserve: 40 };
    let a = mm.create(size, Domain(3)).expect("room");
    let of = |mm: &Harness| crate::Digest::of(mm).spaces[&a.0].clone();
    let fresh = of(&mm);
    let expected = SpaceDigest {
        areas: vec![],
        len: 8,
        reserve: 40,
        domain: Domain(3),
        merging: Merging::Off,
        pins: Vec::new(),
        pages: vec![None; 8],
    };
    assert_eq!(fresh, expected);
    mm.set_merging(a, Merging::On).expect("it lives");
    mm.grow(a, 9).expect("room");
    mm.pin(a, run(2, 1)).expect("room");
    mm.pin(a, run(2, 1)).expect("room");
    let now = of(&mm);
    assert_eq!((now.merging, now.len, now.pages.len()), (Merging::On, 9, 9));
    assert_eq!(now.pins, [(PageNo(2), 2)]);
    mm.unpin(a, run(2, 1));
    assert_eq!(of(&mm).pins, [(PageNo(2), 1)]);
    mm.drop_space(a).expect("nobody shares");
    assert!(crate::Digest::of(&mm).spaces.is_empty());
}

#[test]
fn what_is_held_is_counted_once() {
    let mm = harness();
    let a = space(&mm, 40);
    write(&mm, a, 3..5, 1);
    write(&mm, a, 20..23, 1);
    mm.evict(a, run(20, 2)).expect("it lives");
    let b = mm.fork(a).expect("room");
    let held = crate::Digest::of(&mm).totals;
    let expected = Totals {
        files: 0,
        frames: 3,
        tables: 3,
        slots: 2,
        backings: 1,
        stored_pages: 2,
        stored_bytes: 0,
        page_bytes: 3 * PAGE,
    };
    assert_eq!(held, expected);
    // The store has these bytes too: the frames, of the page and its neighbour, are a cache.
    read(&mm, b, 20);
    assert_eq!((crate::Digest::of(&mm).totals, mm.usage().pool), (held, 2 * PAGE));
    assert!(
        mm.budget
            .charge(crate::budget::Class::Stored, 9, crate::budget::Need::Normal)
    );
    assert_eq!(
        crate::Digest::of(&mm).totals,
        Totals {
            stored_bytes: 9,
            ..held
        }
    );
    mm.drop_space(a).expect("room");
    mm.drop_space(b).expect("room");
    let nothing = Totals {
        files: 0,
        frames: 0,
        tables: 0,
        slots: 0,
        backings: 0,
        stored_pages: 0,
        stored_bytes: 9,
        page_bytes: 0,
    };
    assert_eq!(crate::Digest::of(&mm).totals, nothing);
}
