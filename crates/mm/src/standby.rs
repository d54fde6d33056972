//! Standby pages: memory set aside when the manager is built, for accesses that the budget has no
//! room for.
//!
//! A full budget must neither lose a page nor let a store through to bytes that others share. So a
//! few pages are charged from the start, shown in windows when nothing else can be, and taken away
//! again when another access needs them, oldest first. They belong to no frame and no table says
//! anything of them:
//!
//! ```text
//!  load of a page for which there is no room      its bytes, protected: the next store is a fault
//!  access of a condemned space (a *sink*)         its bytes, or zeros if lost; stores go nowhere
//! ```
//! A space is *condemned* by its first fault that fails, until somebody takes the failure: the sink
//! keeps host code that cannot be stopped in the middle going, and what was in the space before is
//! as it was. One page more is set aside for an exported frame (bytes of others in this window)
//! that has to leave it first.
//!
//! Each has room for the machine's page table besides: where nothing but standby pages was ever
//! shown, the table is not charged to the space, and goes with the last of them. So a space that
//! needs one more gives back its own oldest first.
//!
//! One lock (rank `Standby`, after the space's) guards which page each of them stands in for
//! (`standby/ring.rs`); every place is of a space whose window is open, since a window closes only
//! after its places were given back. The count of places in use is a hint that faults read without
//! the lock: a place of a page is made and given back under its space's lock.

pub(crate) mod ring;

use crate::addr::{Access, PageBytes, PageNo, Run, SpaceNo};
use crate::error::{SpaceError, Stop};
use crate::frame::Residence;
use crate::host::{Host, HostError, Protection, Store, VacateReply};
use crate::migrate::migrate_by_standby;
use crate::mm::Mm;
use crate::native::Natives;
use crate::peek::{Seen, lock_page, see};
use crate::space::{FaultError, OnLoss, SpaceGuard, SpaceSlot};
use crate::table::{LeafEntry, first_of, slot_of};
use crate::window::Windows;
use crate::writable::let_through;
use ring::{Place, Ring};

/// How often the machine is asked to give a page table back.
const TRIES: u32 = 8;

/// Accesses that cannot be served: what becomes of them, as it was said for their space. May be
/// used from any thread; no space lock is held.
#[derive(Debug)]
pub struct Losses<'m, H, S> {
    mm: &'m Mm<H, S>,
}

impl<'m, H: Host, S: Store> Losses<'m, H, S> {
    /// Those of this manager.
    #[must_use]
    pub fn of(mm: &'m Mm<H, S>) -> Self {
        Self { mm }
    }

    /// Says what becomes of accesses to this space that host code makes and that cannot be served;
    /// its later forks inherit it.
    ///
    /// # Errors
    /// [`SpaceError::NoSuchSpace`].
    pub fn set_on_loss(&self, space: SpaceNo, on_loss: OnLoss) -> Result<(), SpaceError> {
        self.mm.lock_space(space)?.slot.set_on_loss(on_loss);
        Ok(())
    }

    /// What becomes of accesses to this space that cannot be served. Takes no lock: for fault
    /// handlers.
    #[must_use]
    pub fn on_loss(&self, space: SpaceNo) -> OnLoss {
        let slot = self.mm.spaces.peek(space.0);
        slot.map_or(OnLoss::Signal, SpaceSlot::on_loss)
    }

    /// Lets an access of a condemned space go on that host code makes and nobody can stop: it finds
    /// a standby page, with the page's bytes if they can be had, and a store to it is lost. A store
    /// to a page of the space's own goes through, as it would without a fault. Where the area does
    /// not allow stores, or the page lies behind the end of its file, the space is condemned by
    /// that. Does nothing when the space is not
    /// condemned: then the access is repeated. Nothing of it reaches others.
    ///
    /// # Errors
    /// [`FaultError`] when there is no such page, when it is shared with all who map its file, or
    /// when the machine refuses: then the access has failed.
    pub fn sink(&self, space: SpaceNo, page: PageNo) -> Result<(), FaultError> {
        let pages = StandbyPages::of(self.mm);
        let sunk = self.mm.retry(|| pages.sink(space, page));
        sunk.map_err(|stop| stop.of_page(&self.mm.budget, space, page))
    }

    /// Makes a page of a condemned space one whose window holds nothing that is nowhere else, so
    /// that the machine may take it away. A page of the space's own stays, and stores to it go
    /// through, as they would without a fault.
    ///
    /// # Errors
    /// [`FaultError`] when there is no such page, or the machine refuses.
    pub fn vacate(&self, space: SpaceNo, page: PageNo) -> Result<VacateReply, FaultError> {
        let pages = StandbyPages::of(self.mm);
        let vacated = self.mm.retry(|| {
            let space = lock_page(self.mm, space, page)?;
            pages.take_back(space.no, page);
            if pages.leave_window(&space, page)? {
                return Ok(VacateReply::Vacated);
            }
            Ok(match let_through(self.mm, &space, page)? {
                true => VacateReply::Open,
                false => VacateReply::Kept,
            })
        });
        vacated.map_err(|stop| stop.of_page(&self.mm.budget, space, page))
    }
}

