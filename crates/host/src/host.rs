//! [`Host`]: the machine whose page tables the manager fills, real memory or arrays in the
//! simulator.
//!
//! The host's translations are a cache of the manager's tables: the manager fills, protects and
//! drops them, and never asks the host what is true. Every method may be called from a fault
//! handler and from several threads at once; the manager guarantees, by its space and frame locks,
//! that two calls never concern the same page of the same space, or the same pool page, at the same
//! time, except that `close` follows every other call on its space.
//!
//! The *pool* is one long sparse array of pages that every window can show. A window is `reserve`
//! pages of addresses; its page `p` can show the pool page `backing + p` (read-only), or hold a
//! *private* page of its own, or be empty, in which case an access is a fault that comes back to
//! the manager.
//!
//! A *piece* is a run of a window that can show other pool pages than those at the window's own
//! backing: those of a file, from an offset on ([`Host::map_piece`]). In a private piece a page is
//! as anywhere in a window, but for zeros, which are not shown there. In a shared piece it shows
//! its pool page or nothing, stores may be let through to the pool page itself, and nothing is
//! filled or copied. A run that a call shows, fills or copies to lies within one piece, or outside
//! of all.

use crate::HostError;
use crate::addr::{PageBytes, PageNo, PoolPage, Run, SpaceNo};
use crate::terms::{PageRef, Piece, Protection, Tables, Taken, samples};

/// The machine that shows frames to programs.
pub trait Host: Send + Sync {
    /// Makes the pool at least `pages` long.
    ///
    /// # Errors
    /// When the machine refuses a pool of that size.
    fn reserve_pool(&self, pages: u64) -> Result<(), HostError>;

    /// Opens the empty window of a new space: `reserve` pages of addresses, of
    /// which the first `len` are accessible. Page `p` can show `backing + p`.
    ///
    /// The answer is how many bytes more the machine may hold for windows from now on, beside pages
    /// and their page tables: at most [`most_window_bytes`](Self::most_window_bytes).
    ///
    /// # Errors
    /// When there are no addresses left; then there is no window.
    fn open(&self, space: SpaceNo, backing: PoolPage, reserve: u32, len: u32) -> Result<u64, HostError>;

    /// The same, and the machine serves the pages of `native`, a run that has nothing to do with
    /// [`map_piece`](Self::map_piece), by itself: it shows each in place of an empty one, and gives
    /// the window a private page where one is stored to, without a fault. The pool has something at
    /// each page of the run until [`manage`](Self::manage), or until the page is private.
    ///
    /// # Errors
    /// [`HostError::Unsupported`] where the machine does not; and as `open`.
    fn open_native(
        &self,
        _space: SpaceNo,
        _backing: PoolPage,
        (_reserve, _len): (u32, u32),
        _native: Run,
    ) -> Result<u64, HostError> {
        Err(HostError::Unsupported)
    }

    /// The machine serves these pages of the window by itself no more: as from
    /// [`open`](Self::open) on, what is empty is a fault; what shows something is protected.
    ///
    /// # Errors
    /// When the machine refuses; then some of it may be so.
    fn manage(&self, _space: SpaceNo, _run: Run) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// Which pages of a run that the machine served are private: bit `n` is page `n` of the run, of
    /// at most 64.
    ///
    /// # Errors
    /// When the machine cannot say.
    fn stored_to(&self, _space: SpaceNo, _run: Run) -> Result<u64, HostError> {
        Err(HostError::Unsupported)
    }

    /// Closes the window; its private pages are gone. No thread is inside it. The answer is how
    /// many bytes less the machine holds for windows, its charged page `tables` among them: windows
    /// may share what an earlier one was charged for, and the machine keep some for the next.
    fn close(&self, space: SpaceNo, tables: u64) -> u64;

    /// Gives back what is kept for windows that are not open; how many bytes less are held.
    fn free_kept(&self) -> u64 {
        0
    }

    /// Makes the first `len` pages of the window accessible; `len` does not shrink. The answer is
    /// as that of `open`.
    ///
    /// # Errors
    /// When the machine refuses; then the old length stands.
    fn resize(&self, space: SpaceNo, len: u32) -> Result<u64, HostError>;

