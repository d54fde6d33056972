//! Race models of the mapping word: the race that memfold was born from.
//!
//! Goal: whoever loads the word, with or without the frame lock, sees one owner, whole, and what
//! was published with it. Method: each leaf that an owner can name has plain data (its chain of
//! mappers) and a kind under which it may be walked; a writer moves the owner in the right way or in one of
//! the historic ways, a walker decodes it. Every interleaving is explored.

use super::*;
use crate::addr::{FrameNo, PoolPage};
use crate::frame::{Frame, Locked, Residence};
use crate::table::TableNo;
use memfold_sync::Arc;
use memfold_sync::model::Preemptions::{All, UpTo};
use memfold_sync::model::{caught, holds, part, race};

/// The leaf that shares the frame, and the leaf that takes it over.
const SHARER: u32 = 1;
const TAKER: u32 = 2;

fn leaf(no: u32) -> LeafSlot {
    LeafSlot {
        leaf: TableNo(no),
        slot: 3,
    }
}

/// How the owner is moved.
#[derive(Clone, Copy)]
enum Store {
    /// Two stores, untagged, then tagged: what a compiler may make of a plain one.
    Split,
    /// One store that publishes nothing.
    Relaxed,
    /// The rule.
    Release,
}

/// How the word is read.
#[derive(Clone, Copy)]
enum Load {
    /// Kind and leaf from two loads.
    Twice,
    /// The rule: one load, decoded once.
    Once,
}

struct Scene {
    frame: Frame,
    chains: [Witness; 3],
}

impl Scene {
    fn new() -> Arc<Self> {
        let scene = Self {
            frame: Frame::new(),
            chains: [Witness::new(), Witness::new(), Witness::new()],
        };
        scene.chains[SHARER as usize].write();
        scene.frame.word.set(Owner::Shared(leaf(SHARER)));
        Arc::new(scene)
    }

    /// The write fault takes the frame over (Linux: `page_move_anon_rmap`).
    fn move_owner(&self, how: Store) {
        self.chains[TAKER as usize].write();
        let owner = Owner::Exclusive(leaf(TAKER));
        let word = encode(Snapshot { owner, generation: 0 });
        let raw = &self.frame.word.word;
        match how {
            Store::Split => {
                // Release: the defect is the half, not the ordering.
                raw.store(word & !KIND_MASK, Ordering::Release);
                // Release: as above.
                raw.store(word, Ordering::Release);
            }
            // Relaxed: the defect.
            Store::Relaxed => raw.store(word, Ordering::Relaxed),
            Store::Release => self.frame.word.set(owner),
        }
    }

    /// Whether the frame was used? (Linux: `page_referenced`, without `trylock_page`.)
    fn walk(&self, how: Load) {
        let seen = match how {
            Load::Once => self.frame.word.load(),
            Load::Twice => {
                let kind = self.frame.word.load().owner;
                let (Owner::Exclusive(at) | Owner::Shared(at)) = self.frame.word.load().owner else {
                    return;
                };
                let owner = match kind {
                    Owner::Exclusive(_) => Owner::Exclusive(at),
                    _ => Owner::Shared(at),
                };
                Snapshot { owner, generation: 0 }
            }
        };
        match seen.owner {
            Owner::Exclusive(at) => assert_eq!(at.leaf.0, TAKER, "walked a sharer as a sole owner"),
            Owner::Shared(at) => assert_eq!(at.leaf.0, SHARER, "walked a sole owner as a sharer"),
            Owner::Nobody => panic!("the frame has an owner at all times"),
        }
        let (Owner::Exclusive(at) | Owner::Shared(at)) = seen.owner else {
            return;
        };
        self.chains[at.leaf.0 as usize].read();
    }
}

fn seed(store: Store, load: Load) -> impl Fn() {
    move || {
        let scene = Scene::new();
        let fault = part(&scene, move |scene: &Scene| scene.move_owner(store));
        let walker = part(&scene, move |scene: &Scene| scene.walk(load));
        race([fault, walker]);
        assert_eq!(
            scene.frame.word.load().owner,
            Owner::Exclusive(leaf(TAKER)),
            "the move was lost"
        );
    }
}

/// Goal: the seed. Method: one owner move against one walker without the frame lock.
#[test]
fn seed_is_one_store_and_one_load() {
    holds(
        "word: seed, owner move against a lockless walker",
        All,
        seed(Store::Release, Load::Once),
    );
    caught(
        "word: seed, split store",
        All,
        "torn mapping word",
        seed(Store::Split, Load::Once),
    );
    caught(
        "word: seed, relaxed store",
        All,
        "Causality violation",
        seed(Store::Relaxed, Load::Once),
    );
    caught(
        "word: seed, kind and leaf loaded apart",
        All,
        "walked a sole owner as a sharer",
        seed(Store::Release, Load::Twice),
    );
}

