//! A [`Report`] as text for people: the outcome, a chart of what is held against the budget, then
//! the details.

use super::chart::bar;
use super::held::{Faults, Held};
use super::{Merged, Report, Round, Times};
use memfold_size::{grouped, show};
use std::fmt::Write;

/// The whole text, with a line break at its end.
pub(super) fn render(report: &Report) -> String {
    let mut text = outcome(report);
    text.push('\n');
    match &report.held {
        Some(held) => text.push_str(&chart(report, held)),
        None => text.push_str(&stock(report)),
    }
    text.push('\n');
    for (name, value) in details(report) {
        line(&mut text, &format!("  {name:<11} {value}"));
    }
    for area in &report.areas {
        let (file, stores) = (&area.file, area.stores);
        let place = format!("{:#x}..{:#x} {file} ({stores})", area.start, area.end);
        line(&mut text, &format!("  {:<11} {place}", "mapped"));
    }
    for failed in &report.failures {
        line(&mut text, &format!("  failed      {failed}"));
    }
    let more = usize::try_from(report.failed)
        .unwrap_or(usize::MAX)
        .saturating_sub(report.failures.len());
    if more > 0 {
        line(
            &mut text,
            &format!("  failed      and {}", plural(more as u64, "more clone")),
        );
    }
    text
}

/// What was done and whether it worked: one line.
fn outcome(report: &Report) -> String {
    let how = match report.mode {
        "fork" => "of one warm instance",
        "independent" => "each warmed up by itself",
        _ => "each warmed up by itself, on plain Wasmtime",
    };
    let clones = plural(report.clones.into(), "clone");
    let ended = match (report.interrupted, report.failed) {
        (true, _) => "INTERRUPTED; so far ",
        (false, 0) => "",
        (false, _) => "FAILED; ",
    };
    let answered = match (report.completed == report.clones, report.calls_answered) {
        (true, 0) => "all are there".to_owned(),
        (true, calls) => format!("all done, {} answered", plural(calls, "call")),
        (false, calls) => format!(
            "{} of {} done, {} failed, {} answered",
            report.completed,
            report.clones,
            report.failed,
            plural(calls, "call")
        ),
    };
    format!("{}: {clones} {how}: {ended}{answered}\n", report.program)
}

/// What is held, by kind, drawn against the budget, or against the peak without one.
fn chart(report: &Report, held: &Held) -> String {
    let whole = report.budget_bytes.unwrap_or(report.peak_bytes);
    let mut text = String::new();
    let mut row = |name: &str, bytes: u64, note: &str| {
        let bar = bar(bytes, whole);
        let row = format!("  {name:<11} {bar} {:>10}  {note}", show(bytes));
        line(&mut text, &row);
    };
    let share = |bytes: u64| percent(bytes, whole);
    row("shared", held.shared_bytes, "by several clones, in memory");
    if held.file_reads > 0 {
        let dirty = match held.file_dirty_bytes {
            0 => "clean".to_owned(),
            bytes => format!("{} not written yet", show(bytes)),
        };
        let (read, dropped) = (plural(held.file_reads, "page"), grouped(held.file_evictions));
        let note = format!("of the shared, {dirty}; {read} read, {dropped} dropped");
        row("of files", held.file_bytes, &note);
    }
    row("private", held.private_bytes, "of one clone, in memory");
    row("compressed", held.compressed_bytes, &stored(held));
    row("tables", held.table_bytes, "");
    row("page tables", held.page_table_bytes, "the kernel's, at the most");
    match report.budget_bytes {
        Some(budget) => {
            row(
                "held now",
                held.held_bytes,
                &format!("{} of the budget", share(held.held_bytes)),
            );
            row(
                "peak",
                report.peak_bytes,
                &format!("{} of the budget", share(report.peak_bytes)),
            );
            row("budget", budget, "");
        }
        None => {
            row("held now", held.held_bytes, "");
            row("peak", report.peak_bytes, "no budget");
        }
    }
    let mut logical = show(report.logical_bytes);
    if held.held_bytes < report.logical_bytes {
        let saved = percent(held.held_bytes, report.logical_bytes);
        logical += &format!(", of which {saved} are held");
    }
    line(&mut text, &format!("  {:<11} {logical}", "logical"));
    text
}

fn stored(held: &Held) -> String {
    if held.stored_bytes == 0 {
        return String::new();
    }
    let zero = match held.zero_bytes {
        0 => String::new(),
        bytes => format!(", {} of that zeros", show(bytes)),
    };
    format!("were {}{zero}", show(held.stored_bytes))
}

fn stock(report: &Report) -> String {
    let mut text = String::new();
    let peak = show(report.peak_bytes);
    line(
        &mut text,
        &format!("  {:<11} {}", "logical", show(report.logical_bytes)),
    );
    line(
        &mut text,
        &format!(
            "  {:<11} {peak}, by which the process's anonymous memory grew",
            "peak"
        ),
    );
    text
}

