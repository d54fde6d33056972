//! What is held at the end of a run, and what was done to hold it: memfold's statistics, and
//! for stock instances what the kernel says of the process.

use memfold::{MemoryStats, PAGE_SIZE};
use serde::Serialize;
use std::fs;

/// What memfold holds, in bytes, and what it did.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Held {
    /// Everything that counts against the budget.
    pub(crate) held_bytes: u64,
    /// Pages that clones share, in memory.
    pub(crate) shared_bytes: u64,
    /// Pages of one clone alone, in memory.
    pub(crate) private_bytes: u64,
    /// The compressed store.
    pub(crate) compressed_bytes: u64,
    /// Pages in the store that are zeros or one repeated word: these bytes are not held at all.
    pub(crate) zero_bytes: u64,
    /// The manager's own tables.
    pub(crate) table_bytes: u64,
    /// The kernel's page tables under the memories, and its records of them: an upper bound.
    pub(crate) page_table_bytes: u64,
    /// Of the shared pages: those of mapped files.
    pub(crate) file_bytes: u64,
    /// Of these: what was stored to and is not in the file yet.
    pub(crate) file_dirty_bytes: u64,
    /// Pages of files that were read.
    pub(crate) file_reads: u64,
    /// Pages of files that were dropped from memory.
    pub(crate) file_evictions: u64,
    /// Pages of files that came back so soon that they should not have gone.
    pub(crate) file_refaults: u64,
    /// Of the shared pages: what the kernel counts.
    pub(crate) pool_bytes: u64,
    /// Pages in the compressed store, as long as they would be outside.
    pub(crate) stored_bytes: u64,
    pub(crate) faults: Faults,
    /// Pages that went to the store.
    pub(crate) evictions: u64,
    /// Pages that came back so soon that they should not have gone.
    pub(crate) refaults: u64,
}

/// Faults by what they did.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Faults {
    pub(crate) total: u64,
    pub(crate) zero_shown: u64,
    pub(crate) new_pages: u64,
    pub(crate) shown: u64,
    pub(crate) copied: u64,
    pub(crate) copied_on_read: u64,
    pub(crate) reused: u64,
    pub(crate) unprotected: u64,
    pub(crate) swapped_in: u64,
    pub(crate) swapped_in_shared: u64,
}

impl Held {
    pub(crate) fn new(stats: &MemoryStats) -> Self {
        let MemoryStats {
            usage, store, counts, ..
        } = *stats;
        let page = u64::try_from(PAGE_SIZE).unwrap_or_default();
        Held {
            held_bytes: usage.total,
            shared_bytes: usage.pool,
            private_bytes: usage.private,
            compressed_bytes: usage.stored,
            zero_bytes: store.same_filled * page,
            table_bytes: usage.tables,
            page_table_bytes: usage.page_tables,
            file_bytes: stats.files.resident * page,
            file_dirty_bytes: stats.files.dirty * page,
            file_reads: counts.file_reads,
            file_evictions: counts.file_evictions,
            file_refaults: counts.file_refaults,
            pool_bytes: stats.pool_bytes,
            stored_bytes: store.pages * page,
            faults: Faults {
                total: counts.faults,
                zero_shown: counts.zero_shown,
                new_pages: counts.new_pages,
                shown: counts.shown,
                copied: counts.copied,
                copied_on_read: counts.copied_on_read,
                reused: counts.reused,
                unprotected: counts.unprotected,
                swapped_in: counts.swapped_in,
                swapped_in_shared: counts.swapped_in_shared,
            },
            evictions: counts.evictions,
            refaults: counts.refaults,
        }
    }
}

/// The process's anonymous memory, for runs without memfold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StockMemory {
    before: u64,
    most: u64,
}

impl StockMemory {
    /// What is there now does not count.
    pub(crate) fn new() -> Self {
        let before = anonymous_bytes();
        StockMemory { before, most: before }
    }

    /// Looks again. Instances stay until the end, so the ends of phases are enough.
    pub(crate) fn look(&mut self) {
        self.most = self.most.max(anonymous_bytes());
    }

    /// The most that it grew by.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.most - self.before
    }
}

fn anonymous_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    kib.unwrap_or(0u64) * 1024
}

#[cfg(test)]
mod tests {
    //! Goal: the growth of the process is seen. Method: grow it.
    use super::*;

    #[test]
    fn growth_is_seen() {
        let mut memory = StockMemory::new();
        let block = std::hint::black_box(vec![1u8; 32 << 20]);
        memory.look();
        drop(block);
        memory.look();
        assert!(memory.peak_bytes() >= 30 << 20, "{memory:?}");
    }
}
