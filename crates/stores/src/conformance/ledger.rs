//! A ledger to test stores with.
//!
//! All state is in atomics of its own; it takes no lock, so it may be called under any.

use memfold_host::Ledger;
use memfold_sync::atomic::{AtomicU64, Ordering};

/// An account with a limit, which can also be told to refuse.
#[derive(Debug)]
pub struct Account {
    // Atomic; relaxed throughout: numbers only, nothing is published by them.
    charged: AtomicU64,
    limit: AtomicU64,
    refusals: AtomicU64,
}

impl Account {
    /// An account that refuses nothing.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::limited(u64::MAX)
    }

    /// An account that refuses what would bring it above `limit` bytes.
    #[must_use]
    pub fn limited(limit: u64) -> Self {
        Self {
            charged: AtomicU64::new(0),
            limit: AtomicU64::new(limit),
            refusals: AtomicU64::new(0),
        }
    }

    /// Changes the limit; what is charged already stays.
    pub fn set_limit(&self, bytes: u64) {
        // Relaxed: a number, nothing is published.
        self.limit.store(bytes, Ordering::Relaxed);
    }

    /// Bytes charged now.
    #[must_use]
    pub fn charged(&self) -> u64 {
        // Relaxed: a number, nothing is published.
        self.charged.load(Ordering::Relaxed)
    }

    /// How often a charge was refused.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        // Relaxed: a number, nothing is published.
        self.refusals.load(Ordering::Relaxed)
    }
}

impl Ledger for Account {
    fn charge(&self, bytes: u64) -> bool {
        // Relaxed: a number, nothing is published.
        let limit = self.limit.load(Ordering::Relaxed);
        // Relaxed: a number, nothing is published.
        let grown = self
            .charged
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |charged| {
                charged.checked_add(bytes).filter(|&sum| sum <= limit)
            });
        if grown.is_err() {
            // Relaxed: a number, nothing is published.
            self.refusals.fetch_add(1, Ordering::Relaxed);
        }
        grown.is_ok()
    }

    /// # Panics
    /// When more is refunded than was charged.
    fn refund(&self, bytes: u64) {
        // Relaxed: a number, nothing is published.
        let before = self.charged.fetch_sub(bytes, Ordering::Relaxed);
        assert!(before >= bytes, "no more is refunded than was charged");
    }
}
