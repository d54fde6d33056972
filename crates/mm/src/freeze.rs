//! Freezing: a copy of a space that never runs and forks cheaply; and reading a page without showing it.
//!
//! A fork shares what its parent wrote only page by page, as the fork reads it. `freeze` does that
//! once for all pages: they move to their places in the pool, where every fork can show them. Where another version
//! stands at a page's place (the space is itself a fork that went its own way), the frozen copy gets a
//! home of its own and all of its pages are copied there: in time and memory proportional to its size, once.

use crate::addr::{PageBytes, PageNo, SpaceNo};
use crate::budget::{Charge, Class, Need};
use crate::fork::Size;
use crate::frame::{Owner, Residence};
use crate::host::{Host, Store};
use crate::lru::List;
use crate::mm::{Mm, PAGE, SpaceError, Stop};
use crate::space::SpaceState;
use crate::table::{Entry, FAN, LeafSlot, slot_of};

impl<H: Host, S: Store> Mm<H, S> {
    /// A copy of the space whose pages all forks of the copy can share in memory.
    ///
    /// # Errors
    /// [`SpaceError`]; the space is as it was, and there is no copy.
    pub fn freeze(&self, space: SpaceNo) -> Result<SpaceNo, SpaceError> {
        let copy = self.fork(space)?;
        match self.retry(|| self.settle(space)) {
            Ok(true) => Ok(copy),
            Ok(false) => {
                let moved = self.copy_home(copy);
                self.drop_space(copy)?;
                moved
            }
            Err(stop) => {
                self.drop_space(copy)?;
                Err(self.space_error(stop, space, PageNo(0)))
            }
        }
    }

    /// Moves all lent pages of the space to their places; false when one is taken by another version.
    fn settle(&self, no: SpaceNo) -> Result<bool, Stop> {
        let Ok(st) = self.lock_space(no) else {
            return Ok(true);
        };
        let mut settled = true;
        self.each_page(&st, |page, leaf, entry| {
            let Entry::Frame(frame) = entry else { return Ok(()) };
            let locked = self.lock_frame(frame);
            if self.entry(leaf, page) != entry {
                return Ok(());
            }
            let shared = matches!(locked.frame.word.load().owner, Owner::Shared(_));
            match locked.residence {
                Residence::Private(owner) if shared => {
                    settled &= self.promote_around(leaf, page, locked, owner, st.home)?;
                }
                Residence::Loose(_) => settled = false,
                _ => (),
            }
            Ok(())
        })?;
        Ok(settled)
    }

    /// Calls `step` with each page that is not absent.
    pub(crate) fn each_page(
        &self,
        st: &SpaceState,
        mut step: impl FnMut(PageNo, crate::table::TableNo, Entry) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let mut page = 0;
        while page < st.len {
            let found = self.lookup(st, PageNo(page));
            match found.leaf {
                Some(leaf) => {
                    if found.entry != Entry::Absent {
                        step(PageNo(page), leaf, found.entry)?;
                    }
                    page += 1;
                }
                None => page = (page | (FAN as u32 - 1)) + 1,
            }
        }
        Ok(())
    }

    /// A space with the same bytes at a home of its own.
    fn copy_home(&self, from: SpaceNo) -> Result<SpaceNo, SpaceError> {
        let (size, domain) = {
            let st = self.lock_space(from)?;
            (
                Size {
                    len: st.len,
                    reserve: st.reserve,
                },
                st.domain,
            )
        };
        let to = self.create(size, domain)?;
        self.spaces
            .get(to.0)
            .set_merging(self.spaces.get(from.0).merging());
        let mut bytes = Box::new([0; crate::addr::PAGE_SIZE]);
        for page in (0..size.len).map(PageNo) {
            let copied = self.retry(|| {
                let absent = !self.peek_page(from, page, &mut bytes)?;
                if absent {
                    Ok(())
                } else {
                    self.place_page(to, page, &bytes)
                }
            });
            if let Err(stop) = copied {
                self.drop_space(to)?;
                return Err(self.space_error(stop, from, page));
            }
        }
        Ok(to)
    }

    /// Gives an absent page of a frozen copy its frame, at its place in the pool.
    fn place_page(&self, no: SpaceNo, page: PageNo, bytes: &PageBytes) -> Result<(), Stop> {
        let mut st = self.spaces.get(no.0).lock();
        let charge = Charge::take(&self.budget, Class::Pool, PAGE, Need::Normal).ok_or(Stop::NoRoom)?;
        let leaf = self.own_leaf(no, &mut st, page, Need::Normal)?;
        let frame = self.alloc_frame(Need::Normal)?;
        let mut locked = self.lock_frame(frame);
        let tables = |bytes| self.budget.charge(Class::Tables, bytes, Need::Normal);
        let placed = if self.homes.claim(st.home, page, frame, tables) {
            let to = self.homes.first(st.home).plus(page.0);
            self.host.pool_write(to, bytes).map_err(|e| {
                self.homes.vacate(st.home, page, frame);
                Stop::from(e)
            })
        } else {
            Err(Stop::NoRoom)
        };
        if let Err(stop) = placed {
            drop(locked);
            self.frames.free(frame.0);
            return Err(stop);
        }
        locked.residence = Residence::Home(st.home);
        locked.frame.mark_incompressible(false);
        let slot = slot_of(page, 0);
        self.map_new(&locked, Owner::Shared(LeafSlot { leaf: leaf.0, slot }));
        self.table(leaf.0).slot(slot).entry.store(Entry::Frame(frame));
        drop(locked);
        self.lru.add(&self.frames, frame, List::Inactive);
        charge.keep();
        Ok(())
    }

    /// Reads a page as the space sees it, without showing it. Stores of running threads may or may not be in it.
    ///
    /// # Errors
    /// [`SpaceError`]; `out` is then unspecified.
    pub fn read_page(&self, space: SpaceNo, page: PageNo, out: &mut PageBytes) -> Result<(), SpaceError> {
        let read = self.retry(|| self.peek_page(space, page, out));
        read.map(|_| ())
            .map_err(|stop| self.space_error(stop, space, page))
    }

    /// The same; false when the page is absent (zeros).
    fn peek_page(&self, no: SpaceNo, page: PageNo, out: &mut PageBytes) -> Result<bool, Stop> {
        let no_such = Stop::Fault(crate::space::FaultError::NoSuchSpace(no));
        let st = self.lock_space(no).map_err(|_| no_such)?;
        let found = self.lookup(&st, page);
        match found.entry {
            Entry::Absent => out.fill(0),
            Entry::Swapped(slot) => {
                // A reference of our own: another sharer may bring the page in meanwhile.
                let Some(seen) = self.swap.look(slot).filter(|_| self.swap.dup(slot)) else {
                    return Err(Stop::Again);
                };
                let got = self.store.get(seen.stored, out);
                self.swap.put(slot, &self.store, &self.budget);
                got?;
            }
            Entry::Frame(frame) => {
                let locked = self.lock_frame(frame);
                if found
                    .leaf
                    .is_some_and(|leaf| self.entry(leaf, page) != found.entry)
                {
                    return Err(Stop::Again);
                }
                match locked.residence {
                    Residence::Private(owner) => self.read_window(no, owner, &locked, page, out)?,
                    Residence::Home(home) => {
                        self.host.pool_read(self.homes.first(home).plus(page.0), out)?;
                    }
                    Residence::Loose(at) => self.host.pool_read(at, out)?,
                    Residence::Nowhere => panic!("frame {frame} is mapped but has no bytes"),
                }
            }
            Entry::Table(_) => panic!("a leaf names a table"),
        }
        Ok(found.entry != Entry::Absent)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
