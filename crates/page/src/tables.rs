//! Numbers in tables: what is beside each picture, and what is shown as such. Pure.

use crate::history::History;
use crate::saved::{Saved, store};
use crate::text::{bytes, escaped, grouped, moment, time};
use memfold_record::{Made, PageState, RATES};
use std::cmp::Reverse;
use std::fmt::Write;

const PAGE: u64 = 4096;
/// Rows of the table of spaces; the rest is summed up.
const ROWS: usize = 500;
/// Rows of tables over time.
const MOMENTS: usize = 40;

/// A table with a caption; the first column is the rows' names.
pub(crate) fn table(caption: &str, heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let caption = escaped(caption);
    // What is wider than the screen is moved with the keys, too.
    let mut out = format!(
        "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\"><table><caption>{caption}</caption><thead><tr>"
    );
    for head in heads {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escaped(head));
    }
    out += "</tr></thead><tbody>";
    for row in rows {
        out += "<tr>";
        for (at, cell) in row.iter().enumerate() {
            let _ = match at {
                0 => write!(out, "<th scope=\"row\">{cell}</th>"),
                _ => write!(out, "<td>{cell}</td>"),
            };
        }
        out += "</tr>";
    }
    out + "</tbody></table></div>"
}

/// The same, shown when it is asked for.
pub(crate) fn folded(summary: &str, table: &str) -> String {
    format!(
        "<details><summary>{}</summary>{table}</details>",
        escaped(summary)
    )
}

/// The parts of the budget at the end, and their sum.
pub(crate) fn account(history: &History) -> String {
    let Some(last) = history.moments.last() else {
        return String::new();
    };
    let account = &last.account;
    let part = |part: &memfold_record::Part| vec![part.name.to_owned(), bytes(Some(part.bytes))];
    let mut rows: Vec<_> = account.parts.iter().map(part).collect();
    let whole = if account.limit.is_some() {
        "the budget"
    } else {
        "all that is held"
    };
    rows.push(vec![
        format!("<strong>{whole}</strong>"),
        bytes(Some(account.whole)),
    ]);
    rows.push(vec!["held, of that".to_owned(), bytes(account.held)]);
    rows.push(vec![
        "the most that was ever held".to_owned(),
        bytes(account.peak),
    ]);
    if account.on_top.is_some() {
        rows.push(vec!["page tables, on top".to_owned(), bytes(account.on_top)]);
    }
    table("The budget at the end, part by part", &["part", "bytes"], rows)
}

/// Evenly from the beginning to the end.
fn some<T>(all: &[T]) -> impl Iterator<Item = &T> {
    let rows = all.len().min(MOMENTS);
    (0..rows).map(move |row| {
        &all[if rows == 1 {
            0
        } else {
            row * (all.len() - 1) / (rows - 1)
        }]
    })
}

/// What was held over time.
pub(crate) fn held(history: &History) -> String {
    let parts = history
        .moments
        .last()
        .map_or(&[][..], |moment| &moment.account.parts);
    let heads: Vec<&str> = ["time"]
        .into_iter()
        .chain(parts.iter().map(|part| part.name))
        .collect();
    let rows = some(&history.moments).map(|at| {
        let of = |part: &memfold_record::Part| {
            let same = at.account.parts.iter().find(|other| other.series == part.series);
            bytes(same.map(|part| part.bytes))
        };
        [moment(at.at_us)]
            .into_iter()
            .chain(parts.iter().map(of))
            .collect()
    });
    table("What was held over time, in bytes", &heads, rows)
}

/// Events a second over time.
pub(crate) fn rates(history: &History) -> String {
    let heads: Vec<&str> = ["time"].into_iter().chain(RATES.map(|(name, _)| name)).collect();
    let all: Vec<_> = (0..RATES.len()).map(|of| history.rates(of)).collect();
    let places: Vec<usize> = (0..all[0].len()).collect();
    let rows = some(&places).map(|&at| {
        let rate = |rates: &Vec<(u64, Option<u64>)>| grouped(rates[at].1);
        [moment(all[0][at].0)]
            .into_iter()
            .chain(all.iter().map(rate))
            .collect()
    });
    table("Events a second over time", &heads, rows)
}

