//! Bases: what is kept beside a page, what it may cost, how it is renewed and when it goes.

use super::super::batch::BATCH;
use super::super::evict::{FLUSH, RISE_MOST, Why, evict_batch};
use super::*;
use crate::addr::SpaceNo;
use crate::budget::{Charge, Class};
use crate::rig::{
    Harness, Request, harness, limited, read, resident, run, saves_nothing, sound, space, value, write,
};

/// A parent and its fork, whose page 0 stands in the pool with the parent's bytes and is the fork's
/// own.
fn family(mm: &Harness) -> (SpaceNo, SpaceNo) {
    let parent = space(mm, 600);
    write(mm, parent, 0..1, 1);
    let child = mm.fork(parent).expect("room");
    read(mm, child, 0);
    write(mm, child, 0..1, 2);
    (parent, child)
}

fn base(mm: &Harness, space: SpaceNo, page: u32) -> Option<u64> {
    let backing = mm.lock_space(space).expect("it lives").backing;
    mm.backings.base(backing, PageNo(page)).map(|base| base.0.get())
}

/// Goal: what does not compress goes nowhere under pressure and leaves nothing beside it; when it
/// was asked for, it goes alone. Method: noise that stands beside noise, in a store that charges.
#[test]
fn noise_leaves_no_base() {
    let mm = limited(8 << 20);
    mm.store.price(|prices| prices.charged = true);
    let (_, child) = family(&mm);
    mm.store.price(saves_nothing);
    let before = mm.usage();
    assert_eq!(mm.reclaim(8), 0);
    assert_eq!((mm.store().stats().pages, mm.usage().stored), (0, 0));
    assert_eq!(mm.usage().total, before.total + Swap::GROWTH_BYTES, "only slots");
    assert_eq!(mm.evict(child, run(0, 1)), Ok(1));
    assert_eq!((mm.store().stats().pages, base(&mm, child, 0)), (1, None));
    assert_eq!(mm.usage().stored, PAGE);
    sound(&mm);
}

/// Goal: evictions that save nothing, though asked for, leave the reserve alone. Method: with all
/// else used, and with a page free.
#[test]
fn the_reserve_is_not_for_noise() {
    let mm = limited(8 << 20);
    mm.store.price(|prices| prices.charged = true);
    let (_, child) = family(&mm);
    mm.store.price(saves_nothing);
    let all = mm.budget.free();
    let held = Charge::take(&mm.budget, Class::Pool, all, Need::Normal).expect("it is free");
    assert_eq!(mm.evict(child, run(0, 1)), Ok(0));
    assert_eq!(resident(&mm, child), [0]);
    drop(held);
    let held = Charge::take(&mm.budget, Class::Pool, all - 3 * PAGE, Need::Normal).expect("it is free");
    assert_eq!(mm.evict(child, run(0, 1)), Ok(1));
    drop(held);
    sound(&mm);
}

/// Goal: a base is not charged to the reserve. Method: with nothing else left, a page is stored
/// without the version that stands at its place; what it becomes itself costs nothing only where
/// equal pages are stored once, and not here.
#[test]
fn bases_are_luxury() {
    let mm = limited(8 << 20);
    mm.store.price(|prices| prices.charged = true);
    let (_, child) = family(&mm);
    let held = Charge::take(&mm.budget, Class::Pool, mm.budget.free(), Need::Normal).expect("it is free");
    assert_eq!(mm.reclaim_one(child), 1);
    assert_eq!((mm.store().stats().pages, base(&mm, child, 0)), (1, None));
    drop(held);
    sound(&mm);
}

/// Goal: when a difference and its base together hold a page or more, the page is stored by itself,
/// or stays. Method: a base that barely compresses.
#[test]
fn both_together_are_less_than_a_page() {
    for (plain, goes) in [(WORTH - 1, 1), (WORTH, 0)] {
        let mm = harness();
        let (_, child) = family(&mm);
        mm.store.price(|prices| prices.plain = plain);
        assert_eq!(mm.reclaim_one(child), goes);
        assert_eq!(
            (mm.store().stats().pages, base(&mm, child, 0)),
            (u64::from(goes), None)
        );
        sound(&mm);
    }
    let mm = harness();
    let (_, child) = family(&mm);
    mm.store.price(|prices| prices.plain = WORTH - 101);
    assert_eq!(mm.reclaim_one(child), 1);
    assert_eq!((mm.store().stats().pages, base(&mm, child, 0)), (2, Some(1)));
    sound(&mm);
}

