//! [`LinuxHost`]: real memory behind the manager's `Host` trait.
//!
//! It joins the parts: the pool, the addresses, one userfaultfd with its pages, and the numbers of
//! the open windows' records by space, read without a lock. The methods of `Host` translate a space
//! and a run into a [`Span`] and hand over to `pages.rs` and `pool.rs`; opening and closing a
//! window stands here. The manager's own locks keep `open`, `close` and the rest on one space
//! apart. Whoever makes a host also attaches the sink that its faults go to.

mod access;
mod copying;
mod pieces;

pub(crate) use access::Style;
pub use access::Window;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use memfold_host::addr::{PageBytes, PageNo, PoolPage, Run, SpaceNo};
use memfold_host::{Host, HostError, PageRef, Piece, Protection, Tables, Taken};

use crate::arena::Arenas;
use crate::fault::Site;
use crate::keep::Keeper;
use crate::kept::KeptWindows;
use crate::ksm::Ksm;
use crate::limits::refused;
use crate::lineage::{Lineage, Own};
use crate::pagetables::{self, TABLE_BYTES, TABLE_PAGES};
use crate::pool::Pool;
use crate::scan::SCAN_PAGES;
use crate::span::Wanted;
use crate::sparse::Sparse;
use crate::sys::batch::RANGES;
use crate::sys::{self, Allowed};
use crate::table::{self, RecordNo};
use crate::thread::FaultThread;
use crate::uffd::Stores;

/// Real memory: windows of this process onto one pool.
///
/// All methods may be called from any thread; the rules about one page or one space at a time are
/// those of [`Host`]. Dropping the host closes its windows; nobody may be using them.
///
/// A child of `fork(2)` that inherits a host must not use it (see
/// [`is_inherited`](Self::is_inherited)); dropping it there does nothing.
#[derive(Debug)]
pub struct LinuxHost {
    pub(crate) lineage: Lineage,
    // Stopped before the rest goes:
    thread: Own<Option<FaultThread>>,
    keeper: Own<Option<Keeper>>,
    // Atomic: record number + 1 by space, 0 when there is no window; changed by `open` and `close`.
    pub(crate) windows: Own<Sparse<AtomicU32>>,
    // Immutable after build; each guards itself. Records point to the site.
    pub(crate) site: Own<Arc<Site>>,
    pub(crate) pool: Own<Pool>,
    pub(crate) arenas: Own<Arenas>,
    pub(crate) kept: Own<KeptWindows>,
    pub(crate) ksm: Ksm,
    pub(crate) style: Style,
    tables_are_freed: bool,
    // Atomic, on its own: what `open` and `resize` answered, less what `close` did.
    pub(crate) held: AtomicU64,
}

impl LinuxHost {
    /// Joins what the builder has opened.
    pub(crate) fn assemble(
        lineage: Lineage,
        site: Arc<Site>,
        thread: Option<FaultThread>,
        keeper: Option<Keeper>,
        pool: Pool,
        style: Style,
    ) -> Self {
        Self {
            lineage,
            thread: Own::new(lineage, thread),
            keeper: Own::new(lineage, keeper),
            windows: Own::new(lineage, Sparse::new()),
            site: Own::new(lineage, site),
            pool: Own::new(lineage, pool),
            arenas: Own::new(lineage, Arenas::new()),
            kept: Own::new(lineage, KeptWindows::new()),
            ksm: Ksm::default(),
            style,
            tables_are_freed: pagetables::are_freed(),
            held: AtomicU64::new(0),
        }
    }

    /// The window is none any more that the next one of its kind can take over.
    pub(crate) fn changed(&self, space: SpaceNo) {
        if let Some(number) = self.number(space) {
            self.kept.changed(number);
        }
    }
}

impl Host for LinuxHost {
    fn reserve_pool(&self, pages: u64) -> Result<(), HostError> {
        self.pool.reserve(pages)
    }

    fn open(&self, space: SpaceNo, backing: PoolPage, reserve: u32, len: u32) -> Result<u64, HostError> {
        self.open_window(space, backing, (reserve, len), None)
    }

    fn open_native(
        &self,
        space: SpaceNo,
        backing: PoolPage,
        (reserve, len): (u32, u32),
        native: Run,
    ) -> Result<u64, HostError> {
        // Private pages are told from others by what is true of pages that can be taken.
        if !self.protections_hold() || !self.site.pages.can_take() {
            return Err(HostError::Unsupported);
        }
        assert!(native.end().0 <= len, "{native:?} of {len} pages");
        self.open_window(space, backing, (reserve, len), Some(native))
    }

    fn manage(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        self.changed(space);
        self.take_faults(self.span(space, run))?;
        self.protect(space, run)
    }

