//! What the keys do, and what the words mean.

use super::style::Paint;
use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Clear, Paragraph};

const TEXT: &str = "\
up down k j      choose a space; its pages are shown    PgUp PgDn g G
s  r             sort by the next column; turn it around
/                filter: words that rows have, as `fork`, `of #3`, `condemned`
space            stop and go on; play a record
left right [ ]   one sample, fifty samples back and forth    Home End
b                parts of the budget in bytes
q                quit

holds   what is held for a space, in memory or in the store:
        of a clone what it has beside its template
stored  those of them that are in the compressed store
stalls  times that a thread had to make room itself before it went on
?       not known: the record does not say it, or nobody has looked yet

Any key closes this.";

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, paint: Paint) {
    let lines: Vec<Line<'_>> = TEXT.lines().map(Line::raw).collect();
    let (width, height) = (76, lines.len() as u16 + 2);
    let area = area.centered(Constraint::Max(width), Constraint::Max(height));
    frame.render_widget(Clear, area);
    let title = paint.strong(" memfold top ".to_owned());
    let block = Block::bordered().title(title);
    frame.render_widget(Paragraph::new(Text::from(lines)).block(block), area);
}
