//! The check itself: it is silent about a sound harness, and names each invariant that is broken.
//!
//! Method of the second: one fresh harness for each, in which one thing is made wrong behind the
//! manager's back.

use super::*;
use crate::FaultError;
use crate::addr::{PageNo, PoolPage};
use crate::backing::Insertion;
use crate::budget::{Class, Need};
use crate::mm::alloc_frame;
use crate::reclaim::tests::isolate;
use crate::rig::{Harness, frame_at, harness, read, run, space, write};
use crate::table::slot_of;

/// A space with pages in all states, pinned ones among them, its fork, and the frame of page 0.
fn rich() -> (Harness, [SpaceNo; 2], FrameNo) {
    let mm = harness();
    let a = space(&mm, 600);
    write(&mm, a, 0..12, 5);
    write(&mm, a, 300..303, 6);
    mm.evict(a, run(8, 3)).expect("it lives");
    let b = mm.fork(a).expect("room");
    read(&mm, b, 1);
    write(&mm, b, 2..4, 7);
    write(&mm, b, 20..22, 7);
    mm.pin(a, run(5, 2)).expect("room");
    mm.pin(a, run(5, 1)).expect("room");
    let frame = frame_of(&mm, a, 0);
    (mm, [a, b], frame)
}

fn frame_of(mm: &Harness, space: SpaceNo, page: u32) -> FrameNo {
    frame_at(mm, space, page).expect("it is in memory")
}

fn leaf_of(mm: &Harness, space: SpaceNo, page: u32) -> LeafSlot {
    let st = mm.lock_space(space).expect("it lives");
    LeafSlot {
        leaf: mm
            .tables
            .lookup(&st.tree, PageNo(page))
            .leaf()
            .expect("it was written"),
        slot: slot_of(PageNo(page), 0),
    }
}

fn slot_at(mm: &Harness, space: SpaceNo, page: u32) -> SwapRef {
    let at = leaf_of(mm, space, page);
    match mm.tables.at(at.leaf).slot(at.slot).entry.leaf() {
        LeafEntry::Swapped(slot) => slot,
        other => panic!("page {page} is {other:?}"),
    }
}

/// Makes one thing wrong in a fresh harness, and demands that the check names `invariant`.
fn broken(invariant: &str, step: impl FnOnce(&Harness, [SpaceNo; 2], FrameNo)) {
    let (mm, spaces, frame) = rich();
    step(&mm, spaces, frame);
    let names: Vec<_> = check(&mm)
        .err()
        .into_iter()
        .flatten()
        .map(|v| v.invariant)
        .collect();
    assert!(
        names.contains(&invariant),
        "{invariant:?} is broken, found: {names:?}"
    );
}

/// Goal: no false alarm, whatever states pages are in.
#[test]
fn a_sound_world_is_sound() {
    let (mm, [a, b], _) = rich();
    assert_eq!(check(&mm), Ok(()));
    mm.unpin(a, run(5, 1));
    assert_eq!(check(&mm), Ok(()));
    mm.evict(b, run(0, 600)).expect("it lives");
    assert_eq!(check(&mm), Ok(()));
    mm.drop_space(a).expect("room in the pool");
    assert_eq!(check(&mm), Ok(()));
    mm.drop_space(b).expect("nobody shares");
    assert_eq!(check(&mm), Ok(()));
    let usage = mm.usage();
    assert_eq!((usage.private, usage.pool, usage.stored), (0, 0, 0));
}

/// The topmost table of a space.
fn root(mm: &Harness, space: SpaceNo) -> TableNo {
    let tree = &mm.lock_space(space).expect("it lives").tree;
    tree.root.expect("it was written")
}

/// Goal: tables and their parents.
#[test]
fn tables() {
    broken("table refs = parents", |mm, [a, _], _| {
        mm.tables.at(root(mm, a)).add_ref();
    });
    broken("leaf to spaces is exact", |mm, [a, _], _| {
        mm.tables.at(root(mm, a)).lock().head = 0;
    });
}

