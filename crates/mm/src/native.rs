//! Native runs: parts of windows that the machine serves by itself, at its own price, while there
//! is room for the worst that can come of it.
//!
//! A fork of a space whose pages all stand at their places of the pool needs no manager as long as
//! memory is plentiful: the machine shows those pages, and copies what is stored to, without a
//! fault that comes to us. Three rules make that safe. *Charged beforehand*: as if every page of
//! the run were stored to. *Steady*: no page of the backing leaves its place meanwhile
//! ([`Backings::stay`](crate::backing::Backings::stay)), since an access to an empty place would
//! fill it. *Looked at before it matters*: whoever wants to know what the space's pages are ends
//! the run first. From then on stores are faults, one look at the machine's page table finds what
//! was stored to, each such page becomes a frame of this space, and the rest of the charge goes
//! back. That a page may be private though a table names a shared frame is so in native runs only,
//! and nobody but the space's own operations asks a table what its window shows.
//!
//! The run that forks may have ([`Steady`]) is found once for a space and kept until the space
//! changes. Reclaim ends native runs, oldest first, before it evicts anything: a space without one
//! costs faults, an evicted page a store. Called by forks, by reclaim, and by every operation on a
//! space's pages; the space's lock is held.

pub(crate) mod queue;

pub use queue::Native;

use crate::addr::{PageNo, Run, SpaceNo};
use crate::backing::BackingNo;
use crate::budget::{Charge, Class, Need, UNLIMITED};
use crate::error::Stop;
use crate::frame::Residence;
use crate::host::{Host, Store};
use crate::mm::{Mm, PAGE, alloc_frame};
use crate::own_page::own_page;
use crate::path::OwnPath;
use crate::peek::lock_entry;
use crate::reclaim::state::{Kind, Origin};
use crate::rmap::Sweep;
use crate::space::native::{NativeRun, Steady};
use crate::space::{Merging, SpaceGuard};
use crate::table::{FANOUT, LeafEntry, LeafSlot, TableNo};
use crate::window_tables::WindowTables;
use std::convert::Infallible;
use std::ops::Range;

/// What is charged for a page of a native run: the page, its frame, its part of a leaf.
const EACH: u64 = PAGE + 256;

/// Pages that are looked at in one call.
const PIECE: u32 = 64;

/// Pages that a native run has at the least: fewer are not worth a mapping. And no two pages of one
/// leaf have such a run between them.
const LEAST: u32 = FANOUT as u32;

/// Spaces whose native runs end in one step of reclaim.
const ENDED: u32 = 4;

/// The native runs of all spaces.
pub(crate) struct Natives<'m, H, S> {
    mm: &'m Mm<H, S>,
}

/// A native run for a fork that nobody knows yet; dropped before the fork has it, nothing is left.
#[must_use]
pub(crate) struct Granted<'m, H: Host, S: Store> {
    mm: &'m Mm<H, S>,
    no: SpaceNo,
    backing: BackingNo,
    pub run: Run,
    charges: Option<[Charge<'m>; 2]>,
}

impl<'m, H: Host, S: Store> Granted<'m, H, S> {
    /// The fork has the run from now on, in a window with these tables.
    pub fn give(mut self, window: &mut WindowTables) -> NativeRun {
        let [charge, tables] = self.charges.take().expect("a run is given once");
        charge.keep();
        tables.keep();
        tables_of(self.mm, self.run).for_each(|table| window.set_made(table, true));
        NativeRun {
            run: self.run,
            charged: u64::from(self.run.len) * EACH,
        }
    }
}

impl<H: Host, S: Store> Drop for Granted<'_, H, S> {
    fn drop(&mut self) {
        if self.charges.is_some() {
            Natives::of(self.mm).forget(self.no, self.backing);
        }
    }
}

impl<'m, H: Host, S: Store> Natives<'m, H, S> {
    /// Those of this manager.
    pub fn of(mm: &'m Mm<H, S>) -> Self {
        Self { mm }
    }

