//! One userfaultfd: the requests that fill, protect and wake pages of windows.
//!
//! A request on a run of pages says how far it came ([`Progress`]); what to do about a page that
//! was there already is decided in `pages.rs`. A request that the kernel turns away because the
//! address space is just changing (`EAGAIN` without progress) is repeated here: the thread that
//! changes it makes progress inside the kernel; the number of repeats is bounded all the same. No
//! lock; the kernel guards the descriptor. Opening it, and what may be missing, is in `probe.rs`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use memfold_host::Protection;
use memfold_host::addr::PAGE_SIZE;

use crate::abi;
use crate::inject::{Call, refuse};
use crate::keep::{Holder, Kept};
use crate::limits::page_refused;
use crate::span::Span;
use crate::sys::{self, Errno};

/// How often a request is repeated that the kernel turned away for the moment.
const PATIENCE: u32 = 100_000;

/// How far a request on a run of pages came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Progress {
    /// All pages are done.
    All,
    /// The first so many pages are done, the next one was not; ask again for the rest.
    Part(usize),
    /// Nothing done: the first page is there already.
    Exists,
    /// Nothing done: the kernel refused the first page.
    Refused(Errno),
}

/// Whether a page that is filled may be stored to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stores {
    /// Without a fault.
    Pass,
    /// Each is a fault.
    Fault,
}

/// A userfaultfd with its features agreed upon.
#[derive(Debug)]
pub(crate) struct Uffd {
    fd: Kept,
}

fn range(span: Span) -> abi::Range {
    abi::Range {
        start: span.addr() as u64,
        len: span.len() as u64,
    }
}

impl Uffd {
    /// Agrees with the kernel on `features`.
    pub(crate) fn agree(fd: OwnedFd, features: u64, holder: &Arc<Holder>) -> Result<Self, Errno> {
        handshake(fd.as_fd(), features)?;
        let fd = Kept::new(fd, holder)?;
        Ok(Self { fd })
    }

    /// Its descriptor.
    pub(crate) fn kept(&self) -> &Kept {
        &self.fd
    }

    /// A request with a structure of `abi.rs`.
    ///
    /// # Safety
    /// As for [`sys::ioctl`].
    unsafe fn request<T>(&self, request: u64, argument: &mut T) -> Result<u64, Errno> {
        // SAFETY: the caller's word.
        self.fd.with(|fd| unsafe { sys::ioctl(fd, request, argument) })
    }

    /// Makes every fault on `span` ours.
    pub(crate) fn register(&self, span: Span) -> Result<(), Errno> {
        self.register_for(span, abi::REGISTER_ALL)
    }

    /// Makes faults on empty pages of `span` ours.
    pub(crate) fn register_missing(&self, span: Span) -> Result<(), Errno> {
        self.register_for(span, abi::REGISTER_MISSING)
    }

    fn register_for(&self, span: Span, mode: u64) -> Result<(), Errno> {
        refuse(Call::Register)?;
        let mut arg = abi::Register {
            range: range(span),
            mode,
            ioctls: 0,
        };
        // SAFETY: structure and request belong together; the range is an arena's of ours.
        unsafe { self.request(abi::UFFDIO_REGISTER, &mut arg) }.map(drop)
    }

    /// Shows the pool pages that belong to `span`.
    pub(crate) fn show(&self, span: Span, stores: Stores) -> Progress {
        let mode = if stores == Stores::Fault {
            abi::CONTINUE_WP
        } else {
            0
        };
        in_mappings(span, &|span| self.ranged(Ranged::Continue, span, mode))
    }

    /// Shows the zero page in `span`, not protected: a store makes it private at once.
    pub(crate) fn show_zero(&self, span: Span) -> Progress {
        in_mappings(span, &|span| self.ranged(Ranged::ZeroPage, span, 0))
    }

    /// Gives `span` private memory with the bytes from address `source` on. The kernel reads them;
    /// an unreadable source is refused.
    pub(crate) fn copy(&self, span: Span, source: usize, stores: Stores) -> Progress {
        let mode = if stores == Stores::Fault { abi::COPY_WP } else { 0 };
        in_mappings(span, &|span| {
            run(|| {
                refuse(Call::Copy).map_err(|errno| (errno, 0))?;
                let (dst, len) = (span.addr() as u64, span.len() as u64);
                let mut arg = abi::Copy {
                    dst,
                    src: source as u64,
                    len,
                    mode,
                    done: 0,
                };
                // SAFETY: structure and request belong together; the destination is an arena's of
                // ours, the source is only read.
                unsafe { self.request(abi::UFFDIO_COPY, &mut arg) }.map_err(|errno| (errno, arg.done))
            })
        })
    }

