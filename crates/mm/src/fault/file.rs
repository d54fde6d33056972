//! First touch of a page that an area of a file shows.
//!
//! The page is brought in, if it is not in memory, and with it, as long as there is room, those
//! behind it that the reader seems to go on to. A load shows it, and up to 16 neighbours that are
//! in memory. A store in a private area copies it: the space's tables name the copy from then on. A
//! store in a shared area makes it dirty, before it is let through. The file's frame is locked from
//! when it is found until its window shows it, or the copy stands in the table.

use super::{Fault, Next};
use crate::addr::{Access, Run};
use crate::backing::areas::{BackedBy, FilePage};
use crate::budget::{Charge, Need};
use crate::error::Stop;
use crate::files::{InMemory, Wanted, find_page, is_worth_reading, load_page, will_change};
use crate::frame::Locked;
use crate::host::{Host, Piece, Protection, Store};
use crate::mm::alloc_frame;
use crate::peek::lock_entry;
use crate::reclaim::Origin;
use crate::table::{FANOUT, LeafEntry, OwnLeaf, TableNo, run_around, slot_of};

impl<'m, H: Host, S: Store> Fault<'_, 'm, H, S> {
    /// The page of a file to which a store goes in place, if that is what the area says.
    pub(super) fn stored_in_place(&self) -> Option<FilePage> {
        match self.space.areas.of(self.page) {
            BackedBy::File(at) if at.kind == Piece::Shared => Some(at),
            _ => None,
        }
    }

    /// The page of the file, in memory and locked.
    fn bring_file_page(&mut self, at: FilePage) -> Result<InMemory<'m>, Stop> {
        let mm = self.mm;
        let backing = mm.files.view(at.file).backing;
        if mm.backings.frame_at(backing, at.page).is_none() {
            let order = self.space.areas.order(self.page);
            let pages = self.space.areas.ahead.asked(at.file, at.page, order);
            let ahead = (1..pages).map(|n| at.page.plus(n));
            for page in ahead.filter(|&page| is_worth_reading(mm, at.file, page)) {
                // Whoever needs it will hear of it.
                if load_page(mm, at.file, page, Wanted::Ahead).is_err() {
                    break;
                }
            }
        }
        let found = load_page(mm, at.file, at.page, Wanted::Now)?;
        found.locked.frame.mark_referenced();
        Ok(found)
    }

    /// Shows the page for loads, with its neighbours.
    pub(super) fn show_file(&mut self, leaf: Option<TableNo>, at: FilePage) -> Result<Next, Stop> {
        let mm = self.mm;
        let found = self.bring_file_page(at)?;
        let file = &found.file;
        let mut near_locks: [Option<Locked<'m>>; FANOUT] = [const { None }; FANOUT];
        let run = run_around(self.page, |near| {
            let same = |by: &FilePage| {
                (by.file, by.kind) == (at.file, at.kind) && by.page.0 + self.page.0 == at.page.0 + near.0
            };
            let BackedBy::File(by) = self.space.areas.of(near) else {
                return false;
            };
            let fits = same(&by)
                && file.bytes_of(by.page) != 0
                && self.space.areas.rights(near).allow(Access::Read)
                && !self.is_stood_in(near)
                && leaf.is_none_or(|leaf| mm.tables.entry(leaf, near) == LeafEntry::Absent);
            let locked = fits.then(|| find_page(mm, file, by.page)).flatten();
            let fits = locked.is_some();
            near_locks[usize::from(slot_of(near, 0))] = locked;
            fits
        });
        mm.host.show(self.space.no, run)?;
        found.locked.frame.shown.show();
        let near = near_locks.iter().flatten();
        near.for_each(|locked| locked.frame.shown.show());
        mm.counters.shown.one();
        Ok(Next::Done)
    }

    /// Lets stores to the page through, for all who show it.
    pub(super) fn store_in_place(&mut self, at: FilePage) -> Result<Next, Stop> {
        let mm = self.mm;
        let mut found = self.bring_file_page(at)?;
        let was_dirty = std::mem::replace(&mut found.locked.dirty, true);
        if let Err(refused) = mm.host.show_writable(self.space.no, Run::one(self.page)) {
            found.locked.dirty = was_dirty;
            return Err(refused.into());
        }
        found.locked.frame.shown.show();
        if !was_dirty {
            mm.files.now_dirty(at.file);
        }
        will_change(mm, &found, was_dirty);
        mm.counters.file_stores.one();
        Ok(Next::Done)
    }

    /// Gives the space a page of its own with the file's bytes.
    pub(super) fn copy_file(
        &mut self,
        leaf: OwnLeaf,
        at: FilePage,
        mut charge: Charge<'_>,
    ) -> Result<Next, Stop> {
        let mm = self.mm;
        let new = alloc_frame(mm, Need::Normal)?;
        let copied = self
            .bring_file_page(at)
            .and_then(|found| self.copy_shown(found.at).map(|()| found).map_err(Stop::from));
        let found = match copied {
            Ok(found) => found,
            Err(stop) => {
                mm.frames.free(new.0);
                return Err(stop);
            }
        };
        // Two frames are not locked at a time: nobody else knows the new one, or works on this page
        // of the window without this space's lock.
        drop(found);
        let protection = self.protection(self.page);
        self.install_private(leaf, self.page, new, Origin::New, charge.page(), protection);
        mm.counters.copied.one();
        Ok(Next::Done)
    }

    /// The page became the space's own for a load: where its area allows no stores, they are faults
    /// again, if they were not all the time.
    pub(super) fn close_if_read_only(&mut self) -> Result<(), Stop> {
        let (mm, page) = (self.mm, self.page);
        if self.protection(page) == Protection::Writable {
            return Ok(());
        }
        let Some((frame, leaf)) = mm.tables.lookup(&self.space.tree, page).frame() else {
            return Ok(());
        };
        let locked = lock_entry(mm, leaf, page, frame).filter(|locked| locked.frame.is_exclusive());
        let Some(mut locked) = locked.filter(|locked| !locked.protected) else {
            return Ok(());
        };
        mm.host.protect(self.space.no, Run::one(page))?;
        locked.protected = true;
        Ok(())
    }
}
