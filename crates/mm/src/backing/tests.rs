//! Backings: ranges of the pool, entries in them, and what they cost.

use super::*;
use std::num::NonZeroU64;

fn stored(n: u64) -> Stored {
    Stored(NonZeroU64::new(n).expect("not 0"))
}

fn frames(backings: &Backings, backing: BackingNo, pages: &[u32]) -> Vec<Option<u32>> {
    let view = backings.view(backing);
    let both = |&page: &u32| {
        let page = PageNo(page);
        assert_eq!(backings.frame_at(backing, page), view.frame_at(page));
        view.frame_at(page).map(|frame| frame.0)
    };
    pages.iter().map(both).collect()
}

/// Goal: backings do not overlap each other or the overflow range, and the pool is as long as the
/// last of them needs.
#[test]
fn ranges_follow_each_other() {
    let backings = Backings::new(8);
    let (a, end_a) = backings.create(10, Versions::Bases, |_| true).unwrap();
    let (b, end_b) = backings.create(20, Versions::Bases, |_| true).unwrap();
    let (c, end_c) = backings.create(3, Versions::Bases, |_| true).unwrap();
    assert_eq!(backings.first(a), PoolPage(OVERFLOW_PAGES));
    assert_eq!(backings.first(b), PoolPage(OVERFLOW_PAGES + 10));
    assert_eq!(backings.first(c), PoolPage(OVERFLOW_PAGES + 30));
    assert_eq!([end_a, end_b, end_c], [10, 30, 33].map(|n| OVERFLOW_PAGES + n));
    assert_eq!(
        backings.view(b).pool_page(PageNo(7)),
        PoolPage(OVERFLOW_PAGES + 17)
    );
}

/// Goal: a range is used again for a backing of the same size only, and only after the last user
/// left.
#[test]
fn a_range_is_used_again() {
    let backings = Backings::new(8);
    let (a, _) = backings.create(10, Versions::Bases, |_| true).unwrap();
    backings.join(a);
    assert_eq!(backings.users(a), 2);
    assert!(backings.leave(a, |_| ()).is_none());
    assert_eq!(backings.users(a), 1);
    assert_eq!(
        backings.leave(a, |_| panic!("no base")),
        Some(0),
        "it never had an entry"
    );
    let (b, end) = backings.create(9, Versions::Bases, |_| true).unwrap();
    assert_eq!(
        (backings.first(b), end),
        (PoolPage(OVERFLOW_PAGES + 10), OVERFLOW_PAGES + 19)
    );
    let (c, end) = backings.create(10, Versions::Bases, |_| true).unwrap();
    assert_eq!(
        (backings.first(c), end),
        (PoolPage(OVERFLOW_PAGES), OVERFLOW_PAGES + 19)
    );
}

/// Goal: each page has one entry; it takes one frame at a time.
#[test]
fn one_frame_at_a_place() {
    let backings = Backings::new(8);
    let (backing, _) = backings.create(3 * CHUNK, Versions::Bases, |_| true).unwrap();
    let pages = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK - 1];
    assert_eq!(frames(&backings, backing, &pages), [None; 6]);
    for (n, &page) in pages.iter().enumerate() {
        let frame = FrameNo(n as u32 + 1);
        assert_eq!(
            backings.insert(backing, PageNo(page), frame, |_| true),
            Insertion::Done
        );
        assert_eq!(
            backings.insert(backing, PageNo(page), FrameNo(99), |_| true),
            Insertion::Occupied
        );
    }
    assert_eq!(frames(&backings, backing, &pages), [1, 2, 3, 4, 5, 6].map(Some));
    backings.remove(backing, PageNo(CHUNK), FrameNo(4));
    assert_eq!(frames(&backings, backing, &[CHUNK - 1, CHUNK]), [Some(3), None]);
}

/// Goal: one base for each entry, whoever stands there; the last user gets all of them back.
#[test]
fn the_first_base_stays() {
    let backings = Backings::new(8);
    let (backing, _) = backings.create(2 * CHUNK, Versions::Bases, |_| true).unwrap();
    let at = PageNo(CHUNK + 5);
    assert_eq!(backings.base(backing, at), None);
    assert!(backings.set_base(backing, at, None, stored(7), |_| true));
    assert!(!backings.set_base(backing, at, None, stored(8), |_| true));
    assert!(backings.set_base(backing, PageNo(5), None, stored(9), |_| true));
    assert_eq!(backings.base(backing, at), Some(stored(7)));
    assert_eq!(backings.base(backing, PageNo(5)), Some(stored(9)));
    assert_eq!(backings.base(backing, PageNo(6)), None);
    let mut bases = Vec::new();
    backings.leave(backing, |base| bases.push(base)).unwrap();
    assert_eq!(bases, [stored(9), stored(7)]);
}

