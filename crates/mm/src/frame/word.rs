//! The mapping word: who owns a frame (Linux: `page->mapping`), in one 64-bit atomic.
//!
//! Written only through the guard of the frame lock ([`Locked`](super::Locked)), by one release
//! store; read by anybody, by one acquire load that is decoded once and passed down (`Snapshot`). A
//! torn or half-tagged owner cannot be written down, which is the race that memfold was born from.
//! The word also heads the frame's chain of mappers: the owner is a leaf table and the slot in it,
//! and further mappers hang off that slot (`rmap.rs`). A frame of a file is named by no leaf: its
//! owner is the file, which knows who maps it where; which of its pages it is says the frame's
//! residence. The generation grows each time the frame is freed, so a stale number is noticed, not
//! argued away.
//!
//! ```text
//!  63                    32 31          8 7     4 3   0
//! | leaf table, or file     | generation | slot  | kind |
//! ```

use crate::backing::file::FileNo;
use crate::table::LeafSlot;
use memfold_sync::Witness;
use memfold_sync::atomic::{AtomicU64, Ordering};

const KIND_MASK: u64 = 0xf;
const NOBODY: u64 = 0;
const EXCLUSIVE: u64 = 1;
const SHARED: u64 = 2;
const MERGED: u64 = 3;
const FILE: u64 = 4;
const GENERATION_MASK: u64 = 0x00ff_ffff;

/// Who owns a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Nobody: the frame is free, or not yet mapped.
    Nobody,
    /// One leaf table of one space, which may write it in place.
    Exclusive(LeafSlot),
    /// Read-only to all; this leaf table is the first of its chain of mappers.
    Shared(LeafSlot),
    /// The same, and some of them came here because their pages were equal (Linux: KSM).
    Merged(LeafSlot),
    /// A file: everybody who maps this page of it, who may store to it in place.
    File(FileNo),
}

impl Owner {
    /// The first of the chain of leaves that name the frame; `None` when none does.
    #[must_use]
    pub fn head(self) -> Option<LeafSlot> {
        match self {
            Self::Exclusive(at) | Self::Shared(at) | Self::Merged(at) => Some(at),
            Self::Nobody | Self::File(_) => None,
        }
    }

    /// The head of a chain that several leaves may stand on.
    #[must_use]
    pub fn shared_head(self) -> Option<LeafSlot> {
        match self {
            Self::Shared(at) | Self::Merged(at) => Some(at),
            Self::Nobody | Self::Exclusive(_) | Self::File(_) => None,
        }
    }

    /// The same kind of sharing, with another head of the chain.
    ///
    /// # Panics
    /// When nobody may share the frame.
    #[must_use]
    pub(crate) fn with_head(self, at: LeafSlot) -> Self {
        match self {
            Self::Shared(_) | Self::Exclusive(_) => Self::Shared(at),
            Self::Merged(_) => Self::Merged(at),
            Self::Nobody | Self::File(_) => panic!("leaves share a frame of {self:?}"),
        }
    }
}

/// One decoded value of the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The owner at the time of the load.
    pub owner: Owner,
    /// How often the frame had been freed by then (modulo 2^24).
    pub generation: u32,
}

/// The word itself.
#[derive(Debug)]
pub struct MappingWord {
    word: AtomicU64,
    // What the owner's chain is: written before the word is stored, read after it was loaded.
    published: Witness,
}

impl MappingWord {
    /// The word of a frame that was never used.
    #[must_use]
    pub fn new() -> Self {
        Self {
            word: AtomicU64::new(NOBODY),
            published: Witness::new(),
        }
    }

    /// One load, decoded once.
    ///
    /// # Panics
    /// When the word is none of the legal values: memory was corrupted.
    #[must_use]
    pub fn load(&self) -> Snapshot {
        // Acquire: sees the owner's chain as published by `set`.
        decode(self.word.load(Ordering::Acquire))
    }

