//! Pages that stay apart: they are pinned, differ, or belong to who takes no part or to another
//! domain.

use crate::{at, expect, family, fill, held, now, siblings};
use memfold_host::Domain;
use memfold_host::addr::{PAGE_SIZE, PageNo, Run};
use memfold_mm::{Effort, Merging};
use memfold_sim::program::{self, Place};

/// Goal: pinned pages are left alone.
#[test]
fn pinned_pages_stay() {
    let (mm, spaces) = siblings(3, 4);
    spaces.iter().for_each(|&space| fill(&mm, space, 0, 3));
    let run = Run::one(PageNo(0));
    mm.pin(spaces[0], run).expect("no limit");
    mm.host().hold(spaces[0], run);
    assert_eq!(now(&mm).merged, 1);
    assert_eq!(mm.stats().merge_pinned, 1);
    mm.host().kernel_store(spaces[0], at(0), &[8]);
    spaces[1..].iter().for_each(|&space| expect(&mm, space, 0, 3));
    mm.host().let_go(spaces[0], run);
    mm.unpin(spaces[0], run);
    assert_eq!(memfold_mm::check(&mm), Ok(()));
}

/// Goal: a page that looked equal and is not goes back as it was: what forks share still takes a
/// store as a fault. Method: two pages that differ where a glance does not look.
#[test]
fn an_exported_page_that_differs_stays_protected() {
    let (mm, spaces) = siblings(2, 4);
    spaces.iter().for_each(|&space| fill(&mm, space, 1, 9));
    let beside = Place {
        page: PageNo(1),
        offset: 70,
    };
    program::store(&mm, spaces[1], beside, &[8]).expect("no limit");
    let fork = mm.fork(spaces[1]).expect("no limit");
    assert_eq!(now(&mm).merged, 0);
    assert!(mm.stats().merge_changed > 0, "the pages were compared");
    assert_eq!(mm.host().stores_go_through(spaces[1]), []);
    program::store(&mm, spaces[1], at(1), &[1]).expect("no limit");
    let mut out = [0; 71];
    program::load(&mm, fork, at(1), &mut out).expect("no limit");
    assert_eq!((out[0], out[70]), (9, 8));
}

/// Goal: a space that does not take part keeps its pages and exports none.
#[test]
fn only_who_takes_part() {
    let (mm, spaces) = siblings(4, 4);
    spaces.iter().for_each(|&space| fill(&mm, space, 0, 3));
    mm.set_merging(spaces[1], Merging::Off).expect("it lives");
    assert_eq!(now(&mm).merged, 2);
    let stats = memfold_mm::SpaceStats::of(&mm, spaces[1]).expect("it lives");
    assert_eq!((stats.exclusive, stats.merged), (1, 0));
    // What a space that does not take part shares with its forks is not compared either.
    let (mm, spaces) = siblings(2, 4);
    mm.set_merging(spaces[1], Merging::Off).expect("it lives");
    spaces.iter().for_each(|&space| fill(&mm, space, 0, 3));
    let frozen = mm.freeze(spaces[1]).expect("no limit");
    assert_eq!(now(&mm).merged, 0);
    assert_eq!(
        memfold_mm::SpaceStats::of(&mm, frozen).expect("it lives").shared,
        1
    );
}

/// Goal: a space that does not take part any more is left alone at once, also by a round that began
/// before. Method: a round in small steps; before the second sibling is visited it is told to stay
/// out.
#[test]
fn who_stays_out_is_left_alone() {
    let (mm, spaces) = siblings(2, 40);
    for &space in &spaces {
        (0..32).for_each(|page| fill(&mm, space, page, 60));
    }
    // The root of the family, which has no pages, and the first sibling's window.
    let seen = [(); 2].map(|()| mm.merge(1, Effort::Everything));
    assert_eq!((seen[0].scanned, seen[1].scanned), (0, 32));
    mm.set_merging(spaces[1], Merging::Off).expect("it lives");
    let rest = mm.merge(u64::MAX, Effort::Everything);
    assert_eq!((rest.scanned, rest.merged, rest.round_over), (0, 0, true));
    assert_eq!(held(&mm), 64);
}

/// Goal: pages of two domains, or of two families, are never one, not even in the store.
/// Method: the same bytes at the same pages of families in three domains, merged, then evicted.
#[test]
fn domains_stay_apart() {
    let (mm, first) = siblings(3, 8);
    let second = family(&mm, 3, 8, Domain(1));
    let third = family(&mm, 3, 8, Domain(2));
    let all = [&first, &second, &third];
    for &space in all.iter().copied().flatten() {
        (0..8).for_each(|page| fill(&mm, space, page, 50 + page as u8));
    }
    assert_eq!(now(&mm).merged, 3 * 16);
    assert_eq!(held(&mm), 3 * 8, "each domain has its own copy");
    // A store of one domain is copied, whatever the others hold, and is seen by nobody else.
    program::store(&mm, second[0], at(0), &[1; PAGE_SIZE]).expect("no limit");
    for &space in all.iter().copied().flatten().filter(|&&s| s != second[0]) {
        expect(&mm, space, 0, 50);
    }
    let run = Run {
        first: PageNo(0),
        len: 8,
    };
    for &space in all.iter().copied().flatten() {
        mm.evict(space, run).expect("it lives");
    }
    assert_eq!(held(&mm), 0);
}

/// Goal: what a store costs in one domain does not depend on what another domain holds. Method: the
/// calls that the manager makes for the same stores, with and without equal pages in another
/// domain.
#[test]
fn writes_tell_nothing_across_domains() {
    let calls = |other: u8| {
        let (mm, first) = siblings(3, 8);
        let second = family(&mm, 3, 8, Domain(1));
        for page in 0..8 {
            first
                .iter()
                .for_each(|&space| fill(&mm, space, page, 50 + page as u8));
            second
                .iter()
                .for_each(|&space| fill(&mm, space, page, other + page as u8));
        }
        assert_eq!(now(&mm).merged, 32);
        let before = mm.stats();
        let mut faults = Vec::new();
        for page in 0..8 {
            program::store(&mm, first[1], at(page), &[7]).expect("no limit");
            faults.push((
                mm.stats().faults - before.faults,
                mm.stats().copied - before.copied,
            ));
        }
        faults
    };
    assert_eq!(calls(50), calls(120));
}
