//! Swap slots: what stands in a leaf table where a page's bytes are in the store.
//!
//! A slot counts the entries that name it, holds the store's name for the bytes and, when the bytes
//! were brought back for all sharers, the frame that caches them (Linux: the swap cache, the one
//! gate between a store and a table). It is freed when no entry names it and no frame caches it.
//! All of it is under the slot's lock, which is taken after a frame lock, never before. A slot's
//! generation is part of the entry, so that an entry copied from a table that changed meanwhile is
//! noticed.

use crate::addr::{FrameNo, PageBytes};
use crate::budget::{Budget, Need};
use crate::host::{Cost, Ledger, Store, StoreError, Stored};
use memfold_sync::atomic::{AtomicU32, Ordering};
use memfold_sync::{Giving, Mutex, Rank, Slots};

/// Names a use of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SwapRef {
    /// The slot.
    pub no: u32,
    /// Which use of it (modulo 2^24).
    pub generation: u32,
}

/// What there is of a page that is not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// The store has them.
    Stored(Stored),
    /// Nothing: another space needed the room (`loans.rs`).
    CalledIn,
}

impl Bytes {
    /// Gives them back; they stay where they are.
    ///
    /// # Errors
    /// As the store says; `out` is then unspecified.
    pub fn get<S: Store>(self, store: &S, out: &mut PageBytes) -> Result<(), StoreError> {
        match self {
            Self::Stored(stored) => store.get(stored, out),
            Self::CalledIn => Err(StoreError::CalledIn),
        }
    }

    /// What keeping them costs.
    pub fn cost<S: Store>(self, store: &S) -> Cost {
        match self {
            Self::Stored(stored) => store.cost(stored),
            Self::CalledIn => Cost::default(),
        }
    }

    /// Nobody needs them any more.
    pub fn free<S: Store>(self, store: &S, ledger: &dyn Ledger) {
        if let Self::Stored(stored) = self {
            store.free(stored, ledger);
        }
    }
}

/// Under the slot's lock.
#[derive(Debug)]
pub struct SwapState {
    generation: u32,
    /// Entries that name the slot.
    pub count: u32,
    /// The bytes, of a slot in use.
    pub bytes: Option<Bytes>,
    /// The frame that holds the same bytes for all to share.
    pub frame: Option<FrameNo>,
    /// The eviction clock when the bytes were put there (Linux: the shadow).
    pub evicted_at: u32,
    /// Whether the store holds as much as a page for the bytes, or may come to: [`Swap::whole`].
    whole: bool,
}

/// One slot.
#[derive(Debug)]
pub struct SwapSlot(Mutex<SwapState>);

impl SwapSlot {
    /// A free slot.
    #[must_use]
    pub fn new() -> Self {
        let state = SwapState {
            generation: 0,
            count: 0,
            bytes: None,
            frame: None,
            evicted_at: 0,
            whole: false,
        };
        Self(Mutex::new(Rank::SwapSlot, state))
    }
}

impl Default for SwapSlot {
    fn default() -> Self {
        Self::new()
    }
}

/// What a live slot says.
#[derive(Clone, Copy, Debug)]
pub struct Swapped {
    /// Entries that name it.
    pub count: u32,
    /// The bytes.
    pub bytes: Bytes,
    /// The frame that caches them.
    pub frame: Option<FrameNo>,
    /// The eviction clock when they were put there.
    pub evicted_at: u32,
}

/// All slots.
#[derive(Debug)]
pub struct Swap {
    slots: Slots<SwapSlot>,
    /// Slots in use for whose bytes the store holds as much as a page: a number on its own.
    whole: AtomicU32,
}

impl Swap {
    /// Bytes by which the array of slots grows at a time.
    pub(crate) const GROWTH_BYTES: u64 = Slots::<SwapSlot>::chunk_bytes();
    /// What one slot costs, in bytes.
    pub(crate) const SLOT_BYTES: u64 = Slots::<SwapSlot>::item_bytes();

    /// No slot in use, `capacity` at most.
    #[must_use]
    pub fn new(capacity: u32) -> Self {
        Self {
            slots: Slots::new(capacity, SwapSlot::new),
            whole: AtomicU32::new(0),
        }
    }

    pub(crate) fn base_bytes(&self) -> u64 {
        self.slots.base_bytes()
    }

    pub(crate) fn has_spare(&self, giving: Giving) -> bool {
        self.slots.has_spare(giving, 0)
    }

    pub(crate) fn give_back(&mut self, most: u32, giving: Giving) -> u64 {
        self.slots.give_back(most, giving, 0)
    }

    /// Slots that are given out.
    pub(crate) fn used(&self) -> u32 {
        self.slots.used()
    }

    /// Slots whose pages need no room to come back but a frame, since the store holds as much for
    /// them.
    pub(crate) fn whole(&self) -> u32 {
        // Relaxed: who counts on a frame that is kept has put the page there, or sees its entry.
        self.whole.load(Ordering::Relaxed)
    }

