//! What may be done with the space under a live instance: [`InstanceSpace`].
//!
//! The memory belongs to its store. Reading, writing or growing the space
//! beside Wasmtime would break what `wasmtime::Memory::data_mut` promises, so
//! this view offers only what leaves every byte as it is.

use memfold::{Error, Pinned, Space};
use std::ops::Range;

/// The space under the memory of an instance. Every method may be called at
/// any time, from any thread, also while the program runs.
#[derive(Clone, Copy, Debug)]
pub struct InstanceSpace<'a>(pub(crate) &'a Space);

impl<'a> InstanceSpace<'a> {
    /// Bytes of the memory.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(self) -> u64 {
        self.0.len()
    }

    /// Says that the instance will not run soon: its pages go first when room
    /// is needed.
    ///
    /// # Errors
    /// As [`Space::advise_cold`].
    pub fn idle(self) -> Result<(), Error> {
        self.0.advise_cold(0..self.0.len())
    }

    /// Moves all pages to the store now; returns how many went. They come back
    /// one by one when the program touches them.
    ///
    /// # Errors
    /// As [`Space::evict`].
    pub fn evict(self) -> Result<u64, Error> {
        self.0.evict()
    }

    /// Keeps a range resident until the guard is dropped, so that a host
    /// function can hand its addresses to the kernel.
    ///
    /// # Errors
    /// As [`Space::pin`].
    pub fn pin(self, range: Range<u64>) -> Result<Pinned<'a>, Error> {
        self.0.pin(range)
    }
}
