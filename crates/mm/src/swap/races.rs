//! Race models of swap slots: counting, caching, reuse.
//!
//! Goal: bytes are freed once, when neither an entry nor a frame names them, and nobody reads them
//! afterwards. Method: a store of a few shelves, each with plain data that is read by `get` and
//! written by `put` and `free`; two threads at the same slot.

use super::*;
use crate::addr::{PAGE_SIZE, PageBytes};
use crate::budget::{Need, UNLIMITED};
use crate::host::{Cost, Domain, Ledger, StoreError, StoreStats};
#[cfg(test)]
use memfold_sync::model::holds;
use memfold_sync::model::{Outside, Preemptions::All, Rule, part, race};
use memfold_sync::{Arc, Witness, trace};
use std::num::NonZeroU64;

const SHELVES: usize = 4;

/// What a heap was used for; none is used twice, so that no lock of the store orders anything.
#[derive(Clone, Copy, Default, PartialEq)]
enum Heap {
    #[default]
    New,
    Used,
    Freed,
}

/// A store that counts what is on its shelves.
struct Shelves {
    bytes: [Witness; SHELVES],
    shelves: Outside<[Heap; SHELVES]>,
}

impl Shelves {
    fn new() -> Self {
        Self {
            bytes: std::array::from_fn(|_| Witness::new()),
            shelves: Outside::default(),
        }
    }

    fn used(&self) -> usize {
        let count = |shelves: &mut [Heap; SHELVES]| shelves.iter().filter(|&&s| s == Heap::Used).count();
        self.shelves.with(count)
    }
}

impl Store for Shelves {
    fn put(&self, _: Domain, _: &PageBytes, _: Option<Stored>, _: &dyn Ledger) -> Result<Stored, StoreError> {
        let at = self.shelves.with(|shelves| {
            let at = shelves.iter().position(|&s| s == Heap::New);
            let at = at.ok_or(StoreError::Full)?;
            shelves[at] = Heap::Used;
            Ok(at)
        })?;
        self.bytes[at].write();
        Ok(Stored(NonZeroU64::new(at as u64 + 1).expect("not 0")))
    }

    fn get(&self, id: Stored, _: &mut PageBytes) -> Result<(), StoreError> {
        let at = id.0.get() as usize - 1;
        self.shelves
            .with(|shelves| assert!(shelves[at] == Heap::Used, "read bytes that were freed"));
        self.bytes[at].read();
        Ok(())
    }

    fn free(&self, id: Stored, _: &dyn Ledger) {
        let at = id.0.get() as usize - 1;
        self.bytes[at].write();
        self.shelves.with(|shelves| {
            let before = std::mem::replace(&mut shelves[at], Heap::Freed);
            assert!(before == Heap::Used, "freed bytes twice");
        });
    }

    fn cost(&self, _: Stored) -> Cost {
        Cost::default()
    }

    fn stats(&self) -> StoreStats {
        StoreStats::default()
    }
}

struct Scene {
    swap: Swap,
    store: Shelves,
    budget: Budget,
    slot: SwapRef,
}

impl Scene {
    /// One slot that `count` entries name.
    fn new(count: u32) -> Arc<Self> {
        let (swap, store, budget) = (Swap::new(3), Shelves::new(), Budget::new(UNLIMITED));
        let slot = Self::fill(&swap, &store, &budget, count);
        let scene = Arc::new(Self {
            swap,
            store,
            budget,
            slot,
        });
        trace::call(&scene.store.bytes[0], "the stored bytes");
        scene
    }

    fn fill(swap: &Swap, store: &Shelves, budget: &Budget, count: u32) -> SwapRef {
        let slot = swap.alloc(budget).expect("there is room");
        let bytes = [0; PAGE_SIZE];
        let stored = store
            .put(Domain(0), &bytes, None, &budget.ledger(Need::Reclaim))
            .expect("there is room");
        swap.fill(slot, Bytes::Stored(stored), count, 0, false);
        slot
    }

    fn put(&self) {
        self.swap.put(self.slot, &self.store, &self.budget);
    }

    fn read(&self, bytes: Bytes) {
        let mut out = [0; PAGE_SIZE];
        bytes.get(&self.store, &mut out).expect("the bytes are there");
    }
}

/// How bytes are read by who holds no entry of its own.
#[derive(Clone, Copy)]
enum Hold {
    /// Looks and reads.
    Nothing,
    /// The rule: counts itself first.
    Dup,
}