    /// Bytes of the array of slots.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.slots.held_bytes()
    }

    /// A free slot, for reclaim; `None` when there is no room for more slots. Nothing names it
    /// until `fill`; `cancel` gives it back.
    #[must_use]
    pub fn alloc(&self, budget: &Budget) -> Option<SwapRef> {
        let no = budget.take(&self.slots, Need::Reclaim)?;
        let generation = self.slots.get(no).0.lock().generation;
        Some(SwapRef { no, generation })
    }

    /// Gives back a slot that was not filled.
    pub fn cancel(&self, slot: SwapRef) {
        self.slots.free(slot.no);
    }

    /// The bytes are safe, or given up, and `count` entries are about to name the slot. `whole`
    /// says that the store holds as much as a page for them, or may come to.
    pub fn fill(&self, slot: SwapRef, bytes: Bytes, count: u32, clock: u32, whole: bool) {
        let mut s = self.slots.get(slot.no).0.lock();
        assert!(
            s.count == 0 && s.bytes.is_none() && s.frame.is_none(),
            "swap slot {} is in use",
            slot.no
        );
        s.bytes = Some(bytes);
        s.count = count;
        s.evicted_at = clock;
        s.whole = whole;
        if whole {
            // Relaxed: a number on its own.
            self.whole.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What a slot says now; `None` when this use of it is over.
    #[must_use]
    pub fn look(&self, slot: SwapRef) -> Option<Swapped> {
        let s = self.slots.get(slot.no).0.lock();
        let bytes = s.bytes.filter(|_| s.generation == slot.generation)?;
        Some(Swapped {
            count: s.count,
            bytes,
            frame: s.frame,
            evicted_at: s.evicted_at,
        })
    }

    /// One entry more will name the slot; false when this use of it is over.
    #[must_use]
    pub fn dup(&self, slot: SwapRef) -> bool {
        let mut s = self.slots.get(slot.no).0.lock();
        let live = s.generation == slot.generation && s.bytes.is_some();
        if live {
            s.count = s
                .count
                .checked_add(1)
                .expect("too many entries name one swap slot");
        }
        live
    }

    /// `count` entries name the slot again in place of the frame that cached it: it is evicted.
    pub fn uncache(&self, slot: SwapRef, count: u32, clock: u32) {
        let mut s = self.slots.get(slot.no).0.lock();
        assert!(
            s.generation == slot.generation && s.frame.is_some(),
            "swap slot {} caches no frame",
            slot.no
        );
        s.frame = None;
        s.count += count;
        s.evicted_at = clock;
    }

    /// `frame`, whose lock is held, caches the slot from now on; false when another frame does or
    /// this use of the slot is over.
    #[must_use]
    pub fn cache(&self, slot: SwapRef, frame: FrameNo) -> bool {
        let mut s = self.slots.get(slot.no).0.lock();
        let free = s.generation == slot.generation && s.bytes.is_some() && s.frame.is_none();
        if free {
            s.frame = Some(frame);
        }
        free
    }

    /// One entry fewer names the slot; whether its bytes went.
    pub fn put<S: Store>(&self, slot: SwapRef, store: &S, budget: &Budget) -> bool {
        self.release(slot, store, budget, |s| {
            assert_ne!(s.count, 0, "swap slot {} is named by no entry", slot.no);
            s.count -= 1;
        })
    }

    /// The caching frame goes, or its bytes are about to change; whether the slot's bytes went.
    pub fn drop_cache<S: Store>(&self, slot: SwapRef, store: &S, budget: &Budget) -> bool {
        self.release(slot, store, budget, |s| {
            assert!(s.frame.is_some(), "swap slot {} caches no frame", slot.no);
            s.frame = None;
        })
    }

    fn release<S: Store>(
        &self,
        slot: SwapRef,
        store: &S,
        budget: &Budget,
        step: impl FnOnce(&mut SwapState),
    ) -> bool {
        let mut s = self.slots.get(slot.no).0.lock();
        assert_eq!(s.generation, slot.generation, "swap slot {} was reused", slot.no);
        step(&mut s);
        if s.count != 0 || s.frame.is_some() {
            return false;
        }
        let bytes = s.bytes.take().expect("a slot in use has bytes");
        s.generation = s.generation.wrapping_add(1) & 0x00ff_ffff;
        let whole = s.whole;
        drop(s);
        if whole {
            // Relaxed: a number on its own.
            self.whole.fetch_sub(1, Ordering::Relaxed);
        }
        bytes.free(store, &budget.ledger(Need::Reclaim));
        self.slots.free(slot.no);
        true
    }

    /// Slots in use, with what they say, for checks; call it when nothing runs.
    #[must_use]
    pub fn in_use(&self) -> Vec<(SwapRef, Swapped)> {
        let slots = self.slots.numbers().filter_map(|no| {
            let s = self.slots.get(no).0.lock();
            let slot = SwapRef {
                no,
                generation: s.generation,
            };
            let bytes = s.bytes?;
            Some((
                slot,
                Swapped {
                    count: s.count,
                    bytes,
                    frame: s.frame,
                    evicted_at: s.evicted_at,
                },
            ))
        });
        slots.collect()
    }
}

#[cfg(all(loom, any(test, feature = "explored")))]
pub(crate) mod races;

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
