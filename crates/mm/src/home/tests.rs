//! Homes: ranges of the pool, places in them, and what they cost.

use super::*;
use std::num::NonZeroU64;

fn stored(n: u64) -> Stored {
    Stored(NonZeroU64::new(n).expect("not 0"))
}

fn frames(homes: &Homes, home: HomeNo, pages: &[u32]) -> Vec<Option<u32>> {
    let view = homes.view(home);
    let both = |&page: &u32| {
        let page = PageNo(page);
        assert_eq!(homes.occupant(home, page), view.occupant(page));
        view.occupant(page).map(|frame| frame.0)
    };
    pages.iter().map(both).collect()
}

/// Goal: homes do not overlap each other or the overflow range, and the pool is as long as the last of
/// them needs.
#[test]
fn ranges_follow_each_other() {
    let homes = Homes::new(8);
    let (a, end_a) = homes.create(10, |_| true).unwrap();
    let (b, end_b) = homes.create(20, |_| true).unwrap();
    let (c, end_c) = homes.create(3, |_| true).unwrap();
    assert_eq!(homes.first(a), PoolPage(OVERFLOW_PAGES));
    assert_eq!(homes.first(b), PoolPage(OVERFLOW_PAGES + 10));
    assert_eq!(homes.first(c), PoolPage(OVERFLOW_PAGES + 30));
    assert_eq!([end_a, end_b, end_c], [10, 30, 33].map(|n| OVERFLOW_PAGES + n));
    assert_eq!(homes.view(b).place(PageNo(7)), PoolPage(OVERFLOW_PAGES + 17));
}

/// Goal: a range is used again for a home of the same size only, and only after the last user left.
#[test]
fn a_range_is_used_again() {
    let homes = Homes::new(8);
    let (a, _) = homes.create(10, |_| true).unwrap();
    homes.join(a);
    assert_eq!(homes.users(a), 2);
    assert!(homes.leave(a, |_| ()).is_none());
    assert_eq!(homes.users(a), 1);
    assert_eq!(
        homes.leave(a, |_| panic!("no base")),
        Some(0),
        "it never had a place"
    );
    let (b, end) = homes.create(9, |_| true).unwrap();
    assert_eq!(
        (homes.first(b), end),
        (PoolPage(OVERFLOW_PAGES + 10), OVERFLOW_PAGES + 19)
    );
    let (c, end) = homes.create(10, |_| true).unwrap();
    assert_eq!(
        (homes.first(c), end),
        (PoolPage(OVERFLOW_PAGES), OVERFLOW_PAGES + 19)
    );
}

/// Goal: each page has one place; it takes one frame at a time.
#[test]
fn one_frame_at_a_place() {
    let homes = Homes::new(8);
    let (home, _) = homes.create(3 * CHUNK, |_| true).unwrap();
    let pages = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK - 1];
    assert_eq!(frames(&homes, home, &pages), [None; 6]);
    for (n, &page) in pages.iter().enumerate() {
        let frame = FrameNo(n as u32 + 1);
        assert_eq!(homes.claim(home, PageNo(page), frame, |_| true), Claim::Taken);
        assert_eq!(
            homes.claim(home, PageNo(page), FrameNo(99), |_| true),
            Claim::Occupied
        );
    }
    assert_eq!(frames(&homes, home, &pages), [1, 2, 3, 4, 5, 6].map(Some));
    homes.vacate(home, PageNo(CHUNK), FrameNo(4));
    assert_eq!(frames(&homes, home, &[CHUNK - 1, CHUNK]), [Some(3), None]);
}

/// Goal: one base for each place, whoever stands there; the last user gets all of them back.
#[test]
fn the_first_base_stays() {
    let homes = Homes::new(8);
    let (home, _) = homes.create(2 * CHUNK, |_| true).unwrap();
    let at = PageNo(CHUNK + 5);
    assert_eq!(homes.base(home, at), None);
    assert!(homes.set_base(home, at, None, stored(7), |_| true));
    assert!(!homes.set_base(home, at, None, stored(8), |_| true));
    assert!(homes.set_base(home, PageNo(5), None, stored(9), |_| true));
    assert_eq!(homes.base(home, at), Some(stored(7)));
    assert_eq!(homes.base(home, PageNo(5)), Some(stored(9)));
    assert_eq!(homes.base(home, PageNo(6)), None);
    let mut bases = Vec::new();
    homes.leave(home, |base| bases.push(base)).unwrap();
    assert_eq!(bases, [stored(9), stored(7)]);
}

