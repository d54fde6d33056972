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
    pub row: Arc<Row>,
    /// What is held for it, in pages: of a clone what it has beside its template.
    pub holds: Option<u32>,
    /// How many spaces above it are shown that it descends from.
    pub depth: usize,
    /// Spaces that are copies of this one and live.
    pub clones: u32,
    /// What these hold beside it, in pages; of those whose pages were looked at.
    pub clones_own: u64,
}

impl SpaceLine {
    /// What people call it.
    pub fn name(&self) -> String {
        let made = match self.row.made {
            Made::Created => "space",
            Made::Forked => "fork",
            Made::Frozen => "frozen",
        };
        format!("#{} {made}", self.birth)
    }

    fn matches(&self, filter: &str) -> bool {
        let condemned = if self.row.condemned { " condemned" } else { "" };
        let parent = self.row.parent.map(|parent| format!(" of #{parent}"));
        let text = format!("{}{}{condemned}", self.name(), parent.unwrap_or_default());
        filter.split_whitespace().all(|word| text.contains(word))
    }
}

/// All spaces of a sample that contain each word of the filter, largest first, unless turned
/// around.
pub(crate) fn lines(now: &Sample, sort: SortBy, turned: bool, filter: &str) -> Vec<SpaceLine> {
    let lives = |birth: &u64| now.spaces.contains_key(birth);
    let mut children: BTreeMap<Option<u64>, Vec<u64>> = BTreeMap::new();
    for (&birth, row) in &now.spaces {
        let parent = row.parent.filter(|parent| lives(parent) && *parent != birth);
        children.entry(parent).or_default().push(birth);
    }
    for siblings in children.values_mut() {
        siblings.sort_by_key(|birth| Reverse((key(sort, *birth, now), Reverse(*birth))));
        if turned {
            siblings.reverse();
        }
    }
    let of = |birth: u64, depth: usize| {
        let clones = children.get(&Some(birth)).map_or(&[][..], Vec::as_slice);
        let own = |clone: &u64| u64::from(now.spaces[clone].own().unwrap_or(0));
        SpaceLine {
            birth,
            row: now.spaces[&birth].clone(),
            holds: now.spaces[&birth].holds(now.parent(&now.spaces[&birth])),
            depth,
            clones: clones.len() as u32,
            clones_own: clones.iter().map(own).sum(),
        }
    };
    let mut seen = BTreeSet::new();
    let mut lines = Vec::new();
    let none = Vec::new();
    let roots = children.get(&None).unwrap_or(&none).iter();
    // Those last whose parents go round in a circle, as no memory has them.
    let all: Vec<u64> = roots.chain(now.spaces.keys()).copied().collect();
    for root in all {
        let mut next = vec![(root, 0)];
        // Ends: each space is passed once.
        while let Some((birth, depth)) = next.pop() {
            if !seen.insert(birth) {
                continue;
            }
            lines.push(of(birth, depth));
            let clones = children.get(&Some(birth)).unwrap_or(&none);
            next.extend(clones.iter().rev().map(|&clone| (clone, depth + 1)));
        }
    }
    if !filter.trim().is_empty() {
        lines.retain(|line| line.matches(filter));
    }
    lines
}

/// Unknown is less than nothing.
fn key(sort: SortBy, birth: u64, now: &Sample) -> Option<u64> {
    let row = &now.spaces[&birth];
    match sort {
        SortBy::Holds => row.holds(now.parent(row)).map(u64::from),
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
            let made = if parent.is_some() {
                Made::Forked
            } else {
                Made::Created
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
            [(5, 0), (1, 0), (3, 1), (2, 1), (4, 2)]
        );
        assert_eq!(
            order(&sample, SortBy::Holds, true, ""),
            [(1, 0), (2, 1), (4, 2), (3, 1), (5, 0)]
        );
        assert_eq!(
            order(&sample, SortBy::Number, false, ""),
            [(1, 0), (2, 1), (4, 2), (3, 1), (5, 0)]
        );
        assert_eq!(order(&sample, SortBy::Holds, false, "of #1"), [(3, 1), (2, 1)]);
        assert_eq!(order(&sample, SortBy::Holds, false, "condemned"), [(3, 1)]);
        let lines = lines(&sample, SortBy::Holds, false, "");
        assert_eq!((lines[1].clones, lines[1].clones_own), (2, 8));
        assert_eq!(lines[1].name(), "#1 space");
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
