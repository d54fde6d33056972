//! `cargo xtask campaign`: the long form of every check, for a night or a release.
//!
//! The time (`--minutes`, counted when the long parts are built) is divided between the parts by
//! weight; what one leaves goes to those after it. A part that fails is saved, with the seed or the
//! schedule, and the campaign goes on; at the end it fails. A part whose tool is missing is
//! reported as *skipped*, one whose time was up as *cut*: neither is ever called passed. The report
//! (Markdown) says what was run, how often, and how to see a failure again. Its numbers were
//! printed by those who did the work (`campaign/counts.rs`), none is computed from a setting.
//! `campaign/parts.rs` has the parts, `campaign/share.rs` how one is run, `campaign/report.rs` the
//! report.

mod counts;
mod parts;
mod report;
mod share;

use crate::{shell, table};
use anyhow::{Context, Result, ensure};
use counts::Counts;
use parts::{PARTS, Part};
use share::Share;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What the command line says.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long all parts together may take
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Where the report goes (default: target/campaign/report.md)
    #[arg(long)]
    report: Option<PathBuf>,
    /// Cores to use (default: all)
    #[arg(long)]
    jobs: Option<u64>,
    /// What all seeds follow from (default: the time)
    #[arg(long)]
    seed: Option<u64>,
    /// Only these parts, in this order (default: all)
    parts: Vec<String>,
}

/// How a part ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All of it was done and nothing failed.
    Passed,
    /// Nothing failed until its time was up.
    Cut,
    /// Its tool is not here.
    Skipped(String),
    /// Something failed.
    Failed(String),
}

impl Verdict {
    fn text(&self) -> String {
        match self {
            Verdict::Passed => "passed".to_owned(),
            Verdict::Cut => "cut: its time was up, nothing failed until then".to_owned(),
            Verdict::Skipped(hint) => format!("SKIPPED ({hint})"),
            Verdict::Failed(why) => format!("FAILED: {why}"),
        }
    }
}

/// What a part did.
pub(crate) struct Done {
    name: &'static str,
    commands: Vec<String>,
    counts: Counts,
    verdict: Verdict,
    time: Duration,
}

/// Runs the named parts, all when none is named; goes on after a failure.
pub(crate) fn run(options: &Options) -> Result<()> {
    let parts = chosen(&options.parts)?;
    for part in &parts {
        if (part.missing)().is_none() {
            (part.build)().with_context(|| format!("building {}", part.name))?;
        }
    }
    let begin = Instant::now();
    let end = begin + Duration::from_secs(options.minutes * 60);
    let seed = options.seed.unwrap_or_else(minutes_since_1970);
    let jobs = options.jobs.unwrap_or_else(cores);
    let folder = shell::target().join("campaign");
    let file = options.report.clone().unwrap_or_else(|| folder.join("report.md"));
    let head = report::Head::read(seed, jobs, options.minutes);
    let mut done = Vec::new();
    for (n, part) in parts.iter().enumerate() {
        let left = end.saturating_duration_since(Instant::now());
        let weights: u32 = parts[n..].iter().map(|part| part.weight).sum();
        let time = left * part.weight / weights;
        println!("==== {}: up to {}", part.name, table::time(time));
        let share = Share::new(part.name, folder.join(part.name), time, seed, jobs);
        done.push(one(part, share?));
        println!("==== {}: {}", part.name, done[n].verdict.text());
        // After each part: a campaign that is ended from outside has a report, too.
        fs::write(&file, report::text(&head, &done, begin.elapsed()))?;
    }
    println!("\n{}report: {}", report::table(&done), file.display());
    let failed = done
        .iter()
        .filter(|done| matches!(done.verdict, Verdict::Failed(_)));
    let failed = failed.count();
    ensure!(failed == 0, "{failed} parts failed");
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<&'static Part>> {
    let known: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
    let mut chosen = Vec::new();
    for name in names {
        let part = PARTS.iter().find(|part| part.name == name);
        ensure!(
            part.is_some(),
            "no part `{name}`; there are: {}",
            known.join(", ")
        );
        chosen.extend(part);
    }
    match names {
        [] => Ok(PARTS.iter().collect()),
        _ => Ok(chosen),
    }
}

fn one(part: &Part, mut share: Share) -> Done {
    let begin = Instant::now();
    let verdict = match (part.missing)() {
        Some(hint) => Verdict::Skipped(hint),
        None => (part.run)(&mut share).unwrap_or_else(|error| Verdict::Failed(format!("{error:#}"))),
    };
    let (commands, counts) = share.finish();
    // A failure that was printed counts, whatever the command's end said.
    let did = counts.sums.get(part.counts).is_some_and(|&sum| sum > 0);
    let cut = counts.sums.get("models_cut").is_some_and(|&sum| sum > 0);
    let verdict = match (verdict, counts.failures.first()) {
        (Verdict::Passed, None) if counts.skipped.is_some() && !did => {
            Verdict::Skipped(counts.skipped.clone().unwrap_or_default())
        }
        (Verdict::Passed | Verdict::Cut, Some(first)) => Verdict::Failed(first.clone()),
        (Verdict::Passed | Verdict::Cut, None) if !did => {
            Verdict::Failed(format!("it did nothing: it counted no {}", part.counts))
        }
        (Verdict::Passed, None) if cut => Verdict::Cut,
        (verdict, _) => verdict,
    };
    Done {
        name: part.name,
        commands,
        counts,
        verdict,
        time: begin.elapsed(),
    }
}

fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
}

fn minutes_since_1970() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    time.map_or(0, |time| time.as_secs() / 60)
}

#[cfg(test)]
mod tests {
    //! Goal: a campaign runs what is asked for. Method: by example.
    use super::*;

    #[test]
    fn parts_are_chosen_by_name() {
        assert_eq!(chosen(&[]).unwrap().len(), PARTS.len());
        let two = chosen(&["shuttle".into(), "loom".into()]).unwrap();
        assert_eq!([two[0].name, two[1].name], ["shuttle", "loom"]);
        assert!(chosen(&["luck".into()]).is_err());
    }

    /// What a part whose command prints `text` comes to.
    fn verdict(run: fn(&mut Share) -> Result<Verdict>) -> Verdict {
        let part = Part {
            name: "example",
            run,
            ..parts::USUAL
        };
        let folder = shell::target().join(format!("campaign-test-{}", run as usize));
        let share = Share::new("example", folder.clone(), Duration::from_secs(20), 1, 1).unwrap();
        let done = one(&part, share);
        fs::remove_dir_all(folder).unwrap();
        done.verdict
    }

    fn echo(share: &mut Share, text: &str) -> Result<Verdict> {
        let mut echo = std::process::Command::new("echo");
        echo.arg(text);
        share.run(echo)
    }

    #[test]
    fn a_part_passes_when_it_did_something_and_nothing_failed() {
        let did = verdict(|share| echo(share, "test result: ok. 3 passed; 0 failed"));
        assert_eq!(did, Verdict::Passed);
        let failed = verdict(|share| echo(share, "test result: ok. 3 passed\ncampaign failure: seed 4"));
        assert_eq!(failed, Verdict::Failed("seed 4".to_owned()));
        let skipped = verdict(|share| echo(share, "Miri: SKIPPED (get it)"));
        assert_eq!(skipped, Verdict::Skipped("get it".to_owned()));
        let nothing = verdict(|share| echo(share, "test result: ok. 0 passed; 0 failed"));
        assert!(matches!(nothing, Verdict::Failed(_)));
        let ended = verdict(|share| share.run(std::process::Command::new("false")));
        assert!(matches!(ended, Verdict::Failed(_)));
    }
}
