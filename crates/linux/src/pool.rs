//! The pool: one long sparse file in memory, whose pages every window can show.
//!
//! Written and read by position, grown and never shrunk; freed pages give their memory back at
//! once. Beside the file stand *direct* mappings, shared and read-only, from which `UFFDIO_COPY`
//! takes a pool page without a copy in between: one for each 1 GiB of the pool that was ever asked
//! for, made at first use, taken away when its whole range is freed. Their page tables are for a
//! window that wanders: when more than a given number of them have been filled, all are emptied.
//! Found without a lock in a sparse table; made and taken away under `changing`. Who reads through
//! one holds the pool page (the contract of `Host`), so its range is not wholly freed at that time.
//! Called by `host.rs`.
//!
//! A process that locks or populates all its memory (`mlockall`) must not fill the holes of the
//! file through a direct mapping: so that is fenced by a userfaultfd, by which touching a hole is
//! an error. And the pool is made of single pages, whatever the machine's setting about huge ones:
//! where a page written by position turns out to hold more than a page (tried when the pool is
//! made; who compares the account with the kernel's count later may also say so), pages are written
//! into the direct mappings, which never get huge ones.

mod direct;

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use memfold_host::HostError;
use memfold_host::addr::{PAGE_SIZE, PageBytes, PoolPage};
use memfold_sync::{Mutex, Rank};

use crate::keep::{Holder, Kept};
use crate::limits::{no_record, page_refused};
use crate::span::{self, Span};
use crate::sparse::Sparse;
use crate::sys::{self, Errno};
use crate::uffd::{Progress, Stores, Uffd, insist};
use direct::Piece;

/// Pages of one direct mapping: 1 GiB.
const PIECE_PAGES: u64 = 1 << 18;

/// Pages of the pool in which a first page is written: two huge pages of the usual size.
const TRIAL_PAGES: u64 = 1024;

/// Bytes of one.
const PIECE_BYTES: usize = PIECE_PAGES as usize * PAGE_SIZE;

/// Page tables of one.
const TABLES: usize = PIECE_PAGES as usize / crate::pagetables::TABLE_PAGES as usize;

/// The longest pool: as many pieces as the sparse table has places.
const MAX_PAGES: u64 = PIECE_PAGES * Sparse::<Piece>::PLACES as u64;

/// The memfd and its direct mappings.
#[derive(Debug)]
pub(crate) struct Pool {
    fd: Kept,
    /// Turns holes of direct mappings into errors.
    fence: Arc<Uffd>,
    // Atomic: set once, by `new` or when the pool turns out to hold more than was written.
    by_mapping: AtomicBool,
    // Immutable after `new`:
    dumped: bool,
    // Atomic; only grows, under `changing`.
    pages: AtomicU64,
    // Atomic: the addresses of the direct mappings; changed under `changing`.
    direct: Sparse<Piece>,
    // Atomic, on its own: tables that were filled since the last time, about.
    tables: AtomicU32,
    most_tables: u32,
    changing: Mutex<()>,
}

fn offset(page: PoolPage) -> u64 {
    page.0 * PAGE_SIZE as u64
}

/// The error of a call that reads memory of ours: a page of a window may not be there.
fn unreadable(call: &'static str) -> impl Fn(Errno) -> HostError {
    move |errno| match errno.0 {
        libc::EFAULT => HostError::Emptied,
        _ => page_refused(call)(errno),
    }
}

/// The error of a write of which less was taken than a page: there was no memory for the next.
fn cut_short() -> HostError {
    page_refused("pwrite")(Errno(libc::ENOMEM))
}

impl Pool {
    /// An empty pool; `dumped`: its pages are part of core dumps; `most_tables`: how many page
    /// tables its direct mappings may fill.
    pub(crate) fn new(
        holder: &Arc<Holder>,
        fence: Arc<Uffd>,
        dumped: bool,
        most_tables: u32,
    ) -> Result<Self, Errno> {
        let pool = Self {
            fd: Kept::new(sys::open::memfd()?, holder)?,
            fence,
            by_mapping: AtomicBool::new(false),
            dumped,
            pages: AtomicU64::new(0),
            direct: Sparse::new(),
            tables: AtomicU32::new(0),
            most_tables,
            changing: Mutex::new(Rank::Host, ()),
        };
        if pool.holds_what_is_written()? {
            return Ok(pool);
        }
        pool.write_by_mappings();
        if pool.holds_what_is_written()? {
            Ok(pool)
        } else {
            Err(Errno(libc::EOPNOTSUPP))
        }
    }

