//! The overflow range: pages of the pool for frames that cannot stand at their places. Under the
//! lock of the ranges.

use super::{Backings, OVERFLOW_PAGES};
use crate::addr::PoolPage;

impl Backings {
    /// A page of the overflow range, and how long the pool must be for it; `None` when the system
    /// has no memory for giving it back.
    pub fn alloc_overflow(&self) -> Option<(PoolPage, u64)> {
        let mut ranges = self.ranges.lock();
        let at = match ranges.overflow_free.pop() {
            Some(at) => at,
            None => {
                // All of them may be free at a time.
                let more = (ranges.overflow_next as usize + 1).saturating_sub(ranges.overflow_free.len());
                ranges.overflow_free.try_reserve(more).ok()?;
                ranges.overflow_next += 1;
                ranges.overflow_next - 1
            }
        };
        assert!(at < OVERFLOW_PAGES, "the overflow range is full");
        Some((PoolPage(at), at + 1))
    }

    /// Overflow pages that are taken.
    pub fn overflow_used(&self) -> u64 {
        let ranges = self.ranges.lock();
        ranges.overflow_next - ranges.overflow_free.len() as u64
    }

    /// Gives an overflow page back; it is empty in the pool by now.
    pub fn free_overflow(&self, at: PoolPage) {
        self.ranges.lock().overflow_free.push(at.0);
    }
}
