//! What happens: events a second as sparklines, and how long steps take.

use super::style::Paint;
use crate::app::App;
use memfold_record::RATES;
use memfold_size::grouped;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Color;
use ratatui::text::Line;
use ratatui::widgets::Sparkline;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, paint: Paint) {
    let columns = Layout::horizontal([Constraint::Fill(1); RATES.len()])
        .spacing(1)
        .split(area);
    for (of, ((name, _), column)) in RATES.into_iter().zip(columns.iter()).enumerate() {
        let rates = app.window.rates(of);
        let now = rates.last().copied().flatten();
        let now = now.map_or_else(|| "?".to_owned(), grouped);
        let [above, below] = Layout::vertical([Constraint::Length(1), Constraint::Min(1)]).areas(*column);
        frame.render_widget(
            Line::from(vec![paint.strong(name.to_owned()), format!(" {now}/s").into()]),
            above,
        );
        let shown = rates.len().min(below.width.into());
        let newest = &rates[rates.len() - shown..];
        // From the right: the newest one stands at the edge, however few there are.
        let missing = usize::from(below.width) - shown;
        let data = std::iter::repeat_n(0, missing).chain(newest.iter().map(|rate| rate.unwrap_or(0)));
        let sparkline = Sparkline::default().data(data.collect::<Vec<u64>>());
        frame.render_widget(sparkline.style(paint.colour(Color::Cyan)), below);
    }
}

pub(super) fn draw_latencies(frame: &mut Frame<'_>, area: Rect, app: &App, paint: Paint) {
    let mut rows = area.rows();
    let mut put = |line: Line<'_>| {
        if let Some(row) = rows.next() {
            frame.render_widget(line, row);
        }
    };
    put(Line::from(paint.strong(format!(
        "{:7}{:>8}{:>8}{:>8}",
        "last 10s", "p50", "p99", "p99.9"
    ))));
    for (kind, latency) in app.window.latencies() {
        let of = |percent| {
            latency
                .percentile_ns(percent)
                .map_or_else(|| "-".to_owned(), time)
        };
        let kind: String = kind.chars().take(7).collect();
        put(Line::raw(format!(
            "{kind:8}{:>8}{:>8}{:>8}",
            of(50.0),
            of(99.0),
            of(99.9)
        )));
    }
}

/// A duration for people.
fn time(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..100_000 => format!("{}.{} us", ns / 1000, ns / 100 % 10),
        100_000..10_000_000 => format!("{} us", ns / 1000),
        10_000_000..10_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ => format!("{} s", ns / 1_000_000_000),
    }
}