/// The standby pages at work: what needs the machine, the budget and the spaces beside their
/// places.
pub(crate) struct StandbyPages<'m, H, S> {
    mm: &'m Mm<H, S>,
}

impl<'m, H: Host, S: Store> StandbyPages<'m, H, S> {
    /// Those of this manager.
    pub fn of(mm: &'m Mm<H, S>) -> Self {
        Self { mm }
    }

    /// For which pages of a leaf's range standby pages stand in (bit `n`: the `n`-th); the space's
    /// lock is held, so until it is let go they can only become fewer.
    pub fn stood_in(&self, space: SpaceNo, first: PageNo) -> u16 {
        if !self.mm.standby.is_used() {
            return 0;
        }
        let ring = self.mm.standby.lock();
        let inside = |&(s, page): &(SpaceNo, PageNo)| s == space && first_of(page, 0) == first;
        let places = ring.places.iter().flatten().filter(|place| inside(place));
        places.fold(0, |bits, (_, page)| bits | 1 << slot_of(*page, 0))
    }

    /// Takes the standby page of this page away, if it has one; the space's lock is held, and the
    /// page's table is charged.
    pub fn take_back(&self, space: SpaceNo, page: PageNo) {
        if !self.mm.standby.is_used() {
            return;
        }
        let mut ring = self.mm.standby.lock();
        let places = ring.places.iter_mut();
        for place in places.filter(|place| **place == Some((space, page))) {
            self.take_away(place);
        }
    }

    /// Takes all standby pages of a space away: its failure was taken. The space's lock is held.
    pub fn take_back_all(&self, space: &mut SpaceGuard<'_>) {
        if !self.mm.standby.is_used() {
            return;
        }
        let mut ring = self.mm.standby.lock();
        for at in 0..ring.places.len() {
            if let Some((_, page)) = ring.places[at].filter(|&(s, _)| s == space.no) {
                self.take_away(&mut ring.places[at]);
                self.give_table_back(&ring, space, page);
            }
        }
    }

    /// The window of a space is about to be closed, with which its standby pages go.
    pub fn forget(&self, space: SpaceNo) {
        if !self.mm.standby.is_used() {
            return;
        }
        let mut ring = self.mm.standby.lock();
        let places = ring.places.iter_mut();
        for place in places.filter(|place| place.is_some_and(|(s, _)| s == space)) {
            self.take_away(place);
        }
    }

    fn take_away(&self, place: &mut Place) {
        if let Some((space, page)) = place.take() {
            self.mm.host.drop_pages(space, Run::one(page));
            self.mm.standby.count(-1);
        }
    }

    /// A standby page of the space whose lock is held was taken away: the machine's page table
    /// goes, unless it is charged to the space, or another standby page stands there. Where the
    /// machine does not give it back, the space is charged.
    fn give_table_back(&self, ring: &Ring, space: &mut SpaceGuard<'_>, page: PageNo) {
        let Some(range) = Windows::of(self.mm).uncharged_table(space, page) else {
            return;
        };
        let inside = |&(s, p): &(SpaceNo, PageNo)| s == space.no && range.has(p);
        if ring.places.iter().flatten().any(inside) {
            return;
        }
        // It may be busy for a moment.
        if !(0..TRIES).any(|_| self.mm.host.free_table(space.no, range)) {
            Windows::of(self.mm).charge_late(space, page);
        }
    }

    /// Shows these bytes at a page whose window has nothing there that is nowhere else; the space's
    /// lock is held.
    fn stand_in(
        &self,
        space: &mut SpaceGuard<'_>,
        page: PageNo,
        bytes: &PageBytes,
        protection: Protection,
    ) -> Result<(), HostError> {
        let no = space.no;
        self.take_back(no, page);
        let mut ring = self.mm.standby.lock();
        let at = match ring.places.iter().position(Option::is_none) {
            Some(free) => free,
            None => self.make_place(&mut ring, space),
        };
        self.mm.host.show_standby(no, page, bytes, protection)?;
        ring.places[at] = Some((no, page));
        self.mm.standby.count(1);
        self.mm.counters.stood_in.one();
        Ok(())
    }

