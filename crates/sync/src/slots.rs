//! A growing array whose items never move, with a free list, which gives memory back when nobody
//! looks.
//!
//! Items are made in chunks on demand, and stay for as long as anybody may look: a number is enough
//! to name one and nothing dangles; whoever holds a stale number finds another item, or a free one,
//! never freed memory, and must check. Chunks whose items are all free go in
//! [`give_back`](Slots::give_back), which wants the array for itself alone: so no reference into it
//! and no operation that remembers a number can be under way then, and the compiler knows it. Their
//! numbers are given out again when the array grows, with new items. Chunks are found through a
//! directory of groups, made on demand as well, so that an array that can grow far costs little
//! while it is small. The free lists run through the items and are under their own lock (rank
//! `Slots`); `get` takes no lock. Number 0 is never given out.
//!
//! ```text
//! chunks with some free items (taken first) ──> wholly free ones
//!     ──> holes, whose memory was given back ──> new ones
//! ```

use crate::imp::atomic::{AtomicU32, Ordering};
use crate::lock::Mutex;
use crate::rank::Rank;
use crate::reserved::{Reserved, boxed};
use std::sync::OnceLock;

/// Items per chunk: a chunk is the step by which memory grows and shrinks.
const CHUNK: u32 = if cfg!(any(loom, shuttle)) { 4 } else { 64 };
/// Chunks per group.
const GROUP: u32 = if cfg!(any(loom, shuttle)) { 4 } else { 64 };
/// Wholly free chunks that stay, so that an array in use does not shrink and grow by turns: so
/// many, and a part of the others.
const SPARE: u32 = if cfg!(any(loom, shuttle)) { 0 } else { 4 };
const SPARE_PART: u32 = 8;

/// Which wholly free chunks go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Giving {
    /// Those beyond the few that an array in use keeps.
    Spare,
    /// All of them: room is needed.
    All,
}

struct Cell<T> {
    /// The next free item of the chunk, while this one is free; under the free lists' lock.
    next: AtomicU32,
    item: T,
}

type Chunk<T> = OnceLock<Box<[Cell<T>]>>;
type Group<T> = OnceLock<Box<[Chunk<T>]>>;

/// An array of `T`, named by `u32` from 1 on.
pub struct Slots<T> {
    groups: Box<[Group<T>]>,
    make: fn() -> T,
    free: Mutex<FreeLists>,
}

/// The free items of one chunk.
#[derive(Clone, Copy)]
struct Room {
    /// The first of them, or 0.
    head: u32,
    count: u32,
    /// The chunks before and after it on the list of its sort, plus one; 0: none.
    before: u32,
    after: u32,
}

/// Which chunks a list is of; a chunk without free items is on none.
#[derive(Clone, Copy)]
enum Sort {
    /// Some items are free.
    Part,
    /// All items are free.
    Whole,
    /// All items are free, and their memory is not there.
    Hole,
}

struct FreeLists {
    /// One for each chunk that was ever made.
    rooms: Vec<Room>,
    /// The first chunk of each sort, plus one; 0: none.
    heads: [u32; 3],
    /// Chunks that are wholly free, and such as are not there.
    whole: u32,
    holes: u32,
    most: u32,
    /// Items of all chunks that are there.
    items: u32,
    /// Items that were given out and not given back.
    used: u32,
}

impl FreeLists {
    /// Items of the chunk that can be given out.
    fn items(chunk: u32) -> u32 {
        // Item 0 is never given out.
        if chunk == 0 { CHUNK - 1 } else { CHUNK }
    }

    fn put(&mut self, chunk: u32, sort: Sort) {
        let after = self.heads[sort as usize];
        self.rooms[chunk as usize].after = after;
        self.rooms[chunk as usize].before = 0;
        if after != 0 {
            self.rooms[after as usize - 1].before = chunk + 1;
        }
        self.heads[sort as usize] = chunk + 1;
    }

    fn take(&mut self, chunk: u32, sort: Sort) {
        let Room { before, after, .. } = self.rooms[chunk as usize];
        match before {
            0 => self.heads[sort as usize] = after,
            _ => self.rooms[before as usize - 1].after = after,
        }
        if after != 0 {
            self.rooms[after as usize - 1].before = before;
        }
    }