    /// Makes pages of the window inaccessible, so that the first `len` are left; nothing that is
    /// nowhere else stands in them. They are empty then. Where the machine refuses, accesses there
    /// are faults that come to the manager. The upper page tables stay as they are.
    fn shrink(&self, space: SpaceNo, len: u32);

    /// The machine's page tables. The same answer always.
    fn page_tables(&self) -> Tables {
        Tables::default()
    }

    /// The most that the machine holds for a window, or for making so many more of its pages
    /// accessible, beside page tables; in bytes.
    fn most_window_bytes(&self, _pages: u32) -> u64 {
        0
    }

    /// What the answers of `open` and `resize` and the tables of windows that were closed come to,
    /// less the answers of `close` and `free_kept`. For checks.
    fn windows_held(&self) -> u64 {
        0
    }

    /// Hides everything in a range of one page table, none of it private (so, unlike in other
    /// calls, a page of the run may be hidden by another call at the same time), and gives the
    /// table's memory back; false when the machine cannot, or not now. Pages may then be hidden or
    /// not.
    fn free_table(&self, _space: SpaceNo, _run: Run) -> bool {
        false
    }

    /// From now on the run is a piece: its page `p` can show pool page `from + (p - run.first)`.
    /// The run is empty and accessible, and a whole piece, parts of pieces or none before. At no
    /// moment is an access to it anything but a fault, or, until this returns, a wait. A piece ends
    /// with its window.
    ///
    /// # Errors
    /// [`HostError::Unsupported`] where the machine has no pieces; or when it refuses, for want of
    /// mappings for instance. Then the run is what it was before.
    fn map_piece(&self, _space: SpaceNo, _run: Run, _from: PoolPage, _kind: Piece) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// From now on the run, which is empty, can show what stands at the window's own backing again.
    ///
    /// # Errors
    /// As [`map_piece`](Self::map_piece), which made it a piece: the middle of a piece may be
    /// refused, since two are left.
    fn unmap_piece(&self, _space: SpaceNo, _run: Run) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// The most that the machine holds for a piece, in bytes, beside pages and page tables. The
    /// same answer always.
    fn piece_bytes(&self) -> u64 {
        0
    }

    /// Shows the pool pages of the run, which lies in a shared piece, and lets stores to them
    /// through; also where they are shown already.
    ///
    /// # Errors
    /// When the machine refuses; the pages are then as they were, or shown without stores.
    fn show_writable(&self, _space: SpaceNo, _run: Run) -> Result<(), HostError> {
        Err(HostError::Unsupported)
    }

    /// Shows the pool pages `backing + p` of the run (in a piece: the piece's), read-only: a store
    /// is a fault. Pages of the run that are shown already stay so.
    ///
    /// # Errors
    /// When the machine refuses; the first page of the run is then not shown.
    fn show(&self, space: SpaceNo, run: Run) -> Result<(), HostError>;

    /// Shows zeros, without memory, on the empty pages of the run; a store is
    /// a fault. At most 64 pages. Pages that show zeros already stay so.
    ///
    /// The answer has bit `n` set when another thread stored to page `n` of the run before the
    /// protection stood: that page is now a private, protected page with that store in it.
    ///
    /// # Errors
    /// When the machine refuses; then no page of the run is shown.
    fn show_zero(&self, space: SpaceNo, run: Run) -> Result<u64, HostError>;

    /// Gives an empty page (or one that shows zeros) private memory with these bytes.
    ///
    /// # Errors
    /// When the machine has no memory; the page is then as it was.
    fn fill(
        &self,
        space: SpaceNo,
        page: PageNo,
        bytes: &PageBytes,
        protection: Protection,
    ) -> Result<(), HostError>;

    /// The same for empty pages, one behind the other, in as few calls as the machine can. Says how
    /// many have their bytes, from the first on; the others are as they were.
    fn fill_run(&self, space: SpaceNo, first: PageNo, bytes: &[PageBytes], protection: Protection) -> usize {
        let fill = |n: usize| self.fill(space, first.plus(n as u32), &bytes[n], protection);
        (0..bytes.len()).take_while(|&n| fill(n).is_ok()).count()
    }

    /// Gives empty pages (or such as show zeros) private, writable, zeroed memory.
    ///
    /// # Errors
    /// When the machine has no memory; pages of the run may then be filled or not, and `drop_pages`
    /// of the run undoes it.
    fn fill_zero(&self, space: SpaceNo, run: Run) -> Result<(), HostError>;

