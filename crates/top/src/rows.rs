//! Spaces as a tree: a template, and below it its clones, each with what it has beside it. Pure.

use memfold_record::{Made, PageState, Row, Sample};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// By what spaces of the same parent are put in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SortBy {
    /// What is held for it.
    Holds,
    /// What of that is in the store.
    Compressed,
    /// Pages that became one with others'.
    Merged,
    /// Accessible pages.
    Length,
    /// When it was born.
    Number,
}

impl SortBy {
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Holds, "holds"),
        (Self::Compressed, "stored"),
        (Self::Merged, "merged"),
        (Self::Length, "length"),
        (Self::Number, "number"),
    ];

    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// The next one; after the last one the first.
    pub fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()].0
    }
}

/// A row of the screen.
#[derive(Clone, Debug)]
pub(crate) struct SpaceLine {
    pub birth: u64,
    /// Nothing of a template that has ended, while clones of it live.
    pub row: Option<Arc<Row>>,
    /// How many spaces above it are shown that it descends from.
    pub depth: usize,
    /// Spaces that are copies of this one and live.
    pub clones: u32,
    /// What is held for these, in pages; of those whose pages were looked at.
    pub clones_hold: u64,
}

impl SpaceLine {
    /// What people call it.
    pub fn name(&self) -> String {
        let made = match self.row.as_ref().map(|row| row.made) {
            None => "ended",
            Some(Made::Created) => "space",
            Some(Made::Forked) => "fork",
            Some(Made::Frozen) => "frozen",
        };
        format!("#{} {made}", self.birth)
    }

    pub fn is_condemned(&self) -> bool {
        self.row.as_ref().is_some_and(|row| row.condemned)
    }

    fn matches(&self, filter: &str) -> bool {
        let condemned = if self.is_condemned() { " condemned" } else { "" };
        let parent = self.row.as_ref().and_then(|row| row.parent);
        let parent = parent.map(|parent| format!(" of #{parent}"));
        let text = format!("{}{}{condemned}", self.name(), parent.unwrap_or_default());
        filter.split_whitespace().all(|word| text.contains(word))
    }
}

/// All spaces of a sample that contain each word of the filter, largest first, unless turned
/// around.
pub(crate) fn lines(now: &Sample, sort: SortBy, turned: bool, filter: &str) -> Vec<SpaceLine> {
    let tree = Tree::new(now, sort, turned);
    let (mut seen, mut lines) = (BTreeSet::new(), Vec::new());
    // Those last whose parents go round in a circle, as no memory has them.
    for root in tree.roots.iter().chain(now.spaces.keys()) {
        let mut next = vec![(*root, 0)];
        // Ends: each space is passed once.
        while let Some((birth, depth)) = next.pop() {
            if seen.insert(birth) {
                lines.push(tree.line(birth, depth));
                let clones = tree.clones(birth).iter().rev();
                next.extend(clones.map(|&clone| (clone, depth + 1)));
            }
        }
    }
    if !filter.trim().is_empty() {
        lines.retain(|line| line.matches(filter));
    }
    lines
}

/// Who is a copy of whom, each family in its order.
struct Tree<'a> {
    now: &'a Sample,
    clones: BTreeMap<u64, Vec<u64>>,
    /// Spaces without a parent, and parents that have ended.
    roots: Vec<u64>,
}

impl<'a> Tree<'a> {
    fn new(now: &'a Sample, sort: SortBy, turned: bool) -> Self {
        let mut clones: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        let mut roots = Vec::new();
        for (&birth, row) in &now.spaces {
            // A frozen copy stands for itself when what it was made of has ended.
            let counts = |parent: &u64| now.spaces.contains_key(parent) || row.made == Made::Forked;
            match row.parent.filter(|parent| *parent != birth && counts(parent)) {
                Some(parent) => clones.entry(parent).or_default().push(birth),
                None => roots.push(birth),
            }
        }
        roots.extend(clones.keys().filter(|birth| !now.spaces.contains_key(birth)));
        let mut tree = Self {
            now,
            clones: BTreeMap::new(),
            roots,
        };
        let order = |siblings: &mut Vec<u64>| {
            siblings.sort_by_key(|&birth| Reverse((key(sort, birth, now), Reverse(birth))));
            if turned {
                siblings.reverse();
            }
        };
        clones.values_mut().for_each(order);
        order(&mut tree.roots);
        Self { clones, ..tree }
    }

