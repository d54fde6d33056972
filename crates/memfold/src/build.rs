//! How a [`Memory`] is built: budget, delivery of faults, limits.

use crate::error::Error;
use crate::memory::{Inner, Memory};
use memfold_linux::{Delivery, LinuxHost};
use memfold_mm::{Config, Mm, UNLIMITED};
use memfold_stores::CompressedStore;
use std::sync::Arc;

/// The sizes and habits of a [`Memory`].
#[derive(Clone, Debug)]
pub struct MemoryBuilder {
    budget_bytes: u64,
    delivery: Delivery,
    guard_bytes: u64,
    max_spaces: u32,
    background: bool,
}

impl Default for MemoryBuilder {
    fn default() -> Self {
        Self {
            budget_bytes: UNLIMITED,
            delivery: Delivery::InThread,
            guard_bytes: 0,
            max_spaces: 32_000,
            background: true,
        }
    }
}

impl MemoryBuilder {
    /// Most bytes that may be held for all spaces together: shared and private pages, compressed bytes and the
    /// manager's own tables. Without it there is no limit.
    #[must_use]
    pub fn budget_bytes(mut self, bytes: u64) -> Self {
        self.budget_bytes = bytes;
        self
    }

    /// How faults arrive. In the faulting thread by default; by a handler thread where system calls must be able
    /// to touch pages that are not there.
    #[must_use]
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// Inaccessible bytes after each space, rounded up to whole windows. None by default.
    #[must_use]
    pub fn guard_bytes(mut self, bytes: u64) -> Self {
        self.guard_bytes = bytes;
        self
    }

    /// Most spaces at a time, 32,000 by default.
    #[must_use]
    pub fn max_spaces(mut self, spaces: u32) -> Self {
        self.max_spaces = spaces;
        self
    }

    /// Whether a thread of memfold's reclaims ahead of need. It does by default, when there is a budget.
    #[must_use]
    pub fn background(mut self, background: bool) -> Self {
        self.background = background;
        self
    }

    /// Builds it.
    ///
    /// # Errors
    /// [`Error::Machine`] when this process may not use userfaultfd, with the setting that mends it;
    /// [`Error::Build`] when the budget is too small for anything.
    pub fn build(self) -> Result<Memory, Error> {
        let host = LinuxHost::builder()
            .delivery(self.delivery)
            .guard_bytes(self.guard_bytes)
            .build()?;
        let config = Config {
            limit_bytes: self.budget_bytes,
            machine_bytes: memfold_linux::memory_bytes(),
            spaces: self.max_spaces,
            store_bytes: CompressedStore::FIXED_BYTES,
        };
        let inner = Arc::new(Inner::new(Mm::new(host, CompressedStore::new(), config)?));
        inner.join(self.background && self.budget_bytes != UNLIMITED);
        Ok(Memory(inner))
    }
}
