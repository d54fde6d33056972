//! A page whose bytes are in the store.
//!
//! For one space: the bytes become its private page. For a read of a page that others share (a
//! shared table, or several entries that name the slot) the bytes go to the page's place in the
//! pool and the frame caches the slot: every other sharer finds it there, through the slot, the
//! only gate between the store and a table. Where another version stands at that place, the reader
//! gets its own copy. The replacer is told when a page that comes back had gone.

use super::{Fault, Next};
use crate::addr::{FrameNo, PageNo};
use crate::budget::{Charge, Class, Need};
use crate::error::Stop;
use crate::frame::{Locked, Owner};
use crate::host::{Host, Store, StoreError};
use crate::mm::{PAGE, alloc_frame, alloc_kept_frame, drop_cache, put_slot};
use crate::reclaim::{Origin, now_resident};
use crate::residency::NewPlace;
use crate::swap::{Bytes, SwapRef, Swapped};
use crate::table::{AtLeaf, LeafEntry, LeafSlot, OwnLeaf, TableNo};

impl<'m, H: Host, S: Store> Fault<'_, 'm, H, S> {
    pub(super) fn swap_in_own(
        &mut self,
        leaf: OwnLeaf,
        slot: SwapRef,
        charge: Charge<'_>,
    ) -> Result<Next, Stop> {
        // The entry keeps the slot in use; only this space, whose lock is held, can change it.
        let seen = self.mm.swap.look(slot).expect("an entry names a slot in use");
        self.bring_own(
            leaf,
            self.page,
            (slot, &seen),
            Origin::Evicted { at: seen.evicted_at },
            charge,
        )?;
        self.mm.counters.swapped_in.one();
        self.bring_neighbours(leaf, &seen);
        Ok(Next::Done)
    }

    /// One page of an own leaf comes back.
    fn bring_own(
        &mut self,
        leaf: OwnLeaf,
        page: PageNo,
        (slot, seen): (SwapRef, &Swapped),
        origin: Origin,
        mut charge: Charge<'_>,
    ) -> Result<(), Stop> {
        let frame = match alloc_frame(self.mm, self.returning) {
            Err(Stop::NoRoom) if self.returning == Need::Loan || self.frees_as_much(slot) => {
                alloc_kept_frame(self.mm)?
            }
            done => done?,
        };
        let protection = self.protection(page);
        let filled = self.mm.scratch.with(|bytes| -> Result<(), Stop> {
            seen.bytes.get(&self.mm.store, bytes)?;
            Ok(self.mm.host.fill(self.space.no, page, bytes, protection)?)
        });
        if let Err(stop) = filled {
            self.mm.frames.free(frame.0);
            return Err(stop);
        }
        self.install_private(leaf, page, frame, origin, charge.page(), protection);
        put_slot(self.mm, slot, self.space.backing, page);
        Ok(())
    }

    /// There is no room for a store to an evicted page: it may need none, or none may help. Asked
    /// only now, since it costs a look into the store.
    pub(super) fn write_without_room(&mut self, slot: SwapRef) -> Result<Next, Stop> {
        let seen = self.mm.swap.look(slot);
        if seen.is_some_and(|seen| seen.bytes == Bytes::CalledIn) {
            return Err(Stop::Lost(StoreError::CalledIn));
        }
        match self.frees_as_much(slot) {
            true => self.write(Need::Reclaim),
            false => Err(Stop::NoRoom),
        }
    }

    /// Whether the page is one space's and holds as much in the store as in memory: it frees that
    /// as it comes back, and needs the room for a moment only, which is there whatever others do.
    fn frees_as_much(&self, slot: SwapRef) -> bool {
        let seen = self.mm.swap.look(slot);
        seen.is_some_and(|s| s.count == 1 && s.frame.is_none() && s.bytes.cost(&self.mm.store).adds() >= PAGE)
    }

    pub(super) fn swap_in_shared(&mut self, found: &AtLeaf, slot: SwapRef) -> Result<Next, Stop> {
        let leaf = found.leaf;
        let Some(seen) = self.mm.swap.look(slot) else {
            return Ok(Next::Retry);
        };
        if let Some(frame) = seen.frame {
            self.map_cached(leaf, slot, frame);
            return Ok(Next::Retry);
        }
        if !found.shared && seen.count == 1 {
            return Ok(Next::NeedCopy);
        }
        if let Some(frame) = self.mm.backings.frame_at(self.space.backing, self.page) {
            // Whoever is bringing the page in holds the frame's lock until it is there.
            drop(self.mm.frames.lock(frame));
            let now = self.mm.swap.look(slot).is_none_or(|s| s.frame.is_some());
            return Ok(if now { Next::Retry } else { Next::NeedCopy });
        }
        if !self.bring_in(leaf, self.page, (slot, &seen), Need::Refault)? {
            return Ok(Next::Retry);
        }
        self.mm.counters.swapped_in_shared.one();
        self.bring_shared_neighbours(found, &seen);
        Ok(Next::Retry)
    }

    /// The slot's frame is in memory: this leaf names it as well.
    fn map_cached(&self, leaf: TableNo, slot: SwapRef, frame: FrameNo) {
        let mut locked = self.mm.frames.lock(frame);
        if locked.cached != Some(slot) || self.mm.tables.entry(leaf, self.page) != LeafEntry::Swapped(slot) {
            return;
        }
        let place = LeafSlot::of(leaf, self.page);
        self.mm.tables.map_also(&locked, leaf, place.slot);
        self.mm.tables.set_entry(place, LeafEntry::Frame(frame));
        self.keep_if_locked(&mut locked, self.page);
        put_slot(self.mm, slot, self.space.backing, self.page);
    }

    /// Brings a page's bytes to their place in the pool, for all sharers; false when somebody else
    /// has changed something meanwhile.
    pub(super) fn bring_in(
        &self,
        leaf: TableNo,
        page: PageNo,
        (slot, seen): (SwapRef, &Swapped),
        need: Need,
    ) -> Result<bool, Stop> {
        let mut charge = self.charge_page(Class::Pool, need)?;
        let frame = alloc_frame(self.mm, need)?;
        let mut locked = self.mm.frames.lock(frame);
        let filled = match NewPlace::own(self.mm, self.space.backing, page, &locked, need) {
            Ok(Some(place)) => self.fill_place(leaf, page, (slot, seen), &mut locked, place),
            // Somebody stands there by now.
            Ok(None) => Err(Stop::Retry),
            Err(stop) => Err(stop),
        };
        if let Err(stop) = filled {
            drop(locked);
            self.mm.frames.free(frame.0);
            return match stop {
                Stop::Retry => Ok(false),
                stop => Err(stop),
            };
        }
        locked.charge = Some(charge.page());
        let asked = page == self.page;
        let at = seen.evicted_at;
        let origin = if asked {
            Origin::Evicted { at }
        } else {
            Origin::New
        };
        now_resident(self.mm, frame, origin);
        self.keep_if_locked(&mut locked, page);
        Ok(true)
    }

    /// The claimed place gets the bytes and the leaf its frame.
    fn fill_place(
        &self,
        leaf: TableNo,
        page: PageNo,
        (slot, seen): (SwapRef, &Swapped),
        locked: &mut Locked<'_>,
        to: NewPlace<'_, H, S>,
    ) -> Result<(), Stop> {
        // Caching first keeps the slot, and so the stored bytes, in use.
        if !self.mm.swap.cache(slot, locked.no) {
            return Err(Stop::Retry);
        }
        let moved = self.mm.scratch.with(|bytes| -> Result<(), Stop> {
            seen.bytes.get(&self.mm.store, bytes)?;
            Ok(to.write(bytes)?)
        });
        let current = self.mm.tables.entry(leaf, page) == LeafEntry::Swapped(slot);
        if moved.is_err() || !current {
            drop_cache(self.mm, slot, self.space.backing, page);
            return moved.and(Err(Stop::Retry));
        }
        to.keep(locked);
        locked.frame.begin();
        locked.cached = Some(slot);
        let place = LeafSlot::of(leaf, page);
        self.mm.tables.map_new(locked, Owner::Shared(place));
        self.mm.tables.set_entry(place, LeafEntry::Frame(locked.no));
        put_slot(self.mm, slot, self.space.backing, page);
        Ok(())
    }
}
