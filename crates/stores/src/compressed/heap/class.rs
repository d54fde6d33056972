//! Size classes of objects, and the two numbers that say where an object lies.
//!
//! A class is a region of the arena: an array of slots of one size, all of them in use but for a
//! few (`holes.rs`). Slots may cross frames, so a class wastes only what its objects lack to its
//! size, and part of its last frame. Plain arithmetic, no state; called by the heap.

use super::arena::Region;
use super::object::HEADER;
use memfold_host::addr::PAGE_SIZE;

/// How many classes there are.
pub(crate) const CLASSES: u8 = SIZES.len() as u8;

/// The sizes of slots, header included: in steps of 8 bytes up to 128, then eight to each doubling,
/// and one for raw pages.
static SIZES: [u16; 54] = sizes();

const fn sizes() -> [u16; 54] {
    let mut sizes = [0; 54];
    let (mut size, mut n) = (32_u16, 0);
    while n < 53 {
        sizes[n] = size;
        size += if size < 128 { 8 } else { (1 << size.ilog2()) / 8 };
        n += 1;
    }
    sizes[53] = (HEADER + PAGE_SIZE) as u16;
    sizes
}

const _: () = assert!(SIZES[12] == 128 && SIZES[52] == 4096 && SIZES[53] > 4096);

/// Where an object lies: its class, and which of the class's slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The class, which is also the region.
    pub(crate) class: Region,
    /// The slot.
    pub(crate) slot: u32,
}

/// Bits of a place that are the slot; 67 million objects of one size are more than a store is asked
/// to hold.
pub(crate) const SLOT_BITS: u32 = 26;

impl Place {
    /// The place in 32 bits; the classes from [`CLASSES`] to 63 are left for others' marks.
    pub(crate) fn to_word(self) -> u32 {
        u32::from(self.class) << SLOT_BITS | self.slot
    }

    /// Undoes [`Place::to_word`]; `None` when the word is another's mark.
    pub(crate) fn from_word(word: u32) -> Option<Self> {
        let class = (word >> SLOT_BITS) as u8;
        (class < CLASSES).then_some(Self {
            class,
            slot: word & ((1 << SLOT_BITS) - 1),
        })
    }

    /// The first byte of the slot in its class.
    pub(crate) fn offset(self) -> usize {
        self.slot as usize * size(self.class)
    }
}

/// Bytes of a slot of the class.
pub(crate) fn size(class: Region) -> usize {
    usize::from(SIZES[usize::from(class)])
}

/// The class for a body of this many bytes, at most a page.
pub(crate) fn class_for(body: usize) -> Region {
    let class = SIZES.partition_point(|&size| usize::from(size) < HEADER + body);
    assert!(class < SIZES.len(), "a body is at most a page long");
    class as Region
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: each body gets the smallest slot that holds it, with little lost. Method: all lengths.
    #[test]
    fn slots_fit() {
        for body in 0..=PAGE_SIZE {
            let class = class_for(body);
            assert!(size(class) >= HEADER + body);
            assert!(class == 0 || size(class - 1) < HEADER + body);
            assert!(size(class) - HEADER - body < 8.max((HEADER + body) / 8 + 1));
        }
        let place = Place {
            class: 53,
            slot: 12_345_678,
        };
        assert_eq!(Place::from_word(place.to_word()), Some(place));
        assert_eq!(Place::from_word(u32::MAX), None);
    }
}
