//! What mutants there are: cargo-mutants says, configured by `.cargo/mutants.toml`.

use crate::shell::{self, Build};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::Path;

/// A place in a file; both from 1.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    pub line: usize,
    pub column: usize,
}

/// From a place up to another.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Span {
    pub start: Spot,
    pub end: Spot,
}

/// One mutant.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Mutant {
    /// Its file, from the root of the workspace.
    pub file: String,
    /// What kind of change it is.
    pub genre: String,
    /// Place and change, for people.
    pub name: String,
    /// What is to stand there.
    pub replacement: String,
    /// Where.
    pub span: Span,
}

/// The mutants of the manager; of changed lines only, when there is a diff.
pub(crate) fn all(diff: Option<&Path>) -> Result<Vec<Mutant>> {
    let mut cargo = Build::Plain.cargo(&["mutants", "--package", "memfold-mm", "--list", "--json"]);
    if let Some(diff) = diff {
        cargo.arg("--in-diff").arg(diff);
    }
    serde_json::from_str(&shell::read(cargo)?).context("the list of cargo-mutants")
}