    fn stored_to(&self, space: SpaceNo, run: Run) -> Result<u64, HostError> {
        assert!(run.len as usize <= SCAN_PAGES, "one bit a page: {run:?}");
        self.site.pages.private_in(self.span(space, run))
    }

    fn close(&self, space: SpaceNo, tables: u64) -> u64 {
        let Some(number) = self.number(space) else {
            panic!("space {space} has no window")
        };
        let place = self.windows.get(space.0 as usize).expect("`open` made it");
        // Relaxed: only this call and `open` write the place, and they do not overlap.
        place.store(0, Ordering::Relaxed);
        // Relaxed: a number on its own.
        self.held.fetch_add(tables * TABLE_BYTES, Ordering::Relaxed);
        self.not_held(self.close_window(number, tables))
    }

    fn free_kept(&self) -> u64 {
        let gone = self.kept.take_all();
        self.not_held(gone.into_iter().map(|kept| self.take_down(kept)).sum())
    }

    fn resize(&self, space: SpaceNo, len: u32) -> Result<u64, HostError> {
        let record = self.record(space);
        let old = record.len();
        assert!(
            len <= record.reserve(),
            "{len} accessible pages of {}",
            record.reserve()
        );
        if len <= old {
            return Ok(0);
        }
        self.changed(space);
        let part = record.slot().part(old as usize, (len - old) as usize);
        sys::allow(part, Allowed::All).map_err(refused("mprotect", part.len()))?;
        record.resized(len);
        let held = self.arenas.cover(part);
        // Relaxed: a number on its own.
        self.held.fetch_add(held, Ordering::Relaxed);
        Ok(held)
    }

    fn shrink(&self, space: SpaceNo, len: u32) {
        self.changed(space);
        self.shorten(self.record(space), len);
    }

    fn page_tables(&self) -> Tables {
        pagetables::geometry(self.pool.direct_tables())
    }

    fn most_window_bytes(&self, pages: u32) -> u64 {
        pagetables::most_window_bytes(pages)
    }

    fn windows_held(&self) -> u64 {
        // Relaxed: a number on its own.
        self.held.load(Ordering::Relaxed)
    }

    fn free_table(&self, space: SpaceNo, run: Run) -> bool {
        // The kernel does it only for a range that lies wholly in one mapping: here, all of it
        // accessible.
        let whole = run.len == TABLE_PAGES && run.first.0.is_multiple_of(TABLE_PAGES);
        if !whole || !self.tables_are_freed || !self.record(space).pieces().is_one(run) {
            return false;
        }
        self.site.pages.free_table(self.span(space, run));
        true
    }

    fn map_piece(&self, space: SpaceNo, run: Run, from: PoolPage, kind: Piece) -> Result<(), HostError> {
        self.begin_piece(space, run, from, kind)
    }

    fn unmap_piece(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        self.end_piece(space, run)
    }

    fn piece_bytes(&self) -> u64 {
        pieces::PIECE_BYTES
    }

    fn show_writable(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        self.site.pages.show_writable(self.span(space, run))
    }

    fn show(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        self.site.pages.show(self.span(space, run))
    }

    fn show_zero(&self, space: SpaceNo, run: Run) -> Result<u64, HostError> {
        assert!(run.len as usize <= SCAN_PAGES, "one bit a page: {run:?}");
        self.site.pages.show_zero(self.span(space, run))
    }

    fn fill(
        &self,
        space: SpaceNo,
        page: PageNo,
        bytes: &PageBytes,
        protection: Protection,
    ) -> Result<(), HostError> {
        self.site.pages.fill(self.page(space, page), bytes, protection)
    }

    fn fill_run(&self, space: SpaceNo, first: PageNo, bytes: &[PageBytes], protection: Protection) -> usize {
        let len = bytes.len() as u32;
        let pages = self.span(space, Run { first, len });
        self.site.pages.fill_run(pages, bytes, protection)
    }

    fn show_standby(
        &self,
        space: SpaceNo,
        page: PageNo,
        bytes: &PageBytes,
        protection: Protection,
    ) -> Result<(), HostError> {
        self.site.pages.fill(self.page(space, page), bytes, protection)
    }

    fn fill_zero(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        self.site.pages.fill_zero(self.span(space, run))
    }

    fn copy_from_pool(&self, space: SpaceNo, page: PageNo, from: PoolPage) -> Result<(), HostError> {
        self.copy_page(space, page, from)
    }

    fn copy_run_from_pool(&self, space: SpaceNo, run: Run, from: PoolPage) -> Result<u64, HostError> {
        self.copy_pages(space, run, from)
    }

