//! Spaces that nobody uses any more and that the machine did not let end.
//!
//! A queue of their numbers under a lock of its own (rank `Slots`), held for a push or a pop.
//! The manager holds one; it is open to this room alone (`drop.rs`).

use crate::addr::SpaceNo;
use memfold_sync::{Mutex, Rank};
use std::collections::VecDeque;

/// The queue.
#[derive(Debug)]
pub(crate) struct DoomedSpaces(Mutex<VecDeque<SpaceNo>>);

impl DoomedSpaces {
    pub fn new() -> Self {
        Self(Mutex::new(Rank::Slots, VecDeque::new()))
    }

    /// It has its turn after all others.
    pub(super) fn push(&self, space: SpaceNo) {
        self.0.lock().push_back(space);
    }

    /// The one that has waited longest.
    pub(super) fn pop(&self) -> Option<SpaceNo> {
        self.0.lock().pop_front()
    }

    pub(super) fn count(&self) -> usize {
        self.0.lock().len()
    }
}
