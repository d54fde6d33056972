//! Locked frames of one leaf: a page's, and its neighbours'.
//!
//! What is done for a run of neighbours in one call of the machine needs all their frames' locks.
//! The page's own lock was waited for; a neighbour whose lock is taken is in use, and ends the run.
//! Used by faults that show pages and by migration to the pool.

use crate::addr::{PageNo, Run};
use crate::frame::Locked;
use crate::mm::Mm;
use crate::table::{FANOUT, LeafEntry, TableNo, run_around, slot_of};

/// See the head of the file.
pub(crate) struct LockedRun<'m> {
    leaf: TableNo,
    page: PageNo,
    frames: [Option<Locked<'m>>; FANOUT],
}

impl<'m> LockedRun<'m> {
    /// The page's frame alone.
    pub fn of(leaf: TableNo, page: PageNo, locked: Locked<'m>) -> Self {
        let mut frames = [const { None }; FANOUT];
        frames[usize::from(slot_of(page, 0))] = Some(locked);
        Self { leaf, page, frames }
    }

    /// Locks the neighbours for which `fits` says yes; which pages those are, with the page itself.
    pub fn widen<H, S>(
        &mut self,
        mm: &'m Mm<H, S>,
        mut fits: impl FnMut(PageNo, &Locked<'_>) -> bool,
    ) -> Run {
        let Self { leaf, page, frames } = self;
        run_around(*page, |near| {
            let LeafEntry::Frame(no) = mm.tables.entry(*leaf, near) else {
                return false;
            };
            let Some(locked) = mm.frames.try_lock(no) else {
                return false;
            };
            let fits = mm.tables.entry(*leaf, near) == LeafEntry::Frame(no) && fits(near, &locked);
            if fits {
                frames[usize::from(slot_of(near, 0))] = Some(locked);
            }
            fits
        })
    }

    /// The frame of a page that is locked.
    pub fn at(&mut self, page: PageNo) -> &mut Locked<'m> {
        let locked = self.frames[usize::from(slot_of(page, 0))].as_mut();
        locked.expect("the run is locked")
    }

    /// The same, to be let go by whoever takes it.
    pub fn take(&mut self, page: PageNo) -> Locked<'m> {
        let locked = self.frames[usize::from(slot_of(page, 0))].take();
        locked.expect("the run is locked")
    }

    /// All that are locked.
    pub fn iter(&self) -> impl Iterator<Item = &Locked<'m>> {
        self.frames.iter().flatten()
    }
}
