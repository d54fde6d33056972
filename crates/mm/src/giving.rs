//! Memory of the manager's own arrays goes back when many of their items are free.
//!
//! Items are named by number, and an operation may follow a number that was given back a moment
//! ago; so chunks of items are freed only while no operation is under way, which the borrow of the
//! whole manager proves. What stays at rest names only items in use (`check.rs` says so), but for
//! three: the merge scanner's memory of pages, which is cleared, its list of spaces, and the frames
//! of loans, whose numbers are looked at as numbers that may be gone.

use crate::budget::Class;
use crate::host::{Host, Store};
use crate::mm::Mm;
use memfold_sync::Giving;

/// Chunks of each array that go at a time: bounds how long everybody else waits, to some tens of
/// microseconds.
const STEP: u32 = 64;

impl<H: Host, S: Store> Mm<H, S> {
    /// Whether [`give_back_tables`](Self::give_back_tables) would free anything; a hint.
    #[must_use]
    pub fn has_spare_tables(&self, giving: Giving) -> bool {
        self.frames.has_spare(giving)
            || self.tables.has_spare(giving)
            || self.spaces.has_spare(giving)
            || self.swap.has_spare(giving)
            || self.backings.has_spare(giving)
            || self.files.has_spare(giving)
    }

    /// Frees a bounded part of the tables that are not in use; returns how many bytes.
    pub fn give_back_tables(&mut self, giving: Giving) -> u64 {
        self.merge_round.forget_pages();
        let bytes = self.frames.give_back(STEP, giving)
            + self.tables.give_back(STEP, giving)
            + self.spaces.give_back(STEP, giving)
            + self.swap.give_back(STEP, giving)
            + self.backings.give_back(STEP, giving)
            + self.files.give_back(STEP, giving);
        self.budget.refund(Class::Tables, bytes);
        self.counters.arrays_freed.add(bytes);
        bytes
    }
}
