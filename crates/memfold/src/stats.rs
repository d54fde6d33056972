//! What a [`Memory`](crate::Memory) holds and did, as plain numbers.

use memfold_linux::LinuxHost;
use memfold_mm::Mm;
pub use memfold_mm::host::StoreStats;
pub use memfold_mm::{SpaceStats, Stats as Counts, Usage};
use memfold_stores::CompressedStore;

/// One reading; the parts may be an instant apart.
#[derive(Clone, Copy, Debug)]
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
}

impl MemoryStats {
    pub(crate) fn read(mm: &Mm<LinuxHost, CompressedStore>) -> Self {
        Self {
            usage: mm.usage(),
            store: mm.store_stats(),
            counts: mm.stats(),
            pool_bytes: mm.host().pool_bytes().unwrap_or(0),
        }
    }
}
