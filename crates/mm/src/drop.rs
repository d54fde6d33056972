//! Ending a space.
//!
//! Frames that forks still share while their bytes lie in this space's window (*lent*) are moved to the pool first; that
//! may fail, and then the space lives on. The rest cannot fail: the root is dropped, what nobody else names is
//! freed, pool pages in runs, and the window is closed, with which its private pages go. Under the space lock.

use crate::addr::{PageNo, Run, SpaceNo};
use crate::budget::{Charge, Class, Need};
use crate::frame::{Locked, Owner, Residence};
use crate::home::HomeNo;
use crate::host::{Host, Store};
use crate::mm::{Mm, PAGE, SpaceError, Stop};
use crate::rmap::Sweep;
use crate::space::SpaceState;
use crate::table::{Entry, FAN, TableNo};

impl<H: Host, S: Store> Mm<H, S> {
    /// Ends a space: its window, its tables, what nobody else shares. No thread is inside its window.
    ///
    /// # Errors
    /// [`SpaceError::NoSuchSpace`]; also when a page that forks of it still share cannot be moved away: then the space lives on.
    pub fn drop_space(&self, space: SpaceNo) -> Result<(), SpaceError> {
        let done = self.retry(|| {
            let mut st = match self.lock_space(space) {
                Ok(st) => st,
                Err(_) => return Err(Stop::Fault(crate::space::FaultError::NoSuchSpace(space))),
            };
            self.give_away(space, &mut st)?;
            self.tear_down(space, &mut st);
            Ok(())
        });
        done.map_err(|stop| self.space_error(stop, space, PageNo(0)))?;
        self.spaces.free(space.0);
        Ok(())
    }

    pub(crate) fn tear_down(&self, no: SpaceNo, st: &mut SpaceState) {
        st.alive = false;
        // Pins that were left end with the space: each holds a reference, and with it the frame.
        while let Some(&(page, _)) = st.pins.last() {
            self.unpin_page(st, page);
        }
        st.dirty_head = 0;
        let mut sweep = Sweep::new(self);
        if let Some(root) = st.root.take() {
            self.drop_root(no, root, &mut sweep);
        }
        sweep.finish_pool();
        self.close_window(no, &mut st.window);
        sweep.finish_private();
        self.leave_home(st.home);
    }

    /// Moves the frames that others share out of this space's window.
    fn give_away(&self, no: SpaceNo, st: &mut SpaceState) -> Result<(), Stop> {
        let mut page = 0;
        while page < st.len && self.spaces.get(no.0).lent() != 0 {
            let found = self.lookup(st, PageNo(page));
            let Some(leaf) = found.leaf else {
                page = (page | (FAN as u32 - 1)) + 1;
                continue;
            };
            if let Entry::Frame(frame) = found.entry {
                let locked = self.lock_frame(frame);
                let same = self.entry(leaf, PageNo(page)) == Entry::Frame(frame);
                let lent = locked.residence == Residence::Private(no)
                    && matches!(locked.frame.word.load().owner, Owner::Shared(_))
                    && (found.shared || locked.frame.count.load().maps > 1);
                if same && lent {
                    self.give_away_frame(no, st.home, leaf, PageNo(page), locked)?;
                }
            }
            page += 1;
        }
        Ok(())
    }

    fn give_away_frame(
        &self,
        no: SpaceNo,
        home: HomeNo,
        leaf: TableNo,
        page: PageNo,
        locked: Locked<'_>,
    ) -> Result<(), Stop> {
        let frame = locked.no;
        if self.promote_around(leaf, page, locked, no, home)? {
            return Ok(());
        }
        let locked = self.lock_frame(frame);
        if locked.residence == Residence::Private(no) {
            self.move_loose(no, page, locked)
        } else {
            Ok(())
        }
    }

    /// Another version stands at the frame's place: it goes to the loose range.
    fn move_loose(&self, no: SpaceNo, page: PageNo, mut locked: Locked<'_>) -> Result<(), Stop> {
        let charge = Charge::take(&self.budget, Class::Pool, PAGE, Need::Reclaim).ok_or(Stop::NoRoom)?;
        let (to, pages) = self.homes.claim_loose();
        let moved = self
            .host
            .reserve_pool(pages)
            .and_then(|()| self.host.copy_to_pool(no, Run::one(page), to));
        if let Err(e) = moved {
            self.host.pool_free(to, 1);
            self.homes.vacate_loose(to);
            return Err(e.into());
        }
        self.host.drop_pages(no, Run::one(page));
        locked.residence = Residence::Loose(to);
        self.spaces.get(no.0).unlend();
        self.budget.refund(Class::Private, PAGE);
        charge.keep();
        self.counters.promoted.one();
        Ok(())
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
