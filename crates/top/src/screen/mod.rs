//! All of it drawn: [`draw`]. Each part has a file; none changes anything.
//!
//! ```text
//!  title                                  what, when, since when
//!  budget                                 one bar, its parts, how near it is
//!  rates                                  faults, evictions, refaults, stalls
//!  spaces                 | latencies     template, then its clones | by kind of step
//!                         | pages         of the chosen space, cell by cell
//!  keys
//! ```

mod budget;
mod help;
mod pages;
mod rates;
mod spaces;
mod style;

use crate::app::App;
use crate::source::Source;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use style::Paint;

/// The least screen on which all can be read.
pub(crate) const LEAST: (u16, u16) = (60, 16);

/// Draws the whole screen.
pub(crate) fn draw(frame: &mut Frame<'_>, app: &App, source: &dyn Source) {
    let area = frame.area();
    let paint = Paint(app.colours);
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!("{} by {} cells at the least", LEAST.0, LEAST.1);
        frame.render_widget(Line::raw(text), area);
        return;
    }
    let high = area.height >= 36;
    let [title, bar, rates, body, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(5),
        Constraint::Length(if high { 6 } else { 4 }),
        Constraint::Min(4),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_title(frame, title, app, source, paint);
    budget::draw(frame, bar, app, paint);
    rates::draw(frame, rates, app, paint);
    let right = (area.width * 2 / 5).clamp(28, 66);
    let [left, right] = Layout::horizontal([Constraint::Min(30), Constraint::Length(right)]).areas(body);
    spaces::draw(frame, left, app, paint);
    let kinds = app.window.schema.latencies.len() as u16;
    let [above, below] = Layout::vertical([Constraint::Length(kinds + 1), Constraint::Min(3)]).areas(right);
    rates::draw_latencies(frame, above, app, paint);
    pages::draw(frame, below, app, paint);
    draw_keys(frame, keys, app, source, paint);
    if app.help {
        help::draw(frame, area, paint);
    }
}

fn draw_title(frame: &mut Frame<'_>, area: Rect, app: &App, source: &dyn Source, paint: Paint) {
    let now = app.window.now.at_us;
    let seconds = |us: u64| format!("{}.{} s", us / 1_000_000, us / 100_000 % 10);
    let state = match (source.ending(), source.is_live(), app.going) {
        (Some(ending), ..) => ending,
        (None, true, true) => "live".to_owned(),
        (None, true, false) => "STOPPED".to_owned(),
        (None, false, true) => "playing".to_owned(),
        (None, false, false) => "record".to_owned(),
    };
    let last = source.at_us(source.len() - 1);
    let at = format!("{} of {}, {state}", seconds(now), seconds(last));
    let title = format!("memfold top  {}", source.title());
    let room = usize::from(area.width).saturating_sub(at.len() + 2);
    let title: String = title.chars().take(room).collect();
    let line = Line::from(vec![
        paint.strong(title.clone()),
        format!(
            "{:>1$}",
            at,
            usize::from(area.width).saturating_sub(title.chars().count())
        )
        .into(),
    ]);
    frame.render_widget(line, area);
}

fn draw_keys(frame: &mut Frame<'_>, area: Rect, app: &App, source: &dyn Source, paint: Paint) {
    let text = if app.typing {
        format!("filter: {}_   Enter keeps it, Esc clears it", app.filter)
    } else {
        let time = match (source.is_live(), app.going) {
            (_, true) => "space stop",
            (true, false) => "space go on",
            (false, false) => "space play",
        };
        format!("q quit  ? help  up/down choose  s sort  / filter  {time}  left/right time")
    };
    frame.render_widget(Line::from(paint.dim(text)), area);
}

#[cfg(test)]
mod tests;
