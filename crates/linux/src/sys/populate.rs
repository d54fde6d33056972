//! Bringing pages in by a call. Nothing shared.

use super::Errno;
use crate::inject::{Call, refuse};
use crate::span::Span;

/// Gives every page of `span` memory that can be stored to, breaking copy-on-write.
pub(crate) fn write(span: Span) -> Result<(), Errno> {
    refuse(Call::PopulateWrite)?;
    super::advise(span, libc::MADV_POPULATE_WRITE)
}

/// Brings in what can be read of `span`; an error when a page of it cannot.
pub(crate) fn read(span: Span) -> Result<(), Errno> {
    super::advise(span, libc::MADV_POPULATE_READ)
}