    /// A native run for a fork of the space, which has stored to nothing since the last one if it
    /// is `clean`; where there is room for it.
    pub fn of_fork(
        &self,
        parent: &mut SpaceGuard<'_>,
        fork: SpaceNo,
        clean: bool,
    ) -> Option<Granted<'m, H, S>> {
        let mm = self.mm;
        if !clean || !parent.areas.is_empty() || !parent.pins.is_empty() {
            self.end_steady(parent);
            return None;
        }
        if !mm.natives.has_room() || parent.slot.merging() == Merging::On || !self.is_roomy(0) {
            return None;
        }
        let run = self.steady(parent)?;
        let charges = self.charge(run)?;
        if !mm.natives.push(fork) {
            return None;
        }
        mm.backings.stay(parent.backing);
        Some(Granted {
            mm,
            no: fork,
            backing: parent.backing,
            run,
            charges: Some(charges),
        })
    }

    /// Whether half of the budget is left beside so many bytes.
    fn is_roomy(&self, bytes: u64) -> bool {
        let limit = self.mm.budget.limit();
        limit == UNLIMITED || self.mm.budget.free() >= limit / 2 + bytes
    }

    fn charge(&self, run: Run) -> Option<[Charge<'m>; 2]> {
        let tables = tables_of(self.mm, run).len() as u64 * self.mm.host.page_tables().bytes;
        let pages = u64::from(run.len) * EACH;
        if !self.is_roomy(pages + tables) {
            return None;
        }
        let take = |class, bytes| Charge::take(&self.mm.budget, class, bytes, Need::Normal);
        Some([take(Class::Native, pages)?, take(Class::PageTables, tables)?])
    }

    /// The run of the space that forks may have.
    fn steady(&self, space: &mut SpaceGuard<'_>) -> Option<Run> {
        match space.steady {
            Steady::Run(run) => Some(run),
            Steady::Nothing => None,
            Steady::Unknown => {
                self.mm.backings.stay(space.backing);
                if let Some(run) = self.longest(space)
                    && self.mm.natives.push(space.no)
                {
                    space.steady = Steady::Run(run);
                    return Some(run);
                }
                self.mm.backings.may_leave(space.backing);
                space.steady = Steady::Nothing;
                None
            }
        }
    }

    /// The longest run of pages that all stand at their places. Pages stay while this looks; one
    /// that was about to go had its frame locked before, and is gone when the lock is had.
    fn longest(&self, space: &SpaceGuard<'_>) -> Option<Run> {
        let mm = self.mm;
        let (mut best, mut from, mut next) = (
            Run {
                first: PageNo(0),
                len: 0,
            },
            0,
            0,
        );
        let each = |page: PageNo, leaf: TableNo, entry: LeafEntry| -> Result<(), Infallible> {
            let LeafEntry::Frame(frame) = entry else {
                return Ok(());
            };
            let stands = lock_entry(mm, leaf, page, frame)
                .is_some_and(|locked| locked.residence == Residence::Backing(space.backing));
            if !stands {
                return Ok(());
            }
            if page.0 != next {
                from = page.0;
            }
            next = page.0 + 1;
            let len = next - from;
            if len > best.len {
                let first = PageNo(from);
                best = Run { first, len };
            }
            Ok(())
        };
        let Ok(()) = mm.tables.each_page(&space.tree, PageNo(space.len), each);
        (best.len >= LEAST).then_some(best)
    }

    /// Forks have no native runs any more, until the next one looks again.
    fn end_steady(&self, space: &mut SpaceGuard<'_>) {
        if let Steady::Run(_) = std::mem::take(&mut space.steady) {
            self.forget(space.no, space.backing);
        }
    }

    /// The tables say what the space's pages are: it has no native run any more.
    ///
    /// # Errors
    /// [`Stop`]; the machine serves what is left of the run, or stores there are faults already,
    /// and the next of them goes on with this.
    pub fn settle(&self, space: &mut SpaceGuard<'m>) -> Result<(), Stop> {
        let Some(native) = space.native.take() else {
            return Ok(());
        };
        let mut left = native;
        if let Err(stop) = self.settle_run(space, &mut left) {
            space.native = Some(left);
            return Err(stop);
        }
        self.forget(space.no, space.backing);
        Ok(())
    }

    /// The same, and its forks will have none.
    ///
    /// # Errors
    /// As [`settle`](Self::settle).
    pub fn end(&self, space: &mut SpaceGuard<'m>) -> Result<(), Stop> {
        self.end_steady(space);
        self.settle(space)
    }

    /// A space is dead that had such a run, or let its forks have some; its window is closed.
    pub fn ended(&self, no: SpaceNo, backing: BackingNo, native: Option<NativeRun>, steady: Steady) {
        if let Some(native) = native {
            self.mm.budget.refund(Class::Native, native.charged);
            self.forget(no, backing);
        }
        if let Steady::Run(_) = steady {
            self.forget(no, backing);
        }
    }

    /// The space does not rely on pages staying any more, for one of its reasons.
    fn forget(&self, no: SpaceNo, backing: BackingNo) {
        self.mm.natives.forget(no);
        self.mm.backings.may_leave(backing);
        self.mm.reclaim.something_changed();
    }

    fn settle_run(&self, space: &mut SpaceGuard<'m>, left: &mut NativeRun) -> Result<(), Stop> {
        let mm = self.mm;
        mm.host.manage(space.no, left.run)?;
        // Ends: each turn takes a piece off the run.
        while left.run.len != 0 {
            let piece = Run {
                len: left.run.len.min(PIECE),
                ..left.run
            };
            let stored = mm.host.stored_to(space.no, piece)?;
            for page in piece.pages() {
                if stored >> (page.0 - piece.first.0) & 1 == 1 {
                    self.adopt(space, page)?;
                    left.charged -= PAGE;
                }
                left.run = Run {
                    first: page.plus(1),
                    len: left.run.len - 1,
                };
            }
            let over = left.charged - u64::from(left.run.len) * EACH;
            mm.budget.refund(Class::Native, over);
            left.charged -= over;
        }
        mm.counters.native_ended.one();
        Ok(())
    }

    /// A page of the run was stored to: it is a frame of this space's own, protected, from now on.
    fn adopt(&self, space: &mut SpaceGuard<'m>, page: PageNo) -> Result<(), Stop> {
        let mm = self.mm;
        let path = OwnPath::take(mm, space, page, Need::Reclaim)?;
        let leaf = path.leaf;
        let frame = alloc_frame(mm, Need::Reclaim);
        let frame = path.settle(space, frame)?;
        let slot = LeafSlot::of(leaf.0, page);
        let LeafEntry::Frame(before) = mm.tables.entry(leaf.0, page) else {
            panic!("page {page} of space {} left its place in a native run", space.no)
        };
        let locked = mm.frames.lock(before);
        mm.tables.set_entry(slot, LeafEntry::Absent);
        let mut sweep = Sweep::new(mm);
        sweep.unmap(locked, slot);
        sweep.finish_pool();
        mm.budget.reclass(Class::Native, Class::Private, PAGE);
        let charge = Charge::of(&mm.budget, Class::Private, PAGE).page();
        let mut locked = own_page(mm, space, (leaf, page), frame, charge);
        locked.protected = true;
        mm.reclaim
            .arrived(&mm.frames, frame, Kind::Anonymous, Origin::New);
        drop(locked);
        mm.counters.native_copied.one();
        Ok(())
    }

    /// Ends some native runs, those of the spaces that have had them for longest, and the promise
    /// that pages stay; how many spaces that were. Waits for no space.
    pub fn give_way(&self) -> u32 {
        let mut ended = 0;
        for no in self.mm.natives.turn() {
            let Some(mut space) = SpaceGuard::attempt(&self.mm.spaces, no) else {
                continue;
            };
            let had = space.native.is_some() || matches!(space.steady, Steady::Run(_));
            ended += u32::from(self.end(&mut space).is_ok() && had);
            if ended == ENDED {
                break;
            }
        }
        ended
    }

    /// Ends the native runs of all spaces that stand in the backing of this one: their pages are
    /// to leave their places.
    ///
    /// # Errors
    /// As [`settle`](Self::settle); some may be left.
    pub fn end_family(&self, of: SpaceNo) -> Result<(), Stop> {
        if self.mm.natives.len() == 0 {
            return Ok(());
        }
        let Ok(backing) = self.mm.lock_space(of).map(|space| space.backing) else {
            return Ok(());
        };
        for no in self.mm.natives.turn() {
            if let Ok(mut space) = self.mm.lock_space(no)
                && space.backing == backing
            {
                self.end(&mut space)?;
            }
        }
        Ok(())
    }
}

