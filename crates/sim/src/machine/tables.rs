//! The machine's page tables: small ones, so that small spaces have several.
//!
//! Windows stand side by side by the number of their space, in blocks of four that share an upper
//! table; a long window has an upper table more for each 64 accessible pages. An upper table is
//! made when the first window needs it, and goes when no window is left in its block.

use memfold_host::Tables as Geometry;
use memfold_host::addr::{PageNo, SpaceNo};
use std::collections::{BTreeMap, BTreeSet};

/// The usual tables.
const USUAL: Geometry = Geometry {
    pages: 32,
    bytes: 320,
    fixed_bytes: 1000,
};

/// The usual record of a window.
const RECORD: u64 = 100;

/// A usual upper table.
const UPPER: u64 = 192;

/// Pages that one upper table is for, within a block.
const UPPER_PAGES: u32 = 64;

#[derive(Debug, Default)]
struct Block {
    windows: u32,
    uppers: BTreeSet<u32>,
}

/// All page tables.
#[derive(Debug)]
pub(super) struct Tables {
    /// What the manager is told of them.
    pub geometry: Geometry,
    /// Bytes of the record of a window, and of an upper table.
    record: u64,
    upper: u64,
    /// For each open window, those of its page tables that there are.
    made: BTreeMap<u32, BTreeSet<u32>>,
    blocks: BTreeMap<u32, Block>,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            record: RECORD,
            upper: UPPER,
            ..Self::only(USUAL)
        }
    }
}

impl Tables {
    /// Such page tables, and nothing beside them.
    pub fn only(geometry: Geometry) -> Self {
        Self {
            geometry,
            record: 0,
            upper: 0,
            made: BTreeMap::new(),
            blocks: BTreeMap::new(),
        }
    }

    /// The most that a window of so many accessible pages holds, or that many more of them.
    pub fn most_window_bytes(&self, pages: u32) -> u64 {
        self.record + self.upper * u64::from(pages / UPPER_PAGES + 2)
    }

    /// Bytes of everything here.
    pub fn bytes(&self) -> u64 {
        let tables: usize = self.made.values().map(BTreeSet::len).sum();
        self.geometry.fixed_bytes + tables as u64 * self.geometry.bytes + self.windows_held()
    }

    pub fn windows_held(&self) -> u64 {
        let uppers: usize = self.blocks.values().map(|block| block.uppers.len()).sum();
        self.made.len() as u64 * self.record + uppers as u64 * self.upper
    }

    pub fn open(&mut self, no: SpaceNo, len: u32) -> u64 {
        let before = self.windows_held();
        self.made.insert(no.0, BTreeSet::new());
        self.blocks.entry(no.0 / 4).or_default().windows += 1;
        self.resize(no, len);
        self.windows_held() - before
    }

    pub fn resize(&mut self, no: SpaceNo, len: u32) -> u64 {
        let before = self.windows_held();
        let block = self.blocks.get_mut(&(no.0 / 4)).expect("its window is open");
        block.uppers.extend(0..=(len - 1) / UPPER_PAGES);
        self.windows_held() - before
    }

    pub fn close(&mut self, no: SpaceNo) -> u64 {
        let before = self.windows_held();
        self.made.remove(&no.0);
        let block = self.blocks.get_mut(&(no.0 / 4)).expect("its window is open");
        block.windows -= 1;
        if block.windows == 0 {
            self.blocks.remove(&(no.0 / 4));
        }
        before - self.windows_held()
    }

    pub fn populate(&mut self, no: SpaceNo, page: PageNo) {
        let made = self.made.get_mut(&no.0).expect("its window is open");
        made.extend(page.0.checked_div(self.geometry.pages));
    }

    pub fn free(&mut self, no: SpaceNo, page: PageNo) {
        let made = self.made.get_mut(&no.0).expect("its window is open");
        // It may not be there: a step for which it was charged may have failed before.
        if let Some(table) = page.0.checked_div(self.geometry.pages) {
            made.remove(&table);
        }
    }
}
