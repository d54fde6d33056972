//! Making the path to a page a space's own, sharing and dropping tables. Under the space lock.
//!
//! A space may change what its own path of tables leads to only when no table on the path is
//! shared. [`Trees::own_path`] makes it so: it first counts and takes the tables that it needs,
//! which may fail and changes nothing, then copies and links, which cannot fail. Until it is known
//! whether the step that needed the path succeeds, a [`Split`] is all there is to take back: the
//! topmost link that changed. The table that it led to is kept alive by a reference without a
//! parent, and what was copied below the new one goes with it. What leaves name is nothing that is
//! known here: whoever knows it is told when a leaf is copied and when one goes ([`Leaves`]).

use super::{
    FANOUT, LeafSlot, MAX_LEVELS, OwnLeaf, Parent, Roots, Slot, TableEntry, TableNo, Tables, Tree, Trees,
    first_of, slot_of,
};
use crate::addr::{PageNo, SpaceNo};
use crate::budget::{Budget, Need};

/// Whoever knows what the entries of leaves name. No lock is held but the space's.
pub(crate) trait Leaves {
    /// The empty slot `to`, which is that of `at`, says the same as `from` from now on.
    fn copy(&self, from: &Slot, to: &Slot, at: LeafSlot);
    /// The slot says nothing any more; nobody else can reach its leaf.
    fn clear(&mut self, at: LeafSlot);
    /// All that was to be cleared for one change was.
    fn finish(&mut self);
}

/// The topmost link that was changed.
#[derive(Debug)]
pub(crate) struct Split {
    /// Whose.
    parent: Parent,
    /// What it led to, kept alive.
    before: Option<TableNo>,
    /// What it leads to.
    now: TableNo,
}

/// Tables taken for a step; what is left over is given back.
struct Spare<'m> {
    tables: &'m Tables,
    numbers: [u32; MAX_LEVELS as usize],
    len: usize,
}

impl<'m> Spare<'m> {
    /// So many; `None` when the budget has no room for them.
    fn take(tables: &'m Tables, count: usize, budget: &Budget, need: Need) -> Option<Self> {
        let mut spare = Self {
            tables,
            numbers: [0; MAX_LEVELS as usize],
            len: 0,
        };
        while spare.len < count {
            spare.numbers[spare.len] = budget.take(tables, need)?;
            spare.len += 1;
        }
        Some(spare)
    }

    fn next(&mut self, level: u8, page: PageNo) -> TableNo {
        assert_ne!(self.len, 0, "a path needed more tables than were counted");
        self.len -= 1;
        let no = TableNo(self.numbers[self.len]);
        let table = self.tables.at(no);
        assert_eq!(table.refs(), 0, "a table in use was handed out");
        table.set_place(level, first_of(page, level));
        no
    }
}

impl Drop for Spare<'_> {
    fn drop(&mut self) {
        for &no in &self.numbers[..self.len] {
            self.tables.free(no);
        }
    }
}