/// How long steps took.
pub(crate) fn latencies(history: &History) -> String {
    let row = |(kind, latency): (&str, &memfold_record::Latency)| {
        let of = |percent| time(latency.percentile_ns(percent));
        let mut row = vec![escaped(kind), grouped(Some(latency.total()))];
        row.extend([50.0, 90.0, 99.0, 99.9, 100.0].map(of));
        row
    };
    let each = history.schema.label("timed_of").unwrap_or("some").to_owned();
    let caption = format!("How long steps took; one of {each} is timed while somebody records");
    let heads = ["step", "timed", "p50", "p90", "p99", "p99.9", "longest"];
    table(&caption, &heads, history.latencies().map(row))
}

/// What the spaces would take without sharing, and why they do not.
pub(crate) fn saved(history: &History, saved: Saved) -> String {
    let rows = [
        (
            "what all spaces see: each page once for each of them",
            saved.stock,
        ),
        ("of these pages of a space alone, in memory", saved.own),
        ("shared with relatives, in memory", saved.shared),
        ("equal pages that became one", saved.merged),
        ("in the store", saved.stored),
        ("of files, or served by the kernel", saved.others),
    ];
    let rows = rows.map(|(name, of)| vec![name.to_owned(), bytes(Some(of))]);
    let store = store(&history.schema, &history.last).map(|(name, of)| vec![name.to_owned(), bytes(of)]);
    let held = history.moments.last().and_then(|moment| moment.account.held);
    let held = vec!["<strong>what is held</strong>".to_owned(), bytes(held)];
    table(
        "What the spaces would take if each had its own pages, and what is held",
        &["pages", "bytes"],
        rows.into_iter().chain(store).chain([held]),
    )
}

/// The spaces at the end, those first that hold most beside their templates.
pub(crate) fn spaces(history: &History) -> String {
    let mut rows: Vec<_> = history.last.spaces.iter().collect();
    rows.sort_by_key(|(birth, row)| (Reverse(row.holds()), **birth));
    let pages = |pages: Option<u32>| bytes(pages.map(|pages| u64::from(pages) * PAGE));
    let line = |(birth, row): &(&u64, &std::sync::Arc<memfold_record::Row>)| {
        let made = match row.made {
            Made::Created => "made of zeros",
            Made::Forked => "fork",
            Made::Frozen => "frozen copy",
        };
        let parent = row
            .parent
            .map_or_else(String::new, |parent| format!(" of #{parent}"));
        let state = if row.condemned {
            ", <strong>condemned</strong>"
        } else {
            ""
        };
        let shared = row
            .count(PageState::Shared)
            .zip(row.count(PageState::Exported))
            .map(|(a, b)| a + b);
        vec![
            format!("#{birth} {made}{parent}{state}"),
            pages(Some(row.len)),
            pages(row.holds()),
            pages(row.count(PageState::Compressed)),
            pages(row.count(PageState::Merged)),
            pages(shared),
        ]
    };
    let mut shown: Vec<_> = rows.iter().take(ROWS).map(line).collect();
    if let Some(rest) = rows.get(ROWS..).filter(|rest| !rest.is_empty()) {
        let own = rest
            .iter()
            .map(|(_, row)| u64::from(row.holds().unwrap_or(0)) * PAGE)
            .sum();
        let mut line = vec![format!("{} more", rest.len()), String::new(), bytes(Some(own))];
        line.resize(6, String::new());
        shown.push(line);
    }
    let heads = ["space", "length", "holds", "of it stored", "merged", "shared"];
    table(
        "Spaces at the end; holds: of a clone what it has beside its template",
        &heads,
        shown,
    )
}
