//! Many ranges in one call. Used by `pages.rs` when frames are evicted, from fault handlers too: no
//! allocation, little stack.

use super::{Errno, MADV_DONTNEED_LOCKED, checked};
use crate::inject::{Call, refuse};
use crate::span::Span;
use libc::{c_int, c_long, c_void};

/// The ranges that one call takes here; the kernel would take 1,024.
pub(crate) const RANGES: usize = 64;

/// The calling process, without a descriptor that could be closed, or inherited by a child
/// (`PIDFD_SELF_THREAD_GROUP`, Linux 6.14).
const SELF: c_int = -10_001;

/// Up to [`RANGES`] spans as the kernel takes them, and how many they are.
pub(super) fn ranges(spans: impl Iterator<Item = Span>) -> ([libc::iovec; RANGES], usize) {
    let none = libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    };
    let (mut ranges, mut len) = ([none; RANGES], 0);
    for (range, span) in ranges.iter_mut().zip(spans) {
        range.iov_base = span.addr() as *mut c_void;
        range.iov_len = span.len();
        len += 1;
    }
    (ranges, len)
}

/// Empties the pages of up to [`RANGES`] spans, which must not be none. An error: some of them may
/// be empty.
pub(crate) fn dont_need(spans: impl Iterator<Item = Span>) -> Result<(), Errno> {
    refuse(Call::DontNeed)?;
    let (ranges, len) = ranges(spans);
    let bytes: usize = ranges[..len].iter().map(|range| range.iov_len).sum();
    // SAFETY: the first `len` elements are set; their addresses are an arena's of ours, to which no
    // Rust reference points.
    let advised = checked(unsafe {
        libc::syscall(
            libc::SYS_process_madvise,
            c_long::from(SELF),
            ranges.as_ptr(),
            len as c_long,
            c_long::from(MADV_DONTNEED_LOCKED),
            0,
        )
    })?;
    // It ends early at what it cannot do, and where it is interrupted.
    if advised == bytes as u64 {
        Ok(())
    } else {
        Err(Errno(libc::EAGAIN))
    }
}
