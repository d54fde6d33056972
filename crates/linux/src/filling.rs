//! How one page of a window gets private memory with given bytes. What may happen to the page
//! meanwhile stands in `pages.rs`.
//!
//! Part of [`Pages`], under the manager's locks; called by `host.rs`. A call that fills a page
//! fails where something is shown; the machine has often said with the fault that it is
//! (`present.rs`), and then that call is left out.

use memfold_host::addr::{PAGE_SIZE, PageBytes};
use memfold_host::{HostError, Protection};

use crate::limits::page_refused;
use crate::pages::{Break, COPY, POPULATE, Pages, ROUNDS};
use crate::present;
use crate::scan::mask;
use crate::span::Span;
use crate::sys::{self, Errno};
use crate::uffd::{Progress, Stores, insist};

/// What a page that is to become a copy may show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The page that is copied.
    Source,
    /// Nothing.
    Other,
}

impl Pages {
    /// Gives a page private memory with these bytes, in place of whatever it shows.
    pub(crate) fn fill(
        &self,
        page: Span,
        bytes: &PageBytes,
        protection: Protection,
    ) -> Result<(), HostError> {
        self.replace(page, bytes.as_ptr() as usize, protection.into())
    }

    /// Gives empty pages private memory with these bytes; says how many, from the first on, have
    /// theirs.
    pub(crate) fn fill_run(&self, pages: Span, bytes: &[PageBytes], protection: Protection) -> usize {
        let source = bytes.as_flattened().as_ptr() as usize;
        match self.uffd().copy(pages, source, protection.into()) {
            Progress::All => pages.pages(),
            Progress::Part(done) => done,
            Progress::Exists | Progress::Refused(_) => 0,
        }
    }

    /// Private memory with the bytes at `source` for empty pages, from the first on. One that was
    /// there when its fault came is not tried the first time: it may have become empty only since.
    pub(crate) fn copy_if_empty(&self, pages: Span, source: usize, stores: Stores) -> Progress {
        if present::take(pages) {
            return Progress::Exists;
        }
        self.uffd().copy(pages, source, stores)
    }

    /// Private memory with the bytes at `source`, in place of whatever the page shows. On error it
    /// is as it was, or empty.
    fn replace(&self, page: Span, source: usize, stores: Stores) -> Result<(), HostError> {
        for _ in 0..ROUNDS {
            match self.copy_if_empty(page, source, stores) {
                Progress::All | Progress::Part(_) => return Ok(()),
                Progress::Exists => self.drop_pages(page),
                Progress::Refused(errno) => return Err(page_refused(COPY)(errno)),
            }
        }
        Err(page_refused(COPY)(Errno(libc::EEXIST)))
    }

    /// Gives `page` a private, writable copy of the bytes at `source`. `shown`: the page may show
    /// those very bytes.
    pub(crate) fn copy(&self, page: Span, source: usize, shown: Shown) -> Result<(), HostError> {
        if shown == Shown::Other || self.how == Break::ByRefill {
            return self.replace(page, source, Stores::Pass);
        }
        for _ in 0..ROUNDS {
            match self.copy_if_empty(page, source, Stores::Pass) {
                Progress::All | Progress::Part(_) => return Ok(()),
                Progress::Exists => {}
                Progress::Refused(errno) => return Err(page_refused(COPY)(errno)),
            }
            insist("unprotecting a shown page", || {
                self.uffd().protect(page, Stores::Pass)
            });
            let Err(errno) = sys::populate::write(page) else {
                return Ok(());
            };
            // Still the pool's page: nobody could store to it either, so it is as it was. Otherwise
            // it has become empty, or private by another thread's store: the next round finds out.
            insist("protecting a shown page", || {
                self.uffd().protect(page, Stores::Fault)
            });
            if errno != Errno(libc::EFAULT) && self.look(page).pool != 0 {
                return Err(page_refused(POPULATE)(errno));
            }
        }
        Err(page_refused(POPULATE)(Errno(libc::EAGAIN)))
    }

    /// Gives pages private, writable copies of the bytes from `source` on, which are the only ones
    /// that they may show; a bit for each page that has its copy: all, unless the machine refuses.
    pub(crate) fn copy_run(&self, pages: Span, source: usize) -> Result<u64, HostError> {
        let mut copied = 0;
        let mut at = 0;
        // Ends: each turn gets past a page.
        while at < pages.pages() {
            let rest = pages.part(at, pages.pages() - at);
            match self.copy_likes(rest, source + at * PAGE_SIZE) {
                Ok(done) => {
                    copied |= done << at;
                    match done.trailing_ones() {
                        0 => break,
                        n => at += n as usize,
                    }
                }
                Err(error) if at == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(copied)
    }

    /// The same for as many as are in the first one's state, or fewer.
    fn copy_likes(&self, pages: Span, source: usize) -> Result<u64, HostError> {
        let one = |n: usize| self.copy(pages.part(n, 1), source + n * PAGE_SIZE, Shown::Source);
        match self.copy_if_empty(pages, source, Stores::Pass) {
            Progress::All => return Ok(mask(pages.pages())),
            Progress::Part(done) => return Ok(mask(done)),
            Progress::Exists => (),
            Progress::Refused(errno) => return Err(page_refused(COPY)(errno)),
        }
        let shown = match self.how {
            Break::ByRefill => 1,
            _ => self.look(pages).pool.trailing_ones() as usize,
        };
        if shown < 2 {
            return one(0).map(|()| 1);
        }
        insist("unprotecting shown pages", || {
            self.uffd().protect(pages.head(shown), Stores::Pass)
        });
        if sys::populate::write(pages.head(shown)).is_ok() {
            return Ok(mask(shown));
        }
        insist("protecting shown pages", || {
            self.uffd().protect(pages.head(shown), Stores::Fault)
        });
        // One could not be copied. Where the pool's page is not shown any more somebody may have
        // stored: such a page gets its copy, which cannot fail when it has one already.
        let changed = mask(shown) & !self.look(pages.head(shown)).pool;
        let (mut copied, mut refused) = (0, None);
        for n in (0..shown).filter(|&n| n == 0 || changed >> n & 1 == 1) {
            match one(n) {
                Ok(()) => copied |= 1 << n,
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        match refused {
            Some(error) if copied == 0 => Err(error),
            _ => Ok(copied),
        }
    }
}
