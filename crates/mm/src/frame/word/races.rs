//! Race models of the mapping word: the race that memfold was born from.
//!
//! Goal: whoever loads the word, with or without the frame lock, sees one owner, whole, and what
//! was published with it. Method: each leaf that an owner can name has plain data (its chain of
//! mappers) and a kind under which it may be walked; a writer moves the owner in the right way or
//! in one of the historic ways, a walker decodes it. Every interleaving is explored. `memfold
//! explain` tells the rules here and in the two files below.

pub(crate) mod reuse;
pub(crate) mod walks;

use super::*;
use crate::frame::Frame;
use crate::table::TableNo;
use memfold_sync::model::Preemptions::All;
use memfold_sync::model::{Rule, part, race};
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