impl<H, S> Mm<H, S> {
    /// Whether the machine may show pages of the backing by itself, or begin to, so that they stay,
    /// and no window is asked for them. Under a frame's lock the answer holds for that frame: who
    /// begins to rely on it says so first, and then has each frame's lock once.
    pub(crate) fn serves(&self, backing: BackingNo) -> bool {
        self.natives.len() != 0 && self.backings.stays(backing)
    }
}

/// The tables say what the pages of all spaces are, as far as the machine lets them: for checks.
pub(crate) fn settle_all<H: Host, S: Store>(mm: &Mm<H, S>) {
    for no in mm.natives.turn() {
        let _ = lock_settled(mm, no);
    }
}

/// The machine's page tables that the run reaches into, where they are counted.
fn tables_of<H: Host, S: Store>(mm: &Mm<H, S>, run: Run) -> Range<u32> {
    let tables = mm.host.page_tables();
    if tables.bytes == 0 {
        return 0..0;
    }
    run.first.0 / tables.pages..run.end().0.div_ceil(tables.pages)
}

/// The lock of a space whose tables say what its pages are.
pub(crate) fn lock_settled<H: Host, S: Store>(mm: &Mm<H, S>, no: SpaceNo) -> Result<SpaceGuard<'_>, Stop> {
    let mut space = mm.lock_space(no)?;
    Natives::of(mm).settle(&mut space)?;
    Ok(space)
}

/// The same for who changes them, but by faults.
pub(crate) fn lock_to_change<H: Host, S: Store>(mm: &Mm<H, S>, no: SpaceNo) -> Result<SpaceGuard<'_>, Stop> {
    let mut space = mm.lock_space(no)?;
    Natives::of(mm).end(&mut space)?;
    Ok(space)
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
