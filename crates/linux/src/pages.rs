//! What the host does to the pages of one window, step by step.
//!
//! The manager's locks keep two of these from one page at a time. What may still happen to a page
//! in the middle of a step, and what each step is therefore built on:
//!
//! * Any thread may touch it. An empty page makes that thread wait for the manager, which waits for
//!   this step: so a page may be emptied and filled again (never the other way round), and no hole
//!   is ever read.
//! * A page that shows zeros or a pool page may become *empty* by itself: the kernel zaps zero
//!   pages together with the pool pages at their place (`pool_free`), and swaps pool pages out. So
//!   every step takes "empty after all" for an answer and tries again, a bounded number of times.
//! * A page that shows zeros *unprotected*, as it does for a moment in [`Pages::show_zero`], may
//!   become private.
//! * Dropping a protected page leaves a marker. `COPY` and `CONTINUE` install over it, `ZEROPAGE`
//!   does not; clearing the protection takes it away. A marker cannot be told from a page that the
//!   kernel has swapped out, except by trying to fill it.
//!
//! * With a handler thread, an empty page may carry *poison* from a fault that failed. Nothing
//!   installs over it; dropping the page takes it away, which is safe for who knows that the page
//!   is empty. Poison that outlives its fault is harmless: who meets it asks the sink again.
//!
//! While a system call may be reading a page (in-thread delivery cannot help it), a copy-on-write
//! must not empty the page on the way: there protection is cleared and the kernel made to copy
//! inside one call. With a handler thread that call could wait for the handler, which may wait for
//! us: there the page is emptied and filled. One lock, `unpoisoned`: `show_zero` and poisoning
//! exclude each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use memfold_host::HostError;
use memfold_host::addr::PAGE_SIZE;
use memfold_sync::{Mutex, Rank};

use crate::fault::Delivery;
use crate::keep::Kept;
use crate::limits::page_refused;
use crate::scan::{Pagemap, SCAN_PAGES, mask};
use crate::span::Span;
use crate::sys::{self, Errno};
use crate::taking::Taking;
use crate::uffd::{Progress, Stores, Uffd, insist};

/// How often a step starts anew on one page because the page changed by itself.
pub(crate) const ROUNDS: u32 = 16;

/// The calls that errors name.
pub(crate) const CONTINUE: &str = "userfaultfd's UFFDIO_CONTINUE";
pub(crate) const COPY: &str = "userfaultfd's UFFDIO_COPY";
pub(crate) const SCAN: &str = "the PAGEMAP_SCAN of /proc/self/pagemap";
pub(crate) const POPULATE: &str = "madvise(MADV_POPULATE_WRITE)";

/// Zeros to fill pages with; never written, so the kernel keeps one page for all of them.
static ZEROS: [u8; SCAN_PAGES * PAGE_SIZE] = [0; SCAN_PAGES * PAGE_SIZE];

/// Which copy-on-write this delivery allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    /// By the kernel, inside our call; the page is never empty.
    InPlace,
    /// By emptying the page; who touches it meanwhile waits.
    ByRefill,
}

/// The page operations of one host.
#[derive(Debug)]
pub(crate) struct Pages {
    // Immutable after build; each is guarded by the kernel.
    uffd: Arc<Uffd>,
    pub(crate) pagemap: Pagemap,
    /// The process's memory as a file, where windows are not to be read in place (`reading.rs`).
    pub(crate) memory: Option<Kept>,
    pub(crate) how: Break,
    /// Where pages can be taken without a protection before (`taking.rs`).
    pub(crate) taking: Option<Taking>,
    // Atomic; set once:
    poison_used: AtomicBool,
    /// Whether the kernel may empty many ranges in one call, as far as is known.
    pub(crate) batches: AtomicBool,
    unpoisoned: Mutex<()>,
}

impl Pages {
    pub(crate) fn new(
        uffd: Arc<Uffd>,
        pagemap: Pagemap,
        memory: Option<Kept>,
        taking: Option<Taking>,
        delivery: Delivery,
    ) -> Self {
        let how = match delivery {
            Delivery::InThread => Break::InPlace,
            Delivery::Thread => Break::ByRefill,
        };
        let unpoisoned = Mutex::new(Rank::Host, ());
        Self {
            uffd,
            pagemap,
            memory,
            how,
            taking,
            poison_used: AtomicBool::new(false),
            batches: AtomicBool::new(true),
            unpoisoned,
        }
    }

    pub(crate) fn uffd(&self) -> &Uffd {
        &self.uffd
    }