    /// Makes stores to the pages of `span` faults, or lets them through again. When it returns, no
    /// thread uses an older translation. On empty pages: leaves, or takes away, a marker.
    pub(crate) fn protect(&self, span: Span, stores: Stores) -> Result<(), Errno> {
        let mode = if stores == Stores::Fault {
            abi::WRITEPROTECT_WP
        } else {
            0
        };
        let progress = run(|| {
            refuse(Call::WriteProtect).map_err(|errno| (errno, 0))?;
            let mut arg = abi::WriteProtect {
                range: range(span),
                mode,
            };
            // SAFETY: structure and request belong together; the range is an arena's of ours.
            unsafe { self.request(abi::UFFDIO_WRITEPROTECT, &mut arg) }.map_err(|errno| (errno, 0))
        });
        match progress {
            Progress::All => Ok(()),
            Progress::Refused(errno) => Err(errno),
            Progress::Part(_) | Progress::Exists => Err(Errno(libc::EEXIST)),
        }
    }

    /// Makes every access to the empty page a fault that the kernel ends with a signal.
    pub(crate) fn poison(&self, page: Span) -> Progress {
        self.ranged(Ranged::Poison, page, 0)
    }

    fn ranged(&self, what: Ranged, span: Span, mode: u64) -> Progress {
        let (call, request) = what.parts();
        run(|| {
            refuse(call).map_err(|errno| (errno, 0))?;
            let mut arg = abi::Ranged {
                range: range(span),
                mode,
                done: 0,
            };
            // SAFETY: structure and request belong together; the range is an arena's of ours.
            unsafe { self.request(request, &mut arg) }.map_err(|errno| (errno, arg.done))
        })
    }

    /// Lets threads that wait for `span` try again. Waking nobody is no error.
    pub(crate) fn wake(&self, span: Span) {
        let mut arg = range(span);
        // SAFETY: structure and request belong together; waking changes no memory.
        let woken = unsafe { self.request(abi::UFFDIO_WAKE, &mut arg) };
        assert!(
            woken.is_ok(),
            "waking a range of ours is never refused: {woken:?}"
        );
    }
}

/// Tells the kernel which features are wanted, and learns which it has.
pub(crate) fn handshake(fd: BorrowedFd<'_>, features: u64) -> Result<u64, Errno> {
    let mut arg = abi::Api {
        api: abi::UFFD_API,
        features,
        ioctls: 0,
    };
    // SAFETY: structure and request belong together; no memory of ours is touched.
    unsafe { sys::ioctl(fd, abi::UFFDIO_API, &mut arg) }?;
    Ok(arg.features)
}

/// A request that takes a range and a mode.
#[derive(Clone, Copy)]
enum Ranged {
    Continue,
    ZeroPage,
    Poison,
}

impl Ranged {
    /// By which name it can be refused, and its number.
    fn parts(self) -> (Call, u64) {
        match self {
            Self::Continue => (Call::Continue, abi::UFFDIO_CONTINUE),
            Self::ZeroPage => (Call::ZeroPage, abi::UFFDIO_ZEROPAGE),
            Self::Poison => (Call::Poison, abi::UFFDIO_POISON),
        }
    }
}

/// Makes a request on as much of the span as lies in one mapping: the kernel turns others away, and
/// pieces of windows leave mappings apart that look like one.
fn in_mappings(span: Span, request: &impl Fn(Span) -> Progress) -> Progress {
    match request(span) {
        Progress::Refused(Errno(libc::ENOENT)) if span.pages() > 1 => {
            let half = span.head(span.pages() / 2);
            match in_mappings(half, request) {
                Progress::All => Progress::Part(half.pages()),
                other => other,
            }
        }
        other => other,
    }
}

/// Makes a request until it is decided; `request` fails with the error and the bytes done.
fn run(mut request: impl FnMut() -> Result<u64, (Errno, i64)>) -> Progress {
    for _ in 0..PATIENCE {
        match request() {
            Ok(_) => return Progress::All,
            Err((Errno(libc::EAGAIN), done)) if done > 0 => return Progress::Part(done as usize / PAGE_SIZE),
            Err((Errno(libc::EAGAIN), _)) => sys::yield_now(),
            Err((Errno(libc::EEXIST), _)) => return Progress::Exists,
            Err((errno, _)) => return Progress::Refused(errno),
        }
    }
    Progress::Refused(Errno(libc::EAGAIN))
}

impl From<Protection> for Stores {
    fn from(protection: Protection) -> Self {
        match protection {
            Protection::Writable => Self::Pass,
            Protection::Protected => Self::Fault,
        }
    }
}

/// For steps that have gone too far to be undone: makes them until they succeed.
///
/// # Panics
/// When the kernel refuses for good what it cannot refuse on pages that are mapped; going on would
/// lose a store.
pub(crate) fn insist(what: &str, mut step: impl FnMut() -> Result<(), Errno>) {
    let mut last = Errno(0);
    for _ in 0..64 {
        match step() {
            Ok(()) => return,
            Err(errno) => last = errno,
        }
        sys::yield_now();
    }
    let error = page_refused("the system call")(last);
    panic!("{what}: refused 64 times ({error}); going on would lose data");
}
