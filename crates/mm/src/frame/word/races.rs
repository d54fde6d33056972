//! Race models of the mapping word: the race that memfold was born from.
//!
//! Goal: whoever loads the word, with or without the frame lock, sees one owner, whole, and what
//! was published with it. Method: each leaf that an owner can name has plain data (its chain of
//! mappers) and a kind under which it may be walked; a writer moves the owner in the right way or
//! in one of the historic ways, a walker decodes it. Every interleaving is explored. `memfold
//! explain` tells the rules here.

use super::*;
use crate::addr::{FrameNo, PoolPage};
use crate::frame::{Frame, Locked, Residence};
use crate::table::TableNo;
use memfold_sync::model::Preemptions::{All, UpTo};
use memfold_sync::model::{Part, Rule, part, race};
use memfold_sync::{Arc, trace};

/// The leaf that shares the frame, and the leaf that takes it over.
const SHARER: u32 = 1;
const TAKER: u32 = 2;

fn leaf(no: u32) -> LeafSlot {
    LeafSlot {
        leaf: TableNo(no),
        slot: 3,
    }
}

/// A mapping word as the log of an execution shows it, legal or not.
fn show(word: u64) -> String {
    let leaf = match word & KIND_MASK {
        NOBODY if word >> 32 == 0 => "nobody".to_owned(),
        NOBODY => format!("leaf {}, of no kind", word >> 32),
        EXCLUSIVE => format!("leaf {} alone", word >> 32),
        FILE => format!("file {}", word >> 32),
        MERGED => format!("leaf {}, merged", word >> 32),
        _ => format!("leaf {}, shared", word >> 32),
    };
    match word >> 8 & GENERATION_MASK {
        0 => leaf,
        generation => format!("{leaf}, generation {generation}"),
    }
}

/// Names the word in the log of an execution.
pub(crate) fn name(word: &MappingWord) {
    trace::name(&word.word, "the mapping word", show);
    trace::call(&word.published, "what the word publishes");
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
        let scene = Arc::new(scene);
        name(&scene.frame.word);
        scene.frame.state.call("the frame lock");
        for (leaf, chain) in scene.chains.iter().enumerate() {
            trace::call(chain, &format!("the chain of leaf {leaf}"));
        }
        scene
    }

    /// The write fault takes the frame over (Linux: `page_move_anon_rmap`).
    fn move_owner(&self, how: Store) {
        trace::note("is the only user: takes the frame over for leaf 2");
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
                let Some(at) = self.frame.word.load().owner.head() else {
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
            Owner::Nobody | Owner::Merged(_) | Owner::File(_) => {
                panic!("a leaf owns the frame at all times")
            }
        }
        let Some(at) = seen.owner.head() else {
            return;
        };
        trace::note(&format!("walks the mappers from leaf {}", at.leaf.0));
        self.chains[at.leaf.0 as usize].read();
    }
}

fn seed(store: Store, load: Load) -> impl Fn() {
    move || {
        let scene = Scene::new();
        let fault = part(&scene, move |scene: &Scene| scene.move_owner(store));
        let walker = part(&scene, move |scene: &Scene| scene.walk(load));
        race([
            fault.called("write fault (do_wp_page)"),
            walker.called("walker (page_referenced)"),
        ]);
        assert_eq!(
            scene.frame.word.load().owner,
            Owner::Exclusive(leaf(TAKER)),
            "the move was lost"
        );
    }
}

/// The seed: one owner move against one walker without the frame lock.
pub(crate) fn seed_rule() -> Rule {
    let title = "word: seed, owner move against a lockless walker";
    Rule::new(title, All, seed(Store::Release, Load::Once))
        .defect(
            ["split-store", "word: the owner is moved by two stores"],
            "Between its two stores the word names a leaf, but not in which way it owns the frame. The walker \
             decides by that half. Linux took such a word for a file's address_space, and walked an anon_vma as \
             one; here the decoder refuses it.",
            "torn mapping word",
            seed(Store::Split, Load::Once),
        )
        .defect(
            ["relaxed-store", "word: the owner is moved by one store that publishes nothing"],
            "The walker sees the new owner, and decides to follow it. Nothing orders the word, written last, with \
             the owner's chain, written first: for the walker the chain may not be there yet.",
            "Causality violation",
            seed(Store::Relaxed, Load::Once),
        )
        .defect(
            ["two-loads", "word: kind and leaf are loaded apart"],
            "The walker has the kind from one load and the leaf from another, and the owner moved in between. It \
             walks a leaf that has the frame alone in the way that was made for sharers.",
            "walked a sole owner as a sharer",
            seed(Store::Release, Load::Twice),
        )
}

