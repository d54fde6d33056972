//! Goal: merging does what it says, and changes no byte. Method: scenarios written out; random
//! histories with merging in them are those of `simulation.rs`.
#![cfg(not(shuttle))]

use memfold_host::addr::{PAGE_SIZE, PageNo, Run, SpaceNo};
use memfold_host::{Domain, Store as _};
use memfold_mm::{Config, Effort, MergeStep, Merging, Mm, Size, UNLIMITED};
use memfold_sim::program::{self, Place};
use memfold_sim::{Lasting, Moment, Plan, SimHost, SimStore};

/// A manager, and `n` cold forks of one empty space that take part.
fn siblings(n: usize, pages: u32) -> (Mm<SimHost, SimStore>, Vec<SpaceNo>) {
    let config = Config {
        replacement: memfold_mm::Replacement::default(),
        limit_bytes: UNLIMITED,
        machine_bytes: 64 << 20,
        spaces: 64,
        store_bytes: 0,
        page_tables: memfold_mm::PageTables::Counted,
    };
    let mm = Mm::new(SimHost::new(1), SimStore::new(1), config).expect("no limit");
    let spaces = family(&mm, n, pages, Domain(0));
    (mm, spaces)
}

fn family(mm: &Mm<SimHost, SimStore>, n: usize, pages: u32, domain: Domain) -> Vec<SpaceNo> {
    let size = Size {
        len: pages,
        reserve: pages,
    };
    let root = mm.create(size, domain).expect("no limit");
    mm.set_merging(root, Merging::On).expect("it lives");
    (0..n).map(|_| mm.fork(root).expect("no limit")).collect()
}

fn at(page: u32) -> Place {
    Place {
        page: PageNo(page),
        offset: 0,
    }
}

fn fill(mm: &Mm<SimHost, SimStore>, space: SpaceNo, page: u32, value: u8) {
    program::store(mm, space, at(page), &[value; PAGE_SIZE]).expect("no limit");
}

fn expect(mm: &Mm<SimHost, SimStore>, space: SpaceNo, page: u32, value: u8) {
    let mut out = [!value; PAGE_SIZE];
    program::load(mm, space, at(page), &mut out).expect("no limit");
    assert_eq!(out, [value; PAGE_SIZE], "page {page} of space {space}");
}

fn held(mm: &Mm<SimHost, SimStore>) -> u64 {
    assert_eq!(memfold_mm::check(mm), Ok(()));
    mm.host().memory().pages()
}

fn now(mm: &Mm<SimHost, SimStore>) -> MergeStep {
    mm.merge_round(None).expect("no limit")
}

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

/// Goal: in the background a page that keeps changing is left alone more and more, and a page that
/// holds still is merged in the second round.
#[test]
fn the_background_is_patient() {
    let (mm, spaces) = siblings(2, 2);
    spaces.iter().for_each(|&space| fill(&mm, space, 0, 3));
    let mut rested = 0;
    for round in 0..12 {
        spaces.iter().for_each(|&space| fill(&mm, space, 1, 10 + round));
        let before = mm.stats().merge_resting;
        let step = mm.merge(1000, Effort::Steady);
        assert!(step.round_over);
        assert_eq!(step.merged, u64::from(round == 1), "round {round}");
        rested += mm.stats().merge_resting - before;
    }
    assert_eq!(rested, 2 + 12 * 2);
    // Once it holds still it is found after the longest rest.
    let found = (0..12)
        .map(|_| mm.merge(1000, Effort::Steady).merged)
        .sum::<u64>();
    assert_eq!(found, 1);
}

