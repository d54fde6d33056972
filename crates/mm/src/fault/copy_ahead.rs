//! A store to a shared page behind a run of such stores: the page and some of those that follow get
//! their copies together.
//!
//! All of them stand at their places in the backing, one behind the other, so one call of the
//! machine copies them; their frames are locked meanwhile. Only the page itself is owed: where room
//! is short, where a frame is in use, or where the machine does less, fewer are copied. Part of
//! [`Fault`], under the space's lock.

use super::new_frames::NewFrames;
use super::{Fault, Next};
use crate::addr::Run;
use crate::budget::{Charge, Class, Need};
use crate::error::Stop;
use crate::frame::{Locked, Residence};
use crate::host::{Host, Protection, Store};
use crate::mm::PAGE;
use crate::neighbours::LockedRun;
use crate::reclaim::Origin;
use crate::rmap::Sweep;
use crate::table::{LeafEntry, LeafSlot, OwnLeaf};

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
        let mut new = NewFrames::new(mm);
        let len = new.alloc(len)?;
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
            let shown = Protection::Writable;
            self.install_private(leaf, first.plus(n), frame, Origin::New, charge.page(), shown);
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
