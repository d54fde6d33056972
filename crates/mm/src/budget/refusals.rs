//! Charges refused by plan, as if the budget had no room for a moment, and a part of it set aside;
//! for tests (feature `faults`).
//!
//! Atomics on their own; the plan is set while nothing runs.

use memfold_sync::atomic::{AtomicU64, Ordering};

/// Which charges are refused; counted from 0, from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refuse {
    /// None.
    Never,
    /// The n-th.
    Nth(u64),
    /// The n-th and all later ones.
    From(u64),
}

/// A plan under way.
#[derive(Debug, Default)]
pub struct Refusals {
    /// The plan: the numbers of the first that is refused and of the first after it that is not.
    first: AtomicU64,
    end: AtomicU64,
    seen: AtomicU64,
    refused: AtomicU64,
    /// Bytes that nobody may have.
    aside: AtomicU64,
}

impl Refusals {
    /// From now on charges are refused as the plan says.
    pub fn set(&self, plan: Refuse) {
        let (first, end) = match plan {
            Refuse::Never => (0, 0),
            Refuse::Nth(n) => (n, n + 1),
            Refuse::From(n) => (n, u64::MAX),
        };
        // Relaxed: nothing runs meanwhile.
        self.first.store(first, Ordering::Relaxed);
        // Relaxed: as above.
        self.end.store(end, Ordering::Relaxed);
        // Relaxed: as above.
        self.seen.store(0, Ordering::Relaxed);
        // Relaxed: as above.
        self.refused.store(0, Ordering::Relaxed);
    }

    /// Counts a charge, and says whether it is refused.
    pub fn refuses(&self) -> bool {
        // Relaxed: a count.
        let n = self.seen.fetch_add(1, Ordering::Relaxed);
        // Relaxed: set while nothing runs.
        let refused = n >= self.first.load(Ordering::Relaxed) && n < self.end.load(Ordering::Relaxed);
        // Relaxed: a count.
        self.refused.fetch_add(u64::from(refused), Ordering::Relaxed);
        refused
    }

    /// From now on nobody may have these bytes of the budget.
    pub fn set_aside(&self, bytes: u64) {
        // Relaxed: nothing runs meanwhile.
        self.aside.store(bytes, Ordering::Relaxed);
    }

    /// What is left of a limit.
    pub fn within(&self, limit: u64) -> u64 {
        // Relaxed: set while nothing runs.
        limit.saturating_sub(self.aside.load(Ordering::Relaxed))
    }

    /// Charges that were refused under the plan.
    pub fn refused(&self) -> u64 {
        // Relaxed: a count.
        self.refused.load(Ordering::Relaxed)
    }
}
