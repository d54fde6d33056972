//! What the kernel's page table holds for a few pages (`PAGEMAP_SCAN`).
//!
//! A scan is a snapshot: what it says of a page stays true only as long as the caller keeps
//! others from changing that page. It is used in three places that know what may change (see
//! `pages.rs`). Nothing shared but the descriptor, which the kernel guards.

use std::sync::Arc;

use memfold_host::addr::PAGE_SIZE;

use crate::abi;
use crate::inject::{Call, refuse};
use crate::keep::{Holder, Kept};
use crate::span::Span;
use crate::sys::{self, Errno};

/// How many pages one scan can tell of: one bit each.
pub(crate) const SCAN_PAGES: usize = 64;

/// What a scan found; bit `n` is page `n` of the span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Can be read without a fault.
    pub(crate) present: u64,
    /// Of these, shows the kernel's zero page.
    pub(crate) zero: u64,
    /// Of these, shows a pool page.
    pub(crate) pool: u64,
}

/// Which pages a scan tells of: those in all of these categories, and in one of those (if any are
/// named).
#[derive(Clone, Copy, Debug)]
struct Wanted {
    all: u64,
    any: u64,
}

const PRESENT: Wanted = Wanted {
    all: abi::PAGE_IS_PRESENT,
    any: 0,
};

/// The process's page table.
#[derive(Debug)]
pub(crate) struct Pagemap {
    fd: Kept,
}

impl Pagemap {
    /// Opens it, and sees whether this kernel can scan.
    pub(crate) fn open(holder: &Arc<Holder>) -> Result<Self, Errno> {
        let pagemap = Self {
            fd: Kept::new(sys::open::pagemap()?, holder)?,
        };
        pagemap.find(0, 0, PRESENT, &mut [abi::PageRegion::default()])?;
        Ok(pagemap)
    }

    /// Its descriptor.
    pub(crate) fn kept(&self) -> &Kept {
        &self.fd
    }

    /// What the pages of `span`, at most 64, show at this moment.
    pub(crate) fn scan(&self, span: Span) -> Result<Seen, Errno> {
        let mut seen = Seen::default();
        self.each(span, PRESENT, |of, bits| {
            let add = |set: &mut u64, category: u64| *set |= if of & category != 0 { bits } else { 0 };
            add(&mut seen.present, abi::PAGE_IS_PRESENT);
            add(&mut seen.zero, abi::PAGE_IS_PFNZERO);
            add(&mut seen.pool, abi::PAGE_IS_FILE);
        })?;
        seen.zero &= seen.present;
        seen.pool &= seen.present;
        Ok(seen)
    }

    /// Which private pages of `span`, at most 64, can be stored to without a fault.
    pub(crate) fn writable(&self, span: Span) -> Result<u64, Errno> {
        self.stored_to(span, |of| of & (abi::PAGE_IS_FILE | abi::PAGE_IS_PFNZERO) == 0)
    }

    /// Which pages of `span`, at most 64, show pool pages that can be stored to without a fault.
    pub(crate) fn open_to_stores(&self, span: Span) -> Result<u64, Errno> {
        let pool = abi::PAGE_IS_FILE | abi::PAGE_IS_PRESENT;
        self.stored_to(span, |of| of & pool == pool)
    }

    /// Which pages of `span`, of these categories, can be stored to without a fault.
    fn stored_to(&self, span: Span, counts: impl Fn(u64) -> bool) -> Result<u64, Errno> {
        let written = Wanted {
            all: abi::PAGE_IS_WRITTEN,
            any: abi::PAGE_IS_PRESENT | abi::PAGE_IS_SWAPPED,
        };
        let mut writable = 0;
        self.each(span, written, |of, bits| {
            writable |= if counts(of) { bits } else { 0 }
        })?;
        Ok(writable)
    }

    /// Which pages of `span`, at most 64, which shows nothing but pool pages besides, are private
    /// and present; and which are swapped out, or look so.
    pub(crate) fn private(&self, span: Span) -> Result<(u64, u64), Errno> {
        let there = Wanted {
            all: 0,
            any: abi::PAGE_IS_PRESENT | abi::PAGE_IS_SWAPPED,
        };
        let (mut private, mut unclear) = (0, 0);
        self.each(span, there, |of, bits| {
            match of & (abi::PAGE_IS_FILE | abi::PAGE_IS_PRESENT) {
                0 => unclear |= bits,
                abi::PAGE_IS_PRESENT => private |= bits,
                _ => (),
            }
        })?;
        Ok((private, unclear))
    }

    /// Calls `tell` with each stretch of pages of `span`, at most 64, that is wanted: its
    /// categories, and which pages they are.
    fn each(&self, span: Span, wanted: Wanted, mut tell: impl FnMut(u64, u64)) -> Result<(), Errno> {
        assert!(
            span.pages() <= SCAN_PAGES,
            "one bit a page: {} pages",
            span.pages()
        );
        let mut regions = [abi::PageRegion::default(); SCAN_PAGES];
        let found = self.find(span.addr(), span.len(), wanted, &mut regions)?;
        for region in &regions[..found] {
            let first = (region.start as usize - span.addr()) / PAGE_SIZE;
            let pages = (region.end - region.start) as usize / PAGE_SIZE;
            tell(region.categories, mask(pages) << first);
        }
        Ok(())
    }

    /// The stretches of pages of one kind; all of a page that is wanted, how many there are.
    fn find(
        &self,
        start: usize,
        len: usize,
        wanted: Wanted,
        out: &mut [abi::PageRegion],
    ) -> Result<usize, Errno> {
        refuse(Call::Scan)?;
        let mut arg = abi::ScanArg {
            size: size_of::<abi::ScanArg>() as u64,
            start: start as u64,
            end: (start + len) as u64,
            vec: out.as_mut_ptr() as u64,
            vec_len: out.len() as u64,
            category_mask: wanted.all,
            category_anyof_mask: wanted.any,
            return_mask: abi::PAGE_IS_FILE | abi::PAGE_IS_PRESENT | abi::PAGE_IS_PFNZERO,
            ..abi::ScanArg::default()
        };
        let found = self.fd.with(|fd| {
            // SAFETY: the structure belongs to the request, and the kernel writes at most
            // `vec_len` regions, plain numbers, into the exclusive slice.
            unsafe { sys::ioctl(fd, abi::PAGEMAP_SCAN, &mut arg) }
        });
        found.map(|n| n as usize)
    }
}

/// The lowest `pages` bits.
pub(crate) fn mask(pages: usize) -> u64 {
    if pages >= SCAN_PAGES {
        u64::MAX
    } else {
        (1 << pages) - 1
    }
}
