//! Memory of the manager's own arrays goes back when many of their items are free.
//!
//! Items are named by number, and an operation may follow a number that was given back a moment
//! ago; so chunks of items are freed only while no operation is under way, which the borrow of the
//! whole manager proves. What stays at rest names only items in use (`check.rs` says so), but for
//! three: the merge scanner's memory of pages, which is cleared, its list of spaces, and the frames
//! of loans, whose numbers are looked at as numbers that may be gone.

use crate::budget::Class;
use crate::host::{Host, Store};
use crate::mm::{Mm, frames_kept};
use memfold_sync::Giving;

/// Chunks of each array that go at a time: bounds how long everybody else waits, to some tens of
/// microseconds.
const STEP: u32 = 64;

/// Whether [`give_back_tables`] would free anything; a hint. From any thread; some loads.
#[must_use]
pub fn has_spare_tables<H: Host, S: Store>(mm: &Mm<H, S>, giving: Giving) -> bool {
    mm.frames.has_spare(giving, frames_kept(mm))
        || mm.tables.has_spare(giving, 0)
        || mm.spaces.has_spare(giving, 0)
        || mm.swap.has_spare(giving)
        || mm.backings.has_spare(giving)
        || mm.files.has_spare(giving)
}

/// Frees a bounded part of the tables that are not in use; returns how many bytes. Nobody else is
/// in the manager, which the borrow says.
pub fn give_back_tables<H: Host, S: Store>(mm: &mut Mm<H, S>, giving: Giving) -> u64 {
    mm.merge_round.forget_pages();
    let kept = frames_kept(mm);
    let bytes = mm.frames.give_back(STEP, giving, kept)
        + mm.tables.give_back(STEP, giving, 0)
        + mm.spaces.give_back(STEP, giving, 0)
        + mm.swap.give_back(STEP, giving)
        + mm.backings.give_back(STEP, giving)
        + mm.files.give_back(STEP, giving);
    mm.budget.refund(Class::Tables, bytes);
    mm.counters.arrays_freed.add(bytes);
    bytes
}