    /// Its descriptors.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Kept> {
        [self.uffd.kept(), self.pagemap.kept()]
            .into_iter()
            .chain(&self.memory)
            .chain(self.taking.iter().flat_map(Taking::kept))
    }

    /// Shows the pool pages of `span`, stepping over pages that are there. An error means the first
    /// page is not shown; a later page that is refused stays empty, and says so at its own fault.
    pub(crate) fn show(&self, span: Span) -> Result<(), HostError> {
        let mut rest = span;
        while !rest.is_empty() {
            rest = match self.uffd.show(rest, Stores::Fault) {
                Progress::All => return Ok(()),
                Progress::Part(pages) => rest.skip(pages),
                Progress::Exists => {
                    if self.clear_poison(rest.head(1)) {
                        continue;
                    }
                    rest.skip(1)
                }
                Progress::Refused(errno) if rest == span => return Err(page_refused(CONTINUE)(errno)),
                Progress::Refused(_) => return Ok(()),
            };
        }
        Ok(())
    }

    /// Takes the poison from a page that is empty or shown, if it can have one. Whether it looks
    /// so.
    pub(crate) fn clear_poison(&self, page: Span) -> bool {
        if !self.poison_used() || self.look(page).present != 0 {
            return false;
        }
        self.drop_pages(page);
        true
    }

    /// Shows zeros in the empty pages of `span`; the answer's bits are the pages that are private
    /// after all.
    pub(crate) fn show_zero(&self, span: Span) -> Result<u64, HostError> {
        let _calm = (self.how == Break::ByRefill).then(|| self.unpoisoned.lock());
        let (mapped, refused) = self.zero_all(span);
        if mapped != 0 {
            insist("protecting zero pages", || {
                self.uffd.protect(span.head(width(mapped)), Stores::Fault)
            });
        }
        if mapped == 0 && refused == Some(Errno(libc::EBADF)) {
            // The descriptors are gone, and nothing was shown.
            return Err(HostError::Closed);
        }
        let seen = self.look(span);
        let mut stored = seen.present & !seen.zero;
        for page in bits(mapped & !seen.present) {
            stored |= u64::from(self.settle(span.part(page, 1))) << page;
        }
        match refused {
            // A store must not be lost: then what could be shown stays, the rest is left to its own
            // fault.
            Some(errno) if stored == 0 => {
                self.drop_pages(span);
                Err(page_refused("userfaultfd's UFFDIO_ZEROPAGE")(errno))
            }
            _ => Ok(stored),
        }
    }

    /// Maps the zero page wherever `span` is empty. Which pages it mapped, and what ended it early.
    fn zero_all(&self, span: Span) -> (u64, Option<Errno>) {
        let (mut mapped, mut at, mut tries) = (0, 0, 0);
        while at < span.pages() {
            let rest = span.skip(at);
            let done = match self.uffd.show_zero(rest) {
                Progress::All => rest.pages(),
                Progress::Part(pages) => pages,
                Progress::Exists if self.clear_marker(rest.head(1), tries) => {
                    tries += 1;
                    continue;
                }
                Progress::Exists => {
                    (at, tries) = (at + 1, 0);
                    continue;
                }
                Progress::Refused(errno) => return (mapped, Some(errno)),
            };
            mapped |= mask(done) << at;
            (at, tries) = (at + done, 0);
        }
        (mapped, None)
    }

    /// Takes away what keeps the empty `page` from showing zeros. False when it is not empty, or
    /// nothing helps.
    fn clear_marker(&self, page: Span, tries: u32) -> bool {
        if tries >= ROUNDS || self.look(page).present != 0 {
            return false;
        }
        insist("clearing a marker", || self.uffd.protect(page, Stores::Pass));
        if tries > 0 {
            // What clearing leaves is the poison of an earlier failed fault. The page was empty
            // when the step began and showed nothing since, so there is no store to lose.
            self.drop_pages(page);
        }
        true
    }

    /// A page to which this call mapped zeros, and which is not there any more: it was emptied with
    /// its pool page, or stored to and swapped out by the kernel. Ends with it shown again (false),
    /// private and protected (true), or empty (false).
    fn settle(&self, page: Span) -> bool {
        for _ in 0..ROUNDS {
            insist("clearing a marker", || self.uffd.protect(page, Stores::Pass));
            let progress = self.uffd.show_zero(page);
            insist("protecting a zero page", || {
                self.uffd.protect(page, Stores::Fault)
            });
            let seen = self.look(page);
            match progress {
                Progress::Exists => return true,
                _ if seen.present != 0 => return seen.zero == 0,
                _ => {}
            }
        }
        false
    }

    /// Gives empty or zero-shown pages private, writable, zeroed memory.
    pub(crate) fn fill_zero(&self, span: Span) -> Result<(), HostError> {
        let (mut rest, mut tries) = (span, 0);
        while !rest.is_empty() {
            let piece = rest.head(SCAN_PAGES);
            let done = match self.copy_if_empty(piece, ZEROS.as_ptr() as usize, Stores::Pass) {
                Progress::All => piece.pages(),
                Progress::Part(pages) => pages,
                Progress::Exists => self.own_zeros(piece)?,
                Progress::Refused(errno) => return Err(page_refused(COPY)(errno)),
            };
            tries = if done == 0 { tries + 1 } else { 0 };
            if tries > ROUNDS {
                return Err(page_refused(COPY)(Errno(libc::EEXIST)));
            }
            rest = rest.skip(done);
        }
        Ok(())
    }

    /// The first page of `piece` is there already: makes it, and what follows in the same state,
    /// private and writable. How many pages are done (0: ask again).
    fn own_zeros(&self, piece: Span) -> Result<usize, HostError> {
        let seen = self.look(piece);
        let private = (seen.present & !seen.zero).trailing_ones() as usize;
        let zeros = seen.zero.trailing_ones() as usize;
        if private > 0 {
            // Another thread stored to it when this call had taken the protection away: it is as
            // wanted.
            insist("unprotecting private pages", || {
                self.uffd.protect(piece.head(private), Stores::Pass)
            });
            return Ok(private.min(piece.pages()));
        }
        if self.how == Break::ByRefill {
            // Shown and protected, or, where nothing is present, poisoned: no store is lost.
            self.drop_pages(piece.head(zeros.max(1)));
            return Ok(0);
        }
        // Not there any more: emptied, or (then by such a store) private and swapped out by the
        // kernel.
        let shown = piece.head(zeros.max(1));
        insist("unprotecting zero pages", || {
            self.uffd.protect(shown, Stores::Pass)
        });
        match sys::populate::write(shown) {
            Ok(()) => Ok(shown.pages()),
            // One of them has become empty meanwhile.
            Err(Errno(libc::EFAULT)) => Ok(0),
            Err(errno) => Err(page_refused(POPULATE)(errno)),
        }
    }

    /// Whether pages can be taken, so far, without a protection before.
    pub(crate) fn can_take(&self) -> bool {
        self.taking.as_ref().is_some_and(Taking::is_at_work)
    }

    /// Which pages of `span`, at most 64, are private; a scan. Every page is protected, and none
    /// but pool pages was shown before that.
    pub(crate) fn private_in(&self, span: Span) -> Result<u64, HostError> {
        let scan = || self.pagemap.private(span).map_err(page_refused(SCAN));
        let (mut private, unclear) = scan()?;
        if unclear != 0 && !self.taking.as_ref().is_some_and(Taking::is_sound) {
            // There is, or was, a place that the kernel swaps to: what looks swapped out is a mark
            // that protecting has left, or a page, which comes back when it is read.
            for page in bits(unclear).map(|n| span.part(n, 1)) {
                let _ = sys::populate::read(page);
            }
            private = scan()?.0;
        }
        Ok(private)
    }

    /// Makes stores to private pages faults, or lets them through.
    pub(crate) fn protect(&self, span: Span, stores: Stores) -> Result<(), HostError> {
        self.uffd
            .protect(span, stores)
            .map_err(page_refused("userfaultfd's UFFDIO_WRITEPROTECT"))
    }

    /// Empties the pages.
    pub(crate) fn drop_pages(&self, span: Span) {
        insist("emptying pages", || sys::dont_need(span));
    }

    /// Empties a range of one page table so that nothing is left in it, with which the table goes.
    /// No page of it is private.
    pub(crate) fn free_table(&self, span: Span) {
        // Protected pages leave markers. The protection must not go before the page: a store could
        // then make it private.
        self.drop_pages(span);
        insist("clearing markers", || self.uffd.protect(span, Stores::Pass));
        self.drop_pages(span);
    }

    /// Makes the thread that waits for this page get a signal instead. A page that is only shown is
    /// emptied first. False: it has bytes that are nowhere else, or the kernel knows no poison.
    pub(crate) fn poison(&self, page: Span) -> bool {
        let _calm = self.unpoisoned.lock();
        let seen = self.look(page);
        if seen.present & !seen.zero & !seen.pool != 0 {
            return false;
        }
        if seen.present != 0 {
            self.drop_pages(page);
        }
        // Poison does not go over a marker either.
        insist("clearing a marker", || self.uffd.protect(page, Stores::Pass));
        // Relaxed: the poison itself is published by the kernel, later.
        self.poison_used.store(true, Ordering::Relaxed);
        // There already: poisoned before, or filled after all.
        !matches!(self.uffd.poison(page), Progress::Refused(_))
    }

    /// Whether any page of this host was ever poisoned.
    pub(crate) fn poison_used(&self) -> bool {
        // Relaxed: who met a poisoned page learnt of it from the kernel, which orders that after
        // the store.
        self.poison_used.load(Ordering::Relaxed)
    }
}

/// How many pages reach from page 0 to the highest set bit.
pub(crate) fn width(set: u64) -> usize {
    (u64::BITS - set.leading_zeros()) as usize
}

/// The set bits, lowest first.
fn bits(set: u64) -> impl Iterator<Item = usize> {
    (0..SCAN_PAGES).filter(move |bit| set >> bit & 1 != 0)
}
