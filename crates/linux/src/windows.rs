//! Windows from the cradle to the grave: a slot of the arena becomes a window, and a piece of the
//! arena again.
//!
//! Part of [`LinuxHost`]. Also what is done to all open windows at once when the process lets the
//! kernel merge its memory (`ksm.rs`). The order of steps in [`LinuxHost::map_window`] matters: a
//! window becomes accessible last.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use memfold_host::HostError;
use memfold_host::addr::{PAGE_SIZE, PoolPage, Run, SpaceNo};

use crate::fault::Delivery;
use crate::host::LinuxHost;
use crate::kept::{Kept, Shape};
use crate::ksm::Choice;
use crate::limits::{no_record, refused};
use crate::pagetables::{self, TABLE_BYTES};
use crate::span::Span;
use crate::sparse::Sparse;
use crate::sys::{self, Allowed};
use crate::table::{self, Opening, Record, RecordNo};

impl LinuxHost {
    /// Opens a window, of which the kernel serves a run by itself.
    pub(crate) fn open_window(
        &self,
        space: SpaceNo,
        backing: PoolPage,
        (reserve, len): (u32, u32),
        native: Option<Run>,
    ) -> Result<u64, HostError> {
        assert!(len <= reserve, "{len} accessible pages of {reserve}");
        if space.0 as usize >= Sparse::<AtomicU32>::PLACES {
            return Err(HostError::NoMemory);
        }
        let place = self.windows.make(space.0 as usize).ok_or_else(no_record)?;
        // Relaxed: only this call and `close` write the place, and they do not overlap.
        assert!(
            place.load(Ordering::Relaxed) == 0,
            "space {space} has a window already"
        );
        let shape = native.map(|native| Shape {
            backing,
            reserve,
            len,
            native,
        });
        let kept = shape.and_then(|shape| self.take_over(&shape));
        let slot = match &kept {
            Some(kept) => kept.slot,
            None => self.new_window(backing, (reserve, len), native)?,
        };
        let opening = Opening {
            slot,
            backing,
            space,
            reserve,
            len,
            site: Arc::as_ptr(&self.site),
        };
        let Some(number) = table::open(&opening) else {
            match kept {
                Some(kept) => self.keep_on(kept),
                None => self.abandon(slot),
            }
            return Err(no_record());
        };
        let tables = kept.as_ref().map_or(0, |kept| kept.tables);
        if let Some(shape) = shape {
            self.kept.opened(number, shape, tables);
        }
        // Release: publishes the record to the space's users.
        place.store(number.to_number() + 1, Ordering::Release);
        if kept.is_some() {
            // All of it is held already.
            return Ok(0);
        }
        let held = pagetables::window_bytes() + self.arenas.cover(slot.head(len as usize));
        // Relaxed: a number on its own.
        self.held.fetch_add(held, Ordering::Relaxed);
        Ok(held)
    }

    /// A slot that is a window from now on, but for its record.
    fn new_window(
        &self,
        backing: PoolPage,
        (reserve, len): (u32, u32),
        native: Option<Run>,
    ) -> Result<Span, HostError> {
        // A window page beyond the end of the pool could not be filled.
        self.pool.reserve(backing.0 + u64::from(reserve))?;
        let bytes = (reserve as usize * PAGE_SIZE)
            .checked_add(self.style.guard_bytes)
            .ok_or(HostError::NoMemory)?;
        let slot = self.arenas.take(bytes).map_err(refused("mmap", bytes))?;
        if let Err(refused) = self.map_window(slot, backing, len, native) {
            self.abandon(slot);
            return Err(refused);
        }
        Ok(slot)
    }

    /// A window of this shape that was kept, accessible again.
    fn take_over(&self, shape: &Shape) -> Option<Kept> {
        let kept = self.kept.take(shape)?;
        let ready = || {
            if self.keep_out_ksm() {
                sys::unmergeable(kept.slot)?;
            }
            sys::allow(kept.native(), Allowed::All)
        };
        if ready().is_ok() {
            return Some(kept);
        }
        self.keep_on(kept);
        None
    }

    /// A window that was kept cannot be used now.
    fn keep_on(&self, kept: Kept) {
        // Refused: it is empty all the same.
        let _ = sys::allow(kept.native(), Allowed::Nothing);
        self.kept.put_back(kept);
    }

    /// Closes a window, which holds so many page tables, and keeps or takes it down; how many bytes
    /// less are held.
    pub(crate) fn close_window(&self, number: RecordNo, tables: u64) -> u64 {
        let record = number.record();
        let slot = record.slot();
        let accessible = slot.head(record.len() as usize);
        let (before, kept) = self.kept.closing(number, slot, tables);
        table::close(number);
        let held = pagetables::window_bytes() + (before + tables) * TABLE_BYTES;
        let emptied = |kept: &Kept| {
            // Poison would stay in it.
            !self.site.pages.poison_used()
                && sys::dont_need(accessible).is_ok()
                && sys::allow(kept.native(), Allowed::Nothing).is_ok()
        };
        match kept.filter(emptied) {
            Some(kept) => {
                let less = held - kept.bytes();
                less + self.kept.keep(kept).map_or(0, |gone| self.take_down(gone))
            }
            None => held + self.retire(slot),
        }
    }

    /// Takes down a window that was kept; how many bytes less are held.
    pub(crate) fn take_down(&self, kept: Kept) -> u64 {
        kept.bytes() + self.retire(kept.slot)
    }

