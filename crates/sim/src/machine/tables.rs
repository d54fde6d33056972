//! The machine's page tables: small ones, so that small spaces have several.
//!
//! Windows stand side by side by the number of their space, in blocks of four that share an upper
//! table; a long window has an upper table more for each 64 accessible pages. An upper table is
//! made when the first window needs it, and goes when no window is left in its block.
//!
//! A window of which the machine serves a run is kept when it is closed, for the next one of its
//! shape, with its record and its tables: two of them, until they are asked for.

use memfold_host::Tables as Geometry;
use memfold_host::addr::{PageNo, PoolPage, Run, SpaceNo};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

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

/// Windows that are kept.
const KEPT: usize = 2;

/// What windows have in common that can take each other's place: where their pages stand, how many
/// there may be and are, and which of them the machine serves.
pub(super) type Shape = (PoolPage, u32, u32, Run);

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
    /// For open windows that were kept before, how many tables they were kept with.
    came_with: BTreeMap<u32, u64>,
    /// Those that are kept, with their tables; the oldest first.
    kept: VecDeque<(Shape, u64)>,
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
            came_with: BTreeMap::new(),
            kept: VecDeque::new(),
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
        let kept: u64 = self.kept.iter().map(|(_, tables)| tables).sum();
        let tables = kept + self.came_with.values().sum::<u64>();
        (self.made.len() + self.kept.len()) as u64 * self.record
            + uppers as u64 * self.upper
            + tables * self.geometry.bytes
    }

    /// A window that is being opened takes the place of one that was kept, if there is one; how
    /// many bytes less are held then.
    pub fn take_over(&mut self, no: SpaceNo, shape: &Shape) -> u64 {
        let before = self.windows_held();
        if let Some(at) = self.kept.iter().rposition(|(kept, _)| kept == shape) {
            let (_, tables) = self.kept.remove(at).expect("it was just found");
            self.came_with.insert(no.0, tables);
        }
        before - self.windows_held()
    }

    /// Nothing is kept; how many bytes less are held.
    pub fn free_kept(&mut self) -> u64 {
        let before = self.windows_held();
        self.kept.clear();
        before - self.windows_held()
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

    /// `charged`: for how many of its tables the manager answers.
    pub fn close(&mut self, no: SpaceNo, charged: u64, keep_as: Option<Shape>) -> u64 {
        let before = self.windows_held() + charged * self.geometry.bytes;
        self.made.remove(&no.0);
        let came_with = self.came_with.remove(&no.0).unwrap_or(0);
        if let Some(shape @ (_, _, len, _)) = keep_as {
            let most = u64::from(len.div_ceil(self.geometry.pages.max(1)));
            self.kept.push_back((shape, (came_with + charged).min(most)));
            if self.kept.len() > KEPT {
                self.kept.pop_front();
            }
        }
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
