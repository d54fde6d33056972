//! Spaces full of stamps: each page says whose it is, so that a byte in the wrong place, or a lost
//! one, is seen.

use memfold::{Delivery, Memory, MemoryBuilder, PAGE_SIZE, Space, SpaceSize};

/// Both ways in which faults arrive.
pub const DELIVERIES: [Delivery; 2] = [Delivery::InThread, Delivery::Thread];

/// Pages of a stamped space.
pub const PAGES: usize = 64;

/// A builder with that delivery.
pub fn builder(delivery: Delivery) -> MemoryBuilder {
    Memory::builder().delivery(delivery)
}

/// What page `page` of the space stamped `stamp` begins with.
pub fn word(stamp: u64, page: usize) -> u64 {
    (stamp << 32) | (page as u64 + 1)
}

/// The first word of a page, as programs see it.
fn first(space: &Space, page: usize) -> *mut u64 {
    assert!(((page * PAGE_SIZE) as u64) < space.len());
    space.as_ptr().as_ptr().wrapping_add(page * PAGE_SIZE).cast()
}

/// Stamps one page by a store.
pub fn stamp_page(space: &Space, page: usize, stamp: u64) {
    // SAFETY: an aligned word of a page of a living space.
    unsafe { first(space, page).write_volatile(word(stamp, page)) };
}

/// Stamps all pages by stores.
pub fn stamp(space: &Space, stamp: u64) {
    (0..PAGES).for_each(|page| stamp_page(space, page, stamp));
}

/// How many pages have another stamp, by loads.
pub fn strange(space: &Space, stamp: u64) -> usize {
    // SAFETY: an aligned word of a page of a living space.
    let other = |&page: &usize| unsafe { first(space, page).read_volatile() } != word(stamp, page);
    (0..PAGES).filter(other).count()
}

/// A new stamped space.
pub fn stamped(memory: &Memory, with: u64) -> Space {
    let space = memory
        .create(SpaceSize::fixed((PAGES * PAGE_SIZE) as u64))
        .expect("a space");
    stamp(&space, with);
    space
}

/// That the space is whole: all stamps, no failure, every invariant.
pub fn whole(memory: &Memory, space: &Space, stamp: u64) {
    assert_eq!(strange(space, stamp), 0, "pages with another's bytes");
    assert_eq!(space.take_failure(), None);
    assert_eq!(memory.check(), Ok(()));
}