impl<R: Roots> Trees<'_, R> {
    /// Makes the path to a page this space's own; also says what changed for that, to be kept or
    /// taken back. `None` when the budget has no room for the tables.
    pub fn own_path(
        &self,
        (no, tree): (SpaceNo, &mut Tree),
        page: PageNo,
        budget: &Budget,
        need: Need,
        leaves: &mut impl Leaves,
    ) -> Option<(OwnLeaf, Option<Split>)> {
        let mut split = None;
        let mut spare = Spare::take(self.tables, self.tables_needed(tree, page), budget, need)?;
        let mut parent = Parent::Space(no);
        let mut current = tree.root;
        for level in (0..tree.levels).rev() {
            let alone = current.filter(|&table| self.tables.at(table).refs() == 1);
            let own = alone.unwrap_or_else(|| {
                let new = spare.next(level, page);
                match current {
                    Some(old) => {
                        if split.is_none() {
                            // Kept alive until the split is kept or taken back.
                            self.tables.at(old).add_ref();
                        }
                        self.split_off(old, parent, tree, new, leaves);
                    }
                    None => {
                        self.adopt(parent, new);
                        self.point(parent, tree, new);
                    }
                }
                split.get_or_insert(Split {
                    parent,
                    before: current,
                    now: new,
                });
                new
            });
            if level == 0 {
                return Some((OwnLeaf(own), split));
            }
            parent = Parent::Table(own);
            current = self.child(own, page, level);
        }
        unreachable!("a tree has at least one level")
    }

    fn tables_needed(&self, tree: &Tree, page: PageNo) -> usize {
        let mut at = tree.root;
        for level in (0..tree.levels).rev() {
            let own = at.filter(|&t| self.tables.at(t).refs() == 1);
            let Some(table) = own else {
                return usize::from(level) + 1;
            };
            if level != 0 {
                at = self.child(table, page, level);
            }
        }
        0
    }

    fn child(&self, table: TableNo, page: PageNo, level: u8) -> Option<TableNo> {
        let slot = self.tables.at(table).slot(slot_of(page, level));
        slot.entry.table().child()
    }

    /// Gives `parent` the copy `new` in place of the shared table `old`.
    fn split_off(
        &self,
        old: TableNo,
        parent: Parent,
        tree: &mut Tree,
        new: TableNo,
        leaves: &mut impl Leaves,
    ) {
        if self.tables.at(old).level() == 0 {
            self.copy_leaf(old, new, leaves);
        } else {
            self.copy_table(old, new);
        }
        // The parent's slot has one pair of links: it leaves the old chain before it enters the new
        // one.
        self.pull_parent(parent, old);
        self.adopt(parent, new);
        self.point(parent, tree, new);
        self.drop_table(old, leaves);
        leaves.finish();
    }

    /// Writes what `parent` points at.
    fn point(&self, parent: Parent, tree: &mut Tree, child: TableNo) {
        match parent {
            Parent::Space(_) => tree.root = Some(child),
            Parent::Table(table) => self.set(table, child, TableEntry::Table(child)),
        }
    }

    /// `parent` points at nothing again.
    fn unpoint(&self, parent: Parent, tree: &mut Tree, child: TableNo) {
        match parent {
            Parent::Space(_) => tree.root = None,
            Parent::Table(table) => self.set(table, child, TableEntry::Absent),
        }
    }

    /// Writes the slot of a table in which `child` has its place.
    fn set(&self, table: TableNo, child: TableNo, entry: TableEntry) {
        let t = self.tables.at(child);
        let slot = slot_of(t.first_page(), t.level() + 1);
        self.tables.at(table).slot(slot).entry.set_table(entry);
    }

    fn copy_table(&self, from: TableNo, to: TableNo) {
        let (from, to_table) = (self.tables.at(from), self.tables.at(to));
        for n in 0..FANOUT as u8 {
            if let TableEntry::Table(child) = from.slot(n).entry.table() {
                self.adopt(Parent::Table(to), child);
                to_table.slot(n).entry.set_table(TableEntry::Table(child));
            }
        }
    }

    fn copy_leaf(&self, from: TableNo, to: TableNo, leaves: &impl Leaves) {
        let (from, to_table) = (self.tables.at(from), self.tables.at(to));
        for slot in 0..FANOUT as u8 {
            leaves.copy(from.slot(slot), to_table.slot(slot), LeafSlot { leaf: to, slot });
        }
    }

    /// Drops a reference whose chain entry is gone; frees what nobody else points at.
    pub fn drop_table(&self, no: TableNo, leaves: &mut impl Leaves) {
        let table = self.tables.at(no);
        if !table.drop_ref() {
            return;
        }
        let level = table.level();
        for slot in 0..FANOUT as u8 {
            if level == 0 {
                leaves.clear(LeafSlot { leaf: no, slot });
                continue;
            }
            if let TableEntry::Table(child) = table.slot(slot).entry.table() {
                self.pull_parent(Parent::Table(no), child);
                table.slot(slot).entry.set_table(TableEntry::Absent);
                self.drop_table(child, leaves);
            }
        }
        assert_eq!(
            table.lock().head,
            0,
            "a table was freed while something points at it"
        );
        table.forget_dirty();
        self.tables.free(no.0);
    }

    /// The step that needed the path succeeded.
    pub fn keep_split(&self, split: Split, leaves: &mut impl Leaves) {
        if let Some(old) = split.before {
            self.drop_table(old, leaves);
            leaves.finish();
        }
    }

    /// The step that needed the path failed, and has put nothing into the leaf: the tables are as
    /// they were.
    pub fn take_back(&self, tree: &mut Tree, split: Split, leaves: &mut impl Leaves) {
        let Split { parent, before, now } = split;
        // The parent has one pair of links: it leaves the new chain before it enters the old one
        // again.
        self.pull_parent(parent, now);
        match before {
            Some(old) => {
                self.adopt(parent, old);
                self.point(parent, tree, old);
                assert!(
                    !self.tables.at(old).drop_ref(),
                    "a table lost the parent that it got back"
                );
            }
            None => self.unpoint(parent, tree, now),
        }
        self.drop_table(now, leaves);
        leaves.finish();
    }

    /// A space less points at its root.
    pub fn drop_root(&self, no: SpaceNo, root: TableNo, leaves: &mut impl Leaves) {
        self.pull_parent(Parent::Space(no), root);
        self.drop_table(root, leaves);
    }

    /// The fork `no` points at its parent's root.
    pub fn share_root(&self, no: SpaceNo, root: TableNo) {
        self.adopt(Parent::Space(no), root);
    }
}
