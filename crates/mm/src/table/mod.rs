//! Page tables: a tree of small tables for each space, shared copy-on-write between forks.
//!
//! A table has 16 slots. A leaf's slots stand for 16 neighbouring pages (64 KiB, the unit of
//! fault-around); a table of level `n` stands for `16^(n+1)` pages. A fork shares the root,
//! which is one reference, whatever the size; the first write below a shared table copies the
//! path down to the leaf, so that small changes cost small tables.
//!
//! ```text
//!   space A   space B = fork of A          after B wrote page x
//!        \     /                            A        B
//!        [root] refs 2                    [root]   [root']
//!        /    \                            /   \    /   \
//!     [leaf]  [leaf]                   [leaf]  [leaf x] [leaf x']
//! ```
//! Reverse map: each slot carries two links. In a leaf they chain the leaves that map one frame,
//! always in the same slot, guarded by the frame lock, headed by the frame's mapping word. In a
//! higher table they chain the tables that point at one child, guarded by the child's lock. So
//! frame to leaves, leaf to tables, tables to spaces is exact and costs no allocation.

mod differ;
mod entry;
mod own;
mod parents;
mod tree;

pub(crate) use differ::Difference;
pub use entry::{EntryWord, LeafEntry, TableEntry};
pub(crate) use own::{Leaves, Split};
pub(crate) use parents::{Roots, Trees};
pub(crate) use tree::{AtLeaf, Lookup, OwnLeaf, Tree};

use crate::addr::{PageNo, Run};
use memfold_sync::atomic::{AtomicU32, AtomicU64, Ordering};
use memfold_sync::{Mutex, MutexGuard, Rank, Slots};

/// Slots of a table.
pub const FANOUT: usize = 16;
const BITS: u32 = 4;
/// The most levels of a tree: 16^6 pages, 64 GiB.
pub const MAX_LEVELS: u8 = 6;
/// The most pages of a space.
pub const MAX_PAGES: u32 = 1 << (BITS * MAX_LEVELS as u32);

/// Names a table; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableNo(pub u32);

/// One slot of a leaf table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeafSlot {
    /// The leaf.
    pub leaf: TableNo,
    /// The slot, below 16.
    pub slot: u8,
}

impl LeafSlot {
    /// The slot of a page in its leaf.
    pub(crate) fn of(leaf: TableNo, page: PageNo) -> Self {
        let slot = slot_of(page, 0);
        Self { leaf, slot }
    }
}

/// Links of a chain: numbers of the neighbours, 0 at the ends.
#[derive(Debug)]
pub struct ChainLinks {
    next: AtomicU32,
    prev: AtomicU32,
}

impl ChainLinks {
    /// On no chain.
    #[must_use]
    pub fn new() -> Self {
        Self {
            next: AtomicU32::new(0),
            prev: AtomicU32::new(0),
        }
    }

    pub(crate) fn next(&self) -> u32 {
        // Relaxed: the chain's lock orders it.
        self.next.load(Ordering::Relaxed)
    }

    pub(crate) fn prev(&self) -> u32 {
        // Relaxed: the chain's lock orders it.
        self.prev.load(Ordering::Relaxed)
    }

    pub(crate) fn set_next(&self, to: u32) {
        // Relaxed: the chain's lock orders it.
        self.next.store(to, Ordering::Relaxed);
    }

    pub(crate) fn set_prev(&self, to: u32) {
        // Relaxed: the chain's lock orders it.
        self.prev.store(to, Ordering::Relaxed);
    }
}

impl Default for ChainLinks {
    fn default() -> Self {
        Self::new()
    }
}

/// One slot: an entry and its place in the chain of what the entry names.
#[derive(Debug)]
pub struct Slot {
    /// What the slot says; rules in `table/entry.rs`.
    pub entry: EntryWord,
    /// Guarded by the frame lock (leaf) or the child's lock (higher table).
    pub(crate) links: ChainLinks,
}

