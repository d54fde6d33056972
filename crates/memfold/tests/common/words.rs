//! The first word of each page of a space, as a program loads and stores it.

use memfold::{PAGE_SIZE, Space};
use std::sync::atomic::{AtomicU64, Ordering};

pub fn word(space: &Space, page: u64) -> *mut u64 {
    assert!((page + 1) * PAGE_SIZE as u64 <= space.len());
    let at = space.as_ptr().as_ptr().wrapping_add(page as usize * PAGE_SIZE);
    at.cast()
}

pub fn load(space: &Space, page: u64) -> u64 {
    // SAFETY: an aligned word inside the space, which lives.
    let word = unsafe { AtomicU64::from_ptr(word(space, page)) };
    // Relaxed: a program's load; it passes nothing else.
    word.load(Ordering::Relaxed)
}

pub fn store(space: &Space, page: u64, value: u64) {
    // SAFETY: as `load`.
    let word = unsafe { AtomicU64::from_ptr(word(space, page)) };
    // Relaxed: as `load`. An atomic one: the manager reads pages that it has protected meanwhile.
    word.store(value, Ordering::Relaxed);
}

pub fn pages(space: &Space) -> u64 {
    space.len() / PAGE_SIZE as u64
}
