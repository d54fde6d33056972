//! Models of eviction and reclaim against what they meet.
//!
//! Goal and method: see `races.rs`.

use super::programs::{Harness, all, check, harness, load, store, stores};
use crate::addr::{PAGE_SIZE, PageNo, Run, SpaceNo};
use crate::host::Store as _;
use memfold_sync::Arc;
use memfold_sync::model::{Outside, Part, Preemptions::UpTo, holds, part, race};

fn evicts(mm: &Arc<Harness>, space: SpaceNo) -> Part {
    part(mm, move |mm: &Harness| {
        // The space may be gone.
        let _ = mm.evict(space, all());
    })
}

/// One space whose page 0 is 1.
fn alone() -> (Arc<Harness>, SpaceNo) {
    let (mm, space) = harness(1);
    store(&mm, space, 0, 1);
    (mm, space)
}

/// The same and its fork, the page in the pool.
fn shared() -> (Arc<Harness>, SpaceNo, SpaceNo) {
    let (mm, parent) = alone();
    let child = mm.fork(parent).expect("no limit");
    assert_eq!(load(&mm, child, 0), 1);
    (mm, parent, child)
}

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

/// Goal: R31, a store on its way to the store is not lost.
#[test]
fn a_store_meets_eviction() {
    holds("mm: store against evict", UpTo(2), || {
        let (mm, space) = alone();
        let stored = part(&mm, move |mm: &Harness| store(mm, space, 0, 2));
        race([stored, evicts(&mm, space)]);
        expect(&mm, &[(space, 2)]);
    });
}

/// Goal: R31, the same where pages leave their windows before they are read; and what cannot be
/// stored comes back with the store, or in time for it.
#[test]
fn a_store_meets_a_page_that_is_taken() {
    holds("mm: store against a page that is taken", UpTo(2), || {
        let (mm, space) = alone();
        mm.host().let_take(true);
        let stored = part(&mm, move |mm: &Harness| store(mm, space, 0, 2));
        race([stored, evicts(&mm, space)]);
        expect(&mm, &[(space, 2)]);
    });
    holds("mm: store against a page that comes back", UpTo(2), || {
        let (mm, space) = alone();
        mm.host().let_take(true);
        mm.store().price(|prices| prices.plain = PAGE_SIZE as u64);
        let stored = part(&mm, move |mm: &Harness| store(mm, space, 0, 2));
        let reclaims = part(&mm, move |mm: &Harness| {
            let _ = mm.reclaim(1);
        });
        race([stored, reclaims]);
        expect(&mm, &[(space, 2)]);
    });
}

/// Goal: a load finds the page, wherever it is.
#[test]
fn a_load_meets_eviction() {
    holds("mm: load of a shared page against evict", UpTo(2), || {
        let (mm, parent, child) = shared();
        let loads = part(&mm, move |mm: &Harness| assert_eq!(load(mm, parent, 0), 1));
        race([loads, evicts(&mm, child)]);
        expect(&mm, &[(parent, 1), (child, 1)]);
    });
}

/// Goal: a fork protects no page that is gone.
#[test]
fn a_fork_meets_eviction() {
    holds("mm: fork against evict", UpTo(2), || {
        let (mm, parent) = alone();
        let child = Arc::new(Outside::new(None));
        let fork = {
            let child = child.clone();
            part(&mm, move |mm: &Harness| {
                let no = mm.fork(parent).expect("no limit");
                child.with(|child| *child = Some(no));
            })
        };
        race([fork, evicts(&mm, parent)]);
        let child = child.with(|child| child.expect("forked"));
        expect(&mm, &[(parent, 1), (child, 1)]);
    });
}

/// Goal: R04, eviction touches no window that is closed.
#[test]
fn a_drop_meets_eviction() {
    holds("mm: drop against evict of the same space", UpTo(2), || {
        let (mm, space) = alone();
        let goes = part(&mm, move |mm: &Harness| mm.drop_space(space).expect("it lives"));
        race([goes, evicts(&mm, space)]);
        expect(&mm, &[]);
    });
    holds("mm: drop against evict of its fork", UpTo(2), || {
        let (mm, parent, child) = shared();
        let goes = part(&mm, move |mm: &Harness| mm.drop_space(parent).expect("it lives"));
        race([goes, evicts(&mm, child)]);
        expect(&mm, &[(child, 1)]);
    });
}

/// Goal: R23, R24: one page that two spaces bring in is one page.
#[test]
fn two_spaces_bring_a_page_in() {
    holds("mm: loads of one evicted page from two spaces", UpTo(2), || {
        let (mm, parent, child) = shared();
        mm.evict(parent, all()).expect("it lives");
        let loads = |space| part(&mm, move |mm: &Harness| assert_eq!(load(mm, space, 0), 1));
        race([loads(parent), loads(child)]);
        expect(&mm, &[(parent, 1), (child, 1)]);
    });
}

/// Goal: one space brings the page in for all, another for itself.
#[test]
fn a_load_and_a_store_bring_a_page_in() {
    holds(
        "mm: load and store of one evicted page from two spaces",
        UpTo(2),
        || {
            let (mm, parent, child) = shared();
            mm.evict(parent, all()).expect("it lives");
            let loads = part(&mm, move |mm: &Harness| assert_eq!(load(mm, parent, 0), 1));
            let stored = part(&mm, move |mm: &Harness| store(mm, child, 0, 3));
            race([loads, stored]);
            expect(&mm, &[(parent, 1), (child, 3)]);
        },
    );
}

/// Goal: a pinned page stays, writable, where it is.
#[test]
fn a_pin_meets_eviction() {
    holds("mm: pin against evict", UpTo(2), || {
        let (mm, space) = alone();
        let pins = part(&mm, move |mm: &Harness| {
            mm.pin(space, Run::one(PageNo(0))).expect("nothing fails here");
            // The device writes.
            assert!(stores(mm, space, 0, 9), "a pinned page is not writable");
        });
        race([pins, evicts(&mm, space)]);
        assert_eq!(mm.host().memory().private, 1, "a pinned page was evicted");
        mm.unpin(space, Run::one(PageNo(0)));
        expect(&mm, &[(space, 9)]);
    });
}

/// Goal: two reclaimers share the lists and evict each page once.
#[test]
fn two_reclaimers() {
    holds("mm: two reclaimers, two pages", UpTo(2), || {
        let (mm, space) = alone();
        store(&mm, space, 1, 4);
        let reclaims = || part(&mm, |mm: &Harness| assert!(mm.reclaim(1) <= 2));
        race([reclaims(), reclaims()]);
        assert_eq!(load(&mm, space, 1), 4);
        expect(&mm, &[(space, 1)]);
    });
}

/// Goal: one of two leaves that map a frame brings its page in again while the other is still being
/// changed. Method: a frame that two leaves map, evicted, against a store through one of them.
#[test]
fn a_chain_of_two_meets_eviction() {
    for (what, leave) in [("store", false), ("drop", true)] {
        let title = format!("mm: evict of a frame that two leaves map against a {what}");
        holds(&title, UpTo(2), move || {
            let (mm, parent, child) = shared();
            // The fork gets a leaf of its own, which names the same frame for page 0.
            store(&mm, child, 1, 5);
            let user = part(&mm, move |mm: &Harness| match leave {
                true => mm.drop_space(child).expect("it lives"),
                false => store(mm, child, 0, 3),
            });
            race([evicts(&mm, parent), user]);
            match leave {
                true => expect(&mm, &[(parent, 1)]),
                false => expect(&mm, &[(parent, 1), (child, 3)]),
            }
        });
    }
}
