//! Reading a page as its space sees it, without bringing it in.
//!
//! Called under the space's lock, by freezing, by standby pages and for checks. Frame locks are waited for, and nothing
//! is changed; an answer that another thread has overtaken is `Stop::Again`.

use crate::addr::{PageBytes, PageNo, SpaceNo};
use crate::error::Stop;
use crate::frame::{Locked, Residence};
use crate::host::{Host, HostError, Store};
use crate::mm::Mm;
use crate::space::SpaceGuard;
use crate::table::LeafEntry;

/// Where the bytes are that a space sees at a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nowhere but in what backs the page: no table says anything of it.
    Backing,
    /// In this space's own window.
    Here,
    /// In the pool, the store, or another window.
    Elsewhere,
}

impl<H: Host, S: Store> Mm<H, S> {
    /// The bytes that the space sees at a page, without bringing it in; not those in its own window, to which its threads may
    /// be storing.
    pub(crate) fn see(
        &self,
        space: &SpaceGuard<'_>,
        page: PageNo,
        out: &mut PageBytes,
    ) -> Result<Seen, Stop> {
        let found = self.lookup(space, page);
        match found.entry() {
            LeafEntry::Absent => {
                space.areas.of(page).read(out);
                Ok(Seen::Backing)
            }
            LeafEntry::Swapped(slot) => {
                // A reference of our own: another sharer may bring the page in meanwhile.
                let Some(stored) = self.swap.look(slot).filter(|_| self.swap.dup(slot)) else {
                    return Err(Stop::Again);
                };
                let got = self.store.get(stored.stored, out);
                self.swap.put(slot, &self.store, &self.budget);
                got?;
                Ok(Seen::Elsewhere)
            }
            LeafEntry::Frame(frame) => {
                let locked = self.lock_frame(frame);
                let names = |leaf| self.entry(leaf, page) == LeafEntry::Frame(frame);
                if !found.leaf().is_some_and(names) {
                    return Err(Stop::Again);
                }
                if locked.residence == Residence::Private(space.no) {
                    return Ok(Seen::Here);
                }
                self.read_frame(space.no, &locked, page, out)?;
                Ok(Seen::Elsewhere)
            }
        }
    }

    /// The lock of a space that lives and has such a page.
    pub(crate) fn lock_page(&self, no: SpaceNo, page: PageNo) -> Result<SpaceGuard<'_>, Stop> {
        let space = self.lock_space(no)?;
        space.demand_page(page)?;
        Ok(space)
    }

    /// The bytes of a frame, wherever they are, for this space. Those of a writable private page may be changing.
    pub(crate) fn read_frame(
        &self,
        reader: SpaceNo,
        locked: &Locked<'_>,
        page: PageNo,
        out: &mut PageBytes,
    ) -> Result<(), HostError> {
        match locked.residence {
            Residence::Private(owner) => self.read_window(reader, owner, locked, page, out),
            Residence::Home(home) => self.host.pool_read(self.homes.first(home).plus(page.0), out),
            Residence::Loose(at) => self.host.pool_read(at, out),
            Residence::Nowhere => panic!("frame {} is mapped but has no bytes", locked.no),
        }
    }
}
