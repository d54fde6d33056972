//! Pictures over time, as SVG. Pure.

use crate::history::History;
use crate::text::{escaped, moment};
use memfold_record::RATES;
use memfold_size::show;
use std::fmt::Write;

const WIDTH: f64 = 800.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 790.0;

/// Where times and values stand in a picture.
struct Scale {
    end_us: u64,
    most: u64,
    top: f64,
    bottom: f64,
}

impl Scale {
    fn x(&self, at_us: u64) -> f64 {
        LEFT + (RIGHT - LEFT) * at_us as f64 / self.end_us.max(1) as f64
    }

    fn y(&self, value: u64) -> f64 {
        self.bottom - (self.bottom - self.top) * value as f64 / self.most.max(1) as f64
    }

    fn axes(&self, out: &mut String, label: impl Fn(u64) -> String) {
        for quarter in 0..=4 {
            let value = (u128::from(self.most) * quarter / 4) as u64;
            let y = self.y(value);
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\"/>\
                 <text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                y + 4.0,
                label(value)
            );
        }
        for quarter in 0..=4u64 {
            let at = self.end_us / 4 * quarter;
            let anchor = ["start", "middle", "middle", "middle", "end"][quarter as usize];
            let (x, y) = (self.x(at), self.bottom + 16.0);
            let _ = write!(
                out,
                "<text class=\"axis\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
                moment(at)
            );
        }
    }
}

/// What was held over time, part by part, against the budget.
pub(crate) fn held(history: &History) -> String {
    let most = |moment: &crate::history::Moment| moment.account.limit.or(moment.account.held).unwrap_or(0);
    let scale = Scale {
        end_us: history.end_us(),
        most: history.moments.iter().map(most).max().unwrap_or(0),
        top: 34.0,
        bottom: 280.0,
    };
    let mut out = begin(
        310.0,
        "held-title",
        "What was held over time, by part; the numbers are in the table below",
    );
    scale.axes(&mut out, show);
    put_parts(&mut out, history, &scale);
    if let Some(limit) = history.moments.last().and_then(|moment| moment.account.limit) {
        let y = scale.y(limit);
        let _ = write!(
            out,
            "<line class=\"limit\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\"/>"
        );
    }
    put_marks(&mut out, history, &scale);
    out + "</svg>"
}

/// The parts of what is held, one upon the other.
fn put_parts(out: &mut String, history: &History, scale: &Scale) {
    let parts = history
        .moments
        .last()
        .map_or(&[][..], |moment| &moment.account.parts);
    let held = parts.iter().filter(|part| part.series.starts_with("held."));
    let mut below = vec![0u64; history.moments.len()];
    for part in held {
        let above: Vec<u64> = history
            .moments
            .iter()
            .zip(&below)
            .map(|(moment, below)| {
                let same = moment
                    .account
                    .parts
                    .iter()
                    .find(|other| other.series == part.series);
                below.saturating_add(same.map_or(0, |part| part.bytes))
            })
            .collect();
        let edge = |values: &[u64]| -> Vec<String> {
            let points = history.moments.iter().zip(values);
            points
                .map(|(moment, &value)| format!("{:.1},{:.1}", scale.x(moment.at_us), scale.y(value)))
                .collect()
        };
        let (upper, mut lower) = (edge(&above), edge(&below));
        lower.reverse();
        let _ = write!(
            out,
            "<polygon class=\"p-{}\" points=\"{} {}\"><title>{}</title></polygon>",
            class(part.series),
            upper.join(" "),
            lower.join(" "),
            part.name
        );
        below = above;
    }
}

/// Phases, as the program named them.
fn put_marks(out: &mut String, history: &History, scale: &Scale) {
    let mut free = 0.0;
    for (at, mark) in history.marks.iter().take(40) {
        let x = scale.x(*at);
        let _ = write!(
            out,
            "<line class=\"mark\" x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\"/>",
            scale.top - 6.0,
            scale.bottom
        );
        let mark: String = mark.chars().take(20).collect();
        if x >= free && x < RIGHT - 40.0 {
            let _ = write!(
                out,
                "<text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                x + 3.0,
                scale.top - 12.0,
                escaped(&mark)
            );
            free = x + 8.0 + 7.0 * mark.chars().count() as f64;
        }
    }
}

/// Events a second, one picture for each kind.
pub(crate) fn rates(history: &History, of: usize) -> String {
    let rates = history.rates(of);
    let scale = Scale {
        end_us: history.end_us(),
        most: rates.iter().filter_map(|(_, rate)| *rate).max().unwrap_or(0),
        top: 10.0,
        bottom: 90.0,
    };
    let (name, _) = RATES[of];
    let mut out = begin(
        112.0,
        &format!("rate-{of}"),
        &format!("{name} a second over time; the numbers are in the table below"),
    );
    scale.axes(&mut out, |value| value.to_string());
    let mut points = String::new();
    for (at, rate) in &rates {
        if let Some(rate) = rate {
            let _ = write!(points, "{:.1},{:.1} ", scale.x(*at), scale.y(*rate));
        }
    }
    let _ = write!(out, "<polyline class=\"rate\" points=\"{points}\"/>");
    out + "</svg>"
}

/// The beginning of a picture, with its name for those who do not see it.
pub(crate) fn begin(height: f64, id: &str, title: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"{id}\"><title id=\"{id}\">{}</title>",
        escaped(title)
    )
}

/// A name in style sheets.
pub(crate) fn class(series: &str) -> String {
    series.rsplit('.').next().unwrap_or(series).replace('_', "-")
}
