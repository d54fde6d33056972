//! Slots: counts, the frame that caches them, and generations.

use super::*;
use crate::budget::{Need, UNLIMITED};
use crate::host::Domain;
use crate::rig::SimStore;

const FRAME: FrameNo = FrameNo(5);

struct Fixture {
    swap: Swap,
    store: SimStore,
    budget: Budget,
}

impl Fixture {
    fn new() -> Self {
        Self {
            swap: Swap::new(64),
            store: SimStore::priced(),
            budget: Budget::new(UNLIMITED),
        }
    }

    /// A slot that `count` entries name.
    fn filled(&self, count: u32) -> SwapRef {
        let slot = self.swap.alloc(&self.budget).expect("room");
        let stored = self
            .store
            .put(Domain(0), &[7; 4096], None, &self.budget.ledger(Need::Reclaim));
        self.swap
            .fill(slot, Bytes::Stored(stored.expect("room")), count, 3, false);
        slot
    }

    fn put(&self, slot: SwapRef) {
        self.swap.put(slot, &self.store, &self.budget);
    }

    fn stored(&self) -> u64 {
        self.store.stats().pages
    }
}

fn says(swap: &Swap, slot: SwapRef) -> Option<(u32, Option<FrameNo>, u32)> {
    swap.look(slot).map(|s| (s.count, s.frame, s.evicted_at))
}

/// Goal: the bytes live exactly as long as an entry names them, and the slot's next use has another
/// name.
#[test]
fn bytes_live_as_long_as_entries() {
    let f = Fixture::new();
    let slot = f.filled(2);
    assert_eq!(says(&f.swap, slot), Some((2, None, 3)));
    assert!(f.swap.dup(slot));
    f.put(slot);
    f.put(slot);
    assert_eq!((says(&f.swap, slot), f.stored()), (Some((1, None, 3)), 1));
    f.put(slot);
    assert_eq!((says(&f.swap, slot), f.stored()), (None, 0));
    assert!(!f.swap.dup(slot), "its use is over");
    let again = f.filled(1);
    assert_eq!((again.no, again.generation), (slot.no, slot.generation + 1));
    assert_eq!(says(&f.swap, slot), None);
    assert!(!f.swap.dup(slot), "another use of it is not this one");
    assert!(!f.swap.cache(slot, FRAME), "nor can it be cached");
    assert_eq!(says(&f.swap, again), Some((1, None, 3)));
}

/// Goal: a slot that was not filled holds nothing, refuses everything and is handed out again.
#[test]
fn a_cancelled_slot_is_free() {
    let f = Fixture::new();
    let slot = f.swap.alloc(&f.budget).expect("room");
    assert_eq!(says(&f.swap, slot), None);
    assert!(!f.swap.dup(slot) && !f.swap.cache(slot, FRAME));
    assert!(f.swap.in_use().is_empty());
    f.swap.cancel(slot);
    assert_eq!(f.swap.alloc(&f.budget), Some(slot));
}

/// Goal: one frame caches a slot, and keeps the bytes while no entry names them (R23).
#[test]
fn one_frame_caches_a_slot() {
    let f = Fixture::new();
    let slot = f.filled(1);
    assert!(f.swap.cache(slot, FRAME));
    assert!(!f.swap.cache(slot, FrameNo(6)));
    f.put(slot);
    assert_eq!(says(&f.swap, slot), Some((0, Some(FRAME), 3)));
    f.swap.uncache(slot, 4, 9);
    assert_eq!(says(&f.swap, slot), Some((4, None, 9)));
    assert!(f.swap.cache(slot, FRAME));
    f.swap.drop_cache(slot, &f.store, &f.budget);
    assert_eq!((says(&f.swap, slot), f.stored()), (Some((4, None, 9)), 1));
    assert!(f.swap.cache(slot, FRAME));
    (0..4).for_each(|_| f.put(slot));
    assert_eq!(f.stored(), 1);
    f.swap.drop_cache(slot, &f.store, &f.budget);
    assert_eq!((says(&f.swap, slot), f.stored()), (None, 0));
}

/// Goal: entries that name the slot when its frame is evicted again add to those that never left
/// it.
#[test]
fn evicted_again_adds_up() {
    let f = Fixture::new();
    let slot = f.filled(3);
    assert!(f.swap.cache(slot, FRAME));
    f.put(slot);
    f.swap.uncache(slot, 5, 4);
    assert_eq!(says(&f.swap, slot), Some((7, None, 4)));
}

/// Goal: the list of slots in use is what it says.
#[test]
fn slots_in_use_are_listed() {
    let f = Fixture::new();
    let slots = [f.filled(1), f.filled(2), f.filled(3)];
    f.put(slots[0]);
    let listed: Vec<_> = f
        .swap
        .in_use()
        .into_iter()
        .map(|(slot, s)| (slot, s.count))
        .collect();
    assert_eq!(listed, [(slots[1], 2), (slots[2], 3)]);
}

/// Goal: what the table of slots holds from the start is charged at the start.
#[test]
fn the_table_is_counted() {
    assert_eq!(Swap::new(64).base_bytes(), Slots::new(64, || ()).base_bytes());
    assert!(Swap::new(1 << 24).base_bytes() > Swap::new(64).base_bytes());
}
