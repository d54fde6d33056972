//! The report of a campaign: Markdown, without a path of the machine.

use super::counts::Counts;
use super::{Done, Verdict};
use crate::{shell, table};
use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

/// What stands above the parts.
pub(crate) struct Head {
    lines: Vec<(&'static str, String)>,
}

impl Head {
    /// Asks the machine.
    pub(crate) fn read(seed: u64, jobs: u64, minutes: u64) -> Self {
        let changed = match output("git", &["status", "--porcelain", "--untracked-files=no"]).as_str() {
            "" => "",
            _ => ", with changes that are not committed",
        };
        let commit = output("git", &["rev-parse", "--short=12", "HEAD"]);
        let processor = proc_line("/proc/cpuinfo", "model name");
        let memory = proc_line("/proc/meminfo", "MemTotal");
        let kernel = output("uname", &["-sr"]);
        let rustc = output("rustc", &["--version"]);
        Head {
            lines: vec![
                ("date", output("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
                ("commit", commit + changed),
                (
                    "machine",
                    format!("{processor}, {} cores, {memory}, {kernel}", super::cores()),
                ),
                ("compiler", rustc),
                (
                    "asked for",
                    format!("{minutes} minutes, {jobs} cores, seeds from {seed}"),
                ),
            ],
        }
    }
}

fn output(program: &str, args: &[&str]) -> String {
    let mut command = shell::clean(Command::new(program));
    command.args(args);
    shell::read(command).unwrap_or_default().trim().to_owned()
}

/// What a file of `/proc` says after the first `name:`.
fn proc_line(file: &str, name: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text
        .lines()
        .find(|line| line.starts_with(name))
        .unwrap_or_default();
    line.split_once(':')
        .map_or("", |(_, value)| value)
        .trim()
        .to_owned()
}

/// One line a part, for the terminal.
pub(crate) fn table(done: &[Done]) -> String {
    let mut rows = vec![["part", "verdict", "time"].map(str::to_owned).to_vec()];
    for done in done {
        rows.push(vec![
            done.name.to_owned(),
            done.verdict.text(),
            table::time(done.time),
        ]);
    }
    table::render(&rows)
}

/// The whole report.
pub(crate) fn text(head: &Head, done: &[Done], time: Duration) -> String {
    let mut out = "# Campaign\n\n".to_owned();
    for (name, value) in &head.lines {
        let _ = writeln!(out, "* {name}: {value}");
    }
    let _ = writeln!(out, "* took: {}\n", table::time(time));
    out += "| part | verdict | time | counts |\n| --- | --- | --- | --- |\n";
    let mut total = Counts::default();
    for done in done {
        let counts = sums(&done.counts);
        let _ = writeln!(
            out,
            "| {} | {} | {} | {counts} |",
            done.name,
            word(&done.verdict),
            table::time(done.time)
        );
        total.join(done.counts.clone());
    }
    let _ = writeln!(out, "\nIn total: {}.", sums(&total));
    for done in done {
        out += &section(done);
    }
    // A report is to be shown to others.
    out.replace(&format!("{}/", shell::root().display()), "")
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::Cut => "cut",
        Verdict::Skipped(_) => "SKIPPED",
        Verdict::Failed(_) => "FAILED",
    }
}

fn sums(counts: &Counts) -> String {
    let sums = counts.sums.iter().filter(|&(_, &sum)| sum != 0);
    let texts = sums.map(|(name, sum)| format!("{} {}", grouped(*sum), name.replace('_', " ")));
    texts.collect::<Vec<_>>().join(", ")
}

/// A number with a comma between each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n != 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn section(done: &Done) -> String {
    let mut out = format!("\n## {}\n\n{}\n", done.name, done.verdict.text());
    if !done.commands.is_empty() {
        out += "\n```text\n";
        for command in &done.commands {
            out += command;
            out.push('\n');
        }
        out += "```\n";
    }
    if !done.counts.failures.is_empty() {
        out += "\nFailures, the first first; the whole log is in the part's folder beside the report:\n\n";
        for line in done.counts.failures.iter().chain(&done.counts.panics) {
            let _ = writeln!(out, "* `{line}`");
        }
        let _ = writeln!(out, "\nTo see it again: {}", super::parts::replay(done.name));
    }
    out
}

#[cfg(test)]
mod tests {
    //! Goal: the report has every part, sums what they counted, and hides no failure. Method: by
    //! example.
    use super::*;

    #[test]
    fn the_report_says_what_was_done_and_what_failed() {
        let part = |name, sum: u64, verdict: Verdict| {
            let mut counts = Counts::default();
            counts.add("schedules_run", sum);
            if let Verdict::Failed(why) = &verdict {
                counts.fail(why.clone());
            }
            Done {
                name,
                commands: vec!["cargo test".to_owned()],
                counts,
                verdict,
                time: Duration::from_secs(90),
            }
        };
        let head = Head {
            lines: vec![("commit", "abc".to_owned())],
        };
        let failed = Verdict::Failed("schedule 12".to_owned());
        let done = [part("loom", 1_000, Verdict::Cut), part("shuttle", 34_567, failed)];
        let text = text(&head, &done, Duration::from_secs(200));
        for line in [
            "* commit: abc",
            "| loom | cut | 1 min 30 s | 1,000 schedules run |",
            "| shuttle | FAILED | 1 min 30 s | 34,567 schedules run |",
            "In total: 35,567 schedules run.",
            "* `schedule 12`",
            "cargo test",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