    /// Gives the page a private, writable copy of pool page `from`, in place of
    /// what it shows (nothing, or, when `from` is `backing + page`, that very page). Where a shared
    /// piece shows `from` too, stores to it may go through meanwhile: each is in the copy or not.
    ///
    /// # Errors
    /// When the machine has no memory; the page is then as it was, or empty.
    fn copy_from_pool(&self, space: SpaceNo, page: PageNo, from: PoolPage) -> Result<(), HostError>;

    /// The same for a run of at most 64 pages, each from its place behind `from`. Bit `n` of the
    /// answer says that page `n` of the run has its copy; the others are as they were, or empty.
    ///
    /// # Errors
    /// As [`copy_from_pool`](Self::copy_from_pool) of the first page; none has a copy.
    fn copy_run_from_pool(&self, space: SpaceNo, run: Run, from: PoolPage) -> Result<u64, HostError> {
        let mut copied = 0;
        for (n, page) in run.pages().enumerate() {
            match self.copy_from_pool(space, page, from.plus(n as u32)) {
                Ok(()) => copied |= 1 << n,
                Err(refused) if n == 0 => return Err(refused),
                Err(_) => break,
            }
        }
        Ok(copied)
    }

    /// Shows memory of its own with these bytes at a page, in place of what it shows (nothing,
    /// zeros, a pool page): a standby page, which belongs to no frame. `drop_pages` takes it away.
    /// Not in a shared piece.
    ///
    /// # Errors
    /// When the machine has no memory; the page is then as it was, or empty.
    fn show_standby(
        &self,
        space: SpaceNo,
        page: PageNo,
        bytes: &PageBytes,
        protection: Protection,
    ) -> Result<(), HostError>;

    /// Makes the next store to each page of the run a fault. The pages are private, or in a shared
    /// piece; one that was emptied by another thread just before stays empty.
    /// When it returns, no store that began before is still under way.
    ///
    /// # Errors
    /// When the machine refuses; some pages may then be protected.
    fn protect(&self, space: SpaceNo, run: Run) -> Result<(), HostError>;

    /// The same for several runs of one space, in their order and less than a leaf apart, in as few
    /// calls as the machine can: pages between them, whatever they show, may be protected too, but
    /// nothing else becomes of them.
    ///
    /// # Errors
    /// When the machine refuses; some pages may then be protected.
    fn protect_around(&self, space: SpaceNo, runs: &[Run]) -> Result<(), HostError> {
        runs.iter().try_for_each(|&run| self.protect(space, run))
    }

    /// Lets stores to the private pages of the run through again.
    ///
    /// # Errors
    /// When the machine refuses; some pages may still be protected.
    fn unprotect(&self, space: SpaceNo, run: Run) -> Result<(), HostError>;

    /// Whether a page that was protected stays so until the manager lets stores through: no once
    /// something beside us may have taken protections away. A load.
    fn protections_hold(&self) -> bool {
        true
    }

    /// Which pages of the run can be stored to without a fault (bit `n`: page `n`), private ones or
    /// in a shared piece. At most 64 pages. For checks: the manager knows what it protected, and
    /// asks whether the machine kept to it.
    fn writable(&self, _space: SpaceNo, _run: Run) -> u64 {
        0
    }

    /// Empties the pages of the run: what they show is hidden, private memory is freed.
    fn drop_pages(&self, space: SpaceNo, run: Run);

    /// The same for many runs, of any windows. A machine whose calls interrupt the threads that run
    /// on other processors does it in fewer calls.
    fn drop_many(&self, runs: &[(SpaceNo, Run)]) {
        for &(space, run) in runs {
            self.drop_pages(space, run);
        }
    }

    /// Takes private pages out of their windows, in their order, and shows the bytes of each, by
    /// its place in the list, to `look`, which says what becomes of it. Stores to a page may go
    /// through until it is empty, which it is when `look` is called: all of them are in the bytes.
    /// `bytes` is room to read a page into.
    ///
    /// How many pages were taken, from the first on; the others are as they were. 0 where the
    /// machine cannot, or not now: whoever asks protects and reads them instead. A page that was
    /// taken comes back for certain where that is what `look` says.
    fn take_private(
        &self,
        _pages: &[(SpaceNo, PageNo)],
        _bytes: &mut PageBytes,
        _look: &mut dyn FnMut(usize, &PageBytes) -> Taken,
    ) -> usize {
        0
    }

