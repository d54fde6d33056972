//! What a [`Memory`](crate::Memory) holds and did, as plain numbers.

use crate::inner::Inner;
use memfold_host::Store as _;
pub use memfold_host::StoreStats;
pub use memfold_mm::FileStats;
pub use memfold_mm::{MergeStep, Sharing, SpaceStats, Stats as Counts, Usage};
use std::time::Duration;

/// One reading; the parts may be an instant apart.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct MemoryStats {
    /// Bytes held, by class, and the most that was ever held.
    pub usage: Usage,
    /// What the compressed store holds.
    pub store: StoreStats,
    /// Faults, evictions and so on, since the beginning.
    pub counts: Counts,
    /// Bytes of the pool as the kernel counts them.
    pub pool_bytes: u64,
    /// Pages of files that are in memory.
    pub files: FileStats,
    /// Processor time that the thread that merges has used.
    pub merge_cpu: Duration,
}

impl MemoryStats {
    pub(crate) fn read(inner: &Inner) -> Self {
        let Ok(mm) = inner.mm() else {
            return Self::default();
        };
        Self {
            usage: mm.usage(),
            store: mm.store().stats(),
            counts: mm.stats(),
            pool_bytes: inner.pool_bytes(&mm),
            files: mm.files().stats(),
            merge_cpu: inner.merge_cpu(),
        }
    }
}