/// Under the table's lock.
#[derive(Debug)]
pub(crate) struct Parents {
    /// The first of the tables and spaces that point at this one, see [`Parent`].
    pub head: u32,
}

/// One table.
#[derive(Debug)]
pub struct Table {
    slots: [Slot; FANOUT],
    /// How many tables and spaces point here; 1 means that the only parent may change it.
    refs: AtomicU32,
    /// Level and first page; set before the table is linked, then constant.
    place: AtomicU64,
    /// On its space's list of leaves with exclusive frames; under the space lock.
    pub(crate) dirty: AtomicU32,
    /// The next leaf on that list; under the space lock.
    pub(crate) dirty_next: AtomicU32,
    parents: Mutex<Parents>,
}

impl Table {
    /// A free table.
    #[must_use]
    pub fn new() -> Self {
        let slot = || Slot {
            entry: EntryWord::new(),
            links: ChainLinks::new(),
        };
        Self {
            slots: std::array::from_fn(|_| slot()),
            refs: AtomicU32::new(0),
            place: AtomicU64::new(0),
            dirty: AtomicU32::new(0),
            dirty_next: AtomicU32::new(0),
            parents: Mutex::new(Rank::Leaf, Parents { head: 0 }),
        }
    }

    /// One of the 16 slots.
    #[must_use]
    pub fn slot(&self, n: u8) -> &Slot {
        &self.slots[usize::from(n)]
    }

    /// 0 for a leaf.
    #[must_use]
    pub fn level(&self) -> u8 {
        // Relaxed: constant while the table is linked.
        (self.place.load(Ordering::Relaxed) >> 32) as u8
    }

    /// The first page that the table stands for.
    #[must_use]
    pub fn first_page(&self) -> PageNo {
        // Relaxed: constant while the table is linked.
        PageNo(self.place.load(Ordering::Relaxed) as u32)
    }

    /// How many parents point here.
    #[must_use]
    pub fn refs(&self) -> u32 {
        // Acquire: when it is 1, what other parents did here before they let go is seen.
        self.refs.load(Ordering::Acquire)
    }

    pub(crate) fn set_place(&self, level: u8, first: PageNo) {
        // Relaxed: published by the entry that links the table.
        self.place
            .store(u64::from(level) << 32 | u64::from(first.0), Ordering::Relaxed);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Parents> {
        self.parents.lock_at(Rank::table(self.level()))
    }

    pub(crate) fn add_ref(&self) {
        // Relaxed: whoever adds a parent already has one.
        let before = self.refs.fetch_add(1, Ordering::Relaxed);
        assert!(before < u32::MAX / 2, "too many parents of one table");
    }

    /// True when it was the last.
    pub(crate) fn drop_ref(&self) -> bool {
        // AcqRel: hands this parent's changes to whoever finds itself alone, or frees the table.
        let before = self.refs.fetch_sub(1, Ordering::AcqRel);
        assert_ne!(before, 0, "dropped a parent that a table did not have");
        before == 1
    }
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

/// All tables.
#[derive(Debug)]
pub(crate) struct Tables(Slots<Table>);

impl Tables {
    /// None in use, `capacity` at most.
    pub fn new(capacity: u32) -> Self {
        Self(Slots::new(capacity, Table::new))
    }

    /// The table of this number.
    pub fn at(&self, no: TableNo) -> &Table {
        self.0.get(no.0)
    }

    /// What a leaf says of a page.
    pub fn entry(&self, leaf: TableNo, page: PageNo) -> LeafEntry {
        self.at(leaf).slot(slot_of(page, 0)).entry.leaf()
    }

    /// A leaf says this from now on.
    pub fn set_entry(&self, at: LeafSlot, entry: LeafEntry) {
        self.at(at.leaf).slot(at.slot).entry.set_leaf(entry);
    }

    /// The page that a slot of a leaf stands for.
    pub fn page_of(&self, at: LeafSlot) -> PageNo {
        self.at(at.leaf).first_page().plus(u32::from(at.slot))
    }
}

impl std::ops::Deref for Tables {
    type Target = Slots<Table>;
    fn deref(&self) -> &Slots<Table> {
        &self.0
    }
}

impl std::ops::DerefMut for Tables {
    fn deref_mut(&mut self) -> &mut Slots<Table> {
        &mut self.0
    }
}

/// A parent of a table: another table, or a space whose root it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parent {
    Table(TableNo),
    Space(crate::addr::SpaceNo),
}

const SPACE_BIT: u32 = 1 << 31;

impl Parent {
    pub fn encode(self) -> u32 {
        match self {
            Self::Table(no) => no.0,
            Self::Space(no) => no.0 | SPACE_BIT,
        }
    }

