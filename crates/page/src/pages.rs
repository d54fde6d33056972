//! What the pages of a space were over time, and which of them its copies changed, as SVG. Pure.

use crate::chart::begin;
use crate::history::History;
use crate::text::{escaped, moment};
use memfold_record::{PageMap, PageState};
use std::fmt::Write;

/// Columns and rows of the picture.
const COLUMNS: usize = 128;
const ROWS: usize = 40;
const LEFT: f64 = 84.0;
const CELL: f64 = 706.0 / COLUMNS as f64;

/// Time goes down, pages from left to right; each cell is what most of its pages were.
pub(crate) fn over_time(history: &History) -> Option<String> {
    let shown = history.shown?;
    let seen: Vec<_> = history
        .moments
        .iter()
        .filter_map(|moment| Some((moment.at_us, moment.map.as_ref()?)))
        .collect();
    let rows = seen.len().min(ROWS);
    if rows == 0 {
        return None;
    }
    let height = 24.0 + rows as f64 * 8.0;
    let title = format!("What the pages of space #{shown} were over time, from above to below");
    let mut out = begin(height, "pages-title", &title);
    for row in 0..rows {
        let (at, map) = seen[if rows == 1 {
            0
        } else {
            row * (seen.len() - 1) / (rows - 1)
        }];
        let y = row as f64 * 8.0;
        if row.is_multiple_of(8) || row == rows - 1 {
            let _ = write!(
                out,
                "<text class=\"axis\" x=\"78\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                y + 8.0,
                moment(at)
            );
        }
        let cells = fold(map);
        let mut column = 0;
        for same in cells.chunk_by(|a, b| a == b) {
            let (x, width) = (LEFT + column as f64 * CELL, same.len() as f64 * CELL);
            let _ = write!(
                out,
                "<rect class=\"s-{}\" x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"8\"/>",
                same[0].name()
            );
            column += same.len();
        }
    }
    let pages = seen.last().map_or(0, |(_, map)| map.cells() * map.cell_pages);
    let _ = write!(
        out,
        "<text class=\"axis\" x=\"{LEFT}\" y=\"{:.1}\">page 0</text>",
        height - 4.0
    );
    let _ = write!(
        out,
        "<text class=\"axis\" x=\"790\" y=\"{:.1}\" text-anchor=\"end\">page {}</text>",
        height - 4.0,
        pages.saturating_sub(1)
    );
    Some(out + "</svg>")
}

/// The cells of a map as so many columns.
fn fold(map: &PageMap) -> Vec<PageState> {
    let cells: Vec<PageState> = map
        .stretches
        .iter()
        .flat_map(|stretch| std::iter::repeat_n(stretch.state, stretch.cells as usize))
        .collect();
    let part = |column: usize| {
        let begin = column * cells.len() / COLUMNS;
        let end = ((column + 1) * cells.len()).div_ceil(COLUMNS).max(begin + 1);
        let part = cells.get(begin..end.min(cells.len())).unwrap_or_default();
        let of = |state: &PageState| part.iter().filter(|other| *other == state).count();
        *PageState::ALL
            .iter()
            .max_by_key(|&state| of(state))
            .unwrap_or(&PageState::Absent)
    };
    if cells.is_empty() {
        Vec::new()
    } else {
        (0..COLUMNS).map(part).collect()
    }
}

/// How many copies changed each page: a bar for each of so many columns.
pub(crate) fn changed(counts: &[u32], clones: u32) -> String {
    let mut out = begin(
        120.0,
        "changed-title",
        "How many clones changed each part of their template",
    );
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    for column in 0..COLUMNS {
        let begin = column * counts.len() / COLUMNS;
        let end = ((column + 1) * counts.len())
            .div_ceil(COLUMNS)
            .clamp(begin, counts.len());
        let highest = counts[begin..end].iter().copied().max().unwrap_or(0);
        let height = 90.0 * f64::from(highest) / f64::from(most);
        let (x, y) = (LEFT + column as f64 * CELL, 100.0 - height);
        let _ = write!(
            out,
            "<rect class=\"bar\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{CELL:.1}\" height=\"{height:.1}\"/>"
        );
    }
    for (value, y) in [(most, 14.0), (0, 104.0)] {
        let _ = write!(
            out,
            "<text class=\"axis\" x=\"78\" y=\"{y}\" text-anchor=\"end\">{value}</text>"
        );
    }
    let _ = write!(out, "<text class=\"axis\" x=\"{LEFT}\" y=\"116\">page 0</text>");
    let _ = write!(
        out,
        "<text class=\"axis\" x=\"790\" y=\"116\" text-anchor=\"end\">of {} clones</text>",
        escaped(&clones.to_string())
    );
    out + "</svg>"
}
