//! A store to a shared page behind a run of such stores: the page and some of those that follow get
//! their copies together.
//!
//! All of them stand at their places in the backing, one behind the other, so one call of the
//! machine copies them; their frames are locked meanwhile. Only the page itself is owed: where room
//! is short, where a frame is in use, or where the machine does less, fewer are copied. Part of
//! [`Fault`], under the space's lock.

use super::{Fault, Next};
use crate::addr::{FrameNo, Run};
use crate::budget::{Charge, Class, Need};
use crate::error::Stop;
use crate::frame::{Locked, Residence};
use crate::host::{Host, Store};
use crate::mm::{Mm, PAGE, alloc_frame};
use crate::neighbours::LockedRun;
use crate::reclaim::Origin;
use crate::rmap::Sweep;
use crate::table::{FANOUT, LeafEntry, LeafSlot, OwnLeaf};

/// Frames for new pages; those that are not taken are given back.
struct NewFrames<'m, H: Host, S: Store> {
    mm: &'m Mm<H, S>,
    frames: [Option<FrameNo>; FANOUT],
}

impl<'m, H: Host, S: Store> NewFrames<'m, H, S> {
    /// So many, or fewer, but one at the least; also says how many.
    fn alloc(mm: &'m Mm<H, S>, most: u32) -> Result<(Self, u32), Stop> {
        let mut new = Self {
            mm,
            frames: [None; FANOUT],
        };
        new.frames[0] = Some(alloc_frame(mm, Need::Normal)?);
        let mut len = 1;
        while len < most {
            let Ok(frame) = alloc_frame(mm, Need::Normal) else {
                break;
            };
            new.frames[len as usize] = Some(frame);
            len += 1;
        }
        Ok((new, len))
    }

    fn take(&mut self, n: u32) -> FrameNo {
        self.frames[n as usize].take().expect("one for each page")
    }
}

impl<H: Host, S: Store> Drop for NewFrames<'_, H, S> {
    fn drop(&mut self) {
        for frame in self.frames.iter().flatten() {
            self.mm.frames.free(frame.0);
        }
    }
}

impl<'m, H: Host, S: Store> Fault<'_, 'm, H, S> {
    /// Copies the page, whose frame is locked, and those behind it, up to so many in all.
    pub(super) fn copy_ahead(
        &mut self,
        leaf: OwnLeaf,
        locked: Locked<'m>,
        mut charge: Charge<'m>,
        pages: u32,
    ) -> Result<Next, Stop> {
        let (mm, first, backing) = (self.mm, self.page, self.space.backing);
        let end = first.plus(pages);
        let mut held = LockedRun::of(leaf.0, first, locked);
        let run = held.widen(mm, |near, locked| {
            first < near
                && near < end
                && locked.residence == Residence::Backing(backing)
                && !self.is_stood_in(near)
        });
        let more =
            |pages: u32| Charge::take(&mm.budget, Class::Private, u64::from(pages) * PAGE, Need::Normal);
        let len = match more(run.len - 1) {
            Some(more) => {
                charge.join(more);
                run.len
            }
            None => 1,
        };
        let (mut new, len) = NewFrames::alloc(mm, len)?;
        let from = mm.backings.first(backing).plus(first.0);
        let copied = mm
            .host
            .copy_run_from_pool(self.space.no, Run { first, len }, from)?;
        let done = || (0..len).filter(|n| copied >> n & 1 == 1);
        let mut sweep = Sweep::new(mm);
        for n in done() {
            let page = first.plus(n);
            let slot = LeafSlot::of(leaf.0, page);
            mm.tables.set_entry(slot, LeafEntry::Absent);
            sweep.unmap(held.take(page), slot);
        }
        sweep.finish_pool();
        drop(held);
        for n in done() {
            let frame = new.take(n);
            self.install_private(leaf, first.plus(n), frame, Origin::New, charge.page());
        }
        let len = copied.trailing_ones();
        self.space.stores.copied(Run { first, len });
        mm.counters.copied.add(copied.count_ones().into());
        match len {
            0 => Ok(Next::Retry),
            _ => Ok(Next::Done),
        }
    }
}
