//! Page buffers kept ready, so that reclaim and faults need no allocation.
//!
//! One lock (rank `Slots`), held for taking a buffer out or putting it back.

use crate::addr::{PAGE_SIZE, PageBytes};
use memfold_sync::{Mutex, Rank, boxed};

/// Buffers that are kept.
const KEPT: usize = 8;

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Scratch(Mutex<Vec<Box<PageBytes>>>);

impl Scratch {
    /// Bytes of those that are kept, to charge from the start.
    pub const BYTES: u64 = (KEPT * PAGE_SIZE) as u64;

    /// All of them.
    pub fn new() -> Self {
        let pages = (0..KEPT).map(|_| Box::new([0; PAGE_SIZE])).collect();
        Self(Mutex::new(Rank::Slots, pages))
    }

    /// Exports a page buffer to `step`; nothing is allocated while few are out. It is on the stack
    /// where the system has no memory.
    pub fn with<R>(&self, step: impl FnOnce(&mut PageBytes) -> R) -> R {
        let taken = self.0.lock().pop();
        let fresh = || <Box<PageBytes>>::try_from(boxed(0..PAGE_SIZE, |_| 0)?).ok();
        let Some(mut page) = taken.or_else(fresh) else {
            return on_stack(step);
        };
        let result = step(&mut page);
        let mut kept = self.0.lock();
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
            assert_eq!(scratch.0.lock().len(), KEPT);
        }
    }
}
