//! `cargo xtask`: what CI and developers call, and nothing else.
//!
//! This file is the table of contents: the command line, and which module answers each command.
//! `gate.rs` has the steps of `cargo xtask test` in their order. What runs other programs and
//! counts what they print is a script of `xtask/sh/`; the rest has a module of its own.
#![forbid(unsafe_code)]

mod bugs;
mod copy;
mod demo;
mod gate;
mod instructions;
mod shell;
mod table;
mod tidy;
mod weaken;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::process::ExitCode;

/// memfold's tasks. `cargo xtask test` is the whole gate.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

/// The tasks that have options, or are the gate as a whole.
#[derive(Subcommand)]
enum Task {
    /// The whole gate: its steps, what fails fastest first, until the first failure
    Test,
    /// 500 copies of Lua inside a quarter of the memory they would take; --all: SQLite and QuickJS
    /// too; or --merge, --files, --components or --http
    Demo(demo::Options),
    /// Puts each known defect back and demands that its checker fails
    Bugs(bugs::Options),
    /// Makes each ordering of the core weaker and demands that a race model fails
    Weaken(weaken::Options),
    /// A step of the gate or a script, and words for it
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// The scripts of `xtask/sh/` that are tasks. (`programs` is a step.)
const SCRIPTS: &str = "
  bench      benchmarks (words for `cargo bench`)
  mutants    does a test notice each small change of the manager? Words for cargo-mutants: --shard 0/50, --in-diff FILE
  sanitize   host and library under ThreadSanitizer and AddressSanitizer, manager under Miri: [thread] [address] [miri]
  campaign   the long form of every check, with a report: [--minutes 60] [--seed N] [--report FILE] [PART...]
  components components in Rust, Python and JavaScript, for `demo --components`: [NAME...]
  published  published modules, from npm, compared with stock Wasmtime
  fuzz       the fuzz targets, each for a minute: [--seconds 60] [TARGET...]
  hostile    hostile machines, full budgets and hostile guests: [--guests 10000] [--seed 1]";

/// Runs a step or a script.
fn other(words: &[String]) -> anyhow::Result<()> {
    let (name, args) = words.split_first().expect("a subcommand has a name");
    let is_script = SCRIPTS
        .lines()
        .any(|line| line.split_whitespace().next() == Some(name));
    let script = || is_script.then(|| shell::script(name, args));
    let done = gate::one(name, args).or_else(script);
    done.unwrap_or_else(|| anyhow::bail!("there is no task `{name}` (cargo xtask --help)"))
}

fn main() -> ExitCode {
    let steps = gate::STEPS.map(|step| format!("  {:<13} {}\n", step.name, step.question));
    let help = format!("Steps of the gate:\n{}\nScripts:{SCRIPTS}", steps.concat());
    let matches = Cli::command().after_help(help).get_matches();
    let done = match Cli::from_arg_matches(&matches).map(|cli| cli.task) {
        Ok(Task::Test) => gate::all(),
        Ok(Task::Demo(options)) => demo::run(&options),
        Ok(Task::Bugs(options)) => bugs::run(&options),
        Ok(Task::Weaken(options)) => weaken::run(&options),
        Ok(Task::Other(words)) => other(&words),
        Err(error) => error.exit(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    //! Goal: a campaign runs what is asked for, counts what was printed and hides no failure.
    //! Method: parts whose ends are known, with lines as they stand in logs.
    use super::*;
    use std::fs;

    const PARTS: &str = "
ok 1 1 tests_passed sh echo test result: ok. 3 passed; 0 failed
none 1 1 tests_passed sh echo 0 passed
failed 1 1 tests_passed sh cat {folder}/nothing
skipped 1 1 tests_passed sh echo Miri: SKIPPED
told 1 1 tests_passed sh echo test result: ok. 3 passed; campaign failure: seed 4
left 1 1 caught sh echo campaign: not_tried=3 caught=2
models 1 1 executions sh echo model a: b: 12 executions, not explored to the end, 9.0 s
mutants 1 1 mutants_survived sh echo MISSED crates/mm/src/a.rs:1:1: delete !
";

    fn campaign(words: &[&str]) -> bool {
        let mut campaign = shell::command("bash xtask/sh/campaign.sh");
        campaign.env("CAMPAIGN_PARTS", PARTS).args(words);
        shell::succeeds(campaign)
    }

    #[test]
    fn a_part_passes_when_it_did_something_and_nothing_failed() {
        let report = shell::target().join("campaign-test.md");
        let words = ["--minutes", "1", "--report", &report.display().to_string()];
        assert!(!campaign(&words), "parts failed");
        let text = fs::read_to_string(&report).unwrap();
        fs::remove_file(report).unwrap();
        for [name, verdict, counts] in [
            ["ok", "passed", "3 tests passed"],
            ["none", "failed", ""],
            ["failed", "failed", ""],
            ["skipped", "skipped", ""],
            ["told", "failed", "see target/campaign/told.log"],
            ["left", "cut", "2 caught, 3 not tried"],
            ["models", "cut", "12 executions, 1 models cut"],
            ["mutants", "passed", "1 mutants survived"],
        ] {
            let begin = format!("| {name} | {verdict} |");
            let mut lines = text.lines().filter(|line| line.starts_with(&begin));
            assert!(lines.any(|line| line.contains(counts)), "{begin}: {text}");
        }
    }

    #[test]
    fn what_there_is_not_is_refused() {
        for words in [["luck"].as_slice(), &["--luck", "1"], &["--minutes"]] {
            assert!(!campaign(words), "{words:?}");
        }
    }
}
