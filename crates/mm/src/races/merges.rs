//! Models of merging against what it meets.
//!
//! Goal and method: see `races.rs`.

#[cfg(test)]
use super::programs::stores;
use super::programs::{Harness, all, check, harness, load, store};
use crate::addr::SpaceNo;
#[cfg(test)]
use crate::addr::{PageNo, Run};
use crate::host::Store as _;
use crate::space::Merging;
use memfold_sync::Arc;
#[cfg(test)]
use memfold_sync::model::{Outside, holds};
use memfold_sync::model::{Part, Preemptions::UpTo, Rule, part, race};

/// Two siblings that take part, page 0 of both is 1; the root that they are cold forks of.
fn siblings() -> (Arc<Harness>, [SpaceNo; 2]) {
    let (mm, root) = harness(1);
    mm.set_merging(root, Merging::On).expect("it lives");
    let pair = [(); 2].map(|()| mm.fork(root).expect("no limit"));
    pair.iter().for_each(|&space| store(&mm, space, 0, 1));
    mm.drop_space(root).expect("it lives");
    (mm, pair)
}

fn merges(mm: &Arc<Harness>) -> Part {
    part(mm, |mm: &Harness| {
        let step = mm.merge_round(None).expect("no limit");
        assert!(step.merged <= 2);
    })
}

/// Checks everything, drops the spaces, checks that nothing is left.
fn expect(mm: &Harness, pages: &[(SpaceNo, u64)]) {
    check(mm);
    for &(space, value) in pages {
        assert_eq!(load(mm, space, 0), value, "space {space} lost a store");
    }
    for &(space, _) in pages {
        mm.drop_space(space).expect("it lives");
    }
    check(mm);
    assert_eq!(mm.store().stats().pages, 0, "bytes were left in the store");
}

/// Goal: R50, a store that comes between two looks is not lost, whichever sibling it is in.
#[test]
fn a_store_meets_merging() {
    for which in 0..2 {
        holds("mm: merge against a store of a sibling", UpTo(2), move || {
            let (mm, pair) = siblings();
            let stores = part(&mm, move |mm: &Harness| store(mm, pair[which], 0, 2));
            race([merges(&mm), stores]);
            expect(&mm, &[(pair[which], 2), (pair[1 - which], 1)]);
        });
    }
}

/// Goal: the same when the page stands at its place already, and the store breaks it apart.
#[test]
fn a_store_meets_joining() {
    holds("mm: merge of a third sibling against a store", UpTo(2), || {
        let (mm, pair) = siblings();
        assert_eq!(mm.merge_round(None).expect("no limit").merged, 1);
        let third = mm.fork(pair[0]).expect("no limit");
        store(&mm, third, 0, 2);
        store(&mm, third, 0, 1);
        let stores = part(&mm, move |mm: &Harness| store(mm, pair[0], 0, 2));
        race([merges(&mm), stores]);
        expect(&mm, &[(pair[0], 2), (pair[1], 1), (third, 1)]);
    });
}

fn merge_meets_eviction(which: usize) -> impl Fn() {
    move || {
        let (mm, pair) = siblings();
        let evicts = part(&mm, move |mm: &Harness| {
            let _ = mm.evict(pair[which], all());
        });
        race([merges(&mm).called("merger"), evicts.called("reclaimer")]);
        expect(&mm, &[(pair[0], 1), (pair[1], 1)]);
    }
}

/// A frame that reclaim has isolated is not converted under it; no page goes missing on its way to
/// the store.
pub(crate) fn eviction_rules() -> Vec<Rule> {
    let titles = [
        "mm: merge against evict of the first sibling",
        "mm: merge against evict of the second",
    ];
    let rule = |which: usize| Rule::new(titles[which], UpTo(2), merge_meets_eviction(which));
    vec![rule(0), rule(1)]
}

/// Goal: R02, what is isolated is not converted. Method: a round of merging against eviction, of
/// either sibling.
#[test]
fn eviction_meets_merging() {
    eviction_rules().iter().for_each(Rule::prove);
}

/// Goal: R45, R48, a sibling that is forked or dropped meanwhile.
#[test]
fn forks_and_drops_meet_merging() {
    holds("mm: merge against a fork of a sibling", UpTo(2), || {
        let (mm, pair) = siblings();
        let child = Arc::new(Outside::new(None));
        let forks = {
            let child = child.clone();
            part(&mm, move |mm: &Harness| {
                let no = mm.fork(pair[0]).expect("no limit");
                child.with(|child| *child = Some(no));
                store(mm, no, 0, 3);
            })
        };
        race([merges(&mm), forks]);
        let child = child.with(|child| child.expect("forked"));
        expect(&mm, &[(pair[0], 1), (pair[1], 1), (child, 3)]);
    });
    for which in 0..2 {
        holds("mm: merge against the end of a sibling", UpTo(2), move || {
            let (mm, pair) = siblings();
            let drops = part(&mm, move |mm: &Harness| {
                mm.drop_space(pair[which]).expect("it lives")
            });
            race([merges(&mm), drops]);
            expect(&mm, &[(pair[1 - which], 1)]);
        });
    }
}

/// Goal: C3, a page that is pinned meanwhile stays where it is, and what a device writes to it is
/// its space's alone.
#[test]
fn a_pin_meets_merging() {
    holds("mm: merge against a pin", UpTo(2), || {
        let (mm, pair) = siblings();
        let pins = part(&mm, move |mm: &Harness| {
            let page = Run::one(PageNo(0));
            mm.pin(pair[0], page).expect("no limit");
            assert!(stores(mm, pair[0], 0, 9), "a pinned page was protected or moved");
            mm.unpin(pair[0], page);
        });
        race([merges(&mm), pins]);
        expect(&mm, &[(pair[0], 9), (pair[1], 1)]);
    });
}

/// Goal: two scanners at once.
#[test]
fn two_merge_at_once() {
    holds("mm: merge against merge", UpTo(2), || {
        let (mm, pair) = siblings();
        race([merges(&mm), merges(&mm)]);
        expect(&mm, &[(pair[0], 1), (pair[1], 1)]);
    });
}

/// Goal: loads see the same bytes before, during and after.
#[test]
fn a_load_meets_merging() {
    for which in 0..2 {
        holds("mm: merge against a load of a sibling", UpTo(2), move || {
            let (mm, pair) = siblings();
            let loads = part(&mm, move |mm: &Harness| {
                assert_eq!(load(mm, pair[which], 0), 1);
                assert_eq!(load(mm, pair[which], 0), 1);
            });
            race([merges(&mm), loads]);
            expect(&mm, &[(pair[0], 1), (pair[1], 1)]);
        });
    }
}
