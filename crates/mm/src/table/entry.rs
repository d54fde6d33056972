//! What one slot of a table says, in one 64-bit word.
//!
//! ```text
//!  63          32 31          8 7    2 1    0
//! | number       | generation  |      | kind |
//! ```
//! A leaf's slot says nothing (`backing/` says what the page is then), names a frame, or names a swap
//! slot. A higher table's slot is empty or names a table. Who may change an entry: the space
//! whose path to the table is not shared, under its space lock; and for a frame's entries, whoever
//! holds that frame's lock, in all tables at once (eviction, swap-in).

use super::TableNo;
use crate::addr::FrameNo;
use crate::swap::SwapRef;
use memfold_sync::atomic::{AtomicU64, Ordering};

const FRAME: u64 = 1;
const SWAPPED: u64 = 2;
const TABLE: u64 = 3;

/// One decoded entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Nothing: the page is what backs it, or there is no table.
    Absent,
    /// The page's frame.
    Frame(FrameNo),
    /// The page's bytes are in the store.
    Swapped(SwapRef),
    /// The next table down.
    Table(TableNo),
}

/// The word.
#[derive(Debug)]
pub struct EntryWord(AtomicU64);

impl EntryWord {
    /// An absent entry.
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// One load, decoded once.
    ///
    /// # Panics
    /// When the word is none of the legal values.
    #[must_use]
    pub fn load(&self) -> Entry {
        // Acquire: sees the frame, slot or table as it was when published here.
        let word = self.0.load(Ordering::Acquire);
        let number = (word >> 32) as u32;
        match word & 3 {
            0 if word == 0 => Entry::Absent,
            FRAME if number != 0 => Entry::Frame(FrameNo(number)),
            SWAPPED if number != 0 => Entry::Swapped(SwapRef {
                no: number,
                generation: (word >> 8 & 0x00ff_ffff) as u32,
            }),
            TABLE if number != 0 => Entry::Table(TableNo(number)),
            _ => panic!("torn table entry {word:#x}"),
        }
    }

    /// Publishes another entry. Who may: see the file's header.
    pub fn store(&self, entry: Entry) {
        let word = match entry {
            Entry::Absent => 0,
            Entry::Frame(no) => u64::from(no.0) << 32 | FRAME,
            Entry::Swapped(s) => u64::from(s.no) << 32 | u64::from(s.generation) << 8 | SWAPPED,
            Entry::Table(no) => u64::from(no.0) << 32 | TABLE,
        };
        // Release: publishes what the entry names.
        self.0.store(word, Ordering::Release);
    }
}

impl Default for EntryWord {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// Goal: every entry survives its word.
    #[test]
    fn entries_survive() {
        let word = EntryWord::new();
        for entry in [
            Entry::Absent,
            Entry::Frame(FrameNo(u32::MAX)),
            Entry::Swapped(SwapRef {
                no: 1,
                generation: 0x00ff_ffff,
            }),
            Entry::Table(TableNo(5)),
        ] {
            word.store(entry);
            assert_eq!(word.load(), entry);
        }
    }

    /// Goal: a word that names nothing, and yet is not empty, cannot pass for an entry.
    #[test]
    fn torn_entries_are_noticed() {
        for torn in [FRAME, SWAPPED, TABLE, 1 << 32, 1 << 8, 7 << 8 | SWAPPED] {
            let word = EntryWord(AtomicU64::new(torn));
            let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| word.load()));
            assert!(read.is_err(), "{torn:#x}");
        }
    }
}