/// Goal: the last user gets back what was charged for the records, to the byte; no room for a
/// record is no place.
#[test]
fn records_are_charged() {
    use memfold_sync::atomic::AtomicU64;
    let homes = Homes::new(8);
    let (home, _) = homes.create(3 * CHUNK, |_| true).unwrap();
    assert_eq!(homes.claim(home, PageNo(1), FrameNo(1), |_| false), Claim::NoRoom);
    let held = AtomicU64::new(0);
    let charge = |bytes| {
        // Relaxed: one thread.
        held.fetch_add(bytes, Ordering::Relaxed);
        true
    };
    assert!(homes.set_base(home, PageNo(1), None, stored(1), charge));
    // Relaxed: one thread.
    let one = held.load(Ordering::Relaxed);
    assert_eq!(homes.claim(home, PageNo(CHUNK), FrameNo(1), charge), Claim::Taken);
    // Relaxed: one thread.
    let two = held.load(Ordering::Relaxed);
    assert_eq!(two - one, u64::from(CHUNK) * size_of::<Place>() as u64);
    assert_eq!(
        one,
        two - one + 3 * size_of::<memfold_sync::OnceLock<Box<[Place]>>>() as u64
    );
    assert_eq!(
        homes.claim(home, PageNo(CHUNK + 1), FrameNo(2), charge),
        Claim::Taken,
        "the record is there"
    );
    // Relaxed: one thread.
    assert_eq!(held.load(Ordering::Relaxed), two);
    homes.vacate(home, PageNo(CHUNK), FrameNo(1));
    homes.vacate(home, PageNo(CHUNK + 1), FrameNo(2));
    let mut bases = Vec::new();
    assert_eq!(homes.leave(home, |base| bases.push(base)), Some(two));
    assert_eq!(bases, [stored(1)]);
}

/// Goal: overflow places are handed out one by one, used again, and say how long the pool must be.
#[test]
fn overflow_places_are_used_again() {
    let homes = Homes::new(8);
    let claimed: Vec<_> = (0..3).map(|_| homes.alloc_overflow().expect("memory")).collect();
    assert_eq!(claimed, [0, 1, 2].map(|n| (PoolPage(n), n + 1)));
    homes.free_overflow(PoolPage(1));
    assert_eq!(homes.alloc_overflow(), Some((PoolPage(1), 2)));
    assert_eq!(homes.alloc_overflow(), Some((PoolPage(3), 4)));
}

/// Goal: what the table of homes holds from the start is charged at the start.
#[test]
fn the_table_is_counted() {
    assert_eq!(Homes::new(8).base_bytes(), Slots::new(8, || ()).base_bytes());
    assert!(Homes::new(1 << 20).base_bytes() > Homes::new(8).base_bytes());
}

/// Goal: the survey says who stands where, what is kept and what the records hold, of homes with
/// users only.
#[test]
fn the_survey_is_exact() {
    let homes = Homes::new(8);
    let (home, _) = homes.create(3 * CHUNK, |_| true).unwrap();
    let (ended, _) = homes.create(5, |_| true).unwrap();
    assert!(homes.leave(ended, |_| ()).is_some());
    let at = PageNo(CHUNK + 1);
    assert_eq!(homes.claim(home, at, FrameNo(7), |_| true), Claim::Taken);
    assert!(homes.set_base(home, PageNo(2 * CHUNK), None, stored(3), |_| true));
    homes.join(home);
    let survey = homes.survey();
    assert_eq!((survey.len(), survey[0].0), (1, home));
    let found = &survey[0].1;
    assert_eq!((found.users, found.bases), (2, 1));
    assert_eq!(found.standing, [(at, FrameNo(7))]);
    let records = 2 * u64::from(CHUNK) * size_of::<Place>() as u64;
    assert_eq!(
        found.bytes,
        records + 3 * size_of::<memfold_sync::OnceLock<Box<[Place]>>>() as u64
    );
    assert_eq!(homes.used(), 1);
}

/// Goal: overflow places that were given back are not counted.
#[test]
fn overflow_places_are_counted() {
    let homes = Homes::new(8);
    let claimed = [(); 3].map(|()| homes.alloc_overflow().expect("memory").0);
    assert_eq!(homes.overflow_used(), 3);
    homes.free_overflow(claimed[1]);
    assert_eq!(homes.overflow_used(), 2);
}