    fn writable(&self, space: SpaceNo, run: Run) -> u64 {
        assert!(run.len as usize <= SCAN_PAGES, "one bit a page: {run:?}");
        let (pages, span) = (&self.site.pages, self.span(space, run));
        match self.record(space).pieces().shared(run) {
            0 => pages.writable(span),
            shared => pages.writable(span) | pages.open_to_stores(span) & shared,
        }
    }

    fn protections_hold(&self) -> bool {
        !self.ksm.was_opted_in()
    }

    fn protect(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        self.keep_out_of_ksm(space)?;
        self.site.pages.protect(self.span(space, run), Stores::Fault)
    }

    fn protect_around(&self, space: SpaceNo, runs: &[Run]) -> Result<(), HostError> {
        // A page that is not there gets a mark, which whatever comes there next replaces.
        Run::around(runs).map_or(Ok(()), |run| self.protect(space, run))
    }

    fn unprotect(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        self.site.pages.protect(self.span(space, run), Stores::Pass)
    }

    fn drop_pages(&self, space: SpaceNo, run: Run) {
        self.site.pages.drop_pages(self.span(space, run));
    }

    fn drop_many(&self, runs: &[(SpaceNo, Run)]) {
        for some in runs.chunks(RANGES) {
            let spans = some.iter().map(|&(space, run)| self.span(space, run));
            self.site.pages.drop_some(spans);
        }
    }

    fn take_private(
        &self,
        pages: &[(SpaceNo, PageNo)],
        bytes: &mut PageBytes,
        look: &mut dyn FnMut(usize, &PageBytes) -> Taken,
    ) -> usize {
        if !self.protections_hold() {
            return 0;
        }
        let spans = pages.iter().map(|&(space, page)| self.page(space, page));
        self.site.pages.take(spans, bytes, look)
    }

    fn read_private(&self, space: SpaceNo, page: PageNo, out: &mut PageBytes) -> Result<(), HostError> {
        // The page is private and protected, so it is there (or swapped in by the kernel) unless
        // the program has emptied it, and nobody stores to it.
        self.site.pages.read(self.page(space, page), out)
    }

    fn read_racy(&self, space: SpaceNo, page: PageNo, out: &mut PageBytes) -> Result<(), HostError> {
        self.site.pages.read(self.look(space, page, Wanted::All), out)
    }

    fn sample_equal(&self, space: SpaceNo, page: PageNo, of: PageRef) -> bool {
        self.looks_like(space, page, of)
    }

    fn sample_is_zero(&self, space: SpaceNo, page: PageNo) -> bool {
        let samples = self.site.pages.samples(self.look(space, page, Wanted::Samples));
        samples == Ok([0; 2])
    }

    fn pages_equal(&self, space: SpaceNo, page: PageNo, of: PageRef) -> Result<bool, HostError> {
        self.is_equal(space, page, of)
    }

    fn copy_to_pool(&self, space: SpaceNo, run: Run, to: PoolPage) -> Result<(), HostError> {
        let span = self.span(space, run);
        // Looked at whatever may have taken the protection away: from here the bytes reach others.
        if !self.site.pages.is_protected(span) {
            return Err(HostError::Unprotected);
        }
        self.span_to_pool(span, to)
    }

    fn pool_write(&self, at: PoolPage, bytes: &PageBytes) -> Result<(), HostError> {
        self.pool.write(at, bytes)
    }

    fn pool_read(&self, at: PoolPage, out: &mut PageBytes) -> Result<(), HostError> {
        self.pool.read(at, out)
    }

    fn pool_equals(&self, at: PoolPage, bytes: &PageBytes) -> Result<bool, HostError> {
        self.pool.equals(at, bytes)
    }

    fn pool_free(&self, first: PoolPage, len: u32) {
        self.pool.free(first, len);
    }

    fn test_and_clear_young(&self, space: SpaceNo, run: Run) -> u64 {
        assert!(run.len as usize <= SCAN_PAGES, "one bit a page: {run:?}");
        self.site.pages.test_and_clear_young(self.span(space, run))
    }
}

impl Drop for LinuxHost {
    fn drop(&mut self) {
        if self.is_inherited() {
            // Windows, pool and thread are the parent's; the parts know that as well.
            self.renounce();
            return;
        }
        // Nobody uses a window any more, so no fault is on its way to the thread.
        drop(self.thread.take());
        drop(self.keeper.take());
        for place in self.windows.iter() {
            // Relaxed: exclusive access.
            if let Some(number) = place.swap(0, Ordering::Relaxed).checked_sub(1) {
                let number = RecordNo::from_number(number);
                let slot = number.record().slot();
                table::close(number);
                self.retire(slot);
            }
        }
        self.free_kept();
    }
}
