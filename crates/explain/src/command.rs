//! The command line of `memfold-explain`, which `memfold explain` starts: what was asked for,
//! progress, and the exit status.
//!
//! The statuses are those of `memfold`: 0 all is as it should be, 1 a defect was not caught or a
//! rule broken, 2 bad usage, 3 the machine cannot do it.

use crate::chapters::{self, Chapter, Extent};
use crate::options::RaceOptions;
use crate::report::{Report, tell};
use crate::text::{Colour, Look, render};
use clap::{Parser, Subcommand};
use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::time::Duration;

/// A line where nobody says how wide it may be, and the widest and narrowest that read well.
const WIDTH_DEFAULT: usize = 96;
const WIDTH_MAX: usize = 100;
const WIDTH_MIN: usize = 80;

/// The words of the command line.
#[derive(Debug, Parser)]
#[command(
    name = "memfold-explain",
    version,
    about = "memfold's races, explored and told step by step"
)]
struct Words {
    #[command(subcommand)]
    topic: Topic,
}

#[derive(Debug, Subcommand)]
enum Topic {
    /// The race that memfold was born from, and its kin
    Race(RaceOptions),
}

/// Why there is nothing to tell.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("there is no defect `{0}`; `memfold explain race --list` names them all")]
    Defect(String),
    #[error("the system refused to write the report: {0}")]
    Output(io::Error),
}

impl Error {
    fn code(&self) -> u8 {
        match self {
            Self::Defect(_) => 2,
            Self::Output(_) => 3,
        }
    }
}

/// Runs the command line of this process. Bad usage ends the process at once, with status 2.
#[must_use]
pub fn main() -> ExitCode {
    let Topic::Race(options) = Words::parse().topic;
    let code = race(&options).unwrap_or_else(|error| {
        // If stderr is gone, the exit status says what it can.
        let _ = writeln!(io::stderr(), "memfold: {error}");
        error.code()
    });
    code.into()
}

/// Explores, prints what came of it, and says how to exit.
fn race(options: &RaceOptions) -> Result<u8, Error> {
    if options.list {
        print(&list())?;
        return Ok(0);
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} exploring {msg}") {
        bar.set_style(style);
    }
    if !bar.is_hidden() {
        bar.enable_steady_tick(Duration::from_millis(100));
    }
    let report = tell(&wanted(options)?, |next| bar.set_message(next.to_owned()));
    bar.finish_and_clear();
    print(&match options.json {
        // Names, texts and numbers: there is nothing that could fail.
        true => serde_json::to_string(&report).unwrap_or_default() + "\n",
        false => render(&report, look()),
    })?;
    Ok(code(&report))
}

fn code(report: &Report) -> u8 {
    u8::from(!report.ok)
}

/// Writes to stdout. That whoever reads it has gone is no error: then nobody is there to be told.
fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(()),
    }
}

fn wanted(options: &RaceOptions) -> Result<Vec<Chapter>, Error> {
    match &options.defect {
        Some(name) => chapters::only(name).ok_or_else(|| Error::Defect(name.clone())),
        None if options.all => Ok(chapters::chapters(Extent::All)),
        None => Ok(chapters::chapters(Extent::Seed)),
    }
}

fn list() -> String {
    let lines = chapters::defects().into_iter();
    lines
        .map(|(name, title)| format!("{name:22} {title}\n"))
        .collect()
}

/// As wide as the terminal, within what reads well; in colour if it takes it (`NO_COLOR` and the
/// like are heeded).
fn look() -> Look {
    let term = Term::stdout();
    let width = term
        .size_checked()
        .map_or(WIDTH_DEFAULT, |(_, columns)| columns.into());
    Look {
        width: width.clamp(WIDTH_MIN, WIDTH_MAX),
        colour: match term.is_term() && console::colors_enabled() {
            true => Colour::Ansi,
            false => Colour::None,
        },
    }
}

#[cfg(test)]
mod tests {
    //! Goal: what was asked for is what is explored, and a failure is no success. Method: options
    //! and reports by hand.
    use super::*;

    fn options(defect: Option<&str>, all: bool) -> RaceOptions {
        RaceOptions {
            defect: defect.map(str::to_owned),
            all,
            list: false,
            json: false,
        }
    }

    #[test]
    fn what_is_wanted_is_found() {
        let count = |options| wanted(&options).map(|chapters| chapters.len()).ok();
        let seed = count(options(None, false)).unwrap();
        assert!(seed > 1);
        assert_eq!(count(options(None, true)), Some(seed + 1));
        assert_eq!(count(options(Some("split-store"), false)), Some(1));
        let error = wanted(&options(Some("split"), false)).err().unwrap();
        assert_eq!(error.code(), 2);
    }

    #[test]
    fn the_list_names_what_can_be_asked_for() {
        for line in list().lines() {
            let name = line.split(' ').next().unwrap();
            assert!(wanted(&options(Some(name), false)).is_ok(), "{line}");
        }
    }

    #[test]
    fn a_failure_has_its_status() {
        let report = |ok| Report {
            ok,
            seconds: 0.0,
            chapters: Vec::new(),
        };
        assert_eq!(code(&report(true)), 0);
        assert_eq!(code(&report(false)), 1);
    }
}
