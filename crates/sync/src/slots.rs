//! A growing array whose items never move and are never freed, with a free list.
//!
//! Items are made in chunks on demand and stay for the life of the array, so that a
//! number is enough to name one and nothing dangles: whoever holds a stale number finds
//! another item, or a free one, never freed memory, and must check. The free list is
//! under its own lock (rank `Slots`); `get` takes no lock. Number 0 is never given out.

use crate::lock::Mutex;
use crate::rank::Rank;
use std::sync::OnceLock;

/// Items per chunk: a chunk is the step by which memory grows.
const CHUNK: u32 = if cfg!(any(loom, shuttle)) { 4 } else { 64 };

/// An array of `T`, named by `u32` from 1 on.
pub struct Slots<T> {
    chunks: Box<[OnceLock<Box<[T]>>]>,
    make: fn() -> T,
    free: Mutex<FreeList>,
}

struct FreeList {
    numbers: Vec<u32>,
    chunks: u32,
}

impl<T> Slots<T> {
    /// An empty array that can grow to `capacity` items (rounded up to whole chunks).
    pub fn new(capacity: u32, make: fn() -> T) -> Self {
        let chunks = (capacity / CHUNK + 1).max(1);
        Self {
            chunks: (0..chunks).map(|_| OnceLock::new()).collect(),
            make,
            free: Mutex::new(
                Rank::Slots,
                FreeList {
                    numbers: Vec::new(),
                    chunks: 0,
                },
            ),
        }
    }

    /// Bytes by which the array grows at a time.
    #[must_use]
    pub const fn chunk_bytes() -> u64 {
        // Items, their free-list numbers, the chunk's entry.
        (CHUNK as u64) * (size_of::<T>() as u64 + 4) + 16
    }

    /// Bytes that the empty array holds.
    #[must_use]
    pub fn base_bytes(&self) -> u64 {
        (self.chunks.len() * size_of::<OnceLock<Box<[T]>>>()) as u64
    }

    /// Takes a free item. When the array must grow, `charge` is asked for
    /// [`chunk_bytes`](Self::chunk_bytes) first; `None` when it refuses, or at capacity.
    pub fn alloc(&self, charge: impl FnOnce(u64) -> bool) -> Option<u32> {
        let mut free = self.free.lock();
        if let Some(number) = free.numbers.pop() {
            return Some(number);
        }
        let chunk = free.chunks;
        if chunk as usize == self.chunks.len() || !charge(Self::chunk_bytes()) {
            return None;
        }
        self.chunks[chunk as usize].get_or_init(|| (0..CHUNK).map(|_| (self.make)()).collect());
        free.chunks += 1;
        let first = chunk * CHUNK;
        // Room for every number, so that `free` never allocates.
        let all = (CHUNK * free.chunks) as usize;
        free.numbers.reserve_exact(all);
        // The highest number goes in first, so that low numbers are used first.
        free.numbers.extend((first.max(1)..first + CHUNK).rev());
        free.numbers.pop()
    }

    /// Gives an item back. The caller names it no more.
    pub fn free(&self, number: u32) {
        assert!(number != 0, "item 0 is never given out");
        let mut free = self.free.lock();
        free.numbers.push(number);
    }

    /// An item, free or not.
    ///
    /// # Panics
    /// When the number was never given out.
    #[must_use]
    pub fn get(&self, number: u32) -> &T {
        let chunk = self.chunks[(number / CHUNK) as usize]
            .get()
            .expect("a number that was never given out");
        &chunk[(number % CHUNK) as usize]
    }

    /// An item, if the array has grown so far.
    #[must_use]
    pub fn peek(&self, number: u32) -> Option<&T> {
        let chunk = self.chunks.get((number / CHUNK) as usize)?.get()?;
        Some(&chunk[(number % CHUNK) as usize])
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
        slots.free(taken[7]);
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