/// Goal: a frame's counts and its reverse map.
#[test]
fn frames() {
    broken("maps = entries", |mm, _, frame| mm.frames.at(frame).count.map());
    broken("refs = maps + pins", |mm, _, frame| {
        assert!(mm.frames.at(frame).count.try_get())
    });
    broken("the reverse map is exact", |mm, [a, _], frame| {
        let LeafSlot { leaf, slot } = leaf_of(mm, a, 0);
        mm.frames
            .lock(frame)
            .set_owner(Owner::Shared(LeafSlot { leaf, slot: slot + 1 }));
    });
    broken(
        "all mappers of a frame stand for one page",
        |mm, [a, _], frame| {
            let leaf = leaf_of(mm, a, 0).leaf;
            mm.tables
                .at(leaf)
                .slot(15)
                .entry
                .set_leaf(LeafEntry::Frame(frame));
        },
    );
    broken("exclusive = one leaf of one space", |mm, [a, _], _| {
        // One leaf, which both spaces reach.
        let at = leaf_of(mm, a, 300);
        mm.frames
            .lock(frame_of(mm, a, 300))
            .set_owner(Owner::Exclusive(at));
    });
    broken("frame and slot name each other", |mm, [a, _], frame| {
        mm.frames.lock(frame).cached = Some(slot_at(mm, a, 9));
    });
}

/// Goal: where a frame's bytes are.
#[test]
fn residences() {
    broken("a private page's space maps it", |mm, _, frame| {
        mm.frames.lock(frame).residence = Residence::Private(SpaceNo(9));
    });
    broken("a frame stands at its place", |mm, [a, _], frame| {
        let backing = mm.lock_space(a).expect("it lives").backing;
        let mut locked = mm.frames.lock(frame);
        mm.backings.remove(backing, PageNo(0), frame);
        locked.residence = Residence::Backing(backing);
    });
    for pool in [
        Residence::Overflow(PoolPage(1)),
        Residence::Backing(crate::BackingNo(1)),
    ] {
        broken("a pool frame is shared", |mm, [_, b], _| {
            mm.frames.lock(frame_of(mm, b, 20)).residence = pool;
        });
    }
    broken("a mapped frame has bytes", |mm, _, frame| {
        mm.frames.lock(frame).residence = Residence::Nowhere;
    });
}

/// Goal: slots and the entries that name them.
#[test]
fn slots() {
    broken("slot count = entries", |mm, [a, _], _| {
        assert!(mm.swap.dup(slot_at(mm, a, 9)))
    });
    broken("slot and frame name each other", |mm, [a, _], frame| {
        assert!(mm.swap.cache(slot_at(mm, a, 9), frame));
    });
    broken("an entry names a slot in use", |mm, [a, _], _| {
        let (at, slot) = (leaf_of(mm, a, 9), slot_at(mm, a, 9));
        let stale = SwapRef {
            generation: slot.generation + 1,
            ..slot
        };
        mm.tables
            .at(at.leaf)
            .slot(at.slot)
            .entry
            .set_leaf(LeafEntry::Swapped(stale));
    });
}

/// Goal: the lists, the budget, what spaces count of themselves.
#[test]
fn sums() {
    broken("listed = mapped", |mm, _, frame| {
        let _ = isolate(mm, frame).expect("it is listed");
    });
    for (class, invariant) in [
        (Class::Private, "charged private = private pages"),
        (Class::Pool, "charged pool = pool pages"),
    ] {
        broken(invariant, |mm, _, _| {
            assert!(mm.budget.charge(class, PAGE, Need::Normal))
        });
    }
    broken("exported = shared frames in this window", |mm, [a, _], _| {
        mm.spaces.get(a.0).export()
    });
    broken("a pinned page has a pinned frame", |mm, [a, _], _| {
        *mm.lock_space(a)
            .expect("it lives")
            .pins
            .first_entry()
            .expect("pinned")
            .get_mut() += 1;
    });
    broken("a pinned page has a pinned frame", |mm, [a, _], _| {
        mm.lock_space(a).expect("it lives").pins = [(PageNo(599), 1)].into();
    });
    broken("a pinned page is its space's own", |mm, [a, _], _| {
        let at = leaf_of(mm, a, 5);
        let locked = mm.frames.lock(frame_of(mm, a, 5));
        locked.set_owner(Owner::Shared(at));
    });
    broken("a space's backing and domain are one thing", |mm, [a, _], _| {
        mm.lock_space(a).expect("it lives").domain = crate::host::Domain(77);
    });
}

