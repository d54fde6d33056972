//! What one slot of a table says, in one 64-bit word.
//!
//! ```text
//!  63          32 31          8 7    2 1    0
//! | number       | generation  |      | kind |
//! ```
//! A leaf's slot says nothing (`backing/` says what the page is then), names a frame, or names a
//! swap slot. A higher table's slot is empty or names a table. Who may change an entry: the space
//! whose path to the table is not shared, under its space lock; and for a frame's entries, whoever
//! holds that frame's lock, in all tables at once (eviction, swap-in).

use super::TableNo;
use crate::addr::FrameNo;
use crate::swap::SwapRef;
use memfold_sync::atomic::{AtomicU64, Ordering};

const FRAME: u64 = 1;
const SWAPPED: u64 = 2;
const TABLE: u64 = 3;

/// What a leaf says of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeafEntry {
    /// Nothing: the page is what backs it.
    Absent,
    /// The page's frame.
    Frame(FrameNo),
    /// The page's bytes are in the store.
    Swapped(SwapRef),
}

/// What a table above the leaves says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableEntry {
    /// The tables do not reach so far.
    Absent,
    /// The next table down.
    Table(TableNo),
}

impl TableEntry {
    /// The next table down.
    #[must_use]
    pub fn child(self) -> Option<TableNo> {
        match self {
            Self::Absent => None,
            Self::Table(no) => Some(no),
        }
    }
}

/// The word. Which kind of entry it holds is its table's level.
#[derive(Debug)]
pub struct EntryWord(AtomicU64);

impl EntryWord {
    /// An absent entry, of either kind.
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    fn load(&self) -> u64 {
        // Acquire: sees the frame, slot or table as it was when published here.
        self.0.load(Ordering::Acquire)
    }

    fn store(&self, word: u64) {
        // Release: publishes what the entry names.
        self.0.store(word, Ordering::Release);
    }

    /// What a leaf says: one load, decoded once.
    ///
    /// # Panics
    /// When the word is none of the legal values of a leaf.
    #[must_use]
    pub fn leaf(&self) -> LeafEntry {
        let word = self.load();
        let number = (word >> 32) as u32;
        match word & 3 {
            0 if word == 0 => LeafEntry::Absent,
            FRAME if number != 0 => LeafEntry::Frame(FrameNo(number)),
            SWAPPED if number != 0 => LeafEntry::Swapped(SwapRef {
                no: number,
                generation: (word >> 8 & 0x00ff_ffff) as u32,
            }),
            _ => panic!("torn entry of a leaf {word:#x}"),
        }
    }

    /// Publishes what a leaf says from now on. Who may: see the file's header.
    pub fn set_leaf(&self, entry: LeafEntry) {
        self.store(match entry {
            LeafEntry::Absent => 0,
            LeafEntry::Frame(no) => u64::from(no.0) << 32 | FRAME,
            LeafEntry::Swapped(s) => u64::from(s.no) << 32 | u64::from(s.generation) << 8 | SWAPPED,
        });
    }

    /// What a table above the leaves says: one load, decoded once.
    ///
    /// # Panics
    /// When the word is none of the legal values of such a table.
    #[must_use]
    pub fn table(&self) -> TableEntry {
        let word = self.load();
        let number = (word >> 32) as u32;
        match word & 3 {
            0 if word == 0 => TableEntry::Absent,
            TABLE if number != 0 => TableEntry::Table(TableNo(number)),
            _ => panic!("torn entry of a table {word:#x}"),
        }
    }

    /// Publishes what a table above the leaves says from now on. Who may: see the file's header.
    pub fn set_table(&self, entry: TableEntry) {
        self.store(match entry {
            TableEntry::Absent => 0,
            TableEntry::Table(no) => u64::from(no.0) << 32 | TABLE,
        });
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
        assert_eq!(
            (word.leaf(), word.table()),
            (LeafEntry::Absent, TableEntry::Absent)
        );
        for entry in [
            LeafEntry::Frame(FrameNo(u32::MAX)),
            LeafEntry::Swapped(SwapRef {
                no: 1,
                generation: 0x00ff_ffff,
            }),
            LeafEntry::Absent,
        ] {
            word.set_leaf(entry);
            assert_eq!(word.leaf(), entry);
        }
        for entry in [TableEntry::Table(TableNo(5)), TableEntry::Absent] {
            word.set_table(entry);
            assert_eq!(word.table(), entry);
        }
    }

    fn refuses<T>(word: u64, load: impl Fn(&EntryWord) -> T) {
        let word = EntryWord(AtomicU64::new(word));
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(load(&word))));
        assert!(read.is_err(), "{word:?}");
    }

    /// Goal: a word that names nothing, and yet is not empty, cannot pass for an entry, nor an
    /// entry of a leaf for one of a higher table.
    #[test]
    fn torn_entries_are_noticed() {
        for torn in [FRAME, SWAPPED, TABLE, 1 << 32, 1 << 8, 7 << 8 | SWAPPED] {
            refuses(torn, EntryWord::leaf);
            refuses(torn, EntryWord::table);
        }
        refuses(1 << 32 | TABLE, EntryWord::leaf);
        refuses(1 << 32 | FRAME, EntryWord::table);
        refuses(1 << 32 | SWAPPED, EntryWord::table);
    }
}
