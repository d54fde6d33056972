//! Names that stay while objects move: an array of places, four bytes each, in a region of the
//! arena.
//!
//! The ids of one frame (1024) form a block with a chain of its free ids; the lowest block with
//! room is used first, so that the blocks at the end fall free and are given back. Under the
//! store's lock, as part of the `Heap`; called by the heap's other files.

use super::arena::{Arena, FRAME, Region, trim};
use super::class::{Place, SLOT_BITS};

/// Ids of one block.
const BLOCK: usize = FRAME / 4;
/// Bits of an id: 67 million objects, less a block.
pub(crate) const ID_BITS: u32 = 26;
/// The class that marks a free id; the slot bits are then the next free id of the block, or
/// `BLOCK`.
const FREE: u32 = 63 << SLOT_BITS;

#[derive(Clone, Copy)]
struct Block {
    live: u16,
    free: u16,
}

/// See the head of the file.
pub(crate) struct Ids {
    region: Region,
    blocks: Vec<Block>,
    /// Bit n: block n has a free id.
    room: Vec<u64>,
}

impl Ids {
    /// No ids; they will lie in `region`.
    pub(crate) fn new(region: Region) -> Self {
        Self {
            region,
            blocks: Vec::new(),
            room: Vec::new(),
        }
    }

    /// The frames that [`Ids::add`] will need: 0 or 1.
    pub(crate) fn frames_to_add(&self) -> usize {
        usize::from(self.lowest_with_room().is_none())
    }

    /// Makes room in the tables for what [`Ids::frames_to_add`] says; false when the system has no
    /// memory.
    pub(crate) fn has_tables(&mut self) -> bool {
        self.blocks.try_reserve(1).is_ok() && self.room.try_reserve(1).is_ok()
    }

    /// Whether no id is left for one more: the index keeps each, plus one, in [`ID_BITS`] bits.
    pub(crate) fn is_full(&self) -> bool {
        (self.blocks.len() + 1) * BLOCK >= 1 << ID_BITS && self.lowest_with_room().is_none()
    }

    /// Names a place. What [`Ids::frames_to_add`] said is reserved.
    pub(crate) fn add(&mut self, arena: &mut Arena, place: Place) -> u32 {
        let at = self.lowest_with_room().unwrap_or_else(|| self.add_block(arena));
        let block = &mut self.blocks[at];
        let id = at * BLOCK + usize::from(block.free);
        block.free = (arena.read_word(self.region, id) ^ FREE) as u16;
        block.live += 1;
        if usize::from(block.free) == BLOCK {
            self.room[at / 64] &= !(1 << (at % 64));
        }
        arena.write_word(self.region, id, place.to_word());
        id as u32
    }

    /// Where the named object lies; `None` when there is none.
    pub(crate) fn get(&self, arena: &Arena, id: u32) -> Option<Place> {
        let known = (id as usize) < self.blocks.len() * BLOCK;
        known.then(|| Place::from_word(arena.read_word(self.region, id as usize)))?
    }

    /// The named object has moved.
    pub(crate) fn set(&self, arena: &mut Arena, id: u32, place: Place) {
        debug_assert!(self.get(arena, id).is_some(), "only what has a name can move");
        arena.write_word(self.region, id as usize, place.to_word());
    }

    /// Forgets a name, which may then be given again.
    pub(crate) fn remove(&mut self, arena: &mut Arena, id: u32) {
        assert!(self.get(arena, id).is_some(), "only what has a name can lose it");
        let at = id as usize / BLOCK;
        let block = &mut self.blocks[at];
        arena.write_word(self.region, id as usize, FREE | u32::from(block.free));
        block.free = (id as usize % BLOCK) as u16;
        block.live -= 1;
        self.room[at / 64] |= 1 << (at % 64);
        // Ends: each turn drops a block.
        while self.blocks.last().is_some_and(|block| block.live == 0) {
            self.drop_block(arena);
        }
    }

    fn lowest_with_room(&self) -> Option<usize> {
        let word = self.room.iter().position(|&bits| bits != 0)?;
        Some(word * 64 + self.room[word].trailing_zeros() as usize)
    }

    fn add_block(&mut self, arena: &mut Arena) -> usize {
        let at = self.blocks.len();
        arena.push_frame(self.region);
        for n in 0..BLOCK {
            arena.write_word(self.region, at * BLOCK + n, FREE | (n as u32 + 1));
        }
        self.blocks.push(Block { live: 0, free: 0 });
        self.room.resize(at / 64 + 1, 0);
        self.room[at / 64] |= 1 << (at % 64);
        at
    }

    fn drop_block(&mut self, arena: &mut Arena) {
        self.blocks.pop();
        let at = self.blocks.len();
        self.room[at / 64] &= !(1 << (at % 64));
        self.room.truncate(at.div_ceil(64));
        trim(&mut self.blocks);
        trim(&mut self.room);
        arena.pop_frame(self.region);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::Account;

    /// Goal: names are distinct, the lowest are used first, and all frames come back. Method: fill
    /// two and a half blocks, free some of the first, add again, free all.
    #[test]
    fn lowest_first_and_all_given_back() {
        let account = Account::unlimited();
        let (mut arena, mut ids) = (Arena::new(1), Ids::new(0));
        let add = |arena: &mut Arena, ids: &mut Ids, slot| {
            arena.reserve(ids.frames_to_add(), &account).expect("no limit");
            ids.add(arena, Place { class: 1, slot })
        };
        for slot in 0..2560 {
            assert_eq!(add(&mut arena, &mut ids, slot), slot);
        }
        assert_eq!(arena.frames(0), 3);
        for id in [5, 700, 2000] {
            ids.remove(&mut arena, id);
            assert_eq!(ids.get(&arena, id), None);
        }
        let mut again: Vec<u32> = (0..3).map(|slot| add(&mut arena, &mut ids, slot)).collect();
        again.sort_unstable();
        assert_eq!(again, [5, 700, 2000]);
        assert_eq!(ids.get(&arena, 2559), Some(Place { class: 1, slot: 2559 }));
        assert_eq!(ids.get(&arena, 2560), None);
        (0..2560).for_each(|id| ids.remove(&mut arena, id));
        assert_eq!(arena.frames(0), 0);
        arena.settle(&account);
        assert_eq!(account.charged(), 0);
    }
}