/// Goal: the last user gets back what was charged for the records, to the byte; no room for a
/// record is no entry.
#[test]
fn records_are_charged() {
    use memfold_sync::atomic::AtomicU64;
    let backings = Backings::new(8);
    let (backing, _) = backings.create(3 * CHUNK, Versions::Bases, |_| true).unwrap();
    assert_eq!(
        backings.insert(backing, PageNo(1), FrameNo(1), |_| false),
        Insertion::NoRoom
    );
    let held = AtomicU64::new(0);
    let charge = |bytes| {
        // Relaxed: one thread.
        held.fetch_add(bytes, Ordering::Relaxed);
        true
    };
    assert!(backings.set_base(backing, PageNo(1), None, stored(1), charge));
    // Relaxed: one thread.
    let one = held.load(Ordering::Relaxed);
    assert_eq!(
        backings.insert(backing, PageNo(CHUNK), FrameNo(1), charge),
        Insertion::Done
    );
    // Relaxed: one thread.
    let two = held.load(Ordering::Relaxed);
    assert_eq!(two - one, u64::from(CHUNK) * size_of::<Entry>() as u64);
    assert_eq!(
        one,
        two - one + 3 * size_of::<memfold_sync::OnceLock<Box<[Entry]>>>() as u64
    );
    assert_eq!(
        backings.insert(backing, PageNo(CHUNK + 1), FrameNo(2), charge),
        Insertion::Done,
        "the record is there"
    );
    // Relaxed: one thread.
    assert_eq!(held.load(Ordering::Relaxed), two);
    backings.remove(backing, PageNo(CHUNK), FrameNo(1));
    backings.remove(backing, PageNo(CHUNK + 1), FrameNo(2));
    let mut bases = Vec::new();
    assert_eq!(backings.leave(backing, |base| bases.push(base)), Some(two));
    assert_eq!(bases, [stored(1)]);
}

/// Goal: overflow pages are handed out one by one, used again, and say how long the pool must be.
#[test]
fn overflow_places_are_used_again() {
    let backings = Backings::new(8);
    let inserted: Vec<_> = (0..3)
        .map(|_| backings.alloc_overflow().expect("memory"))
        .collect();
    assert_eq!(inserted, [0, 1, 2].map(|n| (PoolPage(n), n + 1)));
    backings.free_overflow(PoolPage(1));
    assert_eq!(backings.alloc_overflow(), Some((PoolPage(1), 2)));
    assert_eq!(backings.alloc_overflow(), Some((PoolPage(3), 4)));
}

/// Goal: what the table of backings holds from the start is charged at the start.
#[test]
fn the_table_is_counted() {
    assert_eq!(Backings::new(8).base_bytes(), Slots::new(8, || ()).base_bytes());
    assert!(Backings::new(1 << 20).base_bytes() > Backings::new(8).base_bytes());
}

/// Goal: the contents says who stands where, what is kept and what the records hold, of backings
/// with users only.
#[test]
fn the_contents_are_exact() {
    let backings = Backings::new(8);
    let (backing, _) = backings.create(3 * CHUNK, Versions::Bases, |_| true).unwrap();
    let (ended, _) = backings.create(5, Versions::Bases, |_| true).unwrap();
    assert!(backings.leave(ended, |_| ()).is_some());
    let at = PageNo(CHUNK + 1);
    assert_eq!(
        backings.insert(backing, at, FrameNo(7), |_| true),
        Insertion::Done
    );
    assert!(backings.set_base(backing, PageNo(2 * CHUNK), None, stored(3), |_| true));
    backings.join(backing);
    let contents = backings.contents();
    assert_eq!((contents.len(), contents[0].0), (1, backing));
    let found = &contents[0].1;
    assert_eq!((found.users, found.bases), (2, 1));
    assert_eq!(found.standing, [(at, FrameNo(7))]);
    let records = 2 * u64::from(CHUNK) * size_of::<Entry>() as u64;
    assert_eq!(
        found.bytes,
        records + 3 * size_of::<memfold_sync::OnceLock<Box<[Entry]>>>() as u64
    );
    assert_eq!(backings.used(), 1);
}

/// Goal: overflow pages that were given back are not counted.
#[test]
fn overflow_places_are_counted() {
    let backings = Backings::new(8);
    let inserted = [(); 3].map(|()| backings.alloc_overflow().expect("memory").0);
    assert_eq!(backings.overflow_used(), 3);
    backings.free_overflow(inserted[1]);
    assert_eq!(backings.overflow_used(), 2);
}