    /// Writes a page, where there would be room for a huge one, and asks the kernel what the file
    /// holds now.
    fn holds_what_is_written(&self) -> Result<bool, Errno> {
        let trial = |error| match error {
            HostError::Call { code, .. } => Errno(code),
            _ => Errno(libc::EIO),
        };
        self.reserve(TRIAL_PAGES).map_err(trial)?;
        self.write(PoolPage(0), &[1; PAGE_SIZE]).map_err(trial)?;
        let held = sys::held(self.fd()?)?;
        sys::punch(self.fd()?, 0, TRIAL_PAGES * PAGE_SIZE as u64)?;
        Ok(held <= PAGE_SIZE as u64)
    }

    /// Whether pages are written through mappings, because the file would get huge ones otherwise.
    pub(crate) fn is_by_mapping(&self) -> bool {
        // Relaxed: either way is right at any time.
        self.by_mapping.load(Ordering::Relaxed)
    }

    /// From now on pages are written through mappings.
    pub(crate) fn write_by_mappings(&self) {
        // Relaxed: as above.
        self.by_mapping.store(true, Ordering::Relaxed);
    }

    /// The file, which is ours at this moment: what is written is never somebody else's. One
    /// `fstat`.
    pub(crate) fn fd(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.fd.checked()
    }

    /// Makes a call on the file, whose error names it.
    fn call<'a, R>(
        &'a self,
        call: &'static str,
        make: impl FnOnce(BorrowedFd<'a>) -> Result<R, Errno>,
    ) -> Result<R, HostError> {
        self.fd().and_then(make).map_err(page_refused(call))
    }

    /// Its descriptors: the fence's (which may be the host's as well) and the file's.
    pub(crate) fn kept(&self) -> [&Kept; 2] {
        [self.fence.kept(), &self.fd]
    }

    /// Makes the pool at least `pages` long. Also readies the table of direct mappings, so that a
    /// fault handler need not allocate.
    pub(crate) fn reserve(&self, pages: u64) -> Result<(), HostError> {
        // Acquire: pairs with the growing thread's Release.
        if pages <= self.pages.load(Ordering::Acquire) {
            return Ok(());
        }
        if pages > MAX_PAGES {
            return Err(HostError::NoMemory);
        }
        let _changing = self.changing.lock();
        // Relaxed: changed only under the lock that is held.
        let old = self.pages.load(Ordering::Relaxed);
        if pages > old {
            self.call("ftruncate", |fd| sys::truncate(fd, pages * PAGE_SIZE as u64))?;
            for piece in old / PIECE_PAGES..=(pages - 1) / PIECE_PAGES {
                self.direct.make(piece as usize).ok_or_else(no_record)?;
            }
            // Release: publishes the longer file and the table's places.
            self.pages.store(pages, Ordering::Release);
        }
        Ok(())
    }

    pub(crate) fn write(&self, at: PoolPage, bytes: &PageBytes) -> Result<(), HostError> {
        if self.is_by_mapping() && self.write_by_mapping(bytes.as_ptr() as usize, 1, at)?.is_some() {
            return Ok(());
        }
        match self.call("pwrite", |fd| sys::write_at(fd, bytes, offset(at)))? {
            PAGE_SIZE => Ok(()),
            _ => Err(cut_short()),
        }
    }

