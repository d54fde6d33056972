//! A write to a page that has a frame (Linux: `do_wp_page`).
//!
//! An exclusive frame was only protected to learn whether it is used: let the store through.
//! A shared frame that nobody else maps any more, and whose bytes are this space's private page, is taken over: the
//! mapping word moves to this leaf in one store, under the frame lock (Linux: `page_move_anon_rmap`). Any other shared
//! frame is copied. When its bytes are *this* space's private page, they go to the pool for those who share them, and
//! the private page becomes the new frame's: still one copy, and the others lose nothing.

use super::{At, Next};
use crate::addr::{FrameNo, PageNo, Run};
use crate::budget::{Charge, Class, Need};
use crate::error::Stop;
use crate::frame::{Locked, Owner, Residence};
use crate::host::{Host, HostError, Protection, Store};
use crate::migrate::copy_out;
use crate::mm::Mm;
use crate::mm::alloc_frame;
use crate::peek::read_window;
use crate::reclaim::Origin;
use crate::residency::NoRecord;
use crate::rmap::Sweep;
use crate::space::SpaceGuard;
use crate::table::LeafSlot;
use crate::table::{LeafEntry, OwnLeaf, TableNo};

impl<H: Host, S: Store> Mm<H, S> {
    pub(super) fn unprotect(&self, at: &mut At<'_, '_>, leaf: TableNo, frame: FrameNo) -> Result<Next, Stop> {
        let Some(locked) = self.lock_entry(leaf, at.page, frame) else {
            return Ok(Next::Look);
        };
        if !locked.frame.is_exclusive() {
            return Ok(Next::Look);
        }
        assert_eq!(
            locked.residence,
            Residence::Private(at.space.no),
            "an exclusive frame lies in another space"
        );
        self.host.unprotect(at.space.no, Run::one(at.page))?;
        locked.frame.mark_referenced();
        self.may_compress(&locked);
        self.counters.unprotected.one();
        Ok(Next::Done)
    }

    /// Lets stores through to a page that is this space's own, and was protected to see whether it is used: that needs no room.
    /// False when it is no such page. The space's lock is held.
    pub(crate) fn let_through(&self, space: &mut SpaceGuard<'_>, page: PageNo) -> Result<bool, Stop> {
        let found = self.tables.lookup(&space.tree, page);
        let Some((frame, leaf)) = found.frame().filter(|_| !found.is_shared()) else {
            return Ok(false);
        };
        Ok(self.unprotect(&mut self.at(space, page), leaf, frame)? == Next::Done)
    }

    /// The bytes are about to change: whether they compress is not known any more.
    fn may_compress(&self, locked: &Locked<'_>) {
        if locked.frame.is_incompressible() {
            locked.frame.mark_incompressible(false);
            self.replacer.bring_back(&self.frames, locked.no);
        }
    }

    pub(super) fn write_frame(
        &self,
        at: &mut At<'_, '_>,
        leaf: OwnLeaf,
        frame: FrameNo,
        mut charge: Charge<'_>,
    ) -> Result<Next, Stop> {
        let locked = self.frames.lock(frame);
        if self.tables.entry(leaf.0, at.page) != LeafEntry::Frame(frame) {
            return Ok(Next::Look);
        }
        if locked.frame.is_exclusive() {
            // The path was shared when we looked, and is not any more: `unprotect` is the way.
            return Ok(Next::Look);
        }
        let mine = locked.residence == Residence::Private(at.space.no);
        if mine && locked.frame.count.load().maps == 1 {
            return self.reuse(at, leaf, locked);
        }
        let new = alloc_frame(self, Need::Normal)?;
        let copied = match locked.residence {
            Residence::Private(_) if mine => self.displace(at, locked),
            _ => self.copy_frame(at, &locked).map(|()| locked).map_err(Stop::from),
        };
        let locked = match copied {
            Ok(locked) => locked,
            Err(stop) => {
                self.frames.free(new.0);
                return Err(stop);
            }
        };
        let slot = LeafSlot::of(leaf.0, at.page);
        self.tables
            .at(leaf.0)
            .slot(slot.slot)
            .entry
            .set_leaf(LeafEntry::Absent);
        let mut sweep = Sweep::new(self);
        sweep.unmap(locked, slot);
        sweep.finish_pool();
        self.install_private(at, leaf, at.page, new, Origin::New, charge.page());
        self.counters.copied.one();
        Ok(Next::Done)
    }

    /// Nobody else maps the frame: it becomes this space's own, in place.
    fn reuse(&self, at: &mut At<'_, '_>, leaf: OwnLeaf, mut locked: Locked<'_>) -> Result<Next, Stop> {
        self.host.unprotect(at.space.no, Run::one(at.page))?;
        if let Some(slot) = locked.cached.take() {
            self.swap.drop_cache(slot, &self.store, &self.budget);
        }
        locked.set_owner(Owner::Exclusive(LeafSlot::of(leaf.0, at.page)));
        locked.frame.mark_referenced();
        self.may_compress(&locked);
        at.space.slot.unlend();
        drop(locked);
        self.tables.mark_dirty(&mut at.space.tree, leaf);
        self.counters.reused.one();
        Ok(Next::Done)
    }

    /// The bytes are our private page and others share them: the pool gets them, the page stays ours.
    fn displace<'s>(&'s self, at: &mut At<'_, '_>, mut locked: Locked<'s>) -> Result<Locked<'s>, Stop> {
        copy_out(
            self,
            at.space.no,
            at.space.home,
            at.page,
            &mut locked,
            NoRecord::Stop,
        )?;
        self.budget.reclass_page(&mut locked.charge, Class::Pool);
        let run = Run::one(at.page);
        if let Err(e) = self.host.unprotect(at.space.no, run) {
            // The frame is in the pool now, that is no harm; our private page must not stay behind it.
            self.host.drop_pages(at.space.no, run);
            return Err(e.into());
        }
        Ok(locked)
    }

    /// Gives this space a private copy of a shared frame that lies elsewhere.
    fn copy_frame(&self, at: &At<'_, '_>, locked: &Locked<'_>) -> Result<(), HostError> {
        match locked.residence {
            Residence::Home(home) => {
                let from = self.homes.first(home).plus(at.page.0);
                self.host.copy_from_pool(at.space.no, at.page, from)
            }
            Residence::Loose(from) => self.host.copy_from_pool(at.space.no, at.page, from),
            Residence::Private(owner) => self.scratch.lend(|bytes| {
                read_window(self, at.space.no, owner, locked, at.page, bytes)?;
                self.host.fill(at.space.no, at.page, bytes, Protection::Writable)
            }),
            Residence::Nowhere => panic!("frame {} is mapped but has no bytes", locked.no),
        }
    }
}
