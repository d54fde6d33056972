//! The host's own reads of windows, under the manager's locks: none of them waits for a fault.
//!
//! The pages are there as far as the manager knows; but a program may have emptied one (`madvise`
//! on its own window), at any moment. With in-thread delivery memory is read where it is, and a
//! fault ends the read (`guard.rs`). With a handler thread the fault would wait for that thread,
//! which waits for our locks, or is this one: there memory is read through `/proc/self/mem`, for
//! which the kernel answers no fault of a userfaultfd but fails (0.9 us a page with the look at the
//! descriptor). Either way the answer is [`HostError::Emptied`]. Part of [`Pages`] and
//! [`LinuxHost`].

use memfold_host::addr::{PAGE_SIZE, PageBytes, PageNo, PoolPage, SpaceNo};
use memfold_host::{HostError, PageRef, SAMPLES};

use crate::guard::accessing;
use crate::host::LinuxHost;
use crate::keep::Kept;
use crate::limits::page_refused;
use crate::pages::Pages;
use crate::span::{Span, Wanted};
use crate::sys::{self, Errno};

/// From the first word that samples look at to the end of the last.
const STRETCH: usize = SAMPLES[1] - SAMPLES[0] + 8;
/// How often a page is read that cannot be: the kernel may be short of memory for a page that it
/// has swapped out.
const TRIES: u32 = 3;

impl Pages {
    /// The bytes of a page.
    pub(crate) fn read(&self, page: Span, out: &mut PageBytes) -> Result<(), HostError> {
        match &self.memory {
            None => accessing(|| page.copy_out(out)).ok_or(HostError::Emptied),
            Some(memory) => read_by_call(memory, page.addr(), out),
        }
    }

    /// A word of each half of a page.
    pub(crate) fn samples(&self, page: Span) -> Result<[u64; 2], HostError> {
        let Some(memory) = &self.memory else {
            return accessing(|| page.samples()).ok_or(HostError::Emptied);
        };
        let mut bytes = [0; STRETCH];
        read_by_call(memory, page.addr() + SAMPLES[0], &mut bytes)?;
        Ok([0, STRETCH - 8].map(|at| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))))
    }

    /// Whether a page has the bytes of the page at another address, in a window or readable without
    /// a fault.
    fn equals(&self, page: Span, other: Other) -> Result<bool, HostError> {
        let Some(memory) = &self.memory else {
            let other = other.addr();
            return accessing(|| page.equals(other)).ok_or(HostError::Emptied);
        };
        let mut bytes = [0; PAGE_SIZE];
        read_by_call(memory, page.addr(), &mut bytes)?;
        let mut others = [0; PAGE_SIZE];
        read_by_call(memory, other.addr(), &mut others)?;
        Ok(bytes == others)
    }
}

/// A page that another is compared with.
#[derive(Clone, Copy)]
enum Other {
    Window(Span),
    Outside(usize),
}

impl Other {
    fn addr(self) -> usize {
        match self {
            Self::Window(page) => page.addr(),
            Self::Outside(addr) => addr,
        }
    }
}

/// Reads memory of this process, through its file.
fn read_by_call(memory: &Kept, addr: usize, out: &mut [u8]) -> Result<(), HostError> {
    for _ in 0..TRIES {
        let read = |memory| sys::read_memory(memory, out, addr);
        match memory.checked().and_then(read) {
            Ok(count) if count == out.len() => return Ok(()),
            Ok(_) | Err(Errno(libc::EIO | libc::EFAULT | libc::ENOMEM)) => sys::yield_now(),
            Err(errno) => return Err(page_refused("pread")(errno)),
        }
    }
    Err(HostError::Emptied)
}

impl LinuxHost {
    /// A page of a window; the same part of the next one is on its way from memory: pages are
    /// looked at from end to end of a window, and that way is most of what a look costs.
    pub(crate) fn look(&self, space: SpaceNo, page: PageNo, wanted: Wanted) -> Span {
        let window = self.record(space).slot();
        let at = page.0 as usize;
        if (at + 2) * PAGE_SIZE <= window.len() {
            window.part(at + 1, 1).expect_read(wanted);
        }
        window.part(at, 1)
    }

    /// A guess, by a few words.
    pub(crate) fn looks_like(&self, space: SpaceNo, page: PageNo, of: PageRef) -> bool {
        let samples = |space| {
            self.site
                .pages
                .samples(self.look(space, page, Wanted::Samples))
                .ok()
        };
        let Some(words) = samples(space) else { return false };
        match of {
            PageRef::Private(other) => samples(other) == Some(words),
            PageRef::Pool(at) => self.pool.samples(at) == Some(words),
        }
    }

    /// All bytes.
    pub(crate) fn is_equal(&self, space: SpaceNo, page: PageNo, of: PageRef) -> Result<bool, HostError> {
        let own = self.look(space, page, Wanted::All);
        let mut bytes;
        let other = match of {
            PageRef::Private(other) => Other::Window(self.look(other, page, Wanted::All)),
            PageRef::Pool(at) => Other::Outside(match self.pool.direct(at) {
                Some(direct) => direct,
                None => {
                    bytes = [0; PAGE_SIZE];
                    self.pool.read(at, &mut bytes)?;
                    bytes.as_ptr() as usize
                }
            }),
        };
        self.site.pages.equals(own, other)
    }

    /// Copies protected pages of a window to the pool.
    pub(crate) fn span_to_pool(&self, span: Span, to: PoolPage) -> Result<(), HostError> {
        let pages = &self.site.pages;
        if pages.memory.is_none() {
            // The kernel reads the window, and turns a page that is not there into an error.
            return self.pool.write_span(span, to);
        }
        let mut bytes = [0; PAGE_SIZE];
        for n in 0..span.pages() {
            pages.read(span.part(n, 1), &mut bytes)?;
            self.pool.write(to.plus(n as u32), &bytes)?;
        }
        Ok(())
    }
}
