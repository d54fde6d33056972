//! The system calls by which pages are taken out of windows: they are held in a pipe, and read out
//! of it (`taking.rs`). One call each, nothing decided; no allocation, little stack.

use std::os::fd::{AsRawFd, BorrowedFd};

use libc::c_int;

use super::batch::{RANGES, ranges};
use super::{Errno, restarted};
use crate::inject::{Call, refuse};
use crate::span::Span;

/// The pages that one call holds at the most.
pub(crate) const PAGES: usize = RANGES;

/// Has the pipe hold the pages of up to [`PAGES`] spans, without a copy; how many bytes of them it
/// does, from the first on. What a userfaultfd would have to fill ends it.
pub(crate) fn hold(pipe: BorrowedFd<'_>, spans: impl Iterator<Item = Span>) -> Result<usize, Errno> {
    refuse(Call::Splice)?;
    let (ranges, len) = ranges(spans);
    // SAFETY: the first `len` elements are set; their addresses are an arena's of ours. The kernel
    // counts one use more of pages, and changes none.
    restarted(|| unsafe {
        libc::vmsplice(pipe.as_raw_fd(), ranges.as_ptr(), len, libc::SPLICE_F_NONBLOCK) as i64
    })
    .map(|bytes| bytes as usize)
}

/// Reads what the pipe holds; how many bytes came.
pub(crate) fn read(pipe: BorrowedFd<'_>, out: &mut [u8]) -> Result<usize, Errno> {
    refuse(Call::PipeRead)?;
    // SAFETY: the kernel writes at most `out.len()` bytes into a live, exclusive slice.
    restarted(|| unsafe { libc::read(pipe.as_raw_fd(), out.as_mut_ptr().cast(), out.len()) as i64 })
        .map(|bytes| bytes as usize)
}

/// Whether what a file of `/proc` tells has changed since it was opened, or this was last asked.
pub(crate) fn has_changed(file: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut asked = libc::pollfd {
        fd: file.as_raw_fd(),
        events: libc::POLLPRI,
        revents: 0,
    };
    // SAFETY: the kernel fills one live structure; it does not wait.
    restarted(|| unsafe { i64::from(libc::poll(&raw mut asked, 1, 0 as c_int)) })?;
    Ok(asked.revents & !libc::POLLIN != 0)
}
