//! A write to a page that has a frame (Linux: `do_wp_page`).
//!
//! An exclusive frame was only protected to learn whether it is used: let the store through. A
//! shared frame that nobody else maps any more, and whose bytes are this space's private page, is
//! taken over: the mapping word moves to this leaf in one store, under the frame lock (Linux:
//! `page_move_anon_rmap`). Any other shared frame is copied. When its bytes are *this* space's
//! private page, they go to the pool for those who share them, and the private page becomes the new
//! frame's: still one copy, and the others lose nothing. Stores that come page after page find
//! copies of the following pages (`copy_ahead.rs`).

use super::{Fault, Next};
use crate::addr::{FrameNo, PoolPage, Run};
use crate::budget::{Charge, Class, Need};
use crate::error::Stop;
use crate::frame::{Locked, Owner, Residence};
use crate::host::{Host, HostError, PageRef, Protection, Store};
use crate::keep::{let_go, may_compress};
use crate::migrate::copy_to_pool;
use crate::mm::{alloc_frame, drop_cache};
use crate::peek::{lock_entry, read_window};
use crate::reclaim::Origin;
use crate::residency::NoRecord;
use crate::rmap::Sweep;
use crate::table::{LeafEntry, LeafSlot, OwnLeaf};
use crate::writable::let_stores_through;

impl<'m, H: Host, S: Store> Fault<'_, 'm, H, S> {
    pub(super) fn write_frame(
        &mut self,
        leaf: OwnLeaf,
        frame: FrameNo,
        mut charge: Charge<'m>,
    ) -> Result<Next, Stop> {
        let Some(locked) = lock_entry(self.mm, leaf.0, self.page, frame) else {
            return Ok(Next::Retry);
        };
        if locked.frame.is_exclusive() {
            // The path was shared when we looked, and is not any more: `unprotect` is the way.
            return Ok(Next::Retry);
        }
        let mine = locked.residence == Residence::Private(self.space.no);
        if mine && locked.frame.count.load().maps == 1 {
            return self.reuse(leaf, locked);
        }
        if locked.residence == Residence::Backing(self.space.backing) && self.space.areas.is_empty() {
            let pages = self.space.stores.ahead(self.page);
            if pages > 1 {
                return self.copy_ahead(leaf, locked, charge, pages);
            }
        }
        let new = alloc_frame(self.mm, Need::Normal)?;
        let copied = match locked.residence {
            Residence::Private(_) if mine => self.migrate(locked),
            _ => self.copy_frame(&locked).map(|()| locked).map_err(Stop::from),
        };
        let mut locked = match copied {
            Ok(locked) => locked,
            Err(stop) => {
                self.mm.frames.free(new.0);
                return Err(stop);
            }
        };
        let slot = LeafSlot::of(leaf.0, self.page);
        self.mm.tables.set_entry(slot, LeafEntry::Absent);
        if self.space.areas.is_locked(self.page) {
            let_go(self.mm, &mut locked);
        }
        let mut sweep = Sweep::new(self.mm);
        sweep.unmap(locked, slot);
        sweep.finish_pool();
        let protection = self.protection(self.page);
        self.install_private(leaf, self.page, new, Origin::New, charge.page(), protection);
        self.space.stores.copied(Run::one(self.page));
        self.mm.counters.copied.one();
        Ok(Next::Done)
    }

    /// Nobody else maps the frame: it becomes this space's own, in place.
    fn reuse(&mut self, leaf: OwnLeaf, mut locked: Locked<'_>) -> Result<Next, Stop> {
        // Otherwise it stays as it was while others shared it.
        if self.protection(self.page) == Protection::Writable {
            let_stores_through(self.mm, self.space.no, self.page, &mut locked)?;
        }
        if let Some(slot) = locked.cached.take() {
            drop_cache(self.mm, slot, self.space.backing, self.page);
        }
        locked.set_owner(Owner::Exclusive(LeafSlot::of(leaf.0, self.page)));
        locked.frame.mark_referenced();
        may_compress(self.mm, &locked);
        self.space.slot.unexport();
        drop(locked);
        self.mm.tables.mark_dirty(&mut self.space.tree, leaf);
        self.mm.counters.reused.one();
        Ok(Next::Done)
    }

    /// The bytes are our private page and others share them: the pool gets them, the page stays
    /// ours.
    fn migrate(&mut self, mut locked: Locked<'m>) -> Result<Locked<'m>, Stop> {
        copy_to_pool(self.mm, self.space, self.page, &mut locked, NoRecord::Stop)?;
        self.mm.budget.reclass_page(&mut locked.charge, Class::Pool);
        let run = Run::one(self.page);
        if self.protection(self.page) == Protection::Protected {
            return Ok(locked);
        }
        if let Err(e) = self.mm.host.unprotect(self.space.no, run) {
            // The frame is in the pool now, that is no harm; our private page must not stay behind
            // it.
            self.mm.host.drop_pages(self.space.no, run);
            return Err(e.into());
        }
        Ok(locked)
    }

    /// Gives this space a private copy of a shared frame that lies elsewhere.
    fn copy_frame(&self, locked: &Locked<'_>) -> Result<(), HostError> {
        match locked.residence.page_ref(&self.mm.backings, self.page) {
            PageRef::Pool(from) => self.copy_shown(from),
            PageRef::Private(owner) => self.mm.scratch.with(|bytes| {
                read_window(self.mm, self.space.no, owner, locked, self.page, bytes)?;
                let protection = self.protection(self.page);
                self.mm.host.fill(self.space.no, self.page, bytes, protection)
            }),
        }
    }

    /// Gives the window a private copy of a pool page.
    pub(super) fn copy_shown(&self, from: PoolPage) -> Result<(), HostError> {
        let (host, space, page) = (&self.mm.host, self.space.no, self.page);
        match self.protection(page) {
            Protection::Writable => host.copy_from_pool(space, page, from),
            protected => self.mm.scratch.with(|bytes| {
                host.pool_read(from, bytes)?;
                host.fill(space, page, bytes, protected)
            }),
        }
    }
}