/// Goal: what was given out and is not in use, of each kind (`check/leaks.rs`).
#[test]
fn leaks() {
    const LEAK: &str = "every number given out is in use";
    broken(LEAK, |mm, _, _| assert!(alloc_frame(mm, Need::Normal).is_ok()));
    broken(LEAK, |mm, _, _| assert!(mm.tables.alloc(|_| true).is_some()));
    broken(LEAK, |mm, _, _| assert!(mm.spaces.alloc(|_| true).is_some()));
    broken(LEAK, |mm, _, _| assert!(mm.swap.alloc(&mm.budget).is_some()));
    broken(LEAK, |mm, _, _| {
        assert_eq!(mm.backings.alloc_overflow().expect("memory").1, 1)
    });
    broken(LEAK, |mm, _, _| {
        assert!(
            mm.backings
                .create(1, crate::backing::Versions::Bases, |_| true)
                .is_some()
        )
    });
    broken("every stored page is named", |mm, _, _| {
        let stored = mm.store.put(
            crate::host::Domain(3),
            &[1; 4096],
            None,
            &mm.budget.ledger(crate::budget::Need::Reclaim),
        );
        assert!(stored.is_ok());
    });
    broken("charged tables = arrays and records", |mm, _, _| {
        assert!(mm.budget.charge(Class::Tables, 1, Need::Normal));
    });
}

/// Goal: backings and domains.
#[test]
fn backings() {
    broken("users of a backing = its spaces, or its file", |mm, [a, _], _| {
        mm.backings.join(mm.spaces.get(a.0).backing());
    });
    broken("who is recorded at a place stands there", |mm, [a, _], _| {
        let backing = mm.spaces.get(a.0).backing();
        assert_eq!(
            mm.backings.insert(backing, PageNo(50), FrameNo(1), |_| true),
            Insertion::Done
        );
    });
    broken("who is recorded at a place stands there", |mm, [a, _], frame| {
        // The frame is mapped, and lies elsewhere.
        let backing = mm.spaces.get(a.0).backing();
        assert_eq!(
            mm.backings.insert(backing, PageNo(50), frame, |_| true),
            Insertion::Done
        );
        mm.frames.lock(frame).residence = Residence::Overflow(PoolPage(0));
    });
    for place in [(7, 3), (1, 8)] {
        broken("no frame is shared across domains", |mm, [a, _], _| {
            let (backing, domain) = (crate::BackingNo(place.0), crate::host::Domain(place.1));
            mm.spaces.get(a.0).set_place(backing, domain);
        });
    }
}

/// Goal: a round of merging that is under way is no leak; records of backings, and their bases, are
/// counted.
#[test]
fn a_round_under_way_is_sound() {
    let (mm, [a, b], _) = rich();
    for no in [a, b] {
        mm.set_merging(no, crate::Merging::On).expect("it lives");
    }
    let step = mm.merge(1, crate::Effort::Everything);
    assert!(!step.round_over);
    assert_eq!(check(&mm), Ok(()));
    let tables = mm.usage().tables;
    while !mm.merge(1, crate::Effort::Everything).round_over {}
    assert_eq!(check(&mm), Ok(()));
    assert!(mm.usage().tables < tables, "what the round needed is given back");
}

/// Goal: an exported page to which its exporter can store is found, protected again, and a failure
/// of exactly those who map it. Method: the machine takes one protection away.
#[test]
fn exposed_frames() {
    broken("no window shows a shared frame writable", |mm, [a, _], _| {
        mm.host().lose_protection(a, PageNo(301));
    });
    let (mm, [a, b], _) = rich();
    let stranger = space(&mm, 4);
    write(&mm, stranger, 0..4, 1);
    assert_eq!(audit(&mm), 0);
    mm.host().lose_protection(a, PageNo(301));
    mm.host().lose_protection(stranger, PageNo(0));
    assert_eq!(audit(&mm), 1);
    assert_eq!(check(&mm), Ok(()), "protected again");
    for space in [a, b] {
        let expected = FaultError::Host {
            space,
            page: PageNo(301),
            source: crate::host::HostError::Unprotected,
        };
        assert_eq!(mm.take_failure(space), Some(expected));
    }
    assert_eq!(mm.take_failure(stranger), None, "its page is its own");
    assert_eq!(audit(&mm), 0);
}