fn read_against_last_put(hold: Hold) -> impl Fn() {
    move || {
        let scene = Scene::new(1);
        let reader = part(&scene, move |s: &Scene| {
            let Some(seen) = s.swap.look(s.slot) else { return };
            match hold {
                Hold::Nothing => s.read(seen.bytes),
                Hold::Dup if s.swap.dup(s.slot) => {
                    s.read(seen.bytes);
                    s.put();
                }
                Hold::Dup => (),
            }
        });
        race([
            reader.called("reads the stored bytes"),
            part(&scene, Scene::put).called("the last entry goes"),
        ]);
        assert_eq!(scene.store.used(), 0, "bytes were left behind");
        assert!(!scene.swap.dup(scene.slot), "a free slot was counted");
    }
}

/// Who reads stored bytes is counted on their slot first.
pub(crate) fn count_rule() -> Rule {
    let title = "swap: dup and read against the last put";
    Rule::new(title, All, read_against_last_put(Hold::Dup)).defect(
        ["read-uncounted", "swap: stored bytes are read by one who is not counted"],
        "The slot was in use when the reader looked, but nobody counts the reader. The last entry goes, and takes the \
         bytes along that are being read.",
        "",
        read_against_last_put(Hold::Nothing),
    )
}

/// Goal: bytes stay while somebody counts on them. Method: a reader against the last entry's put.
#[test]
fn bytes_stay_while_counted() {
    count_rule().prove();
}

/// Goal: the cache keeps the bytes, or comes too late. Method: a frame caches the slot, reads and
/// lets go, against the last put.
#[test]
fn a_cache_keeps_the_bytes() {
    holds("swap: cache, read and drop against the last put", All, || {
        let scene = Scene::new(1);
        let bringer = part(&scene, |s: &Scene| {
            let Some(seen) = s.swap.look(s.slot) else { return };
            if s.swap.cache(s.slot, FrameNo(7)) {
                s.read(seen.bytes);
                s.swap.drop_cache(s.slot, &s.store, &s.budget);
            }
        });
        race([bringer, part(&scene, Scene::put)]);
        assert_eq!(scene.store.used(), 0, "bytes were left behind");
    });
}

/// Goal: R23, one of two threads brings a page in. Method: both try to cache it with a frame of
/// their own.
#[test]
fn one_frame_caches_a_slot() {
    holds("swap: two threads bring one slot in", All, || {
        let scene = Scene::new(2);
        let won = Arc::new(Outside::new(Vec::new()));
        let bring = |frame: u32| {
            let won = won.clone();
            part(&scene, move |s: &Scene| {
                if s.swap.cache(s.slot, FrameNo(frame)) {
                    won.with(|won| won.push(FrameNo(frame)));
                }
                s.put();
            })
        };
        race([bring(7), bring(8)]);
        let says = scene.swap.look(scene.slot).expect("a frame caches the slot");
        won.with(|won| assert_eq!(*won, [says.frame.expect("one came first")]));
        assert_eq!((says.count, scene.store.used()), (0, 1));
    });
}

/// Goal: an evicted cache hands its mappers over. Method: `uncache` for two entries against the put
/// of a third.
#[test]
fn uncache_hands_the_mappers_over() {
    holds("swap: uncache against put", All, || {
        let scene = Scene::new(1);
        assert!(scene.swap.cache(scene.slot, FrameNo(7)));
        let evict = part(&scene, |s: &Scene| {
            s.swap.uncache(s.slot, 2, 1);
            s.put();
        });
        race([evict, part(&scene, Scene::put)]);
        assert_eq!(scene.store.used(), 1, "one entry names the slot");
        scene.put();
        assert_eq!(scene.store.used(), 0);
    });
}

/// Goal: R24, an entry of an earlier use does not count on a later one. Method: put, reuse for
/// other bytes, against `dup`.
#[test]
fn reuse_is_noticed() {
    holds("swap: dup against free and reuse", All, || {
        let scene = Scene::new(1);
        let again = Arc::new(Outside::new(None));
        let reuse = {
            let again = again.clone();
            part(&scene, move |s: &Scene| {
                s.put();
                let slot = Scene::fill(&s.swap, &s.store, &s.budget, 1);
                again.with(|again| *again = Some(slot));
            })
        };
        let copier = part(&scene, |s: &Scene| {
            if s.swap.dup(s.slot) {
                s.put();
            }
        });
        race([reuse, copier]);
        let slot = again.with(|again| again.take()).expect("filled");
        let says = scene.swap.look(slot).expect("in use");
        assert_eq!(says.count, 1, "an old entry was counted on a new use");
        assert_eq!(scene.store.used(), 1);
    });
}