    /// So many bytes are held no more: the answer to who asked for that.
    pub(crate) fn not_held(&self, bytes: u64) -> u64 {
        // Relaxed: a number on its own.
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        bytes
    }

    /// Turns a slot of the arena into a window: everything in order before it becomes accessible.
    /// Faults on its pages are ours, but for those that are `native`.
    pub(crate) fn map_window(
        &self,
        slot: Span,
        backing: PoolPage,
        len: u32,
        native: Option<Run>,
    ) -> Result<(), HostError> {
        let why = |call| refused(call, slot.len());
        let map = |pool| sys::map_window(slot, pool, backing.0 * PAGE_SIZE as u64);
        self.pool.fd().and_then(map).map_err(why("mmap"))?;
        self.prepare(slot)?;
        match native {
            None => self.take_faults(slot)?,
            Some(run) => {
                let (first, end) = (run.first.0 as usize, run.end().0 as usize);
                for part in [slot.head(first), slot.skip(end)] {
                    if !part.is_empty() {
                        self.take_faults(part)?;
                    }
                }
            }
        }
        sys::allow(slot.head(len as usize), Allowed::All).map_err(why("mprotect"))
    }

    /// What a mapping of a window is told before it becomes accessible; its faults are ours.
    pub(crate) fn make_ready(&self, slot: Span) -> Result<(), HostError> {
        self.prepare(slot)?;
        self.take_faults(slot)
    }

    /// Makes faults on the span ours.
    pub(crate) fn take_faults(&self, span: Span) -> Result<(), HostError> {
        let why = refused("userfaultfd's UFFDIO_REGISTER", span.len());
        self.site.pages.uffd().register(span).map_err(why)
    }

    fn prepare(&self, slot: Span) -> Result<(), HostError> {
        let why = |call| refused(call, slot.len());
        if self.keep_out_ksm() {
            sys::unmergeable(slot).map_err(why("madvise"))?;
        }
        sys::dont_fork(slot).map_err(why("madvise"))?;
        if !self.style.core_dumps {
            sys::dont_dump(slot).map_err(why("madvise"))?;
        }
        if self.pool.is_by_mapping() {
            // Where files get huge pages, the kernel would also look for places to make some
            // afterwards.
            let _ = sys::not_huge(slot);
        }
        if self.delivery() == Delivery::Thread {
            // Memory that is locked is populated when it becomes accessible: by faults, for which
            // we would wait.
            sys::unlock(slot).map_err(why("munlock"))?;
        }
        Ok(())
    }

    /// Makes the end of a window inaccessible again, and empty.
    pub(crate) fn shorten(&self, record: &Record, len: u32) {
        let old = record.len();
        assert!(len <= old, "a window of {old} pages shrinks to {len}");
        if len == old {
            return;
        }
        record.resized(len);
        let part = record.slot().part(len as usize, (old - len) as usize);
        self.site.pages.drop_pages(part);
        // Refused: an access there is a fault beyond the space's length, which fails.
        let _ = sys::allow(part, Allowed::Nothing);
    }

    /// Turns a window back into a piece of the arena; bytes of upper page tables that are gone.
    pub(crate) fn retire(&self, slot: Span) -> u64 {
        if self.empty(slot) {
            self.arenas.put(slot)
        } else {
            0
        }
    }

    /// Turns what became of a window that was not opened back into a piece of the arena. Upper page
    /// tables stay as they are: nobody hears how many are gone.
    pub(crate) fn abandon(&self, slot: Span) {
        if self.empty(slot) {
            self.arenas.put_back(slot);
        }
    }

    /// Empties a slot; false when it is lost.
    fn empty(&self, slot: Span) -> bool {
        if sys::seal(slot).is_ok() {
            // Refused: the arena stays in two pieces there. No harm.
            let _ = sys::dont_fork(slot);
            return true;
        }
        // The kernel has no memory for the mapping: the slot is lost until the host goes, its
        // memory is not.
        self.site.pages.drop_pages(slot);
        let _ = sys::allow(slot, Allowed::Nothing);
        false
    }

    /// Asks whether the kernel merges this process's memory. If that is news, keeps it out of the
    /// windows that are open.
    fn keep_out_ksm(&self) -> bool {
        let choice = self.ksm.ask();
        if choice == Choice::NewlyIn && self.part_from_ksm() != 0 {
            self.ksm.suspect();
        }
        choice != Choice::Out
    }

    /// Keeps the kernel's merging out of all open windows; how many there are.
    fn part_from_ksm(&self) -> u32 {
        let mut open = 0;
        for place in self.windows.iter() {
            // Acquire: pairs with `open`.
            let number = place.load(Ordering::Acquire).checked_sub(1);
            // A number that is another host's window by now: no harm.
            if let Some(inside) = number.and_then(|number| RecordNo::from_number(number).enter()) {
                // Refused for want of memory: `copy_to_pool` finds out what came of it.
                let _ = sys::unmergeable(inside.slot());
                open += 1;
            }
        }
        open
    }

    /// Asks the kernel whether it merges this process's memory, and keeps it out of windows (see
    /// `ksm.rs`). True when it may have taken protections away since this was last asked: the
    /// manager should look (`Mm::audit`). A system call; one a window besides where the process has
    /// opted in.
    pub fn watch_ksm(&self) -> bool {
        if self.keep_out_ksm() {
            self.part_from_ksm();
        }
        self.ksm.take_suspicion()
    }

    /// The same without asking: whether an `open` since has found a reason to look. A load.
    pub fn suspects_ksm(&self) -> bool {
        self.ksm.take_suspicion()
    }
}