/// Goal: the seed. Method: the rule and its defects, each explored.
#[test]
fn seed_is_one_store_and_one_load() {
    seed_rule().prove();
}

/// The number of the file whose page the frame is at first, and of its list of areas.
const FILE_NO: u32 = SHARER;

impl Scene {
    /// Which walk it is to be (Linux: `rmap_walk`), with the frame unlocked.
    fn dispatch(&self, how: Load) {
        let seen = self.frame.word.load().owner;
        // Relaxed: the defect is the second load.
        let again = (self.frame.word.word.load(Ordering::Relaxed) >> 32) as u32;
        let owner = match (how, seen) {
            (Load::Twice, Owner::File(_)) => Owner::File(FileNo(again)),
            (Load::Twice, Owner::Exclusive(_)) => Owner::Exclusive(leaf(again)),
            _ => seen,
        };
        let (what, number) = match owner {
            Owner::File(file) => ("the areas of file", file.0),
            Owner::Exclusive(at) => ("the mappers from leaf", at.leaf.0),
            Owner::Nobody => return,
            Owner::Shared(_) | Owner::Merged(_) => panic!("{owner:?} was never written"),
        };
        trace::note(&format!("walks {what} {number}"));
        match owner {
            Owner::File(_) => assert_eq!(number, FILE_NO, "walked a leaf as a file"),
            _ => assert_eq!(number, TAKER, "walked a file as a leaf"),
        }
        self.chains[number as usize].read();
    }
}

/// A frame leaves its file, and becomes a space's own, against a walker that decides between the
/// walks.
fn walks(load: Load) -> impl Fn() {
    move || {
        let scene = Scene::new();
        Locked::wait(FrameNo(1), &scene.frame).set_owner(Owner::File(FileNo(FILE_NO)));
        let reuser = part(&scene, |scene: &Scene| {
            let mut held = Locked::wait(FrameNo(1), &scene.frame);
            trace::note("the page leaves its file");
            held.retire();
            scene.chains[TAKER as usize].write();
            trace::note("the frame is leaf 2's alone");
            held.set_owner(Owner::Exclusive(leaf(TAKER)));
        });
        let walker = part(&scene, move |scene: &Scene| scene.dispatch(load));
        race([
            reuser.called("eviction, then a fault"),
            walker.called("walker (rmap_walk)"),
        ]);
    }
}

/// The seed's choice between the walks: anonymous or of a file.
pub(crate) fn dispatch_rule() -> Rule {
    let title = "word: the walk is chosen by one decoded value";
    Rule::new(title, All, walks(Load::Once)).defect(
        ["file-and-leaf-apart", "word: kind and number are loaded apart"],
        "The walker has learned from one load that the frame is a file's, and takes the file's number from another. The          frame has left its file in between, and is a space's own: the number is a leaf's, and is walked as a file.",
        "walked a leaf as a file",
        walks(Load::Twice),
    )
}

/// Goal: no frame of a file is walked as an anonymous one, or the other way. Method: the rule and
/// its defect, each explored.
#[test]
fn the_walk_is_chosen_once() {
    dispatch_rule().prove();
}

/// Changes all chains, and the owner, under the frame lock.
fn mover(scene: &Arc<Scene>, to: LeafSlot) -> Part {
    part(scene, move |scene: &Scene| {
        let held = Locked::wait(FrameNo(1), &scene.frame);
        // By a closure: the log is to say this line.
        scene.chains.iter().for_each(|chain| chain.write());
        held.set_owner(Owner::Shared(to));
    })
}

/// Follows the owner, under the frame lock if `locked`.
fn walker(scene: &Arc<Scene>, locked: bool) -> Part {
    let walker = part(scene, move |scene: &Scene| {
        let held = locked.then(|| Locked::attempt(FrameNo(1), &scene.frame));
        // A frame whose lock is taken counts as used: no walk.
        let walk = !matches!(held, Some(None));
        if let (true, Owner::Shared(at)) = (walk, scene.frame.word.load().owner) {
            trace::note(&format!("walks the mappers from leaf {}", at.leaf.0));
            scene.chains[at.leaf.0 as usize].read();
        }
    });
    walker.called("walker (rmap_walk)")
}

/// The owner's chain is not only published but changed again and again.
fn chains_change() {
    let scene = Scene::new();
    race([
        mover(&scene, leaf(TAKER)),
        mover(&scene, leaf(SHARER)),
        walker(&scene, true),
    ]);
}