/// Goal: a step is bounded, and goes on where the last one ended.
#[test]
fn steps_are_bounded() {
    let (mm, spaces) = siblings(4, 400);
    for &space in &spaces {
        (0..400).for_each(|page| fill(&mm, space, page, page as u8 | 1));
    }
    let mut done = MergeStep::default();
    while !done.round_over {
        let step = mm.merge(50, Effort::Everything);
        assert!(step.scanned < 50 + 128);
        done.merged += step.merged;
        done.round_over = step.round_over;
    }
    assert_eq!(done.merged, 1200);
    assert_eq!(held(&mm), 400);
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

/// Goal: the first of a pair may have gone, or its frame be reused, before the second is seen (R44,
/// R45). Method: a round in small steps; between two of them the remembered sibling is dropped and
/// its frames are used again.
#[test]
fn what_was_seen_may_be_gone() {
    for gone in 0..4 {
        let (mm, spaces) = siblings(3, 40);
        let late = spaces[2];
        for &space in spaces.iter().filter(|&&space| gone != 3 || space != late) {
            (0..32).for_each(|page| fill(&mm, space, page, 60));
        }
        // The root of the family, which has no pages, and the first sibling's window.
        let seen = [(); 2].map(|()| mm.merge(1, Effort::Everything));
        assert_eq!((seen[0].scanned, seen[1].scanned), (0, 32));
        assert!(!seen[1].round_over);
        match gone {
            0 => mm.drop_space(spaces[0]).expect("it lives"),
            1 => (0..32).for_each(|page| fill(&mm, spaces[0], page, 61)),
            3 => {
                // Its frames are those of other pages of another sibling now.
                let run = Run {
                    first: PageNo(0),
                    len: 32,
                };
                mm.evict(spaces[0], run).expect("it lives");
                (0..32)
                    .rev()
                    .for_each(|page| fill(&mm, late, page, 60 + u8::from(page == 7)));
                fill(&mm, late, 7, 60);
            }
            _ => {
                mm.drop_space(spaces[0]).expect("it lives");
                let new = family(&mm, 1, 40, Domain(1));
                (0..32).for_each(|page| fill(&mm, new[0], page, 60));
            }
        }
        while !mm.merge(100, Effort::Everything).round_over {}
        assert_eq!(memfold_mm::check(&mm), Ok(()));
        for &space in &spaces[1..] {
            (0..32).for_each(|page| expect(&mm, space, page, 60));
        }
        if gone == 1 {
            (0..32).for_each(|page| expect(&mm, spaces[0], page, 61));
        }
    }
}

/// Goal: each call of the machine that merging makes may be refused; then nothing has changed.
/// Method: refuse the n-th call, for every n.
#[test]
fn every_call_may_be_refused() {
    for n in 0..400 {
        let (mm, spaces) = siblings(3, 6);
        for &space in &spaces {
            (0..6).for_each(|page| fill(&mm, space, page, page as u8));
        }
        mm.host().set_plan(Plan::nth(n, Lasting::Once));
        let step = now(&mm);
        let refused = mm.host().plan_counts().1;
        mm.host().set_plan(Plan::NONE);
        assert_eq!(memfold_mm::check(&mm), Ok(()));
        for &space in &spaces {
            (0..6).for_each(|page| expect(&mm, space, page, page as u8));
        }
        if refused == 0 {
            assert_eq!((step.merged, step.zeroed), (10, 3));
            assert!(n > 10, "merging made calls");
            return;
        }
        let rest = now(&mm);
        assert_eq!(step.merged + rest.merged, 10, "call {n}");
    }
    panic!("merging a few pages makes too many calls");
}

/// Goal: a store between the guess and the proof keeps the page apart, be it the visited page, the
/// sibling's, or one of zeros (R50). Method: a second thread stores right after the page was looked
/// at, in rounds of all efforts.
#[test]
fn a_store_after_the_guess_is_kept() {
    for effort in [Effort::Steady, Effort::Everything] {
        for (visited, value) in [(0, 9), (1, 9), (2, 9), (0, 0), (1, 0)] {
            let (mm, spaces) = siblings(3, 4);
            let raced = spaces[visited];
            spaces.iter().for_each(|&space| fill(&mm, space, 1, value));
            // The background looks twice before it merges.
            let _ = mm.merge(1000, effort);
            spaces
                .iter()
                .for_each(|&space| program::store(&mm, space, at(1), &[value]).expect("no limit"));
            mm.host().arm_race(Moment::LookedAt, raced, PageNo(1), 70, 77);
            let _ = mm.merge(1000, effort);
            let happened = mm.host().disarm_races() == 0;
            assert_eq!(memfold_mm::check(&mm), Ok(()));
            for &space in &spaces {
                let mut out = [0; PAGE_SIZE];
                program::load(&mm, space, at(1), &mut out).expect("no limit");
                let expected = if space == raced && happened { 77 } else { value };
                assert_eq!((out[0], out[70], out[71]), (value, expected, value));
            }
            assert!(happened, "nobody looked at the page");
        }
    }
}
