//! Which spaces map a file, and where: the reverse map of its pages (Linux: `i_mmap`).
//!
//! A mapping is a run of a space that shows pages of the file from one on. Each is kept at the few
//! aligned blocks (of 1, 2, 4, ... pages) that together are its part of the file; a page lies in
//! one block of each size, so that a walk looks at no more than one place for each size in use, and
//! finds each mapping of the page once, and no other, whatever the offsets. Under the file's lock.

use crate::addr::{PageNo, Run, SpaceNo};
use crate::host::Piece;
use std::collections::BTreeMap;

/// Bytes that one block of a mapping may cost, to be charged before.
const BLOCK_BYTES: u64 = 128;

/// A run of a space that shows pages of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub space: SpaceNo,
    /// Pages of the space.
    pub run: Run,
    /// The file's page that the first of them shows.
    pub first: PageNo,
    pub kind: Piece,
    /// Whether the file's pages stay in memory for it.
    pub locked: bool,
}

impl Mapping {
    /// The page of the space that shows a page of the file, which is one of the mapping's.
    fn page_of(&self, page: PageNo) -> PageNo {
        self.run.first.plus(page.0 - self.first.0)
    }

    /// What it costs to keep it.
    pub fn bytes(&self) -> u64 {
        blocks(self.first, self.run.len).count() as u64 * BLOCK_BYTES
    }
}

/// The size of a block, as a power of two, and its number; then the space and its first page.
type Key = (u8, u32, u32, u32);

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Mappings {
    blocks: BTreeMap<Key, Mapping>,
    /// Blocks of each size.
    sizes: [u32; 32],
}

/// The blocks that make up so many pages from `first` on.
fn blocks(first: PageNo, len: u32) -> impl Iterator<Item = (u8, u32)> {
    let mut at = first.0;
    // Ends: each turn takes a block off what is left.
    std::iter::from_fn(move || {
        let left = (first.0 + len).checked_sub(at).filter(|&left| left != 0)?;
        let size = at.trailing_zeros().min(left.ilog2());
        let block = (size as u8, at >> size);
        at += 1 << size;
        Some(block)
    })
}

impl Mappings {
    fn keys(mapping: &Mapping) -> impl Iterator<Item = Key> {
        let (space, first) = (mapping.space.0, mapping.run.first.0);
        blocks(mapping.first, mapping.run.len).map(move |(size, block)| (size, block, space, first))
    }

    /// One mapping more, which overlaps no other of the space.
    pub fn insert(&mut self, mapping: Mapping) {
        for key in Self::keys(&mapping) {
            self.sizes[usize::from(key.0)] += 1;
            let before = self.blocks.insert(key, mapping);
            assert!(before.is_none(), "{mapping:?} is mapped twice");
        }
    }

    /// One mapping less.
    pub fn remove(&mut self, mapping: Mapping) {
        for key in Self::keys(&mapping) {
            self.sizes[usize::from(key.0)] -= 1;
            let was = self.blocks.remove(&key);
            assert_eq!(was, Some(mapping), "the file has other mappings");
        }
    }

    /// The mappings that show a page of the file, with the page of the space.
    pub fn of(&self, page: PageNo) -> impl Iterator<Item = (Mapping, PageNo)> + '_ {
        let sizes = (0..).zip(&self.sizes).filter(|(_, blocks)| **blocks != 0);
        sizes.flat_map(move |(size, _): (u8, _)| {
            let block = page.0 >> size;
            let all = (size, block, 0, 0)..=(size, block, u32::MAX, u32::MAX);
            let found = self.blocks.range(all);
            found.map(move |(_, mapping)| (*mapping, mapping.page_of(page)))
        })
    }

    /// All of them, for checks.
    pub fn all(&self) -> Vec<Mapping> {
        let first = |(key, mapping): (&Key, &Mapping)| {
            let begins = blocks(mapping.first, mapping.run.len).next() == Some((key.0, key.1));
            begins.then_some(*mapping)
        };
        self.blocks.iter().filter_map(first).collect()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    fn mapping(space: u32, at: u32, first: u32, len: u32) -> Mapping {
        Mapping {
            space: SpaceNo(space),
            run: Run {
                first: PageNo(at),
                len,
            },
            first: PageNo(first),
            kind: Piece::Shared,
            locked: false,
        }
    }

    /// Goal: blocks make up the run, and there are few of them.
    #[test]
    fn blocks_make_up_the_run() {
        for (first, len) in [(0, 1), (0, 1024), (3, 10), (7, 1), (1, u32::MAX - 1)] {
            let mut next = first;
            for (size, block) in blocks(PageNo(first), len) {
                assert_eq!(block << size, next);
                next = next.wrapping_add(1 << size);
            }
            assert_eq!(next, first.wrapping_add(len));
            assert!(blocks(PageNo(first), len).count() <= 62);
        }
        assert_eq!(blocks(PageNo(64), 64).count(), 1);
    }

    /// Goal: a walk finds exactly the mappings of a page, each once, at whatever offsets they are
    /// (R07, R16). Method: some mappings that overlap, against a look at all of them.
    #[test]
    fn a_walk_is_exact() {
        let all = [
            mapping(1, 0, 0, 16),
            mapping(1, 100, 5, 7),
            mapping(2, 3, 15, 2),
            mapping(3, 0, 3, 1),
            mapping(4, 9, 0, 33),
        ];
        let mut mappings = Mappings::default();
        all.iter().for_each(|&m| mappings.insert(m));
        let check = |mappings: &Mappings, all: &[Mapping]| {
            for page in (0..40).map(PageNo) {
                let mut found: Vec<_> = mappings.of(page).map(|(m, at)| (m.space.0, at.0)).collect();
                found.sort_unstable();
                let has = |m: &&Mapping| (m.first..m.first.plus(m.run.len)).contains(&page);
                let wanted: Vec<_> = all
                    .iter()
                    .filter(has)
                    .map(|m| (m.space.0, m.run.first.0 + page.0 - m.first.0))
                    .collect();
                assert_eq!(found, wanted, "page {page}");
            }
        };
        check(&mappings, &all);
        assert_eq!(mappings.all().len(), 5);
        mappings.remove(all[0]);
        mappings.remove(all[4]);
        check(&mappings, &all[1..4]);
        all[1..4].iter().for_each(|&m| mappings.remove(m));
        assert_eq!((mappings.all(), mappings.blocks.len()), (vec![], 0));
    }
}