fn a_chain_changes() {
    let scene = Scene::new();
    race([
        mover(&scene, leaf(TAKER)).called("a mapper comes or goes"),
        walker(&scene, false),
    ]);
}

/// Walks hold the frame lock, because chains change.
pub(crate) fn walk_rule() -> Rule {
    let title = "word: two owner moves against a locked walker";
    Rule::new(title, UpTo(3), chains_change).defect(
        ["walk-without-lock", "word: the walker does not hold the frame lock"],
        "One load told the walker the truth about the owner, and it follows it without the frame lock. A mapper \
         changes the chain while it walks: the word was right, the walk is not.",
        "Causality violation",
        a_chain_changes,
    )
}

/// Goal: walks hold the frame lock, because chains change. Method: the same walk with and without
/// it.
#[test]
fn walks_hold_the_frame_lock() {
    walk_rule().prove();
}

/// Goal: a reader without the lock sees a living owner or nobody, and generations only grow.
/// Method: the head leaves the chain, then the frame retires and is used again, against two loads.
#[test]
fn unmap_and_retire_show_whole_owners() {
    memfold_sync::model::holds("word: unmap, retire and reuse against two loads", All, || {
        let scene = Scene::new();
        let writer = part(&scene, |scene: &Scene| {
            let mut held = Locked::wait(FrameNo(1), &scene.frame);
            held.set_owner(Owner::Shared(leaf(TAKER)));
            held.retire();
            held.set_owner(Owner::Exclusive(leaf(SHARER)));
        });
        race([
            writer,
            part(&scene, |scene: &Scene| load_twice(&scene.frame.word)),
        ]);
    });
}

#[cfg(test)]
fn load_twice(word: &MappingWord) {
    let (first, second) = (word.load(), word.load());
    assert!(first.generation <= second.generation, "generations went back");
    for seen in [first, second] {
        let legal = match seen.owner {
            Owner::Shared(_) => seen.generation == 0,
            Owner::Nobody => seen.generation == 1,
            Owner::Exclusive(at) => seen.generation == 1 && at == leaf(SHARER),
            Owner::Merged(_) | Owner::File(_) => false,
        };
        assert!(legal, "{seen:?} was never written");
    }
}

/// Goal: who sees that a use of the frame is over sees it emptied. Method: its chain is taken
/// apart, the frame retires, a reader without the lock looks at the chain when it sees the next
/// generation.
#[test]
fn a_retired_frame_is_seen_emptied() {
    memfold_sync::model::holds("word: retire against a load", All, || {
        let scene = Scene::new();
        let last = part(&scene, |scene: &Scene| {
            let mut held = Locked::wait(FrameNo(1), &scene.frame);
            scene.chains[SHARER as usize].write();
            held.retire();
        });
        let reader = part(&scene, |scene: &Scene| {
            if scene.frame.word.load().generation == 1 {
                scene.chains[SHARER as usize].read();
            }
        });
        race([last, reader]);
    });
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
            Locked::wait(FrameNo(1), &scene.frame).retire();
            let mut held = Locked::wait(FrameNo(1), &scene.frame);
            held.residence = Residence::Overflow(PoolPage(9));
            held.set_owner(Owner::Shared(leaf(SHARER)));
        });
        let follower = part(&scene, move |scene: &Scene| {
            let held = Locked::wait(FrameNo(1), &scene.frame);
            let now = held.frame.word.load();
            let same = match compare {
                Compare::Owner => now.owner == before.owner,
                Compare::Snapshot => now == before,
            };
            trace::note(match same {
                true => "finds what it remembers: goes on with this frame",
                false => "finds another: gives up",
            });
            let first_use = held.residence == Residence::Nowhere;
            assert!(
                !same || first_use,
                "followed a number into another use of its frame"
            );
        });
        race([
            reuser.called("frees the frame, uses it again"),
            follower.called("follows a number it kept"),
        ]);
    }
}

/// Who follows a frame's number compares the whole word with what it remembers, generation and all.
pub(crate) fn reuse_rule() -> Rule {
    let title = "word: stale number, the whole snapshot is compared";
    Rule::new(title, All, reuse(Compare::Snapshot)).defect(
        ["owner-without-recheck", "word: stale number, the owner alone is compared"],
        "The follower kept a frame's number, finds the owner that it remembers, and goes on. The frame was freed and \
         is used again, by the same slot of the same leaf: only its generation would have told.",
        "another use of its frame",
        reuse(Compare::Owner),
    )
}

/// Goal: a stale frame number is noticed after reuse. Method: retire and reuse for the very same
/// slot.
#[test]
fn a_stale_number_is_noticed() {
    reuse_rule().prove();
}