/// Names and values, in the order in which they are printed.
fn details(report: &Report) -> Vec<(&'static str, String)> {
    let mut details = Vec::new();
    if let Some(bytes) = report.bytes_per_clone {
        let fit = report.would_fit.map_or_else(String::new, |clones| {
            let place = match report.budget_bytes {
                Some(_) => "the budget",
                None => "this machine's memory",
            };
            format!("; {} like these would fit into {place}", plural(clones, "clone"))
        });
        details.push(("density", format!("{} per clone{fit}", show(bytes))));
    }
    details.extend(starts(&report.times));
    if let Some(held) = &report.held {
        details.push(("faults", faults(&held.faults)));
        let reclaim = format!(
            "{} ({} came back too soon)",
            plural(held.evictions, "page"),
            grouped(held.refaults)
        );
        details.push(("evicted", reclaim));
    }
    if let Some(merged) = &report.merge {
        let lines = merged_lines(merged).into_iter();
        details.extend(["merged"].into_iter().chain(std::iter::repeat("")).zip(lines));
    }
    let phases = report.phase_seconds;
    details.push((
        "time",
        format!(
            "{:.2} s: compile {:.2}, warm up {:.2}, fork {:.2}, calls {:.2}",
            report.seconds, phases.compile, phases.warm, phases.fork, phases.calls
        ),
    ));
    details.push(("digest", report.digest.clone()));
    details
}

fn starts(times: &Times) -> Option<(&'static str, String)> {
    if let (Some(p50), Some(p99)) = (times.fork_us_p50, times.fork_us_p99) {
        let bare = times
            .space_fork_us_p50
            .map_or_else(String::new, |us| format!("; the memory alone {}", duration(us)));
        let text = format!("{} median, {} at 99 %{bare}", duration(p50), duration(p99));
        return Some(("fork", text));
    }
    let (p50, p99) = (times.start_us_p50?, times.start_us_p99?);
    let text = format!(
        "{} median, {} at 99 %, warm-up included",
        duration(p50),
        duration(p99)
    );
    Some(("start", text))
}

/// At least one line.
fn merged_lines(merged: &Merged) -> Vec<String> {
    let mut lines: Vec<String> = merged
        .refused
        .iter()
        .map(|why| format!("not all: {why}"))
        .collect();
    if let Some(first) = &merged.first {
        let calls = match first.calls_meanwhile {
            0 => String::new(),
            calls => format!(", beside {}", plural(calls, "call")),
        };
        lines.push(round(first) + &calls);
    }
    if let Some(cpu) = merged.background_cpu_percent {
        let pages = plural(merged.background_pages, "page");
        lines.push(format!(
            "then {pages} in the background, with {cpu:.1} % of a core"
        ));
    }
    lines.extend(
        merged
            .last
            .as_ref()
            .map(|last| format!("at last {}", round(last))),
    );
    let shared = plural(merged.shared_pages, "page");
    lines.push(format!(
        "{shared} in memory are shared now, which saves {}",
        grouped(merged.saved_pages)
    ));
    lines.extend(skipped(merged));
    lines
}

fn skipped(merged: &Merged) -> Option<String> {
    let why = merged.skipped;
    let counts = [
        (why.busy + why.held, "in use"),
        (why.pinned, "pinned"),
        (why.resting, "new or changing"),
        (why.different + why.changed, "different"),
        (why.refused, "refused"),
    ];
    let counts = counts.into_iter().filter(|&(count, _)| count != 0);
    let parts: Vec<String> = counts
        .map(|(count, why)| format!("{} {why}", grouped(count)))
        .collect();
    let looked = plural(merged.scanned_pages, "page");
    (!parts.is_empty()).then(|| format!("of {looked} looked at, left alone: {}", parts.join(", ")))
}

fn round(round: &Round) -> String {
    format!(
        "{} in memory -> {} ({}): {} equal, {} of zeros, in {:.2} s",
        plural(round.pages_before, "page"),
        grouped(round.pages_after),
        percent(round.pages_after, round.pages_before),
        grouped(round.merged_pages),
        grouped(round.zero_pages),
        round.seconds,
    )
}

fn duration(us: f64) -> String {
    if us < 1000.0 {
        format!("{us:.1} us")
    } else {
        format!("{:.1} ms", us / 1000.0)
    }
}

/// The kinds that occurred.
fn faults(faults: &Faults) -> String {
    let kinds = [
        ("new", faults.new_pages),
        ("zeros shown", faults.zero_shown),
        ("shared shown", faults.shown),
        ("copied", faults.copied),
        ("copied on read", faults.copied_on_read),
        ("taken over", faults.reused),
        ("seen in use", faults.unprotected),
        ("brought back", faults.swapped_in),
        ("brought back for all", faults.swapped_in_shared),
    ];
    let mut text = grouped(faults.total);
    let mut before = ": ";
    for (name, count) in kinds.into_iter().filter(|&(_, count)| count > 0) {
        // Writing to a text cannot fail.
        let _ = write!(text, "{before}{} {name}", grouped(count));
        before = ", ";
    }
    text
}

fn line(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

fn percent(part: u64, whole: u64) -> String {
    let percent = part as f64 * 100.0 / whole.max(1) as f64;
    match percent {
        percent if percent >= 99.95 => format!("{percent:.0} %"),
        percent if percent >= 1.0 => format!("{percent:.1} %"),
        percent => format!("{percent:.2} %"),
    }
}

fn plural(count: u64, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", grouped(count))
}
