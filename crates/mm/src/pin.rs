//! Pins: pages that the kernel is about to read or write, and that must stay where they are.
//!
//! A pinned page is an exclusive, writable private page of its space. It is not evicted, shared or
//! moved until it is unpinned; a fork copies it for the child. A pin counts on the frame (so that
//! reclaim sees it under the frame lock) and in the space (so that fork finds it). The space lock
//! is held for one page while pinning, and for a piece of the run while unpinning: faults of the
//! space come in between.

use crate::addr::{Access, PageNo, Run, SpaceNo};
use crate::error::Stop;
use crate::fault::{Fault, on_loan};
use crate::frame::Put;
use crate::frame::count::MOST_PINS;
use crate::host::{Host, Store};
use crate::keep::may_go;
use crate::mm::Mm;
use crate::native::lock_settled;
use crate::peek::lock_entry;
use crate::space::{FaultError, PIECE, SpaceGuard};
use crate::table::LeafEntry;
use crate::writable::let_stores_through;

/// A run of which the first pages are pinned; dropped before all are, these are unpinned.
struct Pinning<'m, H: Host, S: Store> {
    mm: &'m Mm<H, S>,
    space: SpaceNo,
    pinned: Run,
}

impl<H: Host, S: Store> Drop for Pinning<'_, H, S> {
    fn drop(&mut self) {
        if self.pinned.len != 0 {
            self.mm.unpin(self.space, self.pinned);
        }
    }
}

impl<H: Host, S: Store> Mm<H, S> {
    /// Brings the pages in, makes them this space's own and keeps them there until `unpin`. Pins
    /// nest.
    ///
    /// # Errors
    /// [`FaultError`]; then no page of the run is pinned by this call. Pages before the failing one
    /// may have become the space's own, as a store to them would have made them.
    pub fn pin(&self, space: SpaceNo, run: Run) -> Result<(), FaultError> {
        let mut pinning = Pinning {
            mm: self,
            space,
            pinned: Run {
                first: run.first,
                len: 0,
            },
        };
        let slot = self.spaces.peek(space.0).ok_or(FaultError::NoSuchSpace(space))?;
        let _pinning = slot.fence.begin_pins();
        for page in run.pages() {
            let pinned = match self.retry(|| pin_page(self, space, page)) {
                Err(Stop::NoRoom) => on_loan::store(self, space, page, |st| pin_resident(self, st, page)),
                done => done,
            };
            pinned.map_err(|stop| stop.of_page(&self.budget, space, page))?;
            pinning.pinned.len += 1;
        }
        // The caller has the pins from now on.
        pinning.pinned.len = 0;
        Ok(())
    }

    /// Takes back what one `pin` of the same run did.
    ///
    /// # Panics
    /// When a page of the run is not pinned.
    pub fn unpin(&self, space: SpaceNo, run: Run) {
        let mut pages = run.pages();
        // Ends: each turn takes a piece off the run.
        for _ in 0..run.len.div_ceil(PIECE) {
            let Ok(mut st) = self.lock_space(space) else {
                return;
            };
            let piece = pages.by_ref().take(PIECE as usize);
            piece.for_each(|page| unpin_page(self, &mut st, page));
            let slot = st.slot;
            drop(st);
            slot.let_others();
        }
    }
}

fn pin_page<H: Host, S: Store>(mm: &Mm<H, S>, space: SpaceNo, page: PageNo) -> Result<(), Stop> {
    let mut st = lock_settled(mm, space)?;
    demand_own(&st, page)?;
    Fault::resolve(mm, &mut st, page, Access::Write)?;
    pin_resident(mm, &mut st, page)
}

/// An area that others share has pages that are never the space's own.
fn demand_own(st: &SpaceGuard<'_>, page: PageNo) -> Result<(), Stop> {
    if st.areas.is_shared(page) {
        let space = st.no;
        return Err(Stop::Fault(FaultError::PinOfShared { space, page }));
    }
    Ok(())
}

/// Pins a page that can be stored to.
fn pin_resident<H: Host, S: Store>(mm: &Mm<H, S>, st: &mut SpaceGuard<'_>, page: PageNo) -> Result<(), Stop> {
    let space = st.no;
    demand_own(st, page)?;
    let (no, leaf) = mm.tables.lookup(&st.tree, page).frame().ok_or(Stop::Retry)?;
    let mut locked = lock_entry(mm, leaf, page, no).ok_or(Stop::Retry)?;
    if !locked.frame.is_exclusive() {
        return Err(Stop::Retry);
    }
    // Ageing may have protected the page after the fault.
    let_stores_through(mm, space, page, &mut locked)?;
    locked.frame.mark_incompressible(false);
    if !locked.frame.count.pin() {
        let most = MOST_PINS;
        return Err(Stop::Fault(FaultError::TooManyPins { space, page, most }));
    }
    mm.reclaim.set_aside(&mm.frames, no);
    let times = st.pins.entry(page).or_insert(0);
    *times += 1;
    if *times == 1 {
        st.slot.fence.add_pin();
    }
    Ok(())
}

/// Takes back one pin of a page of this space.
pub(crate) fn unpin_page<H: Host, S: Store>(mm: &Mm<H, S>, st: &mut SpaceGuard<'_>, page: PageNo) {
    let times = st.pins.get_mut(&page).expect("the page is not pinned");
    *times -= 1;
    let last = *times == 0;
    if last {
        st.pins.remove(&page);
        st.slot.fence.end_pin();
    }
    let LeafEntry::Frame(no) = mm.tables.lookup(&st.tree, page).entry() else {
        panic!("a pinned page was evicted")
    };
    let locked = mm.frames.lock(no);
    let put = locked.frame.count.unpin();
    assert_eq!(put, Put::Held, "a pinned page was unmapped");
    if last {
        may_go(mm, &locked);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
