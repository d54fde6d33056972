//! Walking, sharing and copying the tables of a space. Called under the space lock.
//!
//! A space may change what its own path of tables leads to only when no table on the path is
//! shared. `own_path` makes it so: it first counts and allocates the tables that it needs, which may
//! fail and changes nothing, then copies and links, which cannot fail. `split.rs` keeps or takes back what it did.

use super::split::Split;
use super::{FAN, LeafEntry, MAX_LEVELS, Member, Table, TableEntry, TableNo, first_of, slot_of};
use crate::addr::{FrameNo, PageNo, SpaceNo};
use crate::budget::Need;
use crate::error::Stop;
use crate::host::{Host, Store};
use crate::mm::Mm;
use crate::rmap::Sweep;
use crate::space::{SpaceGuard, SpaceState};
use memfold_sync::atomic::Ordering;

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

/// Tables taken for a step; what is left over is given back.
struct Spare<'a, H: Host, S: Store> {
    mm: &'a Mm<H, S>,
    tables: [u32; MAX_LEVELS as usize],
    len: usize,
}

impl<H: Host, S: Store> Spare<'_, H, S> {
    fn take(&mut self, level: u8, page: PageNo) -> TableNo {
        assert_ne!(self.len, 0, "a path needed more tables than were counted");
        self.len -= 1;
        let no = TableNo(self.tables[self.len]);
        let table = self.mm.table(no);
        assert_eq!(table.refs(), 0, "a table in use was handed out");
        table.set_place(level, first_of(page, level));
        no
    }
}

impl<H: Host, S: Store> Drop for Spare<'_, H, S> {
    fn drop(&mut self) {
        for &no in &self.tables[..self.len] {
            self.mm.tables.free(no);
        }
    }
}

impl<H: Host, S: Store> Mm<H, S> {
    /// Walks down to a page.
    pub(crate) fn lookup(&self, st: &SpaceState, page: PageNo) -> Lookup {
        let Some(mut at) = st.root else {
            return Lookup::NoLeaf;
        };
        let mut shared = false;
        for level in (1..st.levels).rev() {
            let table = self.table(at);
            shared |= table.refs() > 1;
            match table.slot(slot_of(page, level)).entry.table() {
                TableEntry::Table(next) => at = next,
                TableEntry::Absent => return Lookup::NoLeaf,
            }
        }
        let leaf = self.table(at);
        shared |= leaf.refs() > 1;
        let entry = leaf.slot(slot_of(page, 0)).entry.leaf();
        Lookup::Leaf(AtLeaf {
            leaf: at,
            shared,
            entry,
        })
    }

