//! The first word of each page of a space, as a program loads and stores it.

use memfold::{PAGE_SIZE, Space};

pub fn word(space: &Space, page: u64) -> *mut u64 {
    assert!((page + 1) * PAGE_SIZE as u64 <= space.len());
    let at = space.as_ptr().as_ptr().wrapping_add(page as usize * PAGE_SIZE);
    at.cast()
}

pub fn load(space: &Space, page: u64) -> u64 {
    // SAFETY: an aligned word inside the space, which lives.
    unsafe { word(space, page).read_volatile() }
}

pub fn store(space: &Space, page: u64, value: u64) {
    // SAFETY: as `load`; nobody else uses the page meanwhile.
    unsafe { word(space, page).write_volatile(value) }
}

pub fn pages(space: &Space) -> u64 {
    space.len() / PAGE_SIZE as u64
}
