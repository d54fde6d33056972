//! Faults: a program touched a page that its window does not show, or stored to a protected one.
//!
//! One door, [`Mm::fault`]. Each attempt holds the space lock, walks down to the page once and
//! decides by what the entry says and by whether the path is shared:
//!
//! ```text
//!             read                                   write
//!  absent     what backs it (fault/absent.rs:       a new page (fault/absent.rs), a copy of the
//!             zeros, or fault/file.rs)              file's, or the file's own (fault/file.rs)
//!  frame      show it (fault/show.rs)                take it over, or copy (fault/write.rs)
//!  swapped    bring it in for all sharers,           bring it in for this space
//!             or for this space (fault/swap_in.rs)   (fault/swap_in.rs)
//! ```
//! An attempt that finds no room in the budget changes nothing, lets the space lock go, reclaims
//! and tries again. One that was overtaken by another thread looks again; that thread has made
//! progress. When nothing more can be reclaimed, a load gets the page's bytes from a standby page
//! (`standby.rs`), a store to a page that was evicted has some room left (`on_loan.rs`), and any
//! other store has failed. A space whose fault has failed is condemned: its further
//! faults fail at once, until somebody takes the failure.

mod absent;
mod beside;
mod copy_ahead;
mod file;
mod new_frames;
pub(crate) mod on_loan;
mod show;
mod swap_in;
mod write;

use crate::addr::{Access, FrameNo, PageNo, SpaceNo};
use crate::budget::{Charge, Class, Need, PageCharge};
use crate::error::Stop;
use crate::files::balance_dirty;
use crate::frame::Locked;
use crate::host::{Host, HostError, Protection, Resolve, Store};
use crate::keep::keep;
use crate::mm::{Mm, PAGE};
use crate::native::Natives;
use crate::own_page::own_page;
use crate::path::OwnPath;
use crate::reclaim::{Origin, now_resident};
use crate::space::{FaultError, SpaceGuard};
use crate::standby::StandbyPages;
use crate::table::{LeafEntry, Lookup, OwnLeaf, first_of, slot_of};
use crate::window::Windows;
use crate::writable::unprotect;

/// Where a step of an attempt leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The page is there.
    Done,
    /// A step was made: look at the entry again.
    Retry,
    /// This space needs a page of its own.
    NeedCopy,
}

/// A fault under way: the page at hand, and its space, locked.
pub(crate) struct Fault<'a, 'm, H, S> {
    mm: &'m Mm<H, S>,
    space: &'a mut SpaceGuard<'m>,
    page: PageNo,
    /// Its neighbours in the leaf for which standby pages stand in, or which the machine serves: no
    /// step touches them.
    stood_in: u16,
    /// How far down the budget what comes back may reach.
    returning: Need,
}

/// For programs of the simulated machine, which do not know whose door they knock at.
impl<H: Host, S: Store> Resolve for Mm<H, S> {
    type Host = H;
    type Error = FaultError;

    fn host(&self) -> &H {
        &self.host
    }

    fn resolve(&self, space: SpaceNo, page: PageNo, access: Access) -> Result<(), FaultError> {
        self.make_room(space, || false);
        self.fault(space, page, access)
    }
}