    /// Gives the frame another owner of the same generation: one store. For the guard of the frame
    /// lock, which is the only door to it.
    pub(super) fn set(&self, owner: Owner) {
        self.published.write();
        // Relaxed: only the holder of the frame lock writes the word.
        let generation = decode(self.word.load(Ordering::Relaxed)).generation;
        // Release: publishes the owner's chain; one store, so never torn.
        self.word
            .store(encode(Snapshot { owner, generation }), Ordering::Release);
    }

    /// Ends this use of the frame: no owner, next generation. For the guard as well.
    pub(super) fn retire(&self) {
        // Relaxed: only the holder of the frame lock writes the word.
        let generation = decode(self.word.load(Ordering::Relaxed))
            .generation
            .wrapping_add(1);
        let retired = Snapshot {
            owner: Owner::Nobody,
            generation,
        };
        // Release: whoever sees the new generation sees the frame emptied.
        self.word.store(encode(retired), Ordering::Release);
    }
}

impl Default for MappingWord {
    fn default() -> Self {
        Self::new()
    }
}

fn encode(s: Snapshot) -> u64 {
    let generation = (u64::from(s.generation) & GENERATION_MASK) << 8;
    let (kind, at) = match s.owner {
        Owner::Nobody => return NOBODY | generation,
        Owner::Exclusive(at) => (EXCLUSIVE, at),
        Owner::Shared(at) => (SHARED, at),
        Owner::Merged(at) => (MERGED, at),
        Owner::File(file) => return u64::from(file.0) << 32 | generation | FILE,
    };
    u64::from(at.leaf.0) << 32 | generation | u64::from(at.slot) << 4 | kind
}

fn decode(word: u64) -> Snapshot {
    let generation = (word >> 8 & GENERATION_MASK) as u32;
    let at = LeafSlot {
        leaf: crate::table::TableNo((word >> 32) as u32),
        slot: (word >> 4 & 0xf) as u8,
    };
    let owner = match word & KIND_MASK {
        NOBODY if word >> 32 == 0 => Owner::Nobody,
        EXCLUSIVE if at.leaf.0 != 0 => Owner::Exclusive(at),
        SHARED if at.leaf.0 != 0 => Owner::Shared(at),
        MERGED if at.leaf.0 != 0 => Owner::Merged(at),
        FILE if at.leaf.0 != 0 && at.slot == 0 => Owner::File(FileNo(at.leaf.0)),
        _ => panic!("torn mapping word {word:#x}"),
    };
    Snapshot { owner, generation }
}

#[cfg(all(loom, any(test, feature = "explored")))]
pub(crate) mod races;

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::table::TableNo;

    fn at(leaf: u32, slot: u8) -> LeafSlot {
        LeafSlot {
            leaf: TableNo(leaf),
            slot,
        }
    }

    /// Goal: every owner survives the word. Method: extremes of each field.
    #[test]
    fn owners_survive() {
        let word = MappingWord::new();
        for owner in [
            Owner::Nobody,
            Owner::Exclusive(at(1, 0)),
            Owner::Exclusive(at(u32::MAX, 15)),
            Owner::Shared(at(7, 3)),
            Owner::Merged(at(7, 15)),
            Owner::File(FileNo(u32::MAX)),
        ] {
            word.set(owner);
            assert_eq!(word.load(), Snapshot { owner, generation: 0 });
        }
    }

    /// Goal: reuse is noticed. Method: retire and compare generations.
    #[test]
    fn generation_grows() {
        let word = MappingWord::new();
        word.set(Owner::Shared(at(9, 9)));
        let before = word.load();
        word.retire();
        word.set(Owner::Shared(at(9, 9)));
        assert_ne!(before, word.load());
        assert_eq!(before.owner, word.load().owner);
    }

    /// Goal: the half-written word of the seed's race cannot pass for an owner.
    #[test]
    #[should_panic(expected = "torn mapping word")]
    fn untagged_owner_is_torn() {
        decode(5 << 32);
    }

    /// Goal: a kind without a leaf cannot pass for an owner either.
    #[test]
    fn owners_have_leaves() {
        for kind in [EXCLUSIVE, SHARED, MERGED, FILE, 5] {
            let torn = std::panic::catch_unwind(|| decode(3 << 8 | 2 << 4 | kind));
            assert!(torn.is_err(), "kind {kind}");
        }
    }
}
