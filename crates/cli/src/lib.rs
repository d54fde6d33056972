//! The `memfold` command, as a library so that its parts can be tested.
//!
//! | module | what lives there |
//! | --- | --- |
//! | `args` | the command line and its help |
//! | `surroundings` | what a program is given: arguments, variables, folders, input |
//! | `maps` | files that a program finds in its memory |
//! | `error` | what ends the command, and its exit status |
//! | `output` | how it gets to stdout |
//! | `run` | `memfold run`: warm up, fork, call |
//! | `report` | what a run says at its end, for people and for programs |
//! | `inspect` | `memfold inspect`: can this module be forked, and why not |
//! | `check` | `memfold check`: can this machine do it |
//! | `peak` | `memfold peak`: what a command holds, seen from outside |
//! | `top` | `memfold top`: what a process or a record holds and does, on the terminal |
//! | `page` | `memfold report`: a record as a page for a browser |
//! | `explain` | `memfold explain`: starts the program that explores races and tells them |
//!
//! Nothing here decides about memory; it drives `memfold` and `memfold-wasmtime` as any embedder
//! would.
#![deny(unsafe_code)]

mod args;
mod check;
mod error;
mod explain;
mod inspect;
mod maps;
mod output;
mod page;
mod peak;
mod report;
mod run;
mod surroundings;
mod top;

use args::{Cli, Command, Topic};
use clap::Parser;
use std::process::ExitCode;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(options) => run::run(&options).map(ExitCode::from),
        Command::Check(options) => check::check(&options).map(ExitCode::from),
        Command::Inspect(options) => inspect::inspect(&options).map(ExitCode::from),
        Command::Peak(options) => peak::peak(&options),
        Command::Top(options) => top::top(&options).map(ExitCode::from),
        Command::Report(options) => page::page(&options).map(ExitCode::from),
        Command::Explain(Topic::Race(options)) => explain::race(&options).map(ExitCode::from),
    };
    match done {
        Ok(exit) => exit,
        Err(error) => {
            output::complain(&error);
            error.exit().into()
        }
    }
}
