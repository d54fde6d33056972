//! `memfold explain race`: the race that memfold was born from, and its kin, explored on the spot.
//!
//! `memfold-explain` explores and tells; here are what was asked for, the terminal, and the exit status.

use crate::args::RaceOptions;
use crate::error::{Error, Exit};
use crate::output;
use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use memfold_explain::chapters::{self, Chapter, Extent};
use memfold_explain::report::{Report, tell};
use memfold_explain::text::{Colour, Look, render};
use std::time::Duration;

/// A line where nobody says how wide it may be, and the widest and narrowest that read well.
const WIDTH_DEFAULT: usize = 96;
const WIDTH_MAX: usize = 100;
const WIDTH_MIN: usize = 80;

/// Explores, prints what came of it, and fails unless all is as it should be.
pub(crate) fn race(options: &RaceOptions) -> Result<Exit, Error> {
    if options.list {
        output::print(&list())?;
        return Ok(Exit::Fine);
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
    let text = if options.json {
        // Names, texts and numbers: there is nothing that could fail.
        serde_json::to_string(&report).unwrap_or_default() + "\n"
    } else {
        render(&report, look())
    };
    output::print(&text)?;
    Ok(exit(&report))
}

fn exit(report: &Report) -> Exit {
    if report.ok { Exit::Fine } else { Exit::Failed }
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

/// As wide as the terminal, within what reads well; in colour if it takes it (`NO_COLOR` and the like are heeded).
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
    //! Goal: what was asked for is what is explored, and a failure is no success. Method: options and reports by hand.
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
        assert_eq!(error.exit(), Exit::Input);
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
        assert_eq!(exit(&report(true)), Exit::Fine);
        assert_eq!(exit(&report(false)), Exit::Failed);
    }
}
