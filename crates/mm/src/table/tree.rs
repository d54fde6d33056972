//! The tree of one space: where its tables begin, and walks down from there.
//!
//! Under the space lock. What others share of the tables can be read by all of them: entries are
//! atomic words, and a table that this space reaches stays while the lock is held.

use super::{LeafEntry, Table, TableEntry, TableNo, Tables, after_leaf, levels_for, slot_of};
use crate::addr::{FrameNo, PageNo};
use memfold_sync::atomic::Ordering;

/// Where the tables of a space begin. Under the space lock.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The topmost table, if there is any.
    pub root: Option<TableNo>,
    /// Levels of tables.
    pub levels: u8,
    /// First of the leaves with exclusive frames, chained by `dirty_next`; 0 at the end.
    pub dirty_head: u32,
}

impl Tree {
    /// No table, of a space that has room for so many pages.
    pub fn new(pages: u32) -> Self {
        Self {
            root: None,
            levels: levels_for(pages),
            dirty_head: 0,
        }
    }

    /// The same tables, for a fork, which has no exclusive frames.
    pub fn fork(&self) -> Self {
        Self {
            dirty_head: 0,
            ..*self
        }
    }
}

/// What a walk down to a page found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lookup {
    /// The tables do not reach so far.
    NoLeaf,
    /// The page's leaf.
    Leaf(AtLeaf),
}

/// A leaf that a walk reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AtLeaf {
    /// Its number.
    pub leaf: TableNo,
    /// Whether another space shares any table on the path.
    pub shared: bool,
    /// What it says of the page.
    pub entry: LeafEntry,
}

impl Lookup {
    /// What the tables say of the page.
    pub fn entry(&self) -> LeafEntry {
        match self {
            Self::NoLeaf => LeafEntry::Absent,
            Self::Leaf(at) => at.entry,
        }
    }

    /// The leaf, if the tables reach so far.
    pub fn leaf(&self) -> Option<TableNo> {
        match self {
            Self::NoLeaf => None,
            Self::Leaf(at) => Some(at.leaf),
        }
    }

    /// The page's frame, and the leaf that names it.
    pub fn frame(&self) -> Option<(FrameNo, TableNo)> {
        match *self {
            Self::Leaf(AtLeaf {
                leaf,
                entry: LeafEntry::Frame(frame),
                ..
            }) => Some((frame, leaf)),
            _ => None,
        }
    }

    /// Whether another space shares the leaf.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Leaf(at) if at.shared)
    }
}

/// A leaf that only this space can reach: it may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnLeaf(pub TableNo);

impl Tables {
    /// Walks down to a page.
    pub fn lookup(&self, tree: &Tree, page: PageNo) -> Lookup {
        let Some(mut at) = tree.root else {
            return Lookup::NoLeaf;
        };
        let mut shared = false;
        for level in (1..tree.levels).rev() {
            let table = self.at(at);
            shared |= table.refs() > 1;
            match table.slot(slot_of(page, level)).entry.table() {
                TableEntry::Table(next) => at = next,
                TableEntry::Absent => return Lookup::NoLeaf,
            }
        }
        let leaf = self.at(at);
        shared |= leaf.refs() > 1;
        let entry = leaf.slot(slot_of(page, 0)).entry.leaf();
        Lookup::Leaf(AtLeaf {
            leaf: at,
            shared,
            entry,
        })
    }

    /// Calls `step` with each page before `end` of which the tables say something.
    ///
    /// # Errors
    /// The first of `step`'s.
    pub fn each_page<E>(
        &self,
        tree: &Tree,
        end: PageNo,
        step: impl FnMut(PageNo, TableNo, LeafEntry) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each_page_of(tree, PageNo(0), end, step)
    }

    /// The same for the pages from `first` on.
    ///
    /// # Errors
    /// The first of `step`'s.
    pub fn each_page_of<E>(
        &self,
        tree: &Tree,
        first: PageNo,
        end: PageNo,
        mut step: impl FnMut(PageNo, TableNo, LeafEntry) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut page = first.0;
        while page < end.0 {
            match self.lookup(tree, PageNo(page)) {
                Lookup::Leaf(AtLeaf { leaf, entry, .. }) => {
                    if entry != LeafEntry::Absent {
                        step(PageNo(page), leaf, entry)?;
                    }
                    page += 1;
                }
                Lookup::NoLeaf => page = after_leaf(page),
            }
        }
        Ok(())
    }

    /// Notes that a leaf of this space has exclusive frames, which its next fork must share.
    pub fn mark_dirty(&self, tree: &mut Tree, leaf: OwnLeaf) {
        let table = self.at(leaf.0);
        // Relaxed: the list is under the space lock.
        if table.dirty.swap(1, Ordering::Relaxed) == 0 {
            // Relaxed: as above.
            table.dirty_next.store(tree.dirty_head, Ordering::Relaxed);
            tree.dirty_head = leaf.0.0;
        }
    }

    /// The space's list of dirty leaves.
    pub fn dirty(&self, tree: &Tree) -> impl Iterator<Item = TableNo> {
        let leaf = |no| Some(no).filter(|&no| no != 0).map(TableNo);
        std::iter::successors(leaf(tree.dirty_head), move |&no| leaf(self.next_dirty(no)))
    }

    /// Whether there are so many leaves on it.
    pub fn has_dirty(&self, tree: &Tree, leaves: usize) -> bool {
        self.dirty(tree).take(leaves).count() == leaves
    }

    /// The leaf after this one on the space's list of dirty leaves.
    pub fn next_dirty(&self, leaf: TableNo) -> u32 {
        // Relaxed: the list is under the space lock.
        self.at(leaf).dirty_next.load(Ordering::Relaxed)
    }
}

impl Table {
    /// Whether the leaf is on its space's list of dirty leaves. Under the space lock.
    pub(crate) fn is_dirty(&self) -> bool {
        // Relaxed: the list is under the space lock.
        self.dirty.load(Ordering::Relaxed) != 0
    }

    /// The leaf is on no list of dirty leaves any more.
    pub(crate) fn forget_dirty(&self) {
        // Relaxed: the list is under the space lock, or its space is gone.
        self.dirty.store(0, Ordering::Relaxed);
    }
}
