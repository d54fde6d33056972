//! The oracle: what every space must read as, and who may share with it. One array of bytes for
//! each space; a fork or a frozen copy copies it, with the merge domain and whether the space takes
//! part.
//!
//! No pages, no sharing, no budget: short enough to be right at a glance.

use memfold_host::Domain;
use memfold_host::addr::{PAGE_SIZE, PageNo, SpaceNo};
use memfold_mm::Merging;
use std::collections::BTreeMap;

/// What one space must be.
#[derive(Clone, Debug)]
struct Image {
    bytes: Vec<u8>,
    domain: Domain,
    merging: Merging,
}

/// All spaces that live.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    spaces: BTreeMap<u32, Image>,
}

impl Oracle {
    /// A space of zeros, which takes no part in merging.
    pub fn create(&mut self, space: SpaceNo, pages: u32, domain: Domain) {
        let image = Image {
            bytes: vec![0; pages as usize * PAGE_SIZE],
            domain,
            merging: Merging::Off,
        };
        self.insert(space, image);
    }

    /// A copy of a space, by fork or freeze.
    pub fn fork(&mut self, from: SpaceNo, to: SpaceNo) {
        let image = self.spaces[&from.0].clone();
        self.insert(to, image);
    }

    fn insert(&mut self, space: SpaceNo, image: Image) {
        let before = self.spaces.insert(space.0, image);
        assert!(before.is_none(), "space {space} was given out while it lives");
    }

    /// The space is gone.
    pub fn drop_space(&mut self, space: SpaceNo) {
        let gone = self.spaces.remove(&space.0);
        assert!(gone.is_some(), "space {space} was dropped twice");
    }

    /// More zeros at the end.
    pub fn grow(&mut self, space: SpaceNo, pages: u32) {
        self.bytes_mut(space).resize(pages as usize * PAGE_SIZE, 0);
    }

    /// Only so many pages from now on.
    pub fn shrink(&mut self, space: SpaceNo, pages: u32) {
        self.bytes_mut(space).truncate(pages as usize * PAGE_SIZE);
    }

    /// The bytes of a space are those of another one from now on.
    pub fn reset(&mut self, space: SpaceNo, to: SpaceNo) {
        let bytes = self.spaces[&to.0].bytes.clone();
        *self.bytes_mut(space) = bytes;
    }

    /// Bytes of a space are these from now on.
    pub fn write(&mut self, space: SpaceNo, at: usize, data: &[u8]) {
        self.bytes_mut(space)[at..at + data.len()].copy_from_slice(data);
    }

    /// Whether the space takes part in merging from now on.
    pub fn set_merging(&mut self, space: SpaceNo, merging: Merging) {
        self.spaces.get_mut(&space.0).expect("the space lives").merging = merging;
    }

    /// The merge domain of a space, and whether it takes part.
    #[must_use]
    pub fn sharers(&self, space: SpaceNo) -> (Domain, Merging) {
        let image = &self.spaces[&space.0];
        (image.domain, image.merging)
    }

    /// Whether there is such a space.
    #[must_use]
    pub fn lives(&self, space: SpaceNo) -> bool {
        self.spaces.contains_key(&space.0)
    }

    /// What bytes of a space are.
    #[must_use]
    pub fn read(&self, space: SpaceNo, at: usize, len: usize) -> &[u8] {
        &self.spaces[&space.0].bytes[at..at + len]
    }

    /// One page.
    #[must_use]
    pub fn page(&self, space: SpaceNo, page: PageNo) -> &[u8] {
        self.read(space, page.0 as usize * PAGE_SIZE, PAGE_SIZE)
    }

    /// Pages of a space.
    #[must_use]
    pub fn pages(&self, space: SpaceNo) -> u32 {
        (self.spaces[&space.0].bytes.len() / PAGE_SIZE) as u32
    }

    /// The spaces that live.
    pub fn spaces(&self) -> impl Iterator<Item = SpaceNo> + '_ {
        self.spaces.keys().map(|&no| SpaceNo(no))
    }

    fn bytes_mut(&mut self, space: SpaceNo) -> &mut Vec<u8> {
        &mut self.spaces.get_mut(&space.0).expect("the space lives").bytes
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    /// Goal: forks are copies, also of who may share, and growth is zeros.
    #[test]
    fn forks_are_copies() {
        let (a, b) = (SpaceNo(1), SpaceNo(2));
        let mut oracle = Oracle::default();
        oracle.create(a, 1, Domain(4));
        oracle.set_merging(a, Merging::On);
        oracle.write(a, 7, &[1, 2]);
        oracle.fork(a, b);
        oracle.write(b, 7, &[9]);
        oracle.grow(a, 2);
        assert_eq!(oracle.read(a, 7, 2), [1, 2]);
        assert_eq!(oracle.read(b, 7, 2), [9, 2]);
        assert_eq!(oracle.page(a, PageNo(1)), [0; PAGE_SIZE]);
        oracle.set_merging(a, Merging::Off);
        assert_eq!(oracle.sharers(a), (Domain(4), Merging::Off));
        assert_eq!(oracle.sharers(b), (Domain(4), Merging::On));
        oracle.reset(a, b);
        assert_eq!((oracle.pages(a), oracle.read(a, 7, 2)), (1, &[9, 2][..]));
        oracle.drop_space(a);
        assert!(!oracle.lives(a) && oracle.lives(b));
        assert_eq!(oracle.spaces().collect::<Vec<_>>(), [b]);
    }
}
