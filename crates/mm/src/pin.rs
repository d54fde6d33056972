//! Pins: pages that the kernel is about to read or write, and that must stay where they are.
//!
//! A pinned page is an exclusive, writable private page of its space. It is not evicted, shared or
//! moved until it is unpinned; a fork copies it for the child. A pin counts on the frame (so that reclaim sees it
//! under the frame lock) and in the space (so that fork finds it). The space lock is held for one page while pinning, and for a
//! piece of the run while unpinning: faults of the space come in between.

use crate::addr::{Access, PageNo, Run, SpaceNo};
use crate::frame::count::MOST_PINS;
use crate::frame::{Owner, Put};
use crate::host::{Host, Store};
use crate::mm::{Mm, Stop};
use crate::space::{FaultError, SpaceState};
use crate::table::Entry;

/// Pages that are unpinned while the space's lock is held.
const PIECE: u32 = if cfg!(any(loom, shuttle)) { 2 } else { 1024 };

impl<H: Host, S: Store> Mm<H, S> {
    /// Brings the pages in, makes them this space's own and keeps them there until `unpin`. Pins nest.
    ///
    /// # Errors
    /// [`FaultError`]; then no page of the run is pinned by this call. Pages before the failing one may have become the
    /// space's own, as a store to them would have made them.
    pub fn pin(&self, space: SpaceNo, run: Run) -> Result<(), FaultError> {
        for page in run.pages() {
            if let Err(stop) = self.retry(|| self.pin_page(space, page)) {
                if page != run.first {
                    self.unpin(
                        space,
                        Run {
                            first: run.first,
                            len: page.0 - run.first.0,
                        },
                    );
                }
                return Err(self.fault_error(stop, space, page));
            }
        }
        Ok(())
    }

    fn pin_page(&self, space: SpaceNo, page: PageNo) -> Result<(), Stop> {
        let slot = self
            .spaces
            .peek(space.0)
            .ok_or(Stop::Fault(FaultError::NoSuchSpace(space)))?;
        let mut st = slot.lock();
        self.fault_locked(space, &mut st, page, Access::Write)?;
        let Entry::Frame(no) = self.lookup(&st, page).entry else {
            return Err(Stop::Again);
        };
        let locked = self.lock_frame(no);
        let still = self.lookup(&st, page).entry == Entry::Frame(no)
            && matches!(locked.frame.word.load().owner, Owner::Exclusive(_));
        if !still {
            return Err(Stop::Again);
        }
        // Ageing may have protected the page after the fault.
        self.host.unprotect(space, Run::one(page))?;
        locked.frame.mark_incompressible(false);
        if !locked.frame.count.pin() {
            let most = MOST_PINS;
            return Err(Stop::Fault(FaultError::TooManyPins { space, page, most }));
        }
        self.replacer.set_aside(&self.frames, no);
        *st.pins.entry(page).or_insert(0) += 1;
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
            piece.for_each(|page| self.unpin_page(&mut st, page));
            drop(st);
            self.spaces.get(space.0).let_others();
        }
        self.stalled.something_changed();
    }

    pub(crate) fn unpin_page(&self, st: &mut SpaceState, page: PageNo) {
        let times = st.pins.get_mut(&page).expect("the page is not pinned");
        *times -= 1;
        let last = *times == 0;
        if last {
            st.pins.remove(&page);
        }
        let Entry::Frame(no) = self.lookup(st, page).entry else {
            panic!("a pinned page was evicted")
        };
        let locked = self.lock_frame(no);
        let put = locked.frame.count.unpin();
        assert_eq!(put, Put::Held, "a pinned page was unmapped");
        if last {
            self.replacer.bring_back(&self.frames, no);
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
