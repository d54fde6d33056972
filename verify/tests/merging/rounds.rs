//! Rounds and their steps: patience, bounds, and what goes, stores or is refused between a look and
//! its proof.

use crate::{at, expect, family, fill, held, now, siblings};
use memfold_host::Domain;
use memfold_host::addr::{PAGE_SIZE, PageNo, Run};
use memfold_mm::{Effort, MergeStep};
use memfold_sim::program;
use memfold_sim::{Lasting, Moment, Plan};

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
