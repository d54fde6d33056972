//! Where reclaim goes on looking for page tables that may go.
//!
//! Three words, hints without a lock, open to this room alone (`window.rs`); the manager holds them
//! between calls.

use memfold_sync::atomic::{AtomicU32, AtomicU64};

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Hand {
    pub(super) at: AtomicU32,
    /// Tables that were charged so far.
    pub(super) entered: AtomicU32,
    /// What evictions, tables and private pages came to when no table could go: until that changes,
    /// none can.
    pub(super) barren: AtomicU64,
}
