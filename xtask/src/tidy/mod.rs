//! `cargo xtask tidy`: the house rules, as a test.
//!
//! Every rule is a function from a file (or the list of files, or the packages)
//! to findings, and has a unit test with a small bad snippet. `scan.rs` splits
//! Rust text into code and comments, so that no rule is misled by a word in a
//! string. The scan knows tokens, not syntax: what a macro makes is not seen.
//! That is cheap (the whole check takes less than a second) and has been enough.
//! What clippy can ask stands in `Cargo.toml` and `clippy.toml`.
//!
//! | file | rules |
//! | --- | --- |
//! | `shape.rs` | header, file length, width of comments, words that mark unfinished work |
//! | `unsafety.rs` | where `unsafe` may stand |
//! | `atomics.rs` | a reason beside each ordering; no `SeqCst` but in fences |
//! | `names.rs` | paths that a package must not name |
//! | `files.rs` | dead files, paths of a build machine, links that lead nowhere; files that `verify/MUTANTS.md` names |
//! | `circles.rs` | circles between files, the order of the manager's rooms |
//! | `packages.rs`, `licences.rs` | direction of dependencies, licences, duplicates |

pub(crate) mod atomics;
mod circles;
mod files;
mod licences;
mod names;
mod packages;
pub(crate) mod scan;
mod shape;
mod unsafety;

use anyhow::{Context, Result, bail};
use scan::Source;
use std::fmt;
use std::path::Path;

/// One breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// From the root of the workspace.
    file: String,
    /// From 1.
    line: usize,
    rule: &'static str,
    message: String,
}

impl Finding {
    fn new(file: &str, line: usize, rule: &'static str, message: impl Into<String>) -> Self {
        Finding {
            file: file.to_owned(),
            line,
            rule,
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file, self.line, self.rule, self.message)
    }
}

/// The folders whose Rust files are held to the rules.
const ROOMS: [&str; 5] = ["crates/", "verify/", "xtask/", "benches/", "fuzz/"];

/// A rule about one Rust file.
type Rule = fn(&Source) -> Vec<Finding>;

const RULES: [Rule; 7] = [
    shape::header,
    shape::file_length,
    shape::comment_width,
    shape::unfinished,
    unsafety::check,
    atomics::check,
    names::check,
];

/// Checks the checkout; prints every finding.
pub(crate) fn run(root: &Path) -> Result<()> {
    let files = files::list(root)?;
    let mut findings = Vec::new();
    let mut sources = Vec::new();
    for file in &files {
        let Ok(text) = std::fs::read_to_string(root.join(file)) else {
            continue;
        };
        findings.extend(files::machine_paths(file, &text));
        if file.ends_with(".md") {
            findings.extend(files::links(file, &text, &|target| root.join(target).exists()));
        }
        if file.ends_with(".rs") && ROOMS.iter().any(|room| file.starts_with(room)) {
            sources.push(Source::new(file, &text));
        }
    }
    findings.extend(
        sources
            .iter()
            .flat_map(|source| RULES.iter().flat_map(|rule| rule(source))),
    );
    findings.extend(unsafety::one_file(&sources));
    findings.extend(files::dead(&sources));
    findings.extend(crate::mutants::lost(root)?.into_iter().map(|place| {
        let message = format!("`{place}` is no file of `crates/mm/src`");
        Finding::new("verify/MUTANTS.md", 1, "mutants-record", message)
    }));
    findings.extend(circles::check(&sources));
    let packages = packages::read().context("reading the packages")?;
    findings.extend(packages::directions(root, &packages));
    findings.extend(licences::check(&packages));
    let duplicates = licences::duplicates(&packages);
    if !duplicates.is_empty() {
        println!("note: in more than one version: {}", duplicates.join(", "));
    }
    report(findings, sources.len(), packages.len())
}

fn report(mut findings: Vec<Finding>, files: usize, packages: usize) -> Result<()> {
    findings.sort();
    findings.dedup();
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} breaches of the house rules", findings.len());
    }
    println!("{files} Rust files and {packages} packages keep the house rules");
    Ok(())
}