    /// Writes the memory of `from`, which is readable without waiting, to the pages from `to` on.
    pub(crate) fn write_span(&self, from: Span, to: PoolPage) -> Result<(), HostError> {
        let (mut rest, mut at) = (from, to);
        let by_mapping = self.is_by_mapping();
        while !rest.is_empty() {
            let mapped = if by_mapping {
                self.write_by_mapping(rest.addr(), rest.pages(), at)?
            } else {
                None
            };
            // A short write stands at a page border, or the machine has no memory for the next
            // page.
            let pages = match mapped {
                Some(pages) => pages,
                None => {
                    let now = if by_mapping { rest.head(1) } else { rest };
                    let write = |fd| sys::write_span_at(fd, now, offset(at));
                    self.fd().and_then(write).map_err(unreadable("pwrite"))? / PAGE_SIZE
                }
            };
            if pages == 0 {
                return Err(cut_short());
            }
            (rest, at) = (rest.skip(pages), PoolPage(at.0 + pages as u64));
        }
        Ok(())
    }

    /// Writes pages from address `from` on to the free pages from `to` on, as many as one step
    /// does. `None`: the first of them is there already (a free page is a hole, unless an earlier
    /// write of a run was cut short), so a write cannot make a huge one.
    fn write_by_mapping(&self, from: usize, pages: usize, to: PoolPage) -> Result<Option<usize>, HostError> {
        let here = (PIECE_PAGES - to.0 % PIECE_PAGES).min(pages as u64) as usize;
        let Some(target) = self.direct(to) else {
            return Err(page_refused("mmap of the pool")(Errno(libc::ENOMEM)));
        };
        // SAFETY: pages of a direct mapping, which lives while somebody writes a page of it (see
        // the header).
        let target = unsafe { Span::new(target, here * PAGE_SIZE) };
        match self.fence.copy(target, from, Stores::Pass) {
            Progress::All => Ok(Some(here)),
            Progress::Part(done) => Ok(Some(done)),
            Progress::Exists => Ok(None),
            Progress::Refused(errno) => Err(unreadable("userfaultfd's UFFDIO_COPY")(errno)),
        }
    }

    pub(crate) fn read(&self, at: PoolPage, out: &mut PageBytes) -> Result<(), HostError> {
        match self.call("pread", |fd| sys::read_at(fd, out, offset(at)))? {
            PAGE_SIZE => Ok(()),
            _ => Err(page_refused("pread")(Errno(libc::EIO))),
        }
    }

    /// Whether the page has these bytes: compared where it is, if there are addresses left for
    /// that.
    pub(crate) fn equals(&self, at: PoolPage, bytes: &PageBytes) -> Result<bool, HostError> {
        if let Some(source) = self.direct(at) {
            // SAFETY: the mapping of a piece of the pool, which lives while the page is not freed;
            // the page was written and nobody writes to it before it is freed, which whoever names
            // it prevents.
            let page = unsafe { &*(source as *const PageBytes) };
            return Ok(page == bytes);
        }
        let mut page = [0; PAGE_SIZE];
        self.read(at, &mut page)?;
        Ok(page == *bytes)
    }

    /// A few words of a page that was written; `None` when there are no addresses left to read it
    /// from.
    pub(crate) fn samples(&self, at: PoolPage) -> Option<[u64; 2]> {
        // SAFETY: as in `equals`.
        Some(unsafe { span::samples(self.direct(at)?) })
    }

    /// Frees pages, and the direct mappings that lie wholly in them.
    pub(crate) fn free(&self, first: PoolPage, len: u32) {
        let end = first.0 + u64::from(len);
        insist("freeing pool pages", || {
            sys::punch(self.fd()?, offset(first), u64::from(len) * PAGE_SIZE as u64)
        });
        for piece in first.0.div_ceil(PIECE_PAGES)..end / PIECE_PAGES {
            self.forget_direct(piece as usize);
        }
    }

    /// Bytes of memory that the pool holds.
    pub(crate) fn held(&self) -> Result<u64, HostError> {
        self.call("fstat", sys::held)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Whoever else has a reference still (a child of fork(2)): the memory goes now.
        let _ = self.fd().and_then(|fd| sys::truncate(fd, 0));
        let pages = *self.pages.get_mut();
        for piece in 0..pages.div_ceil(PIECE_PAGES) {
            self.forget_direct(piece as usize);
        }
    }
}
