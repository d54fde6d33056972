//! Noise that its spaces keep with room on loan, in a budget that is full of other noise.

use super::*;

/// Goal: spaces that live on with all the room that is lent do not stop another one's stores to
/// pages that were evicted; each of its stores succeeds, and who has lost a page for it is told so
/// when it looks at that page, and not before; no byte is wrong. Method: more spaces than there are
/// loans in the least reserve, each with two pages of noise where text was; a tenant of text stores
/// to every page it has.
#[test]
fn kept_loans_stop_nobody() {
    alone("noise::kept_loans_stop_nobody", || {
        for delivery in BOTH {
            let m = memory(8 * MIB, delivery);
            let tenant = m.create(SpaceSize::fixed(MIB)).unwrap();
            let harmful: Vec<_> = (0..12)
                .map(|_| m.create(SpaceSize::fixed(64 << 10)).unwrap())
                .collect();
            for space in harmful.iter().chain([&tenant]) {
                (0..pages(space)).for_each(|page| store(space, page, page + 1));
                space.evict().unwrap();
            }
            let other = m.create(SpaceSize::fixed(16 * MIB)).unwrap();
            let end = fill_up(&other, 1 << 32);
            for (space, seed) in harmful.iter().zip(1..) {
                for page in 0..2 {
                    fill(space, page, seed << 8 | page);
                }
            }
            for round in 2..4 {
                for page in 0..pages(&tenant) {
                    store(&tenant, page, page + round);
                    assert_eq!(tenant.failure(), None, "a store to page {page}");
                }
                assert!((0..pages(&tenant)).all(|page| load(&tenant, page) == page + round));
            }
            let lost: u32 = harmful
                .iter()
                .zip(1..)
                .map(|(space, seed)| lost_of(space, seed))
                .sum();
            assert!(lost > 0, "nobody kept what was lent");
            assert!((0..end).all(|page| is_filled(&other, page, (1 << 32) ^ page)));
            assert!(m.stats().usage.peak <= 8 * MIB && held_bytes() <= 8 * MIB);
            clean(&m);
        }
    });
}

/// How many pages of noise the space has lost; all its other pages are as they were stored.
fn lost_of(space: &Space, seed: u64) -> u32 {
    // It wanted more than it could have, or has lost nothing yet.
    let _ = space.take_failure();
    let mut lost = 0;
    for page in 0..pages(space) {
        let whole = match page {
            0 | 1 => is_filled(space, page, seed << 8 | page),
            _ => load(space, page) == page + 1,
        };
        match space.take_failure() {
            None => assert!(whole, "page {page}"),
            Some(Failure::PageLost { page: at, .. }) => {
                assert!(u64::from(at.0) == page && page < 2, "page {at}");
                lost += 1;
            }
            Some(other) => panic!("{other}"),
        }
    }
    lost
}
