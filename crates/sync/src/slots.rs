//! A growing array whose items never move and are never freed, with a free list.
//!
//! Items are made in chunks on demand and stay for the life of the array, so that a
//! number is enough to name one and nothing dangles: whoever holds a stale number finds
//! another item, or a free one, never freed memory, and must check. Chunks are found through a directory
//! of groups, made on demand as well, so that an array that can grow far costs little while it is small. The free
//! list runs through the items and is under its own lock (rank `Slots`); `get` takes no lock. Number 0 is never given out.

use crate::imp::atomic::{AtomicU32, Ordering};
use crate::lock::Mutex;
use crate::rank::Rank;
use std::sync::OnceLock;

/// Items per chunk: a chunk is the step by which memory grows.
const CHUNK: u32 = if cfg!(any(loom, shuttle)) { 4 } else { 64 };
/// Chunks per group.
const GROUP: u32 = if cfg!(any(loom, shuttle)) { 4 } else { 64 };

struct Cell<T> {
    /// The next free item, while this one is free; under the free list's lock.
    next: AtomicU32,
    item: T,
}

type Chunk<T> = OnceLock<Box<[Cell<T>]>>;
type Group<T> = OnceLock<Box<[Chunk<T>]>>;

/// An array of `T`, named by `u32` from 1 on.
pub struct Slots<T> {
    groups: Box<[Group<T>]>,
    make: fn() -> T,
    free: Mutex<FreeList>,
}

struct FreeList {
    head: u32,
    chunks: u32,
    most: u32,
    /// Items that were given out and not given back.
    used: u32,
}

impl<T> Slots<T> {
    /// An empty array that can grow to `capacity` items (rounded up to whole chunks).
    pub fn new(capacity: u32, make: fn() -> T) -> Self {
        let most = capacity / CHUNK + 1;
        let free = FreeList {
            head: 0,
            chunks: 0,
            most,
            used: 0,
        };
        Self {
            groups: (0..most.div_ceil(GROUP)).map(|_| OnceLock::new()).collect(),
            make,
            free: Mutex::new(Rank::Slots, free),
        }
    }

    /// Bytes by which the array grows at a time.
    #[must_use]
    pub const fn chunk_bytes() -> u64 {
        // Items with their links, and the chunk's entry in its group.
        CHUNK as u64 * size_of::<Cell<T>>() as u64 + size_of::<Chunk<T>>() as u64
    }

    /// What one item costs, in bytes, rounded up.
    #[must_use]
    pub const fn item_bytes() -> u64 {
        Self::chunk_bytes().div_ceil(CHUNK as u64)
    }

    /// Bytes that the empty array holds.
    #[must_use]
    pub fn base_bytes(&self) -> u64 {
        let groups = self.groups.len() * size_of::<Group<T>>();
        // The first group is there as soon as anything is.
        (groups + GROUP as usize * size_of::<Chunk<T>>()) as u64
    }

    /// Takes a free item. When the array must grow, `charge` is asked for
    /// [`chunk_bytes`](Self::chunk_bytes) first; `None` when it refuses, or at capacity.
    pub fn alloc(&self, charge: impl FnOnce(u64) -> bool) -> Option<u32> {
        let mut free = self.free.lock();
        if free.head == 0 && (free.chunks == free.most || !charge(Self::chunk_bytes())) {
            return None;
        }
        if free.head == 0 {
            self.grow(&mut free);
        }
        let number = free.head;
        // Relaxed: the free list's lock orders it.
        free.head = self.cell(number).next.load(Ordering::Relaxed);
        free.used += 1;
        Some(number)
    }

    /// Makes one more chunk and puts its items on the empty free list, lowest first.
    fn grow(&self, free: &mut FreeList) {
        let group = self.groups[(free.chunks / GROUP) as usize]
            .get_or_init(|| (0..GROUP).map(|_| OnceLock::new()).collect());
        let first = free.chunks * CHUNK;
        let last = first + CHUNK - 1;
        let cell = |number: u32| Cell {
            next: AtomicU32::new(if number == last { 0 } else { number + 1 }),
            item: (self.make)(),
        };
        group[(free.chunks % GROUP) as usize].get_or_init(|| (first..=last).map(cell).collect());
        free.chunks += 1;
        free.head = first.max(1);
    }

    /// Gives an item back. The caller names it no more.
    pub fn free(&self, number: u32) {
        assert!(number != 0, "item 0 is never given out");
        let mut free = self.free.lock();
        // Relaxed: the free list's lock orders it.
        self.cell(number).next.store(free.head, Ordering::Relaxed);
        free.head = number;
        free.used = free.used.checked_sub(1).expect("an item was given back twice");
    }

    /// Items that are given out now.
    pub fn used(&self) -> u32 {
        self.free.lock().used
    }

    /// Bytes that the array holds: those of the empty one, and each chunk that was asked for.
    pub fn held_bytes(&self) -> u64 {
        self.base_bytes() + u64::from(self.free.lock().chunks) * Self::chunk_bytes()
    }

    fn peek_cell(&self, number: u32) -> Option<&Cell<T>> {
        let chunk = number / CHUNK;
        let group = self.groups.get((chunk / GROUP) as usize)?.get()?;
        Some(&group[(chunk % GROUP) as usize].get()?[(number % CHUNK) as usize])
    }

    fn cell(&self, number: u32) -> &Cell<T> {
        self.peek_cell(number).expect("a number that was never given out")
    }

    /// An item, free or not.
    ///
    /// # Panics
    /// When the number was never given out.
    #[must_use]
    pub fn get(&self, number: u32) -> &T {
        &self.cell(number).item
    }

    /// An item, if the array has grown so far.
    #[must_use]
    pub fn peek(&self, number: u32) -> Option<&T> {
        Some(&self.peek_cell(number)?.item)
    }

    /// The numbers that exist now, free ones among them.
    pub fn numbers(&self) -> std::ops::Range<u32> {
        1..(self.free.lock().chunks * CHUNK).max(1)
    }
}

impl<T> std::fmt::Debug for Slots<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slots")
            .field("numbers", &self.numbers())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// Goal: numbers are unique while held, reused when freed, and growth is asked for first.
    #[test]
    fn alloc_free_reuse() {
        let slots = Slots::new(200, || 0u64);
        assert_eq!(slots.alloc(|_| false), None);
        let mut taken: Vec<u32> = (0..200).map(|_| slots.alloc(|_| true).unwrap()).collect();
        taken.sort_unstable();
        taken.dedup();
        assert_eq!(taken.len(), 200);
        assert!(!taken.contains(&0));
        assert_eq!(slots.used(), 200);
        slots.free(taken[7]);
        assert_eq!(slots.used(), 199);
        assert_eq!(
            slots.held_bytes(),
            slots.base_bytes() + 4 * Slots::<u64>::chunk_bytes()
        );
        assert_eq!(slots.alloc(|_| panic!("no growth is needed")), Some(taken[7]));
    }

    /// Goal: the capacity is a limit.
    #[test]
    fn capacity_ends() {
        let slots = Slots::new(1, || ());
        let given = std::iter::from_fn(|| slots.alloc(|_| true)).count();
        assert_eq!(given, CHUNK as usize - 1);
    }
}
