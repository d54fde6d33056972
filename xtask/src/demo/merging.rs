//! `cargo xtask demo --merge`: instances that were warmed up one by one come together again.
//!
//! For each program three runs of the same calls: independent instances as they are, the same with
//! `--merge`, and stock Wasmtime for the digest that is right. The round of merging begins with the
//! first call, so calls go on beside it; pages in memory when it ends are to be at most
//! [`most_percent`] of those when it began.

use super::Stage;
use super::report::{Report, Round};
use crate::table;
use anyhow::{Context, Result, ensure};

/// Copies of each program, when nobody says otherwise.
pub(super) const CLONES: u32 = 50;

/// What may be left of a program's pages.
fn most_percent(program: &str) -> u64 {
    if program == "lua" { 30 } else { 45 }
}

/// All programs; an error when one did not pass.
pub(super) fn play(stage: &Stage<'_>, programs: &[String]) -> Result<()> {
    let mut rows = vec![
        [
            "program",
            "pages",
            "after one round",
            "of",
            "beside it",
            "background",
            "at the end",
            "verdict",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    let mut red = 0;
    for program in programs {
        println!("{program}");
        let apart = stage.act(program, "independent", &["--independent"])?.report;
        let merged = stage
            .act(program, "merged", &["--independent", "--merge"])?
            .report;
        let stock = stage.act(program, "stock", &["--stock"])?.report;
        let merging = merged
            .merge
            .as_ref()
            .context("the report says nothing of merging")?;
        let (first, last) = (merging.first.as_ref(), merging.last.as_ref());
        let (first, last) = first.zip(last).context("a round was refused")?;
        let mut failures = failures(first, most_percent(program));
        for (name, report) in [("independent", &apart), ("merged", &merged), ("stock", &stock)] {
            failures.extend(wrong(name, report, &stock, stage.options.clones()));
        }
        red += usize::from(!failures.is_empty());
        let cpu = merging.background_cpu_percent;
        rows.push(vec![
            program.clone(),
            first.pages_before.to_string(),
            format!("{} ({:.1} %)", first.pages_after, first.percent()),
            format!("{} %", most_percent(program)),
            format!("{} calls", first.calls_meanwhile),
            cpu.map_or("-".to_owned(), |cpu| format!("{cpu:.1} % of a core")),
            format!("{} -> {}", last.pages_before, last.pages_after),
            if failures.is_empty() {
                "PASS".to_owned()
            } else {
                format!("FAIL: {}", failures.join("; "))
            },
        ]);
    }
    println!("\n{}", table::render(&rows));
    ensure!(red == 0, "{red} of {} programs did not pass", programs.len());
    Ok(())
}

fn failures(first: &Round, most: u64) -> Vec<String> {
    let mut failures = Vec::new();
    if first.pages_after * 100 > first.pages_before * most {
        failures.push(format!("{:.1} % of the pages are left", first.percent()));
    }
    if first.calls_meanwhile == 0 {
        failures.push("no call was answered beside the round".to_owned());
    }
    failures
}

fn wrong(name: &str, report: &Report, stock: &Report, clones: u32) -> Option<String> {
    if report.completed != clones {
        return Some(format!("{name}: {} of {clones} completed", report.completed));
    }
    (report.digest != stock.digest).then(|| format!("{name}: other answers than stock Wasmtime"))
}

#[cfg(test)]
mod tests {
    //! Goal: a round that left too much, or that stopped the calls, is a failure. Method: by
    //! example.
    use super::*;

    #[test]
    fn what_is_promised_is_checked() {
        let round = |pages_after, calls_meanwhile| Round {
            pages_before: 1000,
            pages_after,
            calls_meanwhile,
        };
        assert_eq!(failures(&round(450, 1), 45).len(), 0);
        assert_eq!(failures(&round(451, 1), 45).len(), 1);
        assert_eq!(failures(&round(451, 0), 45).len(), 2);
    }
}
