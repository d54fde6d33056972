//! What the spaces would take if each had pages of its own, and why they do not: [`Saved`]. Pure.

use memfold_record::{PageState, Row, Sample, Schema};
use std::collections::BTreeMap;
use std::sync::Arc;

const PAGE: u64 = 4096;
/// Copies of copies are followed so far.
const DEEPEST: u32 = 16;

/// Bytes, by why they are held or not. Of spaces whose pages were looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Saved {
    /// What all spaces would take: each page that has bytes, once for each space that sees it.
    pub stock: u64,
    /// Pages of a space alone, in memory.
    pub own: u64,
    /// Pages that a space sees and does not hold alone: in memory, shared with relatives.
    pub shared: u64,
    /// The same, shared since equal pages became one.
    pub merged: u64,
    /// Pages in the store, as long as they would be outside.
    pub stored: u64,
    /// Pages of files, and such as the kernel serves: no space's own, or not known.
    pub others: u64,
    /// Spaces whose pages nobody looked at.
    pub unknown: u64,
}

impl Saved {
    /// Of a sample, and of what its spaces are copies of where that has ended.
    pub fn of(sample: &Sample, ended: &Ended) -> Self {
        let mut saved = Self::default();
        let mut cells = Cells::new(sample, ended);
        for (&birth, row) in &sample.spaces {
            if row.pages.is_none() {
                saved.unknown += 1;
                continue;
            }
            let states = cells.of(birth, row, 0);
            let len = u64::from(row.len);
            let cell = u64::from(row.map.cell_pages);
            for (at, (state, inherited)) in states.iter().enumerate() {
                let pages = cell.min(len.saturating_sub(at as u64 * cell));
                saved.count(*state, *inherited, pages * PAGE);
            }
        }
        saved
    }

    fn count(&mut self, state: PageState, inherited: bool, bytes: u64) {
        let part = match state {
            PageState::Absent => return,
            PageState::Exclusive | PageState::Pinned if !inherited => &mut self.own,
            PageState::Compressed => &mut self.stored,
            PageState::Merged => &mut self.merged,
            // What it inherits from nobody knows what.
            PageState::File | PageState::Native | PageState::Inherited => &mut self.others,
            _ => &mut self.shared,
        };
        *part += bytes;
        self.stock += bytes;
    }
}

/// What each cell of a space is, and whether that is what its template has there.
type States = Vec<(PageState, bool)>;

/// Spaces that have ended, as they were when they were last seen.
pub(crate) type Ended = BTreeMap<u64, Arc<Row>>;

/// The states of spaces that others are copies of.
struct Cells<'a> {
    sample: &'a Sample,
    ended: &'a Ended,
    known: BTreeMap<u64, States>,
}

impl<'a> Cells<'a> {
    fn new(sample: &'a Sample, ended: &'a Ended) -> Self {
        let known = BTreeMap::new();
        Self { sample, ended, known }
    }

    /// The states of a space's cells, inherited ones as they are where they come from.
    fn of(&mut self, birth: u64, row: &Row, depth: u32) -> States {
        if let Some(known) = self.known.get(&birth) {
            return known.clone();
        }
        let stretches = row.map.stretches.iter();
        let own =
            stretches.flat_map(|stretch| std::iter::repeat_n((stretch.state, false), stretch.cells as usize));
        let mut states: States = own.collect();
        let there = |parent: &u64| self.sample.spaces.get(parent).or_else(|| self.ended.get(parent));
        let parent = row.parent.and_then(|parent| Some((parent, there(&parent)?)));
        if states.iter().any(|(state, _)| *state == PageState::Inherited)
            && let Some((parent, above)) = parent
            && depth < DEEPEST
            && above.map.cell_pages == row.map.cell_pages
        {
            let above = self.of(parent, &above.clone(), depth + 1);
            for (state, there) in states.iter_mut().zip(above) {
                if state.0 == PageState::Inherited {
                    *state = (there.0, true);
                }
            }
        }
        self.known.insert(birth, states.clone());
        states
    }
}

/// For each cell of a space, how many of its copies have something else there; and how many copies
/// were looked at.
pub(crate) fn changed(sample: &Sample, birth: u64) -> (Vec<u32>, u32) {
    let (mut changed, mut clones, mut size) = (Vec::new(), 0, None);
    for clone in sample.spaces.values().filter(|clone| clone.parent == Some(birth)) {
        if clone.pages.is_none() || clone.map.cell_pages != *size.get_or_insert(clone.map.cell_pages) {
            continue;
        }
        clones += 1;
        changed.resize(changed.len().max(clone.map.cells() as usize), 0);
        let mut at = 0;
        for stretch in &clone.map.stretches {
            use PageState::{Compressed, Exclusive, Merged, Pinned};
            let end = (at + stretch.cells as usize).min(changed.len());
            if matches!(stretch.state, Exclusive | Compressed | Merged | Pinned) {
                changed[at..end].iter_mut().for_each(|count| *count += 1);
            }
            at = end;
        }
    }
    (changed, clones)
}

/// What the record says of the store: pages, as long as they would be outside, and the bytes that
/// are held for them.
pub(crate) fn store(schema: &Schema, sample: &Sample) -> [(&'static str, Option<u64>); 4] {
    let pages = |name| sample.value(schema, name).map(|pages| pages * PAGE);
    [
        (
            "pages in the store, as long as they would be outside",
            pages("store.pages"),
        ),
        ("of these zeros, or one repeated word", pages("store.same_filled")),
        (
            "of these kept as differences to a template's page",
            pages("store.deltas"),
        ),
        (
            "what is held for them all",
            sample.value(schema, "held.compressed"),
        ),
    ]
}