    pub fn decode(word: u32) -> Option<Self> {
        match word {
            0 => None,
            w if w & SPACE_BIT != 0 => Some(Self::Space(crate::addr::SpaceNo(w & !SPACE_BIT))),
            w => Some(Self::Table(TableNo(w))),
        }
    }
}

/// The slot of a table of `level` in whose range `page` falls.
#[must_use]
pub(crate) fn slot_of(page: PageNo, level: u8) -> u8 {
    (page.0 >> (BITS * u32::from(level)) & (FANOUT as u32 - 1)) as u8
}

/// The first page of the table of `level` in whose range `page` falls.
#[must_use]
pub(crate) fn first_of(page: PageNo, level: u8) -> PageNo {
    let span = BITS * (u32::from(level) + 1);
    PageNo(((u64::from(page.0) >> span) << span) as u32)
}

/// The first page after the leaf in whose range `page` falls.
#[must_use]
pub(crate) fn after_leaf(page: u32) -> u32 {
    (page | (FANOUT as u32 - 1)) + 1
}

/// The longest run of pages around `page` in its leaf for which `take` says yes, asked outwards
/// from it.
pub(crate) fn run_around(page: PageNo, mut take: impl FnMut(PageNo) -> bool) -> Run {
    let first = first_of(page, 0);
    let mut run = Run::one(page);
    while run.first != first && take(PageNo(run.first.0 - 1)) {
        run = Run {
            first: PageNo(run.first.0 - 1),
            len: run.len + 1,
        };
    }
    while run.end() != first.plus(FANOUT as u32) && take(run.end()) {
        run.len += 1;
    }
    run
}

/// How many levels a tree over `pages` pages has, at least 1.
#[must_use]
pub(crate) fn levels_for(pages: u32) -> u8 {
    (1..=MAX_LEVELS)
        .find(|&l| u64::from(pages) <= 1 << (BITS * u32::from(l)))
        .unwrap_or(MAX_LEVELS)
}

#[cfg(all(loom, any(test, feature = "explored")))]
pub(crate) mod races;

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// Goal: the arithmetic of the tree, at its edges.
    #[test]
    fn places() {
        assert_eq!(levels_for(1), 1);
        assert_eq!(levels_for(16), 1);
        assert_eq!(levels_for(17), 2);
        assert_eq!(levels_for(MAX_PAGES), MAX_LEVELS);
        assert_eq!(slot_of(PageNo(0x123), 1), 2);
        assert_eq!(first_of(PageNo(0x123), 0), PageNo(0x120));
        assert_eq!(first_of(PageNo(0x00ff_ffff), 5), PageNo(0));
    }

    /// Goal: parents survive their word, and 0 is the end of a chain.
    #[test]
    fn members() {
        use crate::addr::SpaceNo;
        assert_eq!(Parent::decode(0), None);
        for m in [Parent::Table(TableNo(3)), Parent::Space(SpaceNo(3))] {
            assert_eq!(Parent::decode(m.encode()), Some(m));
        }
    }
}