impl<H: Host, S: Store> Mm<H, S> {
    /// Makes a page accessible, for a program or for the host's own use.
    ///
    /// Called in the faulting thread, by a handler thread, or ahead of need; from any thread. Needs
    /// up to 16 KiB of stack, takes no lock that a thread holds while it touches a window.
    ///
    /// # Errors
    /// [`FaultError`]; the page is as it was. The space remembers the first such error until
    /// [`take_failure`](Self::take_failure) (but not [`FaultError::OutOfRange`],
    /// [`FaultError::Forbidden`] and [`FaultError::BeyondEnd`]: nothing was lost), and until then
    /// its further faults fail with it at once.
    pub fn fault(&self, space: SpaceNo, page: PageNo, access: Access) -> Result<(), FaultError> {
        self.counters.faults.one();
        if access == Access::Write {
            balance_dirty(self, space, page);
        }
        let resolved = self.retry(|| Fault::resolve(self, &mut self.lock_space(space)?, page, access));
        let result = match (resolved, access) {
            (Err(Stop::NoRoom), Access::Read) => self.retry(|| StandbyPages::of(self).load(space, page)),
            (Err(Stop::NoRoom), Access::Write) => on_loan::store(self, space, page, |_| Ok(())),
            _ => resolved.inspect(|()| self.reclaim.something_changed()),
        };
        result.map_err(|stop| {
            let error = stop.of_page(&self.budget, space, page);
            note_failure(self, space, error);
            error
        })
    }

    /// The host resolves this page's fault again and again: the page is empty although it was
    /// filled. The space remembers that.
    pub fn lost(&self, space: SpaceNo, page: PageNo) {
        let source = HostError::Emptied;
        note_failure(self, space, FaultError::Host { space, page, source });
    }

    /// The first fault of this space that could not be resolved since this was last asked. Its
    /// faults are resolved again from now on, and what its stores left in standby pages (see
    /// [`sink`](crate::Losses::sink)) is gone.
    pub fn take_failure(&self, space: SpaceNo) -> Option<FaultError> {
        let mut space = self.lock_space(space).ok()?;
        let failure = space.failure()?;
        space.failure = None;
        StandbyPages::of(self).take_back_all(&mut space);
        Some(failure)
    }

    /// Whether a fault of this space could not be resolved and nobody has
    /// [taken](Self::take_failure) that yet.
    pub fn failure(&self, space: SpaceNo) -> Option<FaultError> {
        self.lock_space(space).ok()?.failure()
    }
}

/// The space remembers its first failure, unless nothing was lost.
pub(crate) fn note_failure<H, S>(mm: &Mm<H, S>, space: SpaceNo, error: FaultError) {
    let lost_nothing = matches!(
        error,
        FaultError::NoSuchSpace(_)
            | FaultError::OutOfRange { .. }
            | FaultError::Forbidden { .. }
            | FaultError::BeyondEnd { .. }
    );
    if lost_nothing {
        return;
    }
    if let Some(slot) = mm.spaces.peek(space.0) {
        slot.lock().failure.get_or_insert(error);
    }
}

impl<'a, 'm, H: Host, S: Store> Fault<'a, 'm, H, S> {
    /// Resolves a fault in a space that is locked, as far as that goes without reclaim.
    ///
    /// # Errors
    /// [`Stop`]; the page is as it was.
    pub fn resolve(
        mm: &'m Mm<H, S>,
        space: &'a mut SpaceGuard<'m>,
        page: PageNo,
        access: Access,
    ) -> Result<(), Stop> {
        Self::resolve_returning(mm, space, page, access, Need::Refault)
    }

    /// The same, and how far down the budget what comes back may reach.
    ///
    /// # Errors
    /// [`Stop`]; the page is as it was.
    pub fn resolve_returning(
        mm: &'m Mm<H, S>,
        space: &'a mut SpaceGuard<'m>,
        page: PageNo,
        access: Access,
        returning: Need,
    ) -> Result<(), Stop> {
        space.demand_page(page)?;
        space.demand_access(page, access)?;
        if let Some(failure) = space.failure() {
            return Err(Stop::Fault(failure));
        }
        if space.native.is_some_and(|native| native.run.has(page)) {
            Natives::of(mm).settle(space)?;
        }
        Windows::of(mm).enter_table(space, page, access, returning)?;
        StandbyPages::of(mm).take_back(space.no, page);
        let first = first_of(page, 0);
        let served = space.native.map_or(0, |native| native.in_leaf(first));
        let stood_in = StandbyPages::of(mm).stood_in(space.no, first) | served;
        let mut fault = Self {
            mm,
            space,
            page,
            stood_in,
            returning,
        };
        let mut now = access;
        loop {
            match fault.step(now)? {
                Next::Done if now == access => return Ok(()),
                Next::Done => return fault.close_if_read_only(),
                Next::Retry => (),
                // A copy of its own is what a write would make.
                Next::NeedCopy => now = Access::Write,
            }
        }
    }