    fn clones(&self, birth: u64) -> &[u64] {
        self.clones.get(&birth).map_or(&[], Vec::as_slice)
    }

    fn line(&self, birth: u64, depth: usize) -> SpaceLine {
        let clones = self.clones(birth);
        let holds = |clone: &u64| u64::from(self.now.spaces[clone].holds().unwrap_or(0));
        SpaceLine {
            birth,
            row: self.now.spaces.get(&birth).cloned(),
            depth,
            clones: clones.len() as u32,
            clones_hold: clones.iter().map(holds).sum(),
        }
    }
}

/// Unknown is less than nothing.
fn key(sort: SortBy, birth: u64, now: &Sample) -> Option<u64> {
    let row = now.spaces.get(&birth)?;
    match sort {
        SortBy::Holds => row.holds().map(u64::from),
        SortBy::Compressed => row.count(PageState::Compressed).map(u64::from),
        SortBy::Merged => row.count(PageState::Merged).map(u64::from),
        SortBy::Length => Some(row.len.into()),
        // The first one first.
        SortBy::Number => Some(u64::MAX - birth),
    }
}

#[cfg(test)]
mod tests {
    //! Goal: clones stand below their template in the order that was asked for, and no space is
    //! lost. Method: a small family, and parents that no memory has.
    use super::*;

    fn sample(rows: &[(u64, Option<u64>, u32)]) -> Sample {
        let row = |&(birth, parent, own): &(u64, Option<u64>, u32)| {
            let mut pages = [0; PageState::ALL.len()];
            pages[PageState::Exclusive as usize] = own;
            let made = match parent {
                Some(_) => Made::Forked,
                None => Made::Created,
            };
            let row = Row {
                parent,
                made,
                len: 9,
                pages: Some(pages),
                condemned: own == 7,
                ..Row::default()
            };
            (birth, Arc::new(row))
        };
        Sample {
            spaces: rows.iter().map(row).collect(),
            ..Sample::default()
        }
    }

    fn order(of: &Sample, sort: SortBy, turned: bool, filter: &str) -> Vec<(u64, usize)> {
        lines(of, sort, turned, filter)
            .iter()
            .map(|line| (line.birth, line.depth))
            .collect()
    }

    #[test]
    fn clones_stand_below_their_template() {
        let sample = sample(&[
            (1, None, 5),
            (2, Some(1), 1),
            (3, Some(1), 7),
            (4, Some(2), 2),
            (5, Some(99), 6),
        ]);
        assert_eq!(
            order(&sample, SortBy::Holds, false, ""),
            [(1, 0), (3, 1), (2, 1), (4, 2), (99, 0), (5, 1)]
        );
        assert_eq!(
            order(&sample, SortBy::Holds, true, ""),
            [(99, 0), (5, 1), (1, 0), (2, 1), (4, 2), (3, 1)]
        );
        assert_eq!(
            order(&sample, SortBy::Number, false, ""),
            [(1, 0), (2, 1), (4, 2), (3, 1), (99, 0), (5, 1)]
        );
        assert_eq!(order(&sample, SortBy::Holds, false, "of #1"), [(3, 1), (2, 1)]);
        assert_eq!(order(&sample, SortBy::Holds, false, "condemned"), [(3, 1)]);
        let lines = lines(&sample, SortBy::Holds, false, "");
        assert_eq!((lines[0].clones, lines[0].clones_hold), (2, 8));
        assert_eq!(
            (lines[0].name(), lines[4].name()),
            ("#1 space".to_owned(), "#99 ended".to_owned())
        );
    }

    #[test]
    fn parents_in_a_circle_are_shown_once() {
        let sample = sample(&[(1, Some(2), 1), (2, Some(1), 2), (3, Some(3), 3)]);
        assert_eq!(order(&sample, SortBy::Holds, false, "").len(), 3);
    }

    #[test]
    fn every_order_has_its_turn() {
        let mut sort = SortBy::Holds;
        for (by, name) in SortBy::ALL {
            assert_eq!((sort, sort.name()), (by, name));
            sort = sort.next();
        }
        assert_eq!(sort, SortBy::Holds);
    }
}
