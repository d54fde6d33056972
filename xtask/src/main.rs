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

use clap::{Parser, Subcommand};
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

/// Words for the tool or the script that the task calls.
#[derive(clap::Args)]
struct Words {
    /// Handed to cargo in place of the usual packages, or to what the task calls
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// One task; those above `Demo` are steps of `Test`.
#[derive(Subcommand)]
enum Task {
    /// The whole gate: all that is a step below, what fails fastest first, until the first failure
    Test,
    /// Step: formatting is rustfmt's
    Fmt,
    /// Step: the house rules (headers, sizes, unsafe, orderings, names, dependencies, licences,
    /// links)
    Tidy,
    /// Step: clippy on all targets, warnings denied
    Clippy,
    /// Step: documentation builds without a warning
    Docs,
    /// Step: builds the Wasm programs that tests and the demonstration run
    Programs(Words),
    /// Step: builds all tests
    Build,
    /// Step: all tests, documentation tests included
    Unit(Words),
    /// Step: the manager's own instructions for each operation, against what is committed
    /// (callgrind)
    Instructions(instructions::Options),
    /// Step: the scenarios, under shuttle's schedulers
    Shuttle(Words),
    /// Step: the race models, explored by loom
    Loom(Words),
    /// 500 copies of Lua inside a quarter of the memory they would take; --all: SQLite and QuickJS
    /// too; or --merge
    Demo(demo::Options),
    /// Benchmarks (`cargo bench` of the benchmark package)
    Bench(Words),
    /// Puts each known defect back and demands that its checker fails
    Bugs(bugs::Options),
    /// Changes the manager in small ways, one by one: does a test notice? Survivors stand in
    /// verify/MUTANTS.md; words are cargo-mutants': --shard 0/50, --in-diff FILE
    Mutants(Words),
    /// The host and the library under ThreadSanitizer and AddressSanitizer, the manager under Miri:
    /// thread, address, miri, or all without a word
    Sanitize(Words),
    /// Makes each ordering of the core weaker and demands that a race model fails
    Weaken(weaken::Options),
    /// The long form of every check, within a time, with a report: [--minutes 60] [--seed N]
    /// [--report FILE] [PART...]. What is not installed is skipped aloud
    Campaign(Words),
    /// The fuzz targets, each for a minute: [--seconds 60] [TARGET...]; skipped aloud without
    /// cargo-fuzz
    Fuzz(Words),
    /// Hostile machines, full budgets and 10,000 hostile guests, judged from outside (the gate has
    /// the short form): [--guests 10000] [--seed 1]
    Hostile(Words),
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Test => gate::all(),
        Task::Fmt => gate::one("fmt", &[]),
        Task::Tidy => gate::one("tidy", &[]),
        Task::Clippy => gate::one("clippy", &[]),
        Task::Docs => gate::one("docs", &[]),
        Task::Programs(words) => shell::script("programs", &words.args),
        Task::Build => gate::one("build", &[]),
        Task::Unit(words) => gate::one("unit", &words.args),
        Task::Instructions(options) => instructions::run(&options),
        Task::Shuttle(words) => gate::one("shuttle", &words.args),
        Task::Loom(words) => gate::one("loom", &words.args),
        Task::Demo(options) => demo::run(&options),
        Task::Bench(words) => gate::bench(&words.args),
        Task::Bugs(options) => bugs::run(&options),
        Task::Mutants(words) => shell::script("mutants", &words.args),
        Task::Sanitize(words) => shell::script("sanitize", &words.args),
        Task::Weaken(options) => weaken::run(&options),
        Task::Campaign(words) => shell::script("campaign", &words.args),
        Task::Fuzz(words) => shell::script("fuzz", &words.args),
        Task::Hostile(words) => shell::script("hostile", &words.args),
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

    #[test]
    fn a_part_passes_when_it_did_something_and_nothing_failed() {
        let report = shell::target().join("campaign-test.md");
        let words = ["--minutes", "1", "--report", &report.display().to_string()].map(str::to_owned);
        let mut campaign = shell::script_command("campaign", &words);
        campaign.env("CAMPAIGN_PARTS", PARTS);
        assert!(!shell::succeeds(campaign), "parts failed");
        let text = fs::read_to_string(&report).unwrap();
        fs::remove_file(report).unwrap();
        for row in [
            "ok | passed | 3 tests passed",
            "none | failed | ",
            "failed | failed | ",
            "skipped | skipped | ",
            "told | failed | see target/campaign/told.log",
            "left | cut | 2 caught, 3 not tried",
            "models | cut | 12 executions, 1 models cut",
            "mutants | passed | 1 mutants survived",
        ] {
            let (name, rest) = row.split_once(" | ").unwrap();
            let line = text
                .lines()
                .find(|line| line.starts_with(&format!("| {name} |")))
                .unwrap();
            let (verdict, counts) = rest.split_once(" | ").unwrap();
            assert!(line.contains(verdict) && line.contains(counts), "{line}");
        }
    }

    #[test]
    fn what_there_is_not_is_refused() {
        for words in [["luck"].as_slice(), &["--luck", "1"], &["--minutes"]] {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            assert!(
                !shell::succeeds(shell::script_command("campaign", &words)),
                "{words:?}"
            );
        }
    }
}
