//! Copies of the pages that move: what they need of the budget, had before anything is changed, and
//! how each comes into being.
//!
//! Part of [`Move`], under the space's lock. While that is held nobody else changes what the tables
//! of the source name, but for reclaim, which puts pages into the store, and merging, which makes
//! one page of equal ones, and none of zeros: so each page is looked at again when it is copied.

use super::super::locked_run::LockedRun;
use super::Move;
use crate::addr::{Access, FrameNo, PageBytes, PageNo, Run};
use crate::backing::areas::Rights;
use crate::budget::{Charge, Class, Need};
use crate::drop::give_away_page;
use crate::error::Stop;
use crate::frame::{Locked, Owner};
use crate::host::{Host, Protection, Store};
use crate::keep::keep;
use crate::mm::{Mm, PAGE, alloc_frame};
use crate::own_page::own_page;
use crate::path::OwnPath;
use crate::peek::{is_protected, lock_entry, peek_page};
use crate::reclaim::{Origin, now_resident, settled};
use crate::residency::{NewPlace, NoRecord};
use crate::space::FaultError;
use crate::standby::StandbyPages;
use crate::swap::Swapped;
use crate::table::{FANOUT, LeafEntry, LeafSlot, Lookup, OwnLeaf, first_of};
use crate::window::Windows;

/// Room for the copies: in the window, and of pages that allow no access, in the pool.
pub(super) struct Room<'a> {
    window: Charge<'a>,
    pool: Charge<'a>,
}