    /// The first chunk of the sort.
    fn first(&self, sort: Sort) -> Option<u32> {
        self.heads[sort as usize].checked_sub(1)
    }

    /// Wholly free chunks that may go; so many free items stay.
    fn spare(&self, giving: Giving, kept: u32) -> u32 {
        let beyond_kept = match kept {
            0 => self.whole,
            kept => (self.items - self.used).saturating_sub(kept) / CHUNK,
        };
        if giving == Giving::All {
            return self.whole.min(beyond_kept);
        }
        let used = self.rooms.len() as u32 - self.whole - self.holes;
        let spare = self.whole.saturating_sub(SPARE + used / SPARE_PART);
        spare.min(beyond_kept)
    }

    /// Whether there are chunks that were never made, or whose memory was given back.
    fn can_grow(&self) -> bool {
        self.holes != 0 || (self.rooms.len() as u32) < self.most
    }
}

impl<T> Slots<T> {
    /// An empty array that can grow to `capacity` items (rounded up to whole chunks).
    pub fn new(capacity: u32, make: fn() -> T) -> Self {
        let most = capacity / CHUNK + 1;
        let free = FreeLists {
            rooms: Vec::new(),
            heads: [0; 3],
            whole: 0,
            holes: 0,
            most,
            items: 0,
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
        // Items with their links, the chunk's entry in its group, and its free list, in a vector
        // that may have doubled.
        (CHUNK as usize * size_of::<Cell<T>>() + size_of::<Chunk<T>>() + 2 * size_of::<Room>()) as u64
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
    /// [`chunk_bytes`](Self::chunk_bytes) first; `None` when it refuses, or the system has no
    /// memory, or at capacity.
    pub fn alloc(&self, charge: impl FnOnce(u64) -> bool) -> Option<u32> {
        self.alloc_leaving(0, charge)
    }

    /// The same, and leaves so many free items for [`alloc_free`](Self::alloc_free), unless the
    /// array is at capacity: for those who come when it can grow no more.
    pub fn alloc_leaving(&self, kept: u32, charge: impl FnOnce(u64) -> bool) -> Option<u32> {
        let mut free = self.free.lock();
        if free.items - free.used <= kept && free.can_grow() {
            self.grow(&mut free, charge)?;
        }
        self.take_free(&mut free)
    }

    /// Takes a free item; `None` when there is none: the array does not grow.
    pub fn alloc_free(&self) -> Option<u32> {
        self.take_free(&mut self.free.lock())
    }

    fn take_free(&self, free: &mut FreeLists) -> Option<u32> {
        let chunk = free.first(Sort::Part).or_else(|| free.first(Sort::Whole))?;
        let room = free.rooms[chunk as usize];
        let number = room.head;
        // Relaxed: the free lists' lock orders it.
        free.rooms[chunk as usize].head = self.cell(number).next.load(Ordering::Relaxed);
        free.rooms[chunk as usize].count -= 1;
        if room.count == FreeLists::items(chunk) {
            free.take(chunk, Sort::Whole);
            free.whole -= 1;
            free.put(chunk, Sort::Part);
        }
        if room.count == 1 {
            free.take(chunk, Sort::Part);
        }
        free.used += 1;
        Some(number)
    }

    /// Makes the items of a hole, or of one more chunk, all of them free, lowest first. One of the
    /// two there is.
    fn grow(&self, free: &mut FreeLists, charge: impl FnOnce(u64) -> bool) -> Option<()> {
        let hole = free.first(Sort::Hole);
        let new = free.rooms.len() as u32;
        let chunk = hole.unwrap_or(new);
        // All memory first, since the system may have none; nothing of it is touched before it is
        // charged.
        let memory = Reserved::new(CHUNK as usize)?;
        free.rooms.try_reserve(1).ok()?;
        let group = self.group(chunk)?;
        if !charge(Self::chunk_bytes()) {
            return None;
        }
        let (first, last) = (chunk * CHUNK, chunk * CHUNK + CHUNK - 1);
        let cell = |number: u32| Cell {
            next: AtomicU32::new(if number == last { 0 } else { number + 1 }),
            item: (self.make)(),
        };
        group[(chunk % GROUP) as usize].get_or_init(|| memory.fill(first..=last, cell));
        let room = Room {
            head: first.max(1),
            count: FreeLists::items(chunk),
            before: 0,
            after: 0,
        };
        if hole.is_some() {
            free.take(chunk, Sort::Hole);
            free.holes -= 1;
            free.rooms[chunk as usize] = room;
        } else {
            free.rooms.push(room);
        }
        free.put(chunk, Sort::Whole);
        free.whole += 1;
        free.items += FreeLists::items(chunk);
        Some(())
    }

    /// The group that the chunk is in, which is made if it is not there; `None` when the system has
    /// no memory. The free lists' lock is held.
    fn group(&self, chunk: u32) -> Option<&[Chunk<T>]> {
        let group = &self.groups[(chunk / GROUP) as usize];
        if group.get().is_none() {
            let made = boxed(0..GROUP, |_| OnceLock::new())?;
            group.get_or_init(|| made);
        }
        group.get().map(|group| &**group)
    }

    /// Gives an item back. The caller names it no more.
    pub fn free(&self, number: u32) {
        assert!(number != 0, "item 0 is never given out");
        let chunk = number / CHUNK;
        let mut free = self.free.lock();
        let room = free.rooms[chunk as usize];
        // Relaxed: the free lists' lock orders it.
        self.cell(number).next.store(room.head, Ordering::Relaxed);
        free.rooms[chunk as usize].head = number;
        free.rooms[chunk as usize].count += 1;
        if room.count == 0 {
            free.put(chunk, Sort::Part);
        }
        if room.count + 1 == FreeLists::items(chunk) {
            free.take(chunk, Sort::Part);
            free.put(chunk, Sort::Whole);
            free.whole += 1;
        }
        free.used = free.used.checked_sub(1).expect("an item was given back twice");
    }

    /// Whether [`give_back`](Self::give_back) would free anything; a hint.
    pub fn has_spare(&self, giving: Giving, kept: u32) -> bool {
        self.free.lock().spare(giving, kept) != 0
    }

    /// Frees up to `most` chunks whose items are all free; how many bytes that was, to be refunded.
    /// `kept` free items stay.
    ///
    /// The items are new when they are given out again, so nobody may remember a number of theirs:
    /// whoever calls this has the array for itself, and no operation of its owner is under way.
    pub fn give_back(&mut self, most: u32, giving: Giving, kept: u32) -> u64 {
        let mut free = self.free.lock();
        let count = free.spare(giving, kept).min(most);
        for _ in 0..count {
            let chunk = free.first(Sort::Whole).expect("they are counted");
            free.take(chunk, Sort::Whole);
            free.whole -= 1;
            let group = self.groups[(chunk / GROUP) as usize].get_mut();
            let gone = group.and_then(|group| group[(chunk % GROUP) as usize].take());
            assert!(gone.is_some(), "chunk {chunk} is not there");
            free.items -= FreeLists::items(chunk);
            free.put(chunk, Sort::Hole);
            free.holes += 1;
        }
        u64::from(count) * Self::chunk_bytes()
    }

    /// Items that are given out now.
    pub fn used(&self) -> u32 {
        self.free.lock().used
    }

    /// Bytes that the array holds: those of the empty one, and each chunk that is there.
    pub fn held_bytes(&self) -> u64 {
        let free = self.free.lock();
        self.base_bytes() + (free.rooms.len() as u64 - u64::from(free.holes)) * Self::chunk_bytes()
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
    /// When the number was never given out, or its memory was given back.
    #[must_use]
    pub fn get(&self, number: u32) -> &T {
        &self.cell(number).item
    }

    /// An item, if it is there.
    #[must_use]
    pub fn peek(&self, number: u32) -> Option<&T> {
        Some(&self.peek_cell(number)?.item)
    }

    /// One more than the highest number that was ever made.
    pub fn end(&self) -> u32 {
        (self.free.lock().rooms.len() as u32 * CHUNK).max(1)
    }

    /// The numbers that exist now, free ones among them.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        (1..self.end()).filter(|&number| self.peek_cell(number).is_some())
    }
}

impl<T> std::fmt::Debug for Slots<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slots")
            .field("end", &self.end())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
