//! [`Pinned`]: pages that stay where they are.

use crate::error::Error;
use crate::space::{Space, pages};
use memfold_host::addr::Run;
use std::ops::Range;
use std::ptr::NonNull;

/// A range of a space that is present, writable and stays so until this is dropped.
///
/// The pages are the space's own meanwhile: forks made now get copies.
#[derive(Debug)]
#[must_use = "the pages stay only while this lives"]
pub struct Pinned<'a> {
    space: &'a Space,
    start: u64,
    len: u64,
    run: Option<Run>,
}

impl Space {
    /// Brings the range in, writable, and keeps it there until the guard is dropped, so that its
    /// addresses can be handed to system calls. Without a pin, a system call on a page that is not
    /// there fails with `EFAULT` (or is cut short) when faults are delivered in the faulting
    /// thread.
    ///
    /// # Errors
    /// [`Error::OutOfRange`]; [`Error::Fault`] when there is no room: then nothing is pinned.
    pub fn pin(&self, range: Range<u64>) -> Result<Pinned<'_>, Error> {
        self.check_range(range.start, range.end.saturating_sub(range.start))?;
        Pinned::new(self, range)
    }
}

impl<'a> Pinned<'a> {
    fn new(space: &'a Space, range: Range<u64>) -> Result<Self, Error> {
        let mm = space.inner().mm()?;
        let run = pages(&range);
        if let Some(run) = run {
            mm.pin(space.no(), run)?;
            space.inner().done(&mm);
        }
        Ok(Self {
            space,
            start: range.start,
            len: range.end.saturating_sub(range.start),
            run,
        })
    }

    /// The first byte of the range.
    #[must_use]
    pub fn as_ptr(&self) -> NonNull<u8> {
        NonNull::new(self.space.as_ptr().as_ptr().wrapping_add(self.start as usize))
            .expect("a window does not start at address 0")
    }

    /// Bytes of the range.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the range has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        if let Some(run) = self.run {
            self.space.inner().end_pin(self.space.no(), run);
        }
    }
}
