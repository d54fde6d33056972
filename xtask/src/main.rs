//! `cargo xtask`: what CI and developers call, and nothing else.
//!
//! This file is the table of contents: the command line, and which module answers each command.
//! `gate.rs` has the steps of `cargo xtask test` in their order; the steps that need more than one
//! cargo command have a module of their own.
#![forbid(unsafe_code)]

mod bugs;
mod campaign;
mod copy;
mod demo;
mod fuzz;
mod gate;
mod hostile;
mod instructions;
mod mutants;
mod programs;
mod sanitize;
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

/// Words for the tool that the task calls.
#[derive(clap::Args)]
struct Words {
    /// Handed to cargo in place of the usual packages; to cargo-mutants: `--shard 0/50`,
    /// `--in-diff FILE`
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
    Programs,
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
    /// verify/MUTANTS.md
    Mutants(Words),
    /// The host and the library under ThreadSanitizer and AddressSanitizer, the manager under Miri
    /// (default: all three)
    Sanitize {
        /// Only these
        which: Vec<sanitize::Sanitizer>,
    },
    /// Makes each ordering of the core weaker and demands that a race model fails
    Weaken(weaken::Options),
    /// The long form of every check, within a time, with a report. What is not installed is skipped
    /// aloud
    Campaign(campaign::Options),
    /// The fuzz targets, each for a minute; skipped aloud without cargo-fuzz
    Fuzz(fuzz::Options),
    /// Hostile machines, full budgets and 10,000 hostile guests, judged from outside (the gate has
    /// the short form)
    Hostile(hostile::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Test => gate::all(),
        Task::Fmt => gate::one("fmt", &[]),
        Task::Tidy => gate::one("tidy", &[]),
        Task::Clippy => gate::one("clippy", &[]),
        Task::Docs => gate::one("docs", &[]),
        Task::Programs => gate::one("programs", &[]),
        Task::Build => gate::one("build", &[]),
        Task::Unit(words) => gate::one("unit", &words.args),
        Task::Instructions(options) => instructions::run(&options),
        Task::Shuttle(words) => gate::one("shuttle", &words.args),
        Task::Loom(words) => gate::one("loom", &words.args),
        Task::Demo(options) => demo::run(&options),
        Task::Bench(words) => gate::bench(&words.args),
        Task::Bugs(options) => bugs::run(&options),
        Task::Mutants(words) => mutants::run(&words.args),
        Task::Sanitize { which } => sanitize::run(&which),
        Task::Weaken(options) => weaken::run(&options),
        Task::Campaign(options) => campaign::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Hostile(options) => hostile::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
