//! Revocable access to a few fields: many enter and leave without a lock, one opens and closes the
//! gate before them.
//!
//! What a fault handler looks up goes through it: the fields change only while the gate is closed
//! and nobody is inside. One word:
//!
//! ```text
//!  63            33   32   31          0
//! | times opened    | open | inside     |
//! ```
//! Who enters counts itself in first and believes the fields only if the gate was open then; who
//! closes clears the bit and waits for the count. So a handler that holds an old number of a record
//! finds it closed, or finds another one's fields in it, and never fields that change. Opened and
//! closed by one thread at a time, the record's owner.

#[cfg(all(test, loom))]
mod races;

use crate::atomic::{AtomicU64, Ordering};

const OPEN: u64 = 1 << 32;
const OPENED: u64 = 1 << 33;
const INSIDE: u64 = OPEN - 1;

/// The gate; closed at first.
#[derive(Debug, Default)]
pub struct Revocable(AtomicU64);

/// Being inside: the gate is not closed to its end before this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Inside<'a>(&'a Revocable);

impl Revocable {
    /// Lets everybody in, to the fields that were written before.
    ///
    /// # Panics
    /// When it is open.
    pub fn open(&self) {
        // Release: publishes the fields to those who enter.
        let before = self.0.fetch_add(OPENED | OPEN, Ordering::Release);
        assert!(before & OPEN == 0, "a gate is opened while it is open");
    }

    /// Enters, if it is open. Lock-free, allocates nothing: for signal handlers.
    pub fn enter(&self) -> Option<Inside<'_>> {
        // Acquire: pairs with `open`; the fields are those of this opening.
        let state = self.0.fetch_add(1, Ordering::Acquire);
        let inside = Inside(self);
        (state & OPEN != 0).then_some(inside)
    }

    /// Lets nobody in any more and waits, with `pause` between two looks, until nobody is inside.
    /// They get on without us.
    ///
    /// # Panics
    /// When it is closed.
    pub fn close(&self, pause: impl Fn()) {
        // Relaxed: an order of all changes to one word; later entries see the bit cleared, earlier
        // ones are counted.
        let before = self.0.fetch_and(!OPEN, Ordering::Relaxed);
        assert!(before & OPEN != 0, "a gate is closed while it is closed");
        // Acquire: what those inside did comes before what the owner does with the fields next.
        while self.0.load(Ordering::Acquire) & INSIDE != 0 {
            pause();
        }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        // Release: what was done inside comes before the closing.
        let before = self.0.0.fetch_sub(1, Ordering::Release);
        assert!(before & INSIDE != 0, "left without having entered");
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// Goal: one enters while it is open, and only then; closing waits. Method: by steps, with one
    /// inside that leaves at the second look.
    #[test]
    fn it_is_open_between_opening_and_closing() {
        let gate = Revocable::default();
        assert!(gate.enter().is_none());
        gate.open();
        let inside = std::cell::Cell::new(gate.enter());
        let looks = std::cell::Cell::new(0);
        gate.close(|| {
            looks.set(looks.get() + 1);
            assert!(gate.enter().is_none(), "it is closed to others at once");
            drop(if looks.get() == 2 { inside.take() } else { None });
        });
        assert_eq!(looks.get(), 2);
        gate.open();
        assert!(gate.enter().is_some());
    }
}