    fn is_stood_in(&self, page: PageNo) -> bool {
        self.stood_in >> slot_of(page, 0) & 1 == 1
    }

    fn step(&mut self, access: Access) -> Result<Next, Stop> {
        let found = match self.mm.tables.lookup(&self.space.tree, self.page) {
            Lookup::Leaf(found) => found,
            Lookup::NoLeaf if access == Access::Read => return self.show_backing(None),
            Lookup::NoLeaf => match self.stored_in_place() {
                Some(at) => return self.store_in_place(at),
                None => return self.write(Need::Normal),
            },
        };
        match (found.entry, access) {
            (LeafEntry::Absent, Access::Read) => self.show_backing(Some(found.leaf)),
            (LeafEntry::Frame(frame), Access::Read) => self.show_frame(found.leaf, frame),
            (LeafEntry::Swapped(slot), Access::Read) => self.swap_in_shared(&found, slot),
            // A hint: `unprotect` looks again under the frame lock.
            (LeafEntry::Frame(frame), Access::Write)
                if !found.shared && self.mm.frames.at(frame).is_exclusive() =>
            {
                match unprotect(self.mm, self.space, found.leaf, self.page, frame)? {
                    true => Ok(Next::Done),
                    false => Ok(Next::Retry),
                }
            }
            (LeafEntry::Swapped(slot), Access::Write) => match self.write(self.returning) {
                Err(Stop::NoRoom) => self.write_without_room(slot),
                done => done,
            },
            (LeafEntry::Absent, Access::Write) => match self.stored_in_place() {
                Some(at) => self.store_in_place(at),
                None => self.write(Need::Normal),
            },
            (LeafEntry::Frame(_), Access::Write) => self.write(Need::Normal),
        }
    }

    /// A page of this space's own: everything that may fail comes first.
    fn write(&mut self, need: Need) -> Result<Next, Stop> {
        let charge = self.charge_page(Class::Private, need)?;
        let path = OwnPath::take(self.mm, self.space, self.page, need)?;
        let leaf = path.leaf;
        let done = match self.mm.tables.entry(leaf.0, self.page) {
            LeafEntry::Absent => self.write_backing(leaf, charge),
            LeafEntry::Frame(frame) => self.write_frame(leaf, frame, charge),
            LeafEntry::Swapped(slot) => self.swap_in_own(leaf, slot, charge),
        };
        path.settle(self.space, done)
    }

    fn charge_page(&self, class: Class, need: Need) -> Result<Charge<'m>, Stop> {
        Charge::take(&self.mm.budget, class, PAGE, need).ok_or(Stop::NoRoom)
    }

    /// How a page of the space's own is shown.
    fn protection(&self, page: PageNo) -> Protection {
        self.space.areas.rights(page).protection()
    }

    /// Gives an own leaf's empty slot a fresh frame whose bytes are a private page of this space.
    fn install_private(
        &mut self,
        leaf: OwnLeaf,
        page: PageNo,
        frame: FrameNo,
        origin: Origin,
        charge: PageCharge,
        protection: Protection,
    ) {
        let mut locked = own_page(self.mm, self.space, (leaf, page), frame, charge);
        locked.protected = protection == Protection::Protected;
        now_resident(self.mm, frame, origin);
        self.keep_if_locked(&mut locked, page);
    }

    /// The tables name the frame for a page, which may be locked, from now on.
    fn keep_if_locked(&self, locked: &mut Locked<'_>, page: PageNo) {
        if self.space.areas.is_locked(page) {
            keep(self.mm, locked);
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
