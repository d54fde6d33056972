//! A long array of atomics of which only the used stretches cost memory.
//!
//! Two levels; a leaf is made once and never freed before the whole, so a reader needs no lock and
//! a fault handler may read. Making a leaf allocates and is done outside fault handlers.

use std::sync::OnceLock;

use memfold_sync::boxed;

/// How many values are made together.
pub(crate) const LEAF: usize = 1024;
const LEAVES: usize = 1024;

/// [`Sparse::PLACES`] values of `T`, all at their default until written.
#[derive(Debug)]
pub(crate) struct Sparse<T> {
    leaves: [OnceLock<Box<[T]>>; LEAVES],
}

impl<T: Default> Sparse<T> {
    /// How long the array is.
    pub(crate) const PLACES: usize = LEAF * LEAVES;

    pub(crate) const fn new() -> Self {
        Self {
            leaves: [const { OnceLock::new() }; LEAVES],
        }
    }

    /// The value at `at`, if its stretch was ever made. Lock-free.
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.leaves.get(at / LEAF)?.get().map(|leaf| &leaf[at % LEAF])
    }

    /// The value at `at`; makes its stretch at first use. `None` when the system has no memory for
    /// that.
    pub(crate) fn make(&self, at: usize) -> Option<&T> {
        let leaf = &self.leaves[at / LEAF];
        if leaf.get().is_none() {
            // Another thread may be faster: then this one goes.
            let made = boxed(0..LEAF, |_| T::default())?;
            leaf.get_or_init(|| made);
        }
        self.get(at)
    }

    /// All values of the stretches that were made.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.leaves.iter().filter_map(OnceLock::get).flatten()
    }
}