impl<'a, H: Host, S: Store> Move<'a, '_, H, S> {
    /// All of the budget that the copies need. Each page of the source that the tables say
    /// something of has a path of the space's own, here and there, and is shared by nobody in this
    /// window: it can go without asking for anything.
    pub(super) fn make_room(&mut self) -> Result<Room<'a>, Stop> {
        let (mm, no) = (self.mm, self.reset.space.no);
        let (mut window, mut pool) = (0, 0);
        for page in self.from.pages() {
            StandbyPages::of(mm).take_back(no, page);
            let Lookup::Leaf(found) = mm.tables.lookup(&self.reset.space.tree, page) else {
                continue;
            };
            if found.entry == LeafEntry::Absent {
                continue;
            }
            let (at, space) = (self.place_of(page), &mut self.reset.space);
            give_away_page(mm, space, page, found)?;
            OwnPath::take(mm, space, page, Need::Normal)?.keep();
            OwnPath::take(mm, space, at, Need::Normal)?.keep();
            if self.moves_by_slot(page) {
                continue;
            }
            if self.both.rights(at) == Rights::None {
                pool += PAGE;
                continue;
            }
            window += PAGE;
            Windows::of(mm).enter_table(&mut self.reset.space, at, Access::Write, Need::Normal)?;
        }
        Ok(Room {
            window: charged(mm, Class::Private, window)?,
            pool: charged(mm, Class::Pool, pool)?,
        })
    }

    /// Whether the page is in the store, and no entry but its own names it there: it needs no copy.
    /// That does not change while its path is this space's own.
    pub(super) fn moves_by_slot(&self, page: PageNo) -> bool {
        let LeafEntry::Swapped(slot) = self.entry(page) else {
            return false;
        };
        let alone = |seen: Swapped| seen.count == 1 && seen.frame.is_none();
        !self.both.is_locked(self.place_of(page)) && self.mm.swap.look(slot).is_some_and(alone)
    }

    /// The destination has a page of the space's own with the bytes of the source's, unless that is
    /// zeros by now that nobody need remember.
    pub(super) fn copy(&mut self, page: PageNo, room: &mut Room<'a>) -> Result<(), Stop> {
        let mm = self.mm;
        let frame = alloc_frame(mm, Need::Normal)?;
        let copied = mm.scratch.with(|bytes| -> Result<bool, Stop> {
            let read = settled(|| self.read_still(page, bytes));
            if !read.map_err(|stop| self.of_page(stop, page))? {
                return Ok(false);
            }
            let at = self.place_of(page);
            match self.both.rights(at) {
                Rights::None => self.fill_place(at, frame, bytes, room)?,
                rights => self.fill_window((at, frame), bytes, rights, room)?,
            }
            Ok(true)
        });
        if copied != Ok(true) {
            mm.frames.free(frame.0);
        }
        copied.map(drop)
    }

    /// Why a page has no bytes is said of that page.
    fn of_page(&self, stop: Stop, page: PageNo) -> Stop {
        let space = self.reset.space.no;
        match stop {
            Stop::Lost(source) => FaultError::PageLost { space, page, source }.into(),
            other => other,
        }
    }

    /// No store goes through any more to the pages of this leaf, from the first one on, as far as
    /// that can be had in a few calls; the others are protected one at a time.
    pub(super) fn protect_leaf(&self, first: PageNo) {
        let (mm, space) = (self.mm, &self.reset.space);
        let end = PageNo(first_of(first, 0).0 + FANOUT as u32).min(self.from.end());
        let mut run = LockedRun::new();
        let protect = |run: &mut LockedRun<'_>| {
            // What the machine refuses is asked for again, page by page.
            let _ = run.protect(&mm.host, space.no, |_| ());
        };
        for page in (first.0..end.0).map(PageNo) {
            let Some((frame, leaf)) = mm.tables.lookup(&space.tree, page).frame() else {
                continue;
            };
            let Some(locked) = mm.frames.try_lock(frame) else {
                continue;
            };
            let same = mm.tables.entry(leaf, page) == LeafEntry::Frame(frame);
            if same && locked.frame.is_exclusive() && !is_protected(mm, &locked) {
                if !run.follows(page) {
                    protect(&mut run);
                }
                run.add(page, locked);
            }
        }
        protect(&mut run);
    }

    /// The bytes of a page, to which no store goes through any more; false when no table says
    /// anything of it by now.
    fn read_still(&self, page: PageNo, bytes: &mut PageBytes) -> Result<bool, Stop> {
        let (mm, space) = (self.mm, &self.reset.space);
        if let Some((frame, leaf)) = mm.tables.lookup(&space.tree, page).frame() {
            let mut locked = lock_entry(mm, leaf, page, frame).ok_or(Stop::Retry)?;
            if locked.frame.is_exclusive() && !is_protected(mm, &locked) {
                mm.host.protect(space.no, Run::one(page))?;
                locked.protected = true;
            }
        }
        peek_page(mm, space, page, bytes)
    }

    /// The page is a private one of the window.
    fn fill_window(
        &mut self,
        (at, frame): (PageNo, FrameNo),
        bytes: &PageBytes,
        rights: Rights,
        room: &mut Room<'a>,
    ) -> Result<(), Stop> {
        let mm = self.mm;
        let protection = rights.protection();
        mm.host.fill(self.reset.space.no, at, bytes, protection)?;
        let (leaf, charge) = (self.own_leaf(at), room.window.page());
        let mut locked = own_page(mm, &mut self.reset.space, (leaf, at), frame, charge);
        locked.protected = protection == Protection::Protected;
        self.arrived(&mut locked, at);
        Ok(())
    }

    /// The page allows no access: it stands in the pool, where no window shows it.
    fn fill_place(
        &mut self,
        at: PageNo,
        frame: FrameNo,
        bytes: &PageBytes,
        room: &mut Room<'a>,
    ) -> Result<(), Stop> {
        let mm = self.mm;
        let mut locked = mm.frames.lock(frame);
        let place = NewPlace::any(mm, self.reset.space.backing, at, &locked, NoRecord::Overflow)?;
        place.write(bytes)?;
        place.keep(&mut locked);
        locked.charge = Some(room.pool.page());
        locked.frame.begin();
        let slot = LeafSlot::of(self.own_leaf(at).0, at);
        mm.tables.map_new(&locked, Owner::Shared(slot));
        mm.tables.set_entry(slot, LeafEntry::Frame(frame));
        self.arrived(&mut locked, at);
        Ok(())
    }

    /// The tables name the frame for a page of the destination from now on.
    fn arrived(&self, locked: &mut Locked<'_>, at: PageNo) {
        now_resident(self.mm, locked.no, Origin::New);
        if self.both.is_locked(at) {
            keep(self.mm, locked);
        }
    }

    pub(super) fn own_leaf(&self, at: PageNo) -> OwnLeaf {
        let found = self.mm.tables.lookup(&self.reset.space.tree, at);
        OwnLeaf(found.leaf().expect("its path was made before"))
    }
}

/// Charges for pages.
fn charged<H, S>(mm: &Mm<H, S>, class: Class, bytes: u64) -> Result<Charge<'_>, Stop> {
    match bytes {
        // Nothing is there to have also where there is no room at all.
        0 => Ok(Charge::of(&mm.budget, class, 0)),
        bytes => Charge::take(&mm.budget, class, bytes, Need::Normal).ok_or(Stop::NoRoom),
    }
}
