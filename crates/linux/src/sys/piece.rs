//! Mapping part of a window anew. One call; nothing shared.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::{Errno, map_over};
use crate::inject::{Call, refuse};
use crate::span::Span;

/// Maps the pool's bytes from `at` on over `span`, still inaccessible: stores reach the pool when
/// it is `shared`, and are copied on write when not.
pub(crate) fn map_piece(span: Span, pool: BorrowedFd<'_>, at: u64, shared: bool) -> Result<(), Errno> {
    refuse(Call::MapPiece)?;
    let sharing = if shared {
        libc::MAP_SHARED
    } else {
        libc::MAP_PRIVATE
    };
    map_over(
        span,
        libc::PROT_NONE,
        sharing | libc::MAP_NORESERVE,
        pool.as_raw_fd(),
        at,
    )
}
