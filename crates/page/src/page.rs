//! All of a page, in order: [`render`]. Pure.

use crate::history::History;
use crate::saved::{Saved, changed};
use crate::text::{bytes, escaped, grouped, moment};
use crate::{chart, pages, tables};
use memfold_record::{Account, PageState, RATES, RecordError, Recording};

/// A record as one page of HTML, which needs nothing else: some hundred kilobytes.
///
/// # Errors
/// [`RecordError::Damaged`] when a sample cannot be read that the record has.
pub fn render(recording: &Recording) -> Result<String, RecordError> {
    let history = History::read(recording)?;
    let program = history.schema.label("program").unwrap_or("a process");
    let title = format!("What {program} held");
    let body = [
        head(&history, &title),
        held(&history),
        savings(&history),
        happened(&history),
        latencies(&history),
        map(&history),
        clones(&history),
    ];
    let css = include_str!("page.css");
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <link rel=\"icon\" href=\"data:,\"><title>{}</title><style>{css}</style></head>\n<body><main>{}</main></body></html>\n",
        escaped(&title),
        body.concat()
    ))
}

fn section(title: &str, body: &str) -> String {
    format!("\n<section><h2>{}</h2>{body}</section>", escaped(title))
}

/// Who, and how near the budget was, in words.
fn head(history: &History, title: &str) -> String {
    let account = Account::of(&history.schema, &history.last);
    let share = |part: Option<u64>| match (part, account.limit) {
        (Some(part), Some(limit)) if limit > 0 => {
            format!(" ({} %)", u128::from(part) * 100 / u128::from(limit))
        }
        _ => String::new(),
    };
    let budget = match account.limit {
        Some(_) => format!(" of a budget of {}", bytes(account.limit)),
        None => "; there was no budget".to_owned(),
    };
    let mut out = format!(
        "<header><h1>{}</h1><p>At the end {}{} were held{budget}; at most it was {}{}.",
        escaped(title),
        bytes(account.held),
        share(account.held),
        bytes(account.peak),
        share(account.peak),
    );
    let count = |of: usize| history.last.value(&history.schema, RATES[of].1);
    let pressure = match (count(3), count(1)) {
        (Some(stalls), _) if stalls > 0 => {
            format!(
                " Threads had to make room themselves {} times.",
                grouped(Some(stalls))
            )
        }
        (Some(_), Some(evictions)) if evictions > 0 => {
            " Pages went to the store, and no thread waited for room.".to_owned()
        }
        (Some(_), Some(_)) => " Nothing had to go to the store.".to_owned(),
        _ => String::new(),
    };
    out += &pressure;
    out += "</p>";
    let condemned = history.last.spaces.values().filter(|row| row.condemned).count();
    if condemned > 0 {
        out += &format!(
            "<p class=\"alarm\">{condemned} of the spaces are condemned: a fault of theirs has failed.</p>"
        );
    }
    let mut facts: Vec<String> = Vec::new();
    for (name, value) in &history.schema.labels {
        facts.push(format!("{} {}", escaped(name), escaped(value)));
    }
    facts.push(format!("{} long", moment(history.end_us())));
    facts.extend(history.ending.as_deref().map(escaped));
    out + &format!("<p class=\"dim\">{}</p></header>", facts.join(" \u{b7} "))
}

fn held(history: &History) -> String {
    let parts = history
        .moments
        .last()
        .map_or(&[][..], |moment| &moment.account.parts);
    let held = parts.iter().filter(|part| part.series.starts_with("held."));
    let key: String = held
        .map(|part| key(&chart::class(part.series), part.name))
        .collect();
    let body = [
        chart::held(history),
        format!("<ul class=\"key\">{key}</ul>"),
        tables::account(history),
        tables::folded("The same over time, as a table", &tables::held(history)),
    ];
    section("What was held over time", &body.concat())
}

fn key(class: &str, name: &str) -> String {
    format!(
        "<li><i class=\"k-{class}\" aria-hidden=\"true\"></i>{}</li>",
        escaped(name)
    )
}

fn savings(history: &History) -> String {
    let saved = Saved::of(&history.last, &history.ended);
    let mut body = tables::saved(history, saved);
    if saved.unknown > 0 {
        body += &format!(
            "<p class=\"dim\">Nobody had looked at the pages of {} spaces; they are not counted here.</p>",
            saved.unknown
        );
    }
    section("Where the savings came from", &body)
}

fn happened(history: &History) -> String {
    let mut body = "<div class=\"small\">".to_owned();
    for (of, (name, _)) in RATES.into_iter().enumerate() {
        body += &format!("<div><h3>{name} a second</h3>{}</div>", chart::rates(history, of));
    }
    body += "</div>";
    body += &tables::folded("The same as a table", &tables::rates(history));
    section("What happened", &body)
}

fn latencies(history: &History) -> String {
    section("How long faults took", &tables::latencies(history))
}

fn map(history: &History) -> String {
    let (Some(shown), Some(picture)) = (history.shown, pages::over_time(history)) else {
        return String::new();
    };
    let row = history
        .last
        .spaces
        .get(&shown)
        .or_else(|| history.ended.get(&shown));
    let counts = row.and_then(|row| row.pages).unwrap_or_default();
    let states = || {
        PageState::ALL
            .into_iter()
            .zip(counts)
            .filter(|(_, count)| *count > 0)
    };
    let key: String = states()
        .map(|(state, _)| key(state.name(), state.name()))
        .collect();
    let rows = states().map(|(state, count)| vec![state.name().to_owned(), grouped(Some(count.into()))]);
    let table = tables::table("Its pages, when it was last seen", &["state", "pages"], rows);
    let body = [
        format!(
            "<p>Space #{shown}, which has the most clones at the end{}.</p>",
            if history.last.spaces.contains_key(&shown) {
                ""
            } else {
                "; it has ended before them"
            }
        ),
        picture,
        format!("<ul class=\"key\">{key}</ul>"),
        tables::folded("The same as a table", &table),
    ];
    section("The pages of the template", &body.concat())
}

fn clones(history: &History) -> String {
    let mut body = String::new();
    if let Some(shown) = history.shown {
        let (counts, clones) = changed(&history.last, shown);
        if clones > 0 && !counts.is_empty() {
            let touched = counts.iter().filter(|&&count| count > 0).count();
            body += &format!(
                "<p>Of {} cells of the template {touched} were changed by some clone.</p>",
                counts.len()
            );
            body += &pages::changed(&counts, clones);
            body += &tables::folded("The same as a table", &most_changed(&counts));
        }
    }
    body += &tables::spaces(history);
    section("Clones, and what they changed", &body)
}

/// The cells that most clones changed.
fn most_changed(counts: &[u32]) -> String {
    let mut order: Vec<usize> = (0..counts.len()).filter(|&at| counts[at] > 0).collect();
    order.sort_by_key(|&at| (std::cmp::Reverse(counts[at]), at));
    let row = |&at: &usize| vec![format!("cell {at}"), grouped(Some(counts[at].into()))];
    let rows: Vec<_> = order.iter().take(40).map(row).collect();
    tables::table("Those that most clones changed", &["cell", "clones"], rows)
}
