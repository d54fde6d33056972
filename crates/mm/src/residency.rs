//! A place in the pool for a frame: the page's own in its backing, or an overflow one.
//!
//! A [`NewPlace`] is claimed for a locked frame that does not stand there yet. Dropped before it is
//! kept, it gives itself back, emptied: whoever fails on the way has nothing to undo. From an
//! overflow place the bytes can be copied but not shown. Moves of exported frames (`migrate.rs`),
//! swap-in for sharers, frozen copies and merging place their frames with it; runs of neighbours
//! claim and give back theirs together ([`NewRun`]). All of it happens under the frame's lock.

use crate::addr::{FrameNo, PageBytes, PageNo, PoolPage, Run, SpaceNo};
use crate::backing::{BackingNo, Insertion};
use crate::budget::Need;
use crate::error::Stop;
use crate::frame::{Locked, Residence};
use crate::host::{Host, HostError, Store};
use crate::mm::Mm;
use crate::table::{FANOUT, first_of, slot_of};

/// What to do when the budget has no room for the record of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRecord {
    /// Stop: the caller can reclaim and come again.
    Stop,
    /// Take an overflow place, which needs no record.
    Overflow,
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

impl<'m, H: Host, S: Store> NewPlace<'m, H, S> {
    /// The page's own place in the backing, which every window of the backing can show; `None` when
    /// another frame stands there.
    ///
    /// # Errors
    /// [`Stop::NoRoom`] when its record finds no room for this need.
    pub fn own(
        mm: &'m Mm<H, S>,
        backing: BackingNo,
        page: PageNo,
        locked: &Locked<'_>,
        need: Need,
    ) -> Result<Option<Self>, Stop> {
        match mm
            .backings
            .insert(backing, page, locked.no, mm.budget.tables(need))
        {
            Insertion::Done => {
                let to = mm.backings.first(backing).plus(page.0);
                Ok(Some(Self::claimed(
                    mm,
                    page,
                    locked,
                    to,
                    Residence::Backing(backing),
                )))
            }
            Insertion::Occupied => Ok(None),
            Insertion::NoRoom => Err(Stop::NoRoom),
        }
    }

    /// An overflow place, which needs no record.
    fn overflow(mm: &'m Mm<H, S>, page: PageNo, locked: &Locked<'_>) -> Result<Self, Stop> {
        let (to, pages) = mm.backings.alloc_overflow().ok_or(Stop::NoRoom)?;
        let place = Self::claimed(mm, page, locked, to, Residence::Overflow(to));
        mm.host.reserve_pool(pages)?;
        Ok(place)
    }

    fn claimed(
        mm: &'m Mm<H, S>,
        page: PageNo,
        locked: &Locked<'_>,
        to: PoolPage,
        residence: Residence,
    ) -> Self {
        Self {
            mm,
            page,
            frame: locked.no,
            to,
            residence,
            kept: false,
        }
    }

    /// The page's own place or, where another version of the page stands there, an overflow one.
    ///
    /// # Errors
    /// [`Stop`] when there is no room, or the machine refuses.
    pub fn any(
        mm: &'m Mm<H, S>,
        backing: BackingNo,
        page: PageNo,
        locked: &Locked<'_>,
        no_record: NoRecord,
    ) -> Result<Self, Stop> {
        match Self::own(mm, backing, page, locked, Need::Normal) {
            Ok(Some(own)) => Ok(own),
            Err(stop) if no_record == NoRecord::Stop => Err(stop),
            Ok(None) | Err(_) => Self::overflow(mm, page, locked),
        }
    }

    /// Puts these bytes there.
    ///
    /// # Errors
    /// The host's.
    pub fn write(&self, bytes: &PageBytes) -> Result<(), HostError> {
        self.mm.host.pool_write(self.to, bytes)
    }

    /// Copies the space's private page there.
    ///
    /// # Errors
    /// The host's.
    pub fn copy_from(&self, space: SpaceNo) -> Result<(), HostError> {
        self.mm.host.copy_to_pool(space, Run::one(self.page), self.to)
    }

    /// The frame stands there from now on; the caller has put its bytes there.
    pub fn keep(mut self, locked: &mut Locked<'_>) {
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
            Residence::Backing(backing) => self.mm.backings.remove(backing, self.page, self.frame),
            _ => self.mm.backings.free_overflow(self.to),
        }
    }
}

/// Places of neighbours in a backing, claimed for locked frames of one leaf; those that are not
/// kept are given back when this is dropped, emptied if bytes were copied there.
#[must_use]
pub(crate) struct NewRun<'m, H: Host, S: Store> {
    mm: &'m Mm<H, S>,
    backing: BackingNo,
    /// The first page of the leaf.
    first: PageNo,
    /// Who claimed the places, by slot of the leaf; 0 where nobody has.
    frames: [u32; FANOUT],
    /// Where bytes were copied to, as far as it went.
    copied: Option<Run>,
}

impl<'m, H: Host, S: Store> NewRun<'m, H, S> {
    /// None yet, for frames of the leaf that the page is in.
    pub fn new(mm: &'m Mm<H, S>, backing: BackingNo, page: PageNo) -> Self {
        let first = first_of(page, 0);
        Self {
            mm,
            backing,
            first,
            frames: [0; FANOUT],
            copied: None,
        }
    }

    /// The page's own place for its locked frame; false when another version stands there.
    ///
    /// # Errors
    /// [`Stop::NoRoom`] when its record finds no room.
    pub fn claim(&mut self, page: PageNo, locked: &Locked<'_>) -> Result<bool, Stop> {
        let tables = self.mm.budget.tables(Need::Normal);
        match self.mm.backings.insert(self.backing, page, locked.no, tables) {
            Insertion::Done => {
                self.frames[usize::from(slot_of(page, 0))] = locked.no.0;
                Ok(true)
            }
            Insertion::Occupied => Ok(false),
            Insertion::NoRoom => Err(Stop::NoRoom),
        }
    }

    /// Copies the space's private pages to their places.
    ///
    /// # Errors
    /// The host's.
    pub fn copy_from(&mut self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        self.copied = Some(run);
        let to = self.mm.backings.first(self.backing).plus(run.first.0);
        self.mm.host.copy_to_pool(space, run, to)?;
        self.copied = None;
        Ok(())
    }

    /// The frame stands at its place from now on; its bytes were copied there.
    pub fn keep(&mut self, page: PageNo, locked: &mut Locked<'_>) {
        locked.residence = Residence::Backing(self.backing);
        self.frames[usize::from(slot_of(page, 0))] = 0;
    }
}

impl<H: Host, S: Store> Drop for NewRun<'_, H, S> {
    fn drop(&mut self) {
        if let Some(run) = self.copied {
            let to = self.mm.backings.first(self.backing).plus(run.first.0);
            self.mm.host.pool_free(to, run.len);
        }
        for (n, &frame) in (0..).zip(&self.frames).filter(|(_, frame)| **frame != 0) {
            self.mm
                .backings
                .remove(self.backing, self.first.plus(n), FrameNo(frame));
        }
    }
}
