//! A path that was made a space's own, until it is known whether the step that needed it succeeds.
//!
//! The topmost link that changed is all there is to take back: the table that it led to is kept alive by a reference
//! without a parent, and what was copied below the new one goes with it. So a write that fails leaves the tables as they were.
//! Called under the space lock, without a frame lock.

use super::tree::OwnLeaf;
use super::{Member, TableEntry, TableNo, slot_of};
use crate::addr::PageNo;
use crate::budget::Need;
use crate::error::Stop;
use crate::host::{Host, Store};
use crate::mm::Mm;
use crate::rmap::Sweep;
use crate::space::{SpaceGuard, SpaceState};

/// The topmost link that was changed.
#[derive(Debug)]
pub(super) struct Split {
    /// Whose.
    pub parent: Member,
    /// What it led to, kept alive.
    pub before: Option<TableNo>,
    /// What it leads to.
    pub now: TableNo,
}

impl<H: Host, S: Store> Mm<H, S> {
    /// Makes the path to a page this space's own, for good.
    pub(crate) fn own_leaf(
        &self,
        space: &mut SpaceGuard<'_>,
        page: PageNo,
        need: Need,
    ) -> Result<OwnLeaf, Stop> {
        let (leaf, split) = self.own_path(space, page, need)?;
        self.keep_split(split);
        Ok(leaf)
    }

    /// Makes the path to a page this space's own for a step, and takes that back if the step fails. It must then have put
    /// nothing into the leaf, and holds no frame lock any more.
    pub(crate) fn with_own_leaf<R>(
        &self,
        space: &mut SpaceGuard<'_>,
        page: PageNo,
        need: Need,
        step: impl FnOnce(&mut SpaceGuard<'_>, OwnLeaf) -> Result<R, Stop>,
    ) -> Result<R, Stop> {
        let (leaf, split) = self.own_path(space, page, need)?;
        let done = step(space, leaf);
        match done {
            Ok(_) => self.keep_split(split),
            Err(_) => self.take_back(space, split),
        }
        done
    }

    fn keep_split(&self, split: Option<Split>) {
        if let Some(old) = split.and_then(|split| split.before) {
            let mut sweep = Sweep::new(self);
            self.drop_table(old, &mut sweep);
            sweep.finish_pool();
        }
    }

    fn take_back(&self, st: &mut SpaceState, split: Option<Split>) {
        let Some(Split { parent, before, now }) = split else {
            return;
        };
        // The parent has one pair of links: it leaves the new chain before it enters the old one again.
        self.pull_parent(parent, now);
        match before {
            Some(old) => {
                self.adopt(parent, old);
                self.point(parent, st, old);
                assert!(
                    !self.table(old).drop_ref(),
                    "a table lost the parent that it got back"
                );
            }
            None => self.unpoint(parent, st, now),
        }
        let mut sweep = Sweep::new(self);
        self.drop_table(now, &mut sweep);
        sweep.finish_pool();
    }

    /// `parent` points at nothing again.
    fn unpoint(&self, parent: Member, st: &mut SpaceState, child: TableNo) {
        match parent {
            Member::Space(_) => st.root = None,
            Member::Table(table) => {
                let t = self.table(child);
                let slot = slot_of(t.first_page(), t.level() + 1);
                self.table(table).slot(slot).entry.set_table(TableEntry::Absent);
            }
        }
    }
}
