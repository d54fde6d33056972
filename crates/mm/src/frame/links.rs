//! A frame's place in the queues of the replacement policy: its neighbours, and the queue.
//!
//! All three are under the lock of the queues (`reclaim/replacer.rs`); only `reclaim/queue.rs`
//! reads and writes them.

use memfold_sync::atomic::{AtomicU32, Ordering};

/// A number that is only touched under the lock of the queues.
#[derive(Debug, Default)]
pub struct Link(pub(crate) AtomicU32);

impl Link {
    #[cfg_attr(loom, track_caller)]
    pub(crate) fn get(&self) -> u32 {
        // Relaxed: only touched under the lock of the queues.
        self.0.load(Ordering::Relaxed)
    }

    #[cfg_attr(loom, track_caller)]
    pub(crate) fn set(&self, value: u32) {
        // Relaxed: only touched under the lock of the queues.
        self.0.store(value, Ordering::Relaxed);
    }
}

/// Neighbours are numbers of frames, 0 at the ends; the queue is its tag, 0 for none.
#[derive(Debug, Default)]
pub struct Links {
    pub(crate) next: Link,
    pub(crate) prev: Link,
    pub(crate) on: Link,
}