impl Harness {
    /// Reclaims page 0 of a space alone.
    fn reclaim_one(&self, space: SpaceNo) -> u32 {
        let no = crate::rig::frame_at(self, space, 0).expect("it is in memory");
        let mut batch = [const { None }; BATCH];
        batch[0] = self.reclaim.replacer.isolate(&self.frames, no);
        evict_batch(self, &mut batch, Why::Pressure)
    }
}

/// Goal: a base that a page turned out to be no difference to is replaced by that page, and goes.
/// Method: three versions, of which the second is a difference and the third is not; a page that is
/// nearly empty says nothing.
#[test]
fn stale_bases_are_renewed() {
    let mm = harness();
    let (parent, child) = family(&mm);
    mm.evict(child, run(0, 1)).expect("it lives");
    // The pool's version (1), the fork's (2).
    assert_eq!((base(&mm, child, 0), mm.store().stats().pages), (Some(1), 2));
    mm.store.price(|prices| prices.delta = None);
    mm.store.price(|prices| prices.plain = TELLING - 1);
    mm.evict(parent, run(0, 1)).expect("it lives");
    // The parent's version (3).
    assert_eq!((base(&mm, child, 0), mm.store().stats().pages), (Some(1), 3));
    read(&mm, child, 0);
    write(&mm, child, 0..1, 3);
    mm.store.price(|prices| prices.plain = TELLING);
    mm.evict(child, run(0, 1)).expect("it lives");
    // The fork's new version (4) and the same as a base (5): both old ones are gone.
    assert_eq!((base(&mm, child, 0), mm.store().stats().pages), (Some(5), 3));
    assert_eq!((value(&mm, parent, 0), value(&mm, child, 0)), (1, 3));
    sound(&mm);
}

/// Goal: reclaim frees bases that nothing is a difference to, and no other, in steps through all
/// backings. Method: bases of two backings, one of them needed; then the backing loses its second
/// user.
#[test]
fn idle_bases_go() {
    let mm = harness();
    let families = [family(&mm), family(&mm)];
    for (_, child) in families {
        mm.evict(child, run(0, 1)).expect("it lives");
    }
    let bases = || families.map(|(parent, _)| base(&mm, parent, 0).is_some());
    assert!(!Bases(&mm).shrink_all(), "both are needed");
    assert_eq!(bases(), [true, true]);
    read(&mm, families[1].1, 0);
    assert_eq!(mm.store().stats().pages, 3);
    assert!(Bases(&mm).shrink_all());
    assert_eq!((bases(), mm.stats().bases_freed), ([true, false], 1));
    mm.drop_space(families[0].0).expect("it lives");
    assert!(Bases(&mm).shrink_all(), "a base serves siblings");
    assert_eq!((mm.store().stats().pages, mm.stats().bases_freed), (1, 2));
    assert_eq!(value(&mm, families[0].1, 0), 2);
    assert!(!Bases(&mm).shrink_all());
    sound(&mm);
}

/// Goal: a fault without room learns that room was made when only bases could go.
#[test]
fn bases_are_room() {
    let mm = harness();
    let (parent, child) = family(&mm);
    mm.evict(child, run(0, 1)).expect("it lives");
    read(&mm, child, 0);
    for space in [parent, child] {
        mm.pin(space, run(0, 1)).expect("room");
    }
    assert!(super::super::reclaim_for_fault(&mm));
    assert!(!super::super::reclaim_for_fault(&mm));
    for space in [parent, child] {
        mm.unpin(space, run(0, 1));
    }
    sound(&mm);
}

/// Goal: a batch never raises the total by more than reclaim's part of the reserve. Method: pages
/// that barely compress, in a full budget: the peak; and the calls, which show that pages went
/// between those that were stored.
#[test]
fn a_batch_rises_little() {
    let mm = limited(8 << 20);
    mm.store.price(|prices| prices.charged = true);
    mm.store.price(|prices| prices.plain = 4000);
    let a = space(&mm, 600);
    write(&mm, a, 0..100, 1);
    let held = Charge::take(&mm.budget, Class::Pool, mm.budget.free(), Need::Normal).expect("it is free");
    let before = mm.usage().total;
    mm.host.requests();
    assert_eq!(mm.reclaim(32), 32);
    let after = mm.usage();
    assert!(after.peak <= before + RISE_MOST, "{after:?}, {before} before");
    assert!(after.total < before + Swap::GROWTH_BYTES);
    let drops = mm.host.requests().into_iter().filter_map(|call| match call {
        Request::Drop(_, run) => Some(run.len),
        _ => None,
    });
    let part = FLUSH.div_ceil(4000) as u32;
    let drops: Vec<_> = drops.collect();
    assert!(drops.iter().all(|&len| len <= part), "{drops:?}");
    assert_eq!(drops.iter().sum::<u32>(), 32);
    drop(held);
    sound(&mm);
}