/// The owner's chain is not only published but changed again and again: two movers, and a walker that takes
/// the frame lock if `locked`.
fn chains_change(locked: bool) -> impl Fn() {
    move || {
        let scene = Scene::new();
        let mover = |to: LeafSlot| {
            part(&scene, move |scene: &Scene| {
                let held = Locked::wait(FrameNo(1), &scene.frame);
                scene.chains.iter().for_each(Witness::write);
                held.frame.word.set(Owner::Shared(to));
            })
        };
        let walker = part(&scene, move |scene: &Scene| {
            let held = locked.then(|| Locked::attempt(FrameNo(1), &scene.frame));
            // A frame whose lock is taken counts as used: no walk.
            let walk = !matches!(held, Some(None));
            if let (true, Owner::Shared(at)) = (walk, scene.frame.word.load().owner) {
                scene.chains[at.leaf.0 as usize].read();
            }
        });
        race([mover(leaf(TAKER)), mover(leaf(SHARER)), walker]);
    }
}

/// Goal: walks hold the frame lock, because chains change. Method: the same walk with and without it.
#[test]
fn walks_hold_the_frame_lock() {
    holds(
        "word: two owner moves against a locked walker",
        UpTo(3),
        chains_change(true),
    );
    caught(
        "word: the same, lockless",
        All,
        "Causality violation",
        chains_change(false),
    );
}

/// Goal: a reader without the lock sees a living owner or nobody, and generations only grow. Method:
/// the head leaves the chain, then the frame retires and is used again, against two loads.
#[test]
fn unmap_and_retire_show_whole_owners() {
    holds("word: unmap, retire and reuse against two loads", All, || {
        let scene = Scene::new();
        let writer = part(&scene, |scene: &Scene| {
            let held = Locked::wait(FrameNo(1), &scene.frame);
            held.frame.word.set(Owner::Shared(leaf(TAKER)));
            held.frame.word.retire();
            held.frame.word.set(Owner::Exclusive(leaf(SHARER)));
        });
        race([
            writer,
            part(&scene, |scene: &Scene| load_twice(&scene.frame.word)),
        ]);
    });
}

fn load_twice(word: &MappingWord) {
    let (first, second) = (word.load(), word.load());
    assert!(first.generation <= second.generation, "generations went back");
    for seen in [first, second] {
        let legal = match seen.owner {
            Owner::Shared(_) => seen.generation == 0,
            Owner::Nobody => seen.generation == 1,
            Owner::Exclusive(at) => seen.generation == 1 && at == leaf(SHARER),
        };
        assert!(legal, "{seen:?} was never written");
    }
}

/// What a holder of an old number compares before it goes on.
#[derive(Clone, Copy)]
enum Compare {
    /// The owner alone: the same slot may have got the same frame again.
    Owner,
    /// The rule: the whole snapshot.
    Snapshot,
}

fn reuse(compare: Compare) -> impl Fn() {
    move || {
        let scene = Scene::new();
        let before = scene.frame.word.load();
        let reuser = part(&scene, |scene: &Scene| {
            Locked::wait(FrameNo(1), &scene.frame).frame.word.retire();
            let mut held = Locked::wait(FrameNo(1), &scene.frame);
            held.residence = Residence::Loose(PoolPage(9));
            held.frame.word.set(Owner::Shared(leaf(SHARER)));
        });
        let follower = part(&scene, move |scene: &Scene| {
            let held = Locked::wait(FrameNo(1), &scene.frame);
            let now = held.frame.word.load();
            let same = match compare {
                Compare::Owner => now.owner == before.owner,
                Compare::Snapshot => now == before,
            };
            let first_use = held.residence == Residence::Nowhere;
            assert!(
                !same || first_use,
                "followed a number into another use of its frame"
            );
        });
        race([reuser, follower]);
    }
}

/// Goal: a stale frame number is noticed after reuse. Method: retire and reuse for the very same slot.
#[test]
fn a_stale_number_is_noticed() {
    holds(
        "word: stale number, whole snapshot compared",
        All,
        reuse(Compare::Snapshot),
    );
    caught(
        "word: stale number, owner alone compared",
        All,
        "another use of its frame",
        reuse(Compare::Owner),
    );
}
