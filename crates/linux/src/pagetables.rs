//! What windows cost the kernel beside their pages, in bytes, and whether it gives empty page
//! tables back.
//!
//! A page table is for 2 MiB; the manager charges those, by what it shows. Above them stand two
//! levels of *upper* tables, one page for each GiB and for each 512 GiB in which anything is
//! accessible; windows share them with their neighbours, and they go when a whole block of
//! addresses is sealed in one call. [`Uppers`] keeps which there are; `arena.rs` guards it. The
//! rest is a constant for each window.

use std::collections::BTreeSet;
use std::ops::Range;

use memfold_host::Tables;
use memfold_host::addr::PAGE_SIZE;

use crate::sys;

/// Pages that one page table is for.
pub(crate) const TABLE_PAGES: u32 = 512;

/// Bytes of a table of any level.
pub(crate) const TABLE_BYTES: u64 = PAGE_SIZE as u64;

/// What the kernel and this crate hold for a window: two or three mappings (192 bytes each) with
/// their places in the tree of mappings, the link of the first private page (`anon_vma`), the
/// record and its places in our tables.
const WINDOW_BYTES: u64 = 1024;

/// The bits of an address below each level of upper tables.
const LEVELS: [u32; 2] = [30, 39];

/// Tables that there may be beside those that are known: those of the highest level, and in the
/// direct mappings those that threads fill at the moment when all are emptied.
const MORE: u64 = 8;

/// What the manager is told of them; `direct`: tables for reading the pool.
pub(crate) fn geometry(direct: u32) -> Tables {
    Tables {
        pages: TABLE_PAGES,
        bytes: TABLE_BYTES,
        fixed_bytes: (u64::from(direct) + MORE) * TABLE_BYTES,
    }
}

/// The most that opening a window, or so many more accessible pages of it, can cost beside page
/// tables.
pub(crate) fn most_window_bytes(pages: u32) -> u64 {
    let blocks = LEVELS.map(|bits| ((u64::from(pages) * TABLE_BYTES) >> bits) + 2);
    WINDOW_BYTES + blocks.iter().sum::<u64>() * TABLE_BYTES
}

/// What a window costs at the least.
pub(crate) fn window_bytes() -> u64 {
    WINDOW_BYTES
}

/// The upper tables that there may be.
#[derive(Debug, Default)]
pub(crate) struct Uppers(BTreeSet<(u32, usize)>);

impl Uppers {
    /// These addresses are accessible from now on; bytes of the tables that are new.
    pub(crate) fn cover(&mut self, addrs: Range<usize>) -> u64 {
        let mut new = 0;
        for bits in LEVELS {
            for block in addrs.start >> bits..=(addrs.end - 1) >> bits {
                new += u64::from(self.0.insert((bits, block)));
            }
        }
        new * TABLE_BYTES
    }

    /// Whether the block has a table.
    pub(crate) fn has(&self, block: Block) -> bool {
        self.0.contains(&(block.bits, block.block))
    }

    /// All addresses of the block were sealed in one call; bytes that this gave back.
    pub(crate) fn forget(&mut self, block: Block) -> u64 {
        u64::from(self.0.remove(&(block.bits, block.block))) * TABLE_BYTES
    }
}

/// The addresses that one upper table is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    bits: u32,
    block: usize,
}

impl Block {
    /// The blocks that reach into these addresses.
    pub(crate) fn around(addrs: Range<usize>) -> impl Iterator<Item = Self> {
        LEVELS.into_iter().flat_map(move |bits| {
            let first = addrs.start >> bits;
            (first..=(addrs.end - 1) >> bits).map(move |block| Self { bits, block })
        })
    }

    pub(crate) fn addrs(self) -> Range<usize> {
        self.block << self.bits..(self.block + 1) << self.bits
    }
}

/// Whether this kernel frees a page table when everything in its range is dropped in one call
/// (since Linux 6.14, with `CONFIG_PT_RECLAIM`). Found out by doing so, on 32 tables; what other
/// threads do meanwhile can make it answer no.
pub(crate) fn are_freed() -> bool {
    sys::tables::kernel_at_least(6, 14) && (0..3).any(|_| sys::tables::are_freed(32).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    //! Goal: upper tables are counted once, and go with their block.
    use super::*;

    const GIB: usize = 1 << 30;

    #[test]
    fn neighbours_share() {
        let mut uppers = Uppers::default();
        let at = 5 * GIB;
        assert_eq!(uppers.cover(at..at + 4096), 2 * TABLE_BYTES, "one of each level");
        assert_eq!(uppers.cover(at + (64 << 20)..at + (65 << 20)), 0);
        assert_eq!(uppers.cover(at + GIB - 4096..at + GIB + 4096), TABLE_BYTES);
        let blocks: Vec<_> = Block::around(at..at + 4096).collect();
        assert_eq!(blocks.len(), 2);
        assert_eq!(blocks[0].addrs(), at..at + GIB);
        assert_eq!(blocks[1].addrs(), 0..512 * GIB);
        assert_eq!(
            (uppers.forget(blocks[0]), uppers.forget(blocks[0])),
            (TABLE_BYTES, 0)
        );
        assert_eq!([0, 1].map(|n| uppers.has(blocks[n])), [false, true]);
    }

    #[test]
    fn most_is_the_most() {
        for pages in [1, 512, 1 << 18, 1 << 20, (1 << 24) - 1] {
            let bytes = pages as usize * PAGE_SIZE;
            for start in [0, GIB - 4096, 512 * GIB - 4096] {
                let cost = WINDOW_BYTES + Uppers::default().cover(start..start + bytes);
                assert!(cost <= most_window_bytes(pages), "{pages} pages at {start:#x}");
            }
        }
    }
}
