//! Which page of which space each standby page stands in for.
//!
//! The manager holds one ring; its places are open to this room alone (`standby.rs`). One lock
//! (rank `Standby`, after the space's) guards them; the count of those in use is a hint that faults
//! read without it.

use crate::addr::{PAGE_SIZE, PageNo, SpaceNo};
use memfold_sync::atomic::{AtomicU32, Ordering};
use memfold_sync::{Mutex, MutexGuard, Rank};

/// Fewest and most standby pages.
pub(super) const FEWEST: u64 = 8;
const MOST: u64 = 64;
/// Bytes of budget for each standby page beyond the fewest.
const SHARE: u64 = 4 << 20;
const PAGE: u64 = PAGE_SIZE as u64;

/// Which page of which space a standby page stands in for.
pub(super) type Place = Option<(SpaceNo, PageNo)>;

/// Under the lock.
#[derive(Debug)]
pub(super) struct Ring {
    pub(super) places: Box<[Place]>,
    /// The one that is taken away next.
    pub(super) next: usize,
}

/// All standby pages.
#[derive(Debug)]
pub(crate) struct Standby {
    ring: Mutex<Ring>,
    /// Places in use: a hint.
    used: AtomicU32,
}

impl Standby {
    /// As many as suit this budget.
    pub fn new(limit_bytes: u64) -> Self {
        let pages = (limit_bytes / SHARE).clamp(FEWEST, MOST) as usize;
        Self {
            ring: Mutex::new(
                Rank::Standby,
                Ring {
                    places: vec![None; pages].into_boxed_slice(),
                    next: 0,
                },
            ),
            used: AtomicU32::new(0),
        }
    }

    /// Bytes to charge from the start: the pages, a page table for each, their places, and the room
    /// for a frame that has to leave a window.
    pub fn base_bytes(&self) -> u64 {
        let places = self.lock().places.len() as u64;
        (places + 1) * PAGE + places * (PAGE + size_of::<Place>() as u64)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock()
    }

    /// Standby pages that stand in for a page now.
    pub fn used(&self) -> u32 {
        // Relaxed: places of a space change under its lock, which who must know of them holds.
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn is_used(&self) -> bool {
        self.used() != 0
    }

    pub(super) fn count(&self, change: i32) {
        // Relaxed: as in `used`.
        self.used.fetch_add(change.cast_unsigned(), Ordering::Relaxed);
    }

    /// What stands in for what, for checks.
    pub fn places(&self) -> Vec<(SpaceNo, PageNo)> {
        self.lock().places.iter().flatten().copied().collect()
    }
}
