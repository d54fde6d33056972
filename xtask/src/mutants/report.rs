//! What happened to each mutant, kept between runs, and what that adds up to.

use crate::{shell, table};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What happened to a mutant.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) enum Verdict {
    /// This test failed.
    Caught(String),
    /// These tests took too long.
    TimedOut(String),
    /// No test failed.
    Survived,
    /// No compiler takes it.
    Unviable,
    /// It cannot be woven, and was not built alone yet.
    Alone,
}

impl Verdict {
    /// Whether another run can be spared.
    pub(crate) fn is_settled(&self) -> bool {
        !matches!(self, Self::Survived | Self::Alone)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caught(by) => write!(f, "caught by {by}"),
            Self::TimedOut(by) => write!(f, "TIMEOUT in {by}"),
            Self::Survived => f.write_str("SURVIVED"),
            Self::Unviable => f.write_str("unviable"),
            Self::Alone => f.write_str("not tried"),
        }
    }
}

/// One line of the record.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Outcome {
    pub verdict: Verdict,
}

impl Outcome {
    pub(crate) fn of(verdict: Verdict) -> Self {
        Self { verdict }
    }
}

/// The record of earlier runs, by the mutants' names.
pub(crate) fn load() -> Result<BTreeMap<String, Outcome>> {
    match std::fs::read_to_string(super::folder().join("outcomes.json")) {
        Ok(text) => serde_json::from_str(&text).context("target-mutants/outcomes.json"),
        Err(_) => Ok(BTreeMap::new()),
    }
}

/// Keeps the record.
pub(crate) fn save(outcomes: &BTreeMap<String, Outcome>) -> Result<()> {
    let path = super::folder().join("outcomes.json");
    std::fs::write(&path, serde_json::to_string_pretty(outcomes)?).context("target-mutants/outcomes.json")
}

fn count(outcomes: &BTreeMap<String, Outcome>, of: impl Fn(&Verdict) -> bool) -> usize {
    outcomes.values().filter(|o| of(&o.verdict)).count()
}

/// Prints the totals and the survivors.
pub(crate) fn summary(outcomes: &BTreeMap<String, Outcome>) {
    let row = |name: &str, of: fn(&Verdict) -> bool| vec![name.to_owned(), count(outcomes, of).to_string()];
    let rows = [
        vec!["verdict".to_owned(), "mutants".to_owned()],
        row("caught", |v| matches!(v, Verdict::Caught(_))),
        row("timeout", |v| matches!(v, Verdict::TimedOut(_))),
        row("survived", |v| *v == Verdict::Survived),
        row("unviable", |v| *v == Verdict::Unviable),
        row("not tried", |v| *v == Verdict::Alone),
    ];
    print!("\n{}", table::render(&rows));
    for (name, outcome) in outcomes {
        if matches!(outcome.verdict, Verdict::Survived | Verdict::Alone) {
            println!("{}: {name}", outcome.verdict);
        }
    }
}

/// Demands that enough are caught, and that each survivor stands in `verify/MUTANTS.md`.
pub(crate) fn judge(outcomes: &BTreeMap<String, Outcome>, least: usize) -> Result<()> {
    let caught = count(outcomes, |v| {
        matches!(v, Verdict::Caught(_) | Verdict::TimedOut(_))
    });
    let viable = caught + count(outcomes, |v| *v == Verdict::Survived);
    println!("{caught} of {viable} viable mutants are caught");
    ensure!(
        caught * 100 >= viable * least,
        "less than {least} of 100 are caught"
    );
    let text =
        std::fs::read_to_string(shell::root().join("verify/MUTANTS.md")).context("verify/MUTANTS.md")?;
    // A bar inside a table's cell is escaped.
    let text = text.replace("\\|", "|");
    let unknown: Vec<&str> = outcomes
        .iter()
        .filter(|(name, o)| o.verdict == Verdict::Survived && !text.contains(&without_place(name)))
        .map(|(name, _)| name.as_str())
        .collect();
    ensure!(
        unknown.is_empty(),
        "survivors without a reason in verify/MUTANTS.md:\n{}",
        unknown.join("\n")
    );
    Ok(())
}

/// The mutant's name without line and column, which other changes move.
fn without_place(name: &str) -> String {
    name.splitn(4, ':').last().unwrap_or(name).trim().to_owned()
}
