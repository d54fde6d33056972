//! What one run says about itself, what was seen from outside, and whether both are as promised.

use crate::table;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::time::Duration;

/// The fields of `memfold run --json` that are read here.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Report {
    /// Over all answers of all clones.
    pub(super) digest: serde_json::Value,
    /// Clones that answered every call.
    pub(super) completed: u32,
    /// The most that the budget counted; of stock instances, their memories.
    pub(super) peak_bytes: u64,
    /// The sizes of all memories, added up as if nothing were shared.
    #[serde(default)]
    pub(super) logical_bytes: u64,
    /// The time of one fork, in the middle of all of them.
    #[serde(default)]
    pub(super) fork_us: f64,
    /// With `--merge`.
    #[serde(default)]
    pub(super) merge: Option<Merged>,
}

/// The fields of `memfold peak --json` that are read here: the highest of each, seen from outside.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Peaks {
    /// Pool, windows and page tables, while the command stood still.
    pub(super) kernel_bytes: u64,
    /// Pool, and all anonymous memory of the process.
    pub(super) process_bytes: u64,
    /// How often it was stopped to be looked at.
    pub(super) stopped_samples: u64,
}

/// What merging did.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Merged {
    pub(super) first: Option<Round>,
    pub(super) background_cpu_percent: Option<f64>,
    pub(super) last: Option<Round>,
}

/// Pages in memory before and after a round over all clones, and calls that ended meanwhile.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Round {
    pub(super) pages_before: u64,
    pub(super) pages_after: u64,
    pub(super) calls_meanwhile: u64,
}

impl Round {
    /// What is left.
    pub(super) fn percent(&self) -> f64 {
        self.pages_after as f64 / self.pages_before.max(1) as f64 * 100.0
    }
}

/// A run, from inside and from outside.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) report: Report,
    pub(super) peaks: Peaks,
    pub(super) elapsed: Duration,
}

/// The three runs of one program.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) program: String,
    pub(super) clones: u32,
    pub(super) budget: u64,
    pub(super) unlimited: Run,
    pub(super) limited: Run,
    pub(super) stock: Run,
}

/// What the columns mean.
pub(super) const LEGEND: &str = "\
logical: the clones' memories if nothing were shared. inside: the most that memfold's own budget counted.
outside: pages of the images (pool and windows) and page tables, counted by the kernel, read by another process.
process: all memory of the process, Wasm runtime and compressed store included, counted the same way.
Each program: every clone answered, the answers are those of stock Wasmtime, and inside <= budget, outside <= budget.";

/// Reads the report: the whole output, or its last line that is an object.
pub(super) fn parse(output: &str) -> Result<Report> {
    let object = output
        .lines()
        .rev()
        .find(|line| line.starts_with('{'))
        .unwrap_or(output);
    serde_json::from_str(output)
        .or_else(|_| serde_json::from_str(object))
        .context("its output is not the expected JSON")
}

impl Row {
    /// Every promise that was not kept.
    pub(super) fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for (name, run) in [
            ("unlimited", &self.unlimited),
            ("budget", &self.limited),
            ("stock", &self.stock),
        ] {
            if run.report.completed != self.clones {
                failures.push(format!(
                    "{name}: {} of {} clones completed",
                    run.report.completed, self.clones
                ));
            }
            if run.report.digest != self.stock.report.digest {
                failures.push(format!("{name}: other answers than stock Wasmtime"));
            }
        }
        let seen = [
            ("inside", self.limited.report.peak_bytes),
            ("outside", self.limited.peaks.kernel_bytes),
        ];
        for (name, peak) in seen {
            if peak > self.budget {
                failures.push(format!("{name} {} over budget", table::bytes(peak - self.budget)));
            }
        }
        if self.limited.peaks.stopped_samples == 0 {
            failures.push("outside: no sample".to_owned());
        }
        failures
    }

    fn cells(&self) -> Vec<String> {
        let failures = self.failures();
        let verdict = if failures.is_empty() {
            "PASS".to_owned()
        } else {
            format!("FAIL: {}", failures.join("; "))
        };
        let limited = &self.limited;
        vec![
            self.program.clone(),
            self.clones.to_string(),
            table::bytes(limited.report.logical_bytes),
            table::bytes(self.unlimited.report.peak_bytes),
            table::bytes(self.budget),
            table::bytes(limited.report.peak_bytes),
            table::bytes(limited.peaks.kernel_bytes),
            table::bytes(limited.peaks.process_bytes),
            format!("{:.0} us", limited.report.fork_us),
            format!(
                "{:.1} / {:.1}",
                self.unlimited.elapsed.as_secs_f64(),
                limited.elapsed.as_secs_f64()
            ),
            verdict,
        ]
    }
}

/// The table of all programs.
pub(super) fn table(rows: &[Row]) -> String {
    let heading = [
        "program",
        "clones",
        "logical",
        "unlimited peak",
        "budget",
        "inside",
        "outside",
        "process",
        "fork",
        "s free / budget",
        "verdict",
    ];
    let mut lines = vec![heading.map(str::to_owned).to_vec()];
    lines.extend(rows.iter().map(Row::cells));
    table::render(&lines)
}

#[cfg(test)]
mod tests {
    //! Goal: a promise that is broken is reported. Method: break each in turn.
    use super::*;

    fn run(peak_bytes: u64) -> Run {
        let report = format!(
            "noise\n{{\"digest\":\"ab\",\"completed\":9,\"peak_bytes\":{peak_bytes},\"fork_us\":5}}\n"
        );
        let peaks = Peaks {
            kernel_bytes: peak_bytes,
            stopped_samples: 1,
            ..Peaks::default()
        };
        Run {
            report: parse(&report).unwrap(),
            peaks,
            elapsed: Duration::from_secs(1),
        }
    }

    fn row() -> Row {
        let (unlimited, limited, stock) = (run(400), run(100), run(900));
        Row {
            program: "lua".to_owned(),
            clones: 9,
            budget: 100,
            unlimited,
            limited,
            stock,
        }
    }

    #[test]
    fn a_row_that_keeps_its_promises_passes() {
        assert!(row().failures().is_empty());
        assert!(table(&[row()]).contains("PASS"));
    }

    #[test]
    fn each_broken_promise_is_named() {
        let breaks: [fn(&mut Row); 5] = [
            |row| row.limited.report.completed = 8,
            |row| row.limited.report.digest = "x".into(),
            |row| row.limited.report.peak_bytes = 101,
            |row| row.limited.peaks.kernel_bytes = 101,
            |row| row.limited.peaks.stopped_samples = 0,
        ];
        for (number, breaks) in breaks.iter().enumerate() {
            let mut row = row();
            breaks(&mut row);
            assert_eq!(row.failures().len(), 1, "{number}");
            assert!(table(&[row]).contains("FAIL"), "{number}");
        }
    }
}
