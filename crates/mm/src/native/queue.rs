//! Which spaces have something that is native, or let forks have it.
//!
//! The manager holds one queue; it is open to this room alone (`native.rs`). One lock (rank
//! `Standby`, under no other lock but a space's) guards it; how many there are is a hint that is
//! read without it.

use crate::addr::SpaceNo;
use memfold_sync::atomic::{AtomicU32, Ordering};
use memfold_sync::{Mutex, Rank};
use std::collections::VecDeque;

/// Whether forks may have native runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Native {
    /// Every page that is shown, and every store to a shared one, is the manager's work.
    #[default]
    Off,
    /// Where there is room: half of the budget at the least.
    On,
}

/// Spaces that may be in it. Each is a few more of the process's mappings, of which there are
/// 65,530 by default, and some work before anything of its family can be evicted.
const MOST: usize = 1024;

/// Those spaces, oldest first.
#[derive(Debug)]
pub(crate) struct NativeQueue {
    /// Never grows: it has room for as many as there may be.
    spaces: Mutex<VecDeque<SpaceNo>>,
    most: usize,
    used: AtomicU32,
}

impl NativeQueue {
    /// Empty.
    pub fn new(native: Native) -> Self {
        let most = if native == Native::On { MOST } else { 0 };
        Self {
            spaces: Mutex::new(Rank::Standby, VecDeque::with_capacity(most)),
            most,
            used: AtomicU32::new(0),
        }
    }

    /// Bytes to charge from the start.
    pub fn base_bytes(&self) -> u64 {
        (self.most * size_of::<SpaceNo>()) as u64
    }

    /// How many there are; a hint.
    pub fn len(&self) -> u32 {
        // Relaxed: a hint.
        self.used.load(Ordering::Relaxed)
    }

    /// Whether there is room for another one; a hint.
    pub fn has_room(&self) -> bool {
        (self.len() as usize) < self.most
    }

    /// One more; false when there is no room.
    #[must_use]
    pub fn push(&self, no: SpaceNo) -> bool {
        let mut spaces = self.spaces.lock();
        let fits = spaces.len() < self.most;
        if fits {
            spaces.push_back(no);
        }
        self.count(spaces.len());
        fits
    }

    /// Each of those that there are now, oldest first; more than once or not at all where others
    /// take turns as well. No lock is held between two.
    pub fn turn(&self) -> impl Iterator<Item = SpaceNo> + '_ {
        (0..self.len()).map_while(|_| self.rotate())
    }

    /// The oldest one, which is at the end of the queue from now on.
    fn rotate(&self) -> Option<SpaceNo> {
        let mut spaces = self.spaces.lock();
        let no = spaces.pop_front()?;
        spaces.push_back(no);
        Some(no)
    }

    /// The space, once, is not in it any more.
    pub fn forget(&self, no: SpaceNo) {
        let mut spaces = self.spaces.lock();
        if let Some(at) = spaces.iter().rposition(|&other| other == no) {
            spaces.remove(at);
        }
        self.count(spaces.len());
    }

    fn count(&self, spaces: usize) {
        // Relaxed: a hint.
        self.used.store(spaces as u32, Ordering::Relaxed);
    }
}