    /// Makes the path to a page this space's own; also says what changed for that, to be kept or taken back.
    pub(super) fn own_path(
        &self,
        space: &mut SpaceGuard<'_>,
        page: PageNo,
        need: Need,
    ) -> Result<(OwnLeaf, Option<Split>), Stop> {
        if let Lookup::Leaf(AtLeaf {
            leaf, shared: false, ..
        }) = self.lookup(space, page)
        {
            return Ok((OwnLeaf(leaf), None));
        }
        let mut split = None;
        let mut spare = self.spare_tables(self.tables_needed(space, page), need)?;
        let mut parent = Member::Space(space.no);
        let mut current = space.root;
        for level in (0..space.levels).rev() {
            let alone = current.filter(|&table| self.table(table).refs() == 1);
            let own = alone.unwrap_or_else(|| {
                let new = spare.take(level, page);
                match current {
                    Some(old) => {
                        if split.is_none() {
                            // Kept alive until the split is kept or taken back.
                            self.table(old).add_ref();
                        }
                        self.split_off(old, parent, space, new);
                    }
                    None => {
                        self.adopt(parent, new);
                        self.point(parent, space, new);
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
                return Ok((OwnLeaf(own), split));
            }
            parent = Member::Table(own);
            current = self.table(own).slot(slot_of(page, level)).entry.table().child();
        }
        unreachable!("a tree has at least one level")
    }

    fn tables_needed(&self, st: &SpaceState, page: PageNo) -> usize {
        let mut at = st.root;
        for level in (0..st.levels).rev() {
            let own = at.filter(|&t| self.table(t).refs() == 1);
            let Some(table) = own else {
                return usize::from(level) + 1;
            };
            if level != 0 {
                at = self.table(table).slot(slot_of(page, level)).entry.table().child();
            }
        }
        0
    }

    fn spare_tables(&self, count: usize, need: Need) -> Result<Spare<'_, H, S>, Stop> {
        let mut spare = Spare {
            mm: self,
            tables: [0; MAX_LEVELS as usize],
            len: 0,
        };
        while spare.len < count {
            let no = self.budget.take(&self.tables, need).ok_or(Stop::NoRoom)?;
            spare.tables[spare.len] = no;
            spare.len += 1;
        }
        Ok(spare)
    }

    /// Gives `parent` the copy `new` in place of the shared table `old`.
    fn split_off(&self, old: TableNo, parent: Member, st: &mut SpaceState, new: TableNo) {
        if self.table(old).level() == 0 {
            self.copy_leaf(old, new);
        } else {
            self.copy_table(old, new);
        }
        // The parent's slot has one pair of links: it leaves the old chain before it enters the new one.
        self.pull_parent(parent, old);
        self.adopt(parent, new);
        self.point(parent, st, new);
        let mut sweep = Sweep::new(self);
        self.drop_table(old, &mut sweep);
        sweep.finish_pool();
    }

    /// Writes what `parent` points at.
    pub(super) fn point(&self, parent: Member, st: &mut SpaceState, child: TableNo) {
        match parent {
            Member::Space(_) => st.root = Some(child),
            Member::Table(table) => {
                let t = self.table(child);
                let slot = slot_of(t.first_page(), t.level() + 1);
                self.table(table)
                    .slot(slot)
                    .entry
                    .set_table(TableEntry::Table(child));
            }
        }
    }

    fn copy_table(&self, from: TableNo, to: TableNo) {
        let (from, to_table) = (self.table(from), self.table(to));
        for n in 0..FAN as u8 {
            if let TableEntry::Table(child) = from.slot(n).entry.table() {
                self.adopt(Member::Table(to), child);
                to_table.slot(n).entry.set_table(TableEntry::Table(child));
            }
        }
    }

    fn copy_leaf(&self, from: TableNo, to: TableNo) {
        let (from, to_table) = (self.table(from), self.table(to));
        for n in 0..FAN as u8 {
            // Ends when the entry holds still: each turn means that somebody evicted or brought in the page.
            loop {
                let entry = from.slot(n).entry.leaf();
                match entry {
                    LeafEntry::Absent => break,
                    LeafEntry::Frame(frame) => {
                        let locked = self.lock_frame(frame);
                        if from.slot(n).entry.leaf() == entry {
                            self.map_also(&locked, to, n);
                            to_table.slot(n).entry.set_leaf(entry);
                            break;
                        }
                    }
                    LeafEntry::Swapped(slot) => {
                        if self.swap.dup(slot) {
                            to_table.slot(n).entry.set_leaf(entry);
                            break;
                        }
                    }
                }
            }
        }
    }

    /// A space less points at its root.
    pub(crate) fn drop_root(&self, no: SpaceNo, root: TableNo, sweep: &mut Sweep<'_, H, S>) {
        self.pull_parent(Member::Space(no), root);
        self.drop_table(root, sweep);
    }

    /// The fork `no` points at its parent's root.
    pub(crate) fn share_root(&self, no: SpaceNo, root: TableNo) {
        self.adopt(Member::Space(no), root);
    }

    /// Drops a reference whose chain entry is gone; frees what nobody else points at.
    pub(super) fn drop_table(&self, no: TableNo, sweep: &mut Sweep<'_, H, S>) {
        let table = self.table(no);
        if !table.drop_ref() {
            return;
        }
        let level = table.level();
        for n in 0..FAN as u8 {
            if level == 0 {
                self.clear_slot(no, n, sweep);
                continue;
            }
            if let TableEntry::Table(child) = table.slot(n).entry.table() {
                self.pull_parent(Member::Table(no), child);
                table.slot(n).entry.set_table(TableEntry::Absent);
                self.drop_table(child, sweep);
            }
        }
        assert_eq!(
            table.lock().head,
            0,
            "a table was freed while something points at it"
        );
        self.forget_dirty(table);
        self.tables.free(no.0);
    }

    /// Empties a leaf's slot. The leaf belongs to the caller alone.
    fn clear_slot(&self, leaf: TableNo, n: u8, sweep: &mut Sweep<'_, H, S>) {
        let slot = self.table(leaf).slot(n);
        loop {
            let entry = slot.entry.leaf();
            match entry {
                LeafEntry::Absent => return,
                LeafEntry::Frame(frame) => {
                    let locked = self.lock_frame(frame);
                    if slot.entry.leaf() == entry {
                        slot.entry.set_leaf(LeafEntry::Absent);
                        self.unmap(locked, super::LeafSlot { leaf, slot: n }, sweep);
                        return;
                    }
                }
                LeafEntry::Swapped(swapped) => {
                    slot.entry.set_leaf(LeafEntry::Absent);
                    self.swap.put(swapped, &self.store, &self.budget);
                    return;
                }
            }
        }
    }

    /// Notes that a leaf of this space has exclusive frames, which its next fork must share.
    pub(crate) fn mark_dirty(&self, st: &mut SpaceState, leaf: OwnLeaf) {
        let table = self.table(leaf.0);
        // Relaxed: the list is under the space lock.
        if table.dirty.swap(1, Ordering::Relaxed) == 0 {
            // Relaxed: as above.
            table.dirty_next.store(st.dirty_head, Ordering::Relaxed);
            st.dirty_head = leaf.0.0;
        }
    }

    /// The leaf after this one on the space's list of dirty leaves.
    pub(crate) fn next_dirty(&self, leaf: TableNo) -> u32 {
        // Relaxed: the list is under the space lock.
        self.table(leaf).dirty_next.load(Ordering::Relaxed)
    }

    /// The leaf is on no list of dirty leaves any more.
    pub(crate) fn forget_dirty(&self, table: &Table) {
        // Relaxed: the list is under the space lock, or its space is gone.
        table.dirty.store(0, Ordering::Relaxed);
    }
}