    /// Takes the space's own oldest standby page away, or the oldest of all when it has none; which
    /// place is free then.
    fn make_place(&self, ring: &mut Ring, space: &mut SpaceGuard<'_>) -> usize {
        let count = ring.places.len();
        let by_age = || (0..count).map(|n| (ring.next + n) % count);
        let own = by_age().find(|&at| ring.places[at].is_some_and(|(s, _)| s == space.no));
        let at = own.unwrap_or(ring.next);
        ring.next = (at + 1) % count;
        let Some((of, page)) = ring.places[at] else {
            return at;
        };
        self.take_away(&mut ring.places[at]);
        if of == space.no {
            self.give_table_back(ring, space, page);
        } else if let Some(mut other) = SpaceGuard::attempt(&self.mm.spaces, of) {
            self.give_table_back(ring, &mut other, page);
        }
        at
    }

    /// A load for which there is no room, even after reclaim: it gets the page's bytes all the
    /// same.
    pub fn load(&self, no: SpaceNo, page: PageNo) -> Result<(), Stop> {
        let mut space = lock_page(self.mm, no, page)?;
        if let Some(failure) = space.failure() {
            return Err(Stop::Fault(failure));
        }
        space.demand_access(page, Access::Read)?;
        if space.areas.is_shared(page) {
            return Err(Stop::NoRoom);
        }
        self.mm
            .scratch
            .with(|bytes| match see(self.mm, &space, page, bytes)? {
                // Another thread brought it in.
                Seen::Here => Ok(()),
                Seen::Backed | Seen::Elsewhere => {
                    Ok(self.stand_in(&mut space, page, bytes, Protection::Protected)?)
                }
            })
    }

    /// Serves one access of a condemned space; see [`Losses::sink`].
    fn sink(&self, no: SpaceNo, page: PageNo) -> Result<(), Stop> {
        let mut space = lock_page(self.mm, no, page)?;
        Natives::of(self.mm).settle(&mut space)?;
        let forbidden = space.demand_access(page, Access::Write).err();
        let known = space.failure().or(forbidden);
        let Some(failure) = known.or_else(|| self.behind_end(&space, page)) else {
            return Ok(());
        };
        space.failure = Some(failure);
        if space.areas.is_shared(page) {
            // Nothing can stand in for a page that stores of others reach.
            return Err(Stop::Fault(failure));
        }
        self.mm.scratch.with(|bytes| {
            match see(self.mm, &space, page, bytes) {
                Ok(Seen::Backed | Seen::Elsewhere) => (),
                // Elsewhere by now: look again.
                Ok(Seen::Here) if self.leave_window(&space, page)? => return Err(Stop::Retry),
                // Its own, and protected only to see whether it is used.
                Ok(Seen::Here) if let_through(self.mm, &space, page)? => return Ok(()),
                Ok(Seen::Here) => return Err(Stop::Fault(failure)),
                Err(Stop::Retry) => return Err(Stop::Retry),
                Err(_) => bytes.fill(0),
            }
            Ok(self.stand_in(&mut space, page, bytes, Protection::Writable)?)
        })
    }

    /// The failure of an access to a page behind the end of its file, which its space does not
    /// remember.
    fn behind_end(&self, space: &SpaceGuard<'_>, page: PageNo) -> Option<FaultError> {
        let ended = |bytes: &mut PageBytes| see(self.mm, space, page, bytes) == Err(Stop::BeyondEnd);
        let behind = space.areas.is_file(page) && self.mm.scratch.with(ended);
        let space = space.no;
        behind.then_some(FaultError::BeyondEnd { space, page })
    }

    /// Moves an exported frame out of the window of the space whose lock is held; false when the
    /// frame is the space's own.
    fn leave_window(&self, space: &SpaceGuard<'_>, page: PageNo) -> Result<bool, Stop> {
        let Some((frame, leaf)) = self.mm.tables.lookup(&space.tree, page).frame() else {
            return Ok(true);
        };
        // Before the frame's lock: only one frame at a time uses the room that is set aside.
        let _room = self.mm.standby.lock();
        let locked = self.mm.frames.lock(frame);
        if self.mm.tables.entry(leaf, page) != LeafEntry::Frame(frame) {
            return Err(Stop::Retry);
        }
        if locked.residence != Residence::Private(space.no) {
            return Ok(true);
        }
        if locked.frame.is_exclusive() {
            return Ok(false);
        }
        migrate_by_standby(self.mm, space, page, locked)?;
        Ok(true)
    }

    /// As [`leave_window`](Self::leave_window), for a frame that others share, when a space ends.
    pub fn give_away(&self, space: &SpaceGuard<'_>, page: PageNo) -> Result<(), Stop> {
        let left = self.leave_window(space, page)?;
        let no = space.no;
        assert!(left, "page {page} of space {no} is shared and its own");
        Ok(())
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
