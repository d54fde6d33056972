//! Moving the bytes of a lent frame out of a window, to the pool: one frame, by what its own page needs.
//!
//! A [`NewPlace`] is a place in the pool that a frame claimed and does not stand at yet: it gives itself back, emptied, when
//! it is dropped before it is kept. It is the frame's own place in the home or, where another version of the page
//! stands there, a loose one, from which the bytes can be copied but not shown. Whether a loose place will also do when
//! only the record of a place found no room, the caller says: clones copy what they could have shared. Under the
//! space's and the frame's lock. Runs of neighbours move in `fault/show.rs`.

use crate::addr::{FrameNo, PageNo, PoolPage, Run, SpaceNo};
use crate::budget::{Charge, Class, Need};
use crate::frame::{Locked, Residence};
use crate::home::{Claim, HomeNo};
use crate::host::{Host, Store};
use crate::mm::{Mm, PAGE, Stop};

/// What to do when the budget has no room for the record of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRecord {
    /// Stop: the caller can reclaim and come again.
    Stop,
    /// Take a loose place, which needs no record.
    Loose,
}

/// A claimed place in the pool.
#[must_use]
pub(crate) struct NewPlace<'m, H: Host, S: Store> {
    mm: &'m Mm<H, S>,
    page: PageNo,
    frame: FrameNo,
    to: PoolPage,
    residence: Residence,
    kept: bool,
}

impl<H: Host, S: Store> NewPlace<'_, H, S> {
    /// The frame stands there from now on; the caller has copied its bytes.
    fn keep(mut self, locked: &mut Locked<'_>) {
        locked.residence = self.residence;
        self.kept = true;
    }
}

impl<H: Host, S: Store> Drop for NewPlace<'_, H, S> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        self.mm.host.pool_free(self.to, 1);
        match self.residence {
            Residence::Home(home) => self.mm.homes.vacate(home, self.page, self.frame),
            _ => self.mm.homes.vacate_loose(self.to),
        }
    }
}

impl<H: Host, S: Store> Mm<H, S> {
    fn place_for(
        &self,
        home: HomeNo,
        page: PageNo,
        frame: FrameNo,
        no_record: NoRecord,
    ) -> Result<NewPlace<'_, H, S>, Stop> {
        let tables = self.budget.tables(Need::Normal);
        let place = |to, residence| NewPlace {
            mm: self,
            page,
            frame,
            to,
            residence,
            kept: false,
        };
        match self.homes.claim(home, page, frame, tables) {
            Claim::Taken => Ok(place(self.homes.first(home).plus(page.0), Residence::Home(home))),
            Claim::NoRoom if no_record == NoRecord::Stop => Err(Stop::NoRoom),
            Claim::Occupied | Claim::NoRoom => {
                let (to, pages) = self.homes.claim_loose().ok_or(Stop::NoRoom)?;
                let place = place(to, Residence::Loose(to));
                self.host.reserve_pool(pages)?;
                Ok(place)
            }
        }
    }

    /// Copies a lent frame of this window to the pool, where it stands from then on. The private page stays, and is
    /// nobody's: the caller drops it, or gives it to another frame. Charges nothing.
    pub(crate) fn copy_out(
        &self,
        no: SpaceNo,
        home: HomeNo,
        page: PageNo,
        locked: &mut Locked<'_>,
        no_record: NoRecord,
    ) -> Result<(), Stop> {
        let place = self.place_for(home, page, locked.no, no_record)?;
        let copied = self.host.copy_to_pool(no, Run::one(page), place.to);
        copied.inspect_err(|&error| self.hear_of_emptied(locked, page, error))?;
        place.keep(locked);
        self.spaces.get(no.0).unlend();
        Ok(())
    }

    /// Moves a lent frame out of this window when its own place is taken by another version.
    pub(crate) fn move_loose(
        &self,
        no: SpaceNo,
        home: HomeNo,
        page: PageNo,
        mut locked: Locked<'_>,
    ) -> Result<(), Stop> {
        let mut charge = Charge::take(&self.budget, Class::Pool, PAGE, Need::Reclaim).ok_or(Stop::NoRoom)?;
        self.copy_out(no, home, page, &mut locked, NoRecord::Loose)?;
        self.host.drop_pages(no, Run::one(page));
        let before = locked.charge.replace(charge.page());
        self.budget.refund_page(before);
        self.counters.promoted.one();
        Ok(())
    }

    /// Moves a lent frame out of this window into room that is set aside: while both copies exist, one page more than
    /// what is charged for pages is held. Fails only when the machine refuses. The lock of the standby pages is held,
    /// so that one frame at a time uses that room.
    pub(crate) fn move_out(
        &self,
        no: SpaceNo,
        home: HomeNo,
        page: PageNo,
        mut locked: Locked<'_>,
    ) -> Result<(), Stop> {
        self.copy_out(no, home, page, &mut locked, NoRecord::Loose)?;
        self.host.drop_pages(no, Run::one(page));
        self.budget.reclass_page(&mut locked.charge, Class::Pool);
        self.counters.promoted.one();
        Ok(())
    }
}
