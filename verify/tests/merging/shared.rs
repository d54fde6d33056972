//! Pages that are one: who reads what, what a store does, how they go to the store and come back,
//! and how they are taken apart.

use crate::{at, expect, fill, held, now, siblings};
use memfold_host::Store as _;
use memfold_host::addr::{PageNo, Run};
use memfold_sim::program;

/// Goal: equal pages of siblings become one, zeros none; a store breaks one page apart in one fault
/// and nobody else's.
#[test]
fn siblings_share_what_is_equal() {
    let (mm, spaces) = siblings(5, 40);
    for &space in &spaces {
        (0..40).for_each(|page| fill(&mm, space, page, if page < 10 { 0 } else { page as u8 }));
        fill(&mm, space, 39, 100 + space.0 as u8);
    }
    assert_eq!(held(&mm), 200);
    let step = now(&mm);
    assert_eq!(
        (step.scanned, step.merged, step.zeroed, step.round_over),
        (200, 116, 50, true)
    );
    assert_eq!(held(&mm), 34);
    for &space in &spaces {
        (0..39).for_each(|page| expect(&mm, space, page, if page < 10 { 0 } else { page as u8 }));
        expect(&mm, space, 39, 100 + space.0 as u8);
    }
    let faults = mm.stats().faults;
    program::store(&mm, spaces[2], at(12), &[77]).expect("no limit");
    assert_eq!(mm.stats().faults - faults, 1, "one fault breaks a page apart");
    assert_eq!(held(&mm), 35);
    spaces
        .iter()
        .filter(|&&s| s != spaces[2])
        .for_each(|&s| expect(&mm, s, 12, 12));
    let again = now(&mm);
    assert_eq!((again.merged, again.zeroed), (0, 0));
}

/// Goal: a merged frame whose last sharer stores is copied all the same, never written in place.
#[test]
fn a_merged_frame_is_never_written() {
    let (mm, spaces) = siblings(2, 4);
    spaces.iter().for_each(|&space| fill(&mm, space, 1, 9));
    assert_eq!(now(&mm).merged, 1);
    mm.drop_space(spaces[1]).expect("it lives");
    let copied = mm.stats().copied;
    program::store(&mm, spaces[0], at(1), &[1]).expect("no limit");
    assert_eq!(mm.stats().copied - copied, 1);
    assert_eq!(held(&mm), 1);
    let late = mm.fork(spaces[0]).expect("no limit");
    let mut out = [0; 2];
    program::load(&mm, late, at(1), &mut out).expect("no limit");
    assert_eq!(out, [1, 9]);
}

/// Goal: a merged frame goes to the store once, for all, and comes back for all.
#[test]
fn a_merged_frame_is_evicted_for_all() {
    let (mm, spaces) = siblings(6, 4);
    spaces.iter().for_each(|&space| fill(&mm, space, 2, 5));
    assert_eq!(now(&mm).merged, 5);
    let run = Run::one(PageNo(2));
    assert_eq!(mm.evict(spaces[3], run), Ok(1));
    // The page, and the same as a base for what siblings write there.
    assert_eq!((held(&mm), mm.store().stats().pages), (0, 2));
    spaces.iter().for_each(|&space| expect(&mm, space, 2, 5));
    assert_eq!(held(&mm), 1);
}

/// Goal: a page that goes takes all its forks with it, those too that have a table of their own
/// (R48). Method: forks that stored elsewhere in the table, so that the frame has a mapper for
/// each; without that all of them reach it through one. Once as a page in a window, once as one
/// that lies in the overflow range.
#[test]
fn a_page_that_goes_takes_all_its_forks_along() {
    let (mm, spaces) = siblings(2, 4);
    spaces.iter().for_each(|&space| fill(&mm, space, 1, 9));
    let forks = [(); 2].map(|()| mm.fork(spaces[1]).expect("no limit"));
    forks.iter().for_each(|&fork| fill(&mm, fork, 2, 7));
    let shared = memfold_mm::SpaceStats::of(&mm, spaces[1])
        .expect("it lives")
        .shared;
    assert_eq!(shared, 1, "its own forks share the page");
    assert_eq!(now(&mm).merged, 2, "the page of the forks, and theirs at page 2");
    forks
        .iter()
        .chain(&spaces)
        .for_each(|&space| expect(&mm, space, 1, 9));
    assert_eq!(held(&mm), 2);
    fill(&mm, forks[0], 1, 3);
    for space in [spaces[0], spaces[1], forks[1]] {
        expect(&mm, space, 1, 9);
    }

    let (mm, spaces) = siblings(1, 4);
    let first = spaces[0];
    fill(&mm, first, 1, 9);
    let second = mm.fork(first).expect("no limit");
    expect(&mm, second, 1, 9);
    fill(&mm, second, 1, 8);
    fill(&mm, second, 1, 9);
    let forks = [(); 2].map(|()| mm.fork(second).expect("no limit"));
    // What the forks share is displaced; its place is taken, so it lies in the overflow range.
    fill(&mm, second, 1, 5);
    forks.iter().for_each(|&fork| fill(&mm, fork, 2, 7));
    assert_eq!(held(&mm), 5);
    assert_eq!(now(&mm).merged, 2);
    assert_eq!(held(&mm), 3);
    for space in [first, forks[0], forks[1]] {
        expect(&mm, space, 1, 9);
    }
    expect(&mm, second, 1, 5);
}

/// Goal: unmerging leaves the space alone with its pages, wherever they were (R46).
#[test]
fn unmerged_is_unmerged() {
    let (mm, spaces) = siblings(3, 8);
    for &space in &spaces {
        (0..8).for_each(|page| fill(&mm, space, page, 40 + page as u8));
    }
    assert_eq!(now(&mm).merged, 16);
    let four = Run {
        first: PageNo(0),
        len: 4,
    };
    mm.evict(spaces[0], four).expect("it lives");
    let all = Run {
        first: PageNo(0),
        len: 8,
    };
    assert_eq!(mm.unmerge(spaces[0], all), Ok(8));
    let stats = memfold_mm::SpaceStats::of(&mm, spaces[0]).expect("it lives");
    assert_eq!((stats.exclusive, stats.shared, stats.swapped), (8, 0, 0));
    for &space in &spaces {
        (0..8).for_each(|page| expect(&mm, space, page, 40 + page as u8));
    }
    assert_eq!(mm.unmerge(spaces[0], all), Ok(0), "nothing is left to unmerge");
}
