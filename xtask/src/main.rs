//! `cargo xtask`: what CI and developers call, and nothing else.
//!
//! This file is the table of contents: the command line, and which module answers each command.
//! `gate.rs` has the steps of `cargo xtask test` in their order; the steps that need more than one
//! cargo command have a module of their own (`tidy`, `demo`, `bugs`, `weaken`, `mutants`,
//! `sanitize`, `campaign`, `hostile`, `programs`).
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

/// One task; those above `Docs` and `Docs` itself are steps of `Test`.
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
    /// Step: builds the Wasm programs that tests and the demonstration run
    Programs,
    /// Step: all tests, documentation tests included
    Unit {
        /// Handed to `cargo test` in place of `--workspace`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Step: the manager's own instructions for each operation, against what is committed
    /// (callgrind)
    Instructions(instructions::Options),
    /// Step: the race models, explored by loom
    Loom {
        /// Handed to `cargo test` in place of the packages
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Step: the scenarios, under shuttle's schedulers
    Shuttle {
        /// Handed to `cargo test` in place of the package
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Step: documentation builds without a warning
    Docs,
    /// 500 copies of Lua inside a quarter of the memory they would take; --all: SQLite and QuickJS
    /// too; or --merge
    Demo(demo::Options),
    /// Benchmarks (`cargo bench` of the benchmark package)
    Bench {
        /// Handed to `cargo bench`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Puts each known defect back and demands that its checker fails
    Bugs {
        /// Step: whether every patch applies and names tests that exist; of all, only a dozen are
        /// tried, drawn by the commit
        #[arg(long)]
        short: bool,
        /// Only defects whose file name contains one of these
        names: Vec<String>,
    },
    /// Changes the manager in small ways, one by one: does a test notice? Survivors stand in
    /// verify/MUTANTS.md
    Mutants {
        /// Handed to cargo-mutants: `--shard 0/50`, `--in-diff FILE`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// The host and the library under ThreadSanitizer and AddressSanitizer, the manager under Miri
    /// (default: all three)
    Sanitize {
        /// Only these
        which: Vec<sanitize::Sanitizer>,
    },
    /// Makes each ordering of the core weaker and demands that a race model fails
    Weaken {
        /// Only files whose path contains one of these (default: all)
        files: Vec<String>,
    },
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
        Task::Fmt => gate::one(gate::Step::Fmt, &[]),
        Task::Tidy => gate::one(gate::Step::Tidy, &[]),
        Task::Clippy => gate::one(gate::Step::Clippy, &[]),
        Task::Programs => gate::one(gate::Step::Programs, &[]),
        Task::Unit { args } => gate::one(gate::Step::Unit, &args),
        Task::Instructions(options) => instructions::run(&options),
        Task::Loom { args } => gate::one(gate::Step::Loom, &args),
        Task::Shuttle { args } => gate::one(gate::Step::Shuttle, &args),
        Task::Docs => gate::one(gate::Step::Docs, &[]),
        Task::Demo(options) => demo::run(&options),
        Task::Bench { args } => gate::bench(&args),
        Task::Bugs { short: true, .. } => gate::one(gate::Step::Bugs, &[]),
        Task::Bugs { names, .. } => bugs::run(&names),
        Task::Mutants { args } => mutants::run(&args),
        Task::Sanitize { which } => sanitize::run(&which),
        Task::Weaken { files } => weaken::run(&files),
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
