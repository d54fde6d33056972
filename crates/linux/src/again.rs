//! The same fault again and again.
//!
//! A page that something beside us has emptied (a program's `madvise(MADV_DONTNEED)` on its own
//! window) is there as far as the manager knows: each fault is resolved by doing nothing, and comes
//! again at once, for ever. So each thread that resolves faults remembers the last one; when the
//! same page was resolved very often without another in between, it is not resolved at all. A page
//! that others evict each time (memory is short) comes again as well, but not that often. A few
//! words of each thread; no lock.

use std::cell::Cell;

/// How often a page is resolved in a row before it is taken for lost. Each time costs microseconds.
const OFTEN: u32 = 10_000;

thread_local! {
    /// The page that this thread resolved last, and how often.
    static LAST: Cell<(usize, u32)> = const { Cell::new((0, 0)) };
}

/// Notes that a fault at this address was resolved. True when that was so too often.
pub(crate) fn is_stuck(addr: usize) -> bool {
    let page = addr / memfold_host::addr::PAGE_SIZE;
    LAST.with(|last| {
        let (before, times) = last.get();
        let times = if before == page { times + 1 } else { 1 };
        last.set((page, if times > OFTEN { 0 } else { times }));
        times > OFTEN
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: only the same page, only very often, and then anew. Method: counting.
    #[test]
    fn often_is_stuck() {
        for page in 0..3 * OFTEN as usize {
            assert!(!is_stuck(page * 4096));
        }
        let stuck = (0..=2 * OFTEN + 1).filter(|_| is_stuck(1)).count();
        assert_eq!(stuck, 2);
    }
}
