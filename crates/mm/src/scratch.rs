//! Page buffers kept ready, so that reclaim and faults need no allocation: single pages, and one
//! run of pages that the machine takes in one call.
//!
//! Two locks (rank `Slots`), each held for taking a buffer out or putting it back.

use crate::addr::{PAGE_SIZE, PageBytes};
use memfold_sync::{Mutex, Rank, boxed};

/// Buffers of one page that are kept.
const KEPT: usize = 8;

/// Pages of the run that is kept.
const RUN: usize = 8;

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Scratch {
    pages: Mutex<Vec<Box<PageBytes>>>,
    run: Mutex<Option<Box<[PageBytes]>>>,
}

impl Scratch {
    /// Bytes of those that are kept, to charge from the start.
    pub const BYTES: u64 = ((KEPT + RUN) * PAGE_SIZE) as u64;

    /// All of them.
    pub fn new() -> Self {
        let pages = (0..KEPT).map(|_| Box::new([0; PAGE_SIZE])).collect();
        Self {
            pages: Mutex::new(Rank::Slots, pages),
            run: Mutex::new(Rank::Slots, boxed(0..RUN, |_| [0; PAGE_SIZE])),
        }
    }

    /// Lends `step` as many pages as are there, one behind the other: one at the least.
    pub fn with_run<R>(&self, step: impl FnOnce(&mut [PageBytes]) -> R) -> R {
        let taken = self.run.lock().take();
        let Some(mut run) = taken else {
            return self.with(|page| step(std::slice::from_mut(page)));
        };
        let result = step(&mut run);
        *self.run.lock() = Some(run);
        result
    }

    /// Exports a page buffer to `step`; nothing is allocated while few are out. It is on the stack
    /// where the system has no memory.
    pub fn with<R>(&self, step: impl FnOnce(&mut PageBytes) -> R) -> R {
        let taken = self.pages.lock().pop();
        let fresh = || <Box<PageBytes>>::try_from(boxed(0..PAGE_SIZE, |_| 0)?).ok();
        let Some(mut page) = taken.or_else(fresh) else {
            return on_stack(step);
        };
        let result = step(&mut page);
        let mut kept = self.pages.lock();
        if kept.len() < KEPT {
            kept.push(page);
        }
        result
    }
}

/// Apart, so that only who needs the page has it on the stack.
#[inline(never)]
fn on_stack<R>(step: impl FnOnce(&mut PageBytes) -> R) -> R {
    step(&mut [0; PAGE_SIZE])
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// Goal: as many page buffers are kept as were there from the start, however many were exported
    /// at once.
    #[test]
    fn buffers_come_back() {
        fn nest(scratch: &Scratch, deep: usize) {
            if deep != 0 {
                scratch.with(|page| {
                    page.fill(deep as u8);
                    nest(scratch, deep - 1);
                    assert_eq!(*page, [deep as u8; PAGE_SIZE], "each has a buffer of its own");
                });
            }
        }
        let scratch = Scratch::new();
        for deep in [1, KEPT, KEPT + 2] {
            nest(&scratch, deep);
            assert_eq!(scratch.pages.lock().len(), KEPT);
        }
    }

    /// Goal: the run is lent to one at a time; whoever comes meanwhile gets a page, and both work.
    #[test]
    fn a_run_is_lent_once() {
        let scratch = Scratch::new();
        for _ in 0..2 {
            scratch.with_run(|run| {
                run.iter_mut().for_each(|page| page.fill(1));
                assert_eq!(scratch.with_run(|other| other.len()), 1);
                assert!(run.len() == RUN && run.iter().all(|page| *page == [1; PAGE_SIZE]));
            });
        }
    }
}
