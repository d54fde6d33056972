//! What the calls of a [`Host`](crate::Host) are told and answer: plain values, nothing shared.

use crate::addr::{PAGE_SIZE, PageBytes, PoolPage, SpaceNo};

/// Whether a private page may be written without a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Stores go through.
    Writable,
    /// The next store is a fault.
    Protected,
}

/// How a piece of a window holds its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Piece {
    /// A page that is stored to becomes a private one.
    Private,
    /// Stores go to the pool page, for all who show it.
    Shared,
}

/// A page that another may be equal to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageRef {
    /// The protected private page of this space at the same place.
    Private(SpaceNo),
    /// This pool page, which was written.
    Pool(PoolPage),
}

/// The machine's page tables under windows, as far as a budget is concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Pages of a window that one table is for: the first `pages`, the next, and so on. A multiple
    /// of the fan-out of the manager's own tables (16); of no meaning when `bytes` is 0.
    pub pages: u32,
    /// Bytes of one table. 0: the machine has none that count.
    pub bytes: u64,
    /// The most bytes that the machine holds beside windows, for its own access to the pool.
    pub fixed_bytes: u64,
}

/// What becomes of a page that was taken out of its window, once its bytes were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It stays empty: its bytes are kept elsewhere.
    Gone,
    /// It stands in its window again, with these bytes, protected.
    Back,
}

/// Where a word of each half of a page is looked at, to guess what it is equal to: the same places
/// on every host, so that what is guessed does not depend on the host.
pub const SAMPLES: [usize; 2] = [PAGE_SIZE / 4, PAGE_SIZE / 4 * 3];

/// The words that are looked at.
pub(crate) fn samples(page: &PageBytes) -> [u64; 2] {
    SAMPLES.map(|at| u64::from_ne_bytes(page[at..at + 8].try_into().expect("eight bytes")))
}
