//! Spaces, row by row: a template, then its clones, each with what it has beside it.

use super::style::Paint;
use crate::app::App;
use crate::rows::SpaceLine;
use memfold_record::{PageState, Row};
use memfold_size::show;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

const PAGE: u64 = 4096;

/// A column: its name, and what stands in it.
type Column = (&'static str, fn(&SpaceLine) -> String);

/// From the left; as many as there is room for.
const COLUMNS: [Column; 7] = [
    ("holds", |line| known(line, |row| bytes(row.holds()))),
    ("stored", |line| count(line, &[PageState::Compressed])),
    ("length", |line| known(line, |row| bytes(Some(row.len)))),
    ("clones", |line| match line.clones {
        0 => String::new(),
        clones => memfold_size::grouped(clones.into()),
    }),
    ("they hold", |line| match line.clones {
        0 => String::new(),
        _ => show(line.clones_hold * PAGE),
    }),
    ("shared", |line| {
        count(line, &[PageState::Shared, PageState::Exported])
    }),
    ("merged", |line| count(line, &[PageState::Merged])),
];
const WIDTH: usize = 10;
const NAME: usize = 16;

fn bytes(pages: Option<u32>) -> String {
    pages.map_or_else(|| "?".to_owned(), |pages| show(u64::from(pages) * PAGE))
}

fn count(line: &SpaceLine, states: &[PageState]) -> String {
    known(line, |row| {
        bytes(states.iter().map(|&state| row.count(state)).sum())
    })
}

/// Nothing of what has ended.
fn known(line: &SpaceLine, of: impl Fn(&Row) -> String) -> String {
    line.row.as_deref().map_or_else(String::new, of)
}

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, paint: Paint) {
    let columns = (usize::from(area.width).saturating_sub(NAME + 1) / WIDTH).min(COLUMNS.len());
    let columns = &COLUMNS[..columns];
    let mut rows = area.rows();
    if let Some(row) = rows.next() {
        let name = format!(
            "{} by {}{}",
            app.lines.len(),
            app.sort.name(),
            if app.turned { ", least" } else { "" }
        );
        let mut head = format!("{:NAME$}", cut(&name, NAME));
        columns
            .iter()
            .for_each(|(name, _)| head += &format!("{name:>WIDTH$}"));
        frame.render_widget(Line::from(paint.strong(head)), row);
    }
    let room = usize::from(area.height.saturating_sub(1));
    let (at, last) = (app.at(), app.lines.len().saturating_sub(room));
    // The chosen one in the middle, where there are rows on both sides.
    let first = at.saturating_sub(room / 2).min(last);
    for (line, row) in app.lines.iter().skip(first).zip(rows) {
        let mark = if line.is_condemned() { "!" } else { " " };
        let indent = " ".repeat(line.depth.min(6));
        let mut text = format!("{:NAME$}", cut(&format!("{mark}{indent}{}", line.name()), NAME));
        columns
            .iter()
            .for_each(|(_, of)| text += &format!("{:>WIDTH$}", of(line)));
        let span = match line.is_condemned() {
            true => paint.alarm(text),
            false => text.into(),
        };
        let mut shown = Line::from(span);
        if Some(line.birth) == app.chosen {
            shown = shown.style(paint.chosen());
        }
        frame.render_widget(shown, row);
    }
}

fn cut(text: &str, width: usize) -> String {
    text.chars().take(width).collect()
}