    /// Reads a private page. It is protected, or its space at rest.
    ///
    /// # Errors
    /// When the machine cannot read it.
    fn read_private(&self, space: SpaceNo, page: PageNo, out: &mut PageBytes) -> Result<(), HostError>;

    /// Reads a private page while stores to it may go through: a guess, which may be of no moment
    /// at all.
    ///
    /// # Errors
    /// When the machine cannot read it.
    fn read_racy(&self, space: SpaceNo, page: PageNo, out: &mut PageBytes) -> Result<(), HostError> {
        self.read_private(space, page, out)
    }

    /// Copies protected private pages of the run to the (free) pool pages from `to` on.
    /// The window is as before.
    ///
    /// # Errors
    /// When the machine has no memory, or a page is not protected any more
    /// ([`HostError::Unprotected`]); `pool_free` of the pages undoes it.
    fn copy_to_pool(&self, space: SpaceNo, run: Run, to: PoolPage) -> Result<(), HostError>;

    /// Writes a free pool page.
    ///
    /// # Errors
    /// When the machine has no memory.
    fn pool_write(&self, at: PoolPage, bytes: &PageBytes) -> Result<(), HostError>;

    /// Reads a pool page that was written, and that no window lets stores through to.
    ///
    /// # Errors
    /// When the machine cannot read it.
    fn pool_read(&self, at: PoolPage, out: &mut PageBytes) -> Result<(), HostError>;

    /// Whether a private page, stores to which may go through, probably has the bytes of this other
    /// page: a guess from the [`SAMPLES`](crate::SAMPLES).
    fn sample_equal(&self, space: SpaceNo, page: PageNo, of: PageRef) -> bool {
        let mut bytes = Box::new([0; crate::addr::PAGE_SIZE]);
        if self.read_racy(space, page, &mut bytes).is_err() {
            return false;
        }
        let words = samples(&bytes);
        let other = match of {
            PageRef::Pool(at) => self.pool_read(at, &mut bytes),
            PageRef::Private(other) => self.read_racy(other, page, &mut bytes),
        };
        other.is_ok() && samples(&bytes) == words
    }

    /// Whether such a page is probably zeros; the same kind of guess.
    fn sample_is_zero(&self, space: SpaceNo, page: PageNo) -> bool {
        let mut bytes = Box::new([0; crate::addr::PAGE_SIZE]);
        self.read_racy(space, page, &mut bytes).is_ok() && samples(&bytes) == [0; 2]
    }

    /// Whether a protected private page has the bytes of this other page. Compares all of them.
    ///
    /// # Errors
    /// When the machine cannot read one of them.
    fn pages_equal(&self, space: SpaceNo, page: PageNo, of: PageRef) -> Result<bool, HostError> {
        let mut bytes = Box::new([0; crate::addr::PAGE_SIZE]);
        self.read_private(space, page, &mut bytes)?;
        match of {
            PageRef::Pool(at) => self.pool_equals(at, &bytes),
            PageRef::Private(other) => {
                let mut others = Box::new([0; crate::addr::PAGE_SIZE]);
                self.read_private(other, page, &mut others)?;
                Ok(bytes == others)
            }
        }
    }

    /// Whether a pool page that was written has these bytes.
    ///
    /// # Errors
    /// When the machine cannot read it.
    fn pool_equals(&self, at: PoolPage, bytes: &PageBytes) -> Result<bool, HostError> {
        let mut page = Box::new([0; crate::addr::PAGE_SIZE]);
        self.pool_read(at, &mut page)?;
        Ok(*page == *bytes)
    }

    /// Frees `len` pool pages from `first` on: every window that shows one of them, or zeros in its
    /// place, is emptied there; private pages stay. Pages that were never written are no error.
    fn pool_free(&self, first: PoolPage, len: u32);

    /// Which pages of the run, all of which show pool pages or nothing, were shown since this was
    /// last asked or they were dropped (bit `n`: page `n`); they are hidden, so that the next use
    /// shows. At most 64 pages.
    fn test_and_clear_young(&self, space: SpaceNo, run: Run) -> u64;
}
