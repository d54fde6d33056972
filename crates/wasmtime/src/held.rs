//! What may be done with the space under a live instance or a snapshot: [`InstanceSpace`],
//! [`SnapshotSpace`].
//!
//! The memory of an instance belongs to its store. Reading, writing or growing the space beside
//! Wasmtime would break what `wasmtime::Memory::data_mut` promises, so this view offers only what
//! leaves every byte as it is. A snapshot is what later instances begin with, on compiled code that
//! relies on its size: it is only read.

use crate::ground::Ground;
use memfold::{Error, Failure, PAGE_SIZE, Pinned, Space, SpaceStats};
use std::ops::Range;

/// The space under the memory of an instance. Every method may be called at
/// any time, from any thread, also while the program runs.
#[derive(Clone, Copy, Debug)]
pub struct InstanceSpace<'a>(pub(crate) &'a Ground);

impl<'a> InstanceSpace<'a> {
    /// Bytes of the memory.
    #[must_use]
    pub fn len(self) -> u64 {
        self.0.len()
    }

    /// Whether the memory has no bytes. It may grow.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether a page of the memory could not be had, and nobody has learnt that yet from
    /// [`ForkInstance::call`](crate::ForkInstance::call) or [`check`](crate::ForkInstance::check):
    /// then what the program has stored since may be lost. For host functions that are about to
    /// pass on what they read in the memory.
    #[must_use]
    pub fn failure(self) -> Option<Failure> {
        self.0.space().failure()
    }

    /// Says that the instance will not run soon: its pages go first when room
    /// is needed.
    ///
    /// # Errors
    /// As [`Space::advise_cold`].
    pub fn idle(self) -> Result<(), Error> {
        idle(self.0)
    }

    /// Moves all pages to the store now; returns how many went. They come back
    /// one by one when the program touches them.
    ///
    /// # Errors
    /// As [`Space::evict`].
    pub fn evict(self) -> Result<u64, Error> {
        self.0.space().evict()
    }

    /// Keeps a range of the memory resident until the guard is dropped, so that a host
    /// function can hand its addresses to the kernel.
    ///
    /// # Errors
    /// As [`Space::pin`].
    pub fn pin(self, range: Range<u64>) -> Result<Pinned<'a>, Error> {
        let end = range.start.max(range.end);
        check(self.0, range.start, end)?;
        let head = self.0.head();
        self.0.space().pin(range.start + head..end + head)
    }
}

/// The frozen memory of a snapshot, to be looked at: instances begin with every byte of it. Every
/// method may be called at any time, from any thread.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotSpace<'a>(pub(crate) &'a Ground);

impl SnapshotSpace<'_> {
    /// Bytes of the memory.
    #[must_use]
    pub fn len(self) -> u64 {
        self.0.len()
    }

    /// Whether the memory has no bytes.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Copies bytes of the memory out.
    ///
    /// # Errors
    /// As [`Space::read`].
    pub fn read(self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        check(self.0, offset, offset.saturating_add(out.len() as u64))?;
        self.0.space().read(self.0.head() + offset, out)
    }

    /// What its pages are, in pages. Takes time in proportion to its size.
    #[must_use]
    pub fn stats(self) -> SpaceStats {
        let head = (self.0.head() / PAGE_SIZE as u64) as u32;
        let mut stats = self.0.space().stats();
        // What stands before the memory was never written.
        stats.len -= head;
        stats.absent -= head;
        stats
    }

    /// Says that no instance will be made of it soon: its pages go first when room is needed.
    ///
    /// # Errors
    /// As [`Space::advise_cold`].
    pub fn idle(self) -> Result<(), Error> {
        idle(self.0)
    }

    /// Moves all pages to the store now, those that live instances still share as well; returns how
    /// many went.
    ///
    /// # Errors
    /// As [`Space::evict`].
    pub fn evict(self) -> Result<u64, Error> {
        self.0.space().evict()
    }

    /// Forks the memory alone, without an instance: a space of its own, to be changed or measured.
    /// Nothing that is done to it reaches the snapshot or any instance. If the memory of the module
    /// begins empty, its first byte stands [`PAGE_SIZE`](memfold::PAGE_SIZE) bytes into the space.
    ///
    /// # Errors
    /// As [`Space::fork`].
    pub fn fork(self) -> Result<Space, Error> {
        self.0.space().fork()
    }
}

fn idle(ground: &Ground) -> Result<(), Error> {
    let space = ground.space();
    space.advise_cold(0..space.len())
}

/// Whether the range lies in the memory. Beyond it there may be more of the space.
pub(crate) fn check(ground: &Ground, start: u64, end: u64) -> Result<(), Error> {
    let len = ground.len();
    if end > len {
        return Err(Error::OutOfRange { start, end, len });
    }
    Ok(())
}
