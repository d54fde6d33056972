//! Models of faults, forks and drops against each other.
//!
//! Goal and method: see `races.rs`.

use super::programs::{DOMAIN, Harness, all, check, create, harness, load, store};
use crate::addr::{FrameNo, PageNo, SpaceNo};
use crate::budget::Need;
use crate::error::Stop;
use crate::host::Host;
use crate::host::Store as _;
use crate::path::OwnPath;
use crate::reclaim::beside::domain_of;
use crate::table::LeafEntry;
use memfold_sync::model::{Outside, Part, Preemptions::UpTo, holds, part, race};
use memfold_sync::{Arc, thread};

fn stores(mm: &Arc<Harness>, space: SpaceNo, value: u64) -> Part {
    part(mm, move |mm: &Harness| store(mm, space, 0, value))
}

fn loads(mm: &Arc<Harness>, space: SpaceNo, expected: u64) -> Part {
    part(mm, move |mm: &Harness| {
        assert_eq!(load(mm, space, 0), expected, "a load saw another space's store");
    })
}

/// A space whose page 0 is 1, and its fork.
fn family(levels: u32) -> (Arc<Harness>, SpaceNo, SpaceNo) {
    let (mm, parent) = harness(levels);
    store(&mm, parent, 0, 1);
    let child = mm.fork(parent).expect("no limit");
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

/// Goal: two threads of one space touch a new page.
#[test]
fn two_first_touches() {
    holds("mm: load and store of a new page", UpTo(2), || {
        let (mm, space) = harness(1);
        let seen = part(&mm, move |mm: &Harness| {
            let value = load(mm, space, 0);
            assert!(value == 0 || value == 7);
        });
        race([stores(&mm, space, 7), seen]);
        expect(&mm, &[(space, 7)]);
    });
}

/// Goal: a fork has each page as it was at one moment.
#[test]
fn fork_against_a_store() {
    holds("mm: fork against a store of the parent", UpTo(2), || {
        let (mm, parent) = harness(1);
        store(&mm, parent, 0, 1);
        let child = Arc::new(Outside::new(None));
        let fork = {
            let child = child.clone();
            part(&mm, move |mm: &Harness| {
                let no = mm.fork(parent).expect("no limit");
                child.with(|child| *child = Some(no));
            })
        };
        race([fork, stores(&mm, parent, 2)]);
        let child = child.with(|child| child.expect("forked"));
        let value = load(&mm, child, 0);
        assert!(value == 1 || value == 2);
        expect(&mm, &[(parent, 2), (child, value)]);
    });
}

/// Goal: the parent's store displaces the bytes, the child's load migrates them; both want the same
/// place.
#[test]
fn parent_stores_child_loads() {
    holds(
        "mm: store of the parent against the first load of the fork",
        UpTo(2),
        || {
            let (mm, parent, child) = family(1);
            race([stores(&mm, parent, 2), loads(&mm, child, 1)]);
            expect(&mm, &[(parent, 2), (child, 1)]);
        },
    );
}

/// Goal: two spaces leave a shared path at once; nobody loses a page, and the last frees the old
/// tables.
#[test]
fn both_store() {
    for levels in [1, 2] {
        let title = format!("mm: stores of parent and fork, {levels} level(s)");
        holds(&title, UpTo(2), move || {
            let (mm, parent, child) = family(levels);
            race([stores(&mm, parent, 2), stores(&mm, child, 3)]);
            expect(&mm, &[(parent, 2), (child, 3)]);
        });
    }
}

/// Goal: a space that goes gives its exported pages to those who share them.
#[test]
fn parent_goes_child_runs() {
    for (what, value) in [("load", 1), ("store", 3)] {
        let title = format!("mm: drop of the parent against a {what} of the fork");
        holds(&title, UpTo(2), move || {
            let (mm, parent, child) = family(1);
            let goes = part(&mm, move |mm: &Harness| mm.drop_space(parent).expect("it lives"));
            let runs = match value {
                1 => loads(&mm, child, 1),
                _ => stores(&mm, child, value),
            };
            race([goes, runs]);
            expect(&mm, &[(child, value)]);
        });
    }
}

/// Goal: two sharers go at once: everything goes once.
#[test]
fn both_go() {
    holds("mm: drop of parent and fork", UpTo(2), || {
        let (mm, parent, child) = family(2);
        let goes = |space| part(&mm, move |mm: &Harness| mm.drop_space(space).expect("it lives"));
        race([goes(parent), goes(child)]);
        expect(&mm, &[]);
    });
}

/// Goal: a space number used after its drop is refused, even while the place is taken again.
#[test]
fn an_old_space_number_is_refused() {
    let title = "mm: drop and create against users of the old number";
    holds(title, UpTo(2), || {
        let (mm, space) = harness(1);
        store(&mm, space, 0, 1);
        let renew = part(&mm, move |mm: &Harness| {
            mm.drop_space(space).expect("it lives");
            assert_eq!(create(mm, 1), space, "the place is taken again");
        });
        let old = part(&mm, move |mm: &Harness| {
            let _ = mm.evict(space, all());
            // Any look at the place, interrupted.
            let held = mm.spaces.get(space.0).lock();
            thread::yield_now();
            drop(held);
        });
        race([renew, old]);
        check(&mm);
    });
}

/// A space and its fork, which share a page that stands in the pool and is in nobody's window.
fn sharers() -> (Arc<Harness>, SpaceNo, SpaceNo, FrameNo) {
    let (mm, parent, child) = family(1);
    assert_eq!(load(&mm, child, 0), 1);
    let tree = mm.lock_space(child).expect("it lives").tree.root;
    let leaf = tree.expect("it has a page");
    let LeafEntry::Frame(no) = mm.tables.entry(leaf, PageNo(0)) else {
        panic!("the page is in memory")
    };
    // Nobody used it lately.
    let _ = mm.frames.at(no).test_and_clear_referenced();
    mm.host().drop_pages(child, all());
    (mm, parent, child, no)
}

/// The space leaves its shared tables.
fn splits(mm: &Arc<Harness>, space: SpaceNo) -> Part {
    part(mm, move |mm: &Harness| {
        let mut st = mm.lock_space(space).expect("it lives");
        let own = OwnPath::take(mm, &mut st, PageNo(1), Need::Normal).map(|path| path.keep());
        assert!(own.is_ok(), "no limit");
    })
}

/// Goal: the reverse map is climbed while spaces leave shared tables: the climb finds nobody else's
/// domain, or that it has to be asked again. Method: three threads.
#[test]
fn a_climb_finds_a_domain() {
    let title = "mm: parent and fork leave a table against a climb from it";
    holds(title, UpTo(2), || {
        let (mm, parent, child, no) = sharers();
        let climbs = part(&mm, move |mm: &Harness| {
            let found = domain_of(mm, &mm.frames.lock(no));
            assert!(matches!(found, Ok(DOMAIN) | Err(Stop::Retry)), "{found:?}");
        });
        race([climbs, splits(&mm, parent), splits(&mm, child)]);
        expect(&mm, &[(parent, 1), (child, 1)]);
    });
}

/// Goal: the same, and the page goes to the store under its own domain. Method: the store asserts
/// the domain that eviction found by climbing.
#[test]
fn a_climb_meets_two_splits() {
    let title = "mm: stores of parent and fork against evict of what they share";
    holds(title, UpTo(2), || {
        let (mm, parent, child, _) = sharers();
        let evicts = part(&mm, |mm: &Harness| {
            let _ = crate::reclaim::round::Reclaim::new(mm).evict_next();
        });
        race([splits(&mm, parent), splits(&mm, child), evicts]);
        expect(&mm, &[(parent, 1), (child, 1)]);
    });
}
