//! `cargo xtask tidy`: the house rules, as a test.
//!
//! Every rule is a function from a file (or the list of files, or the packages) to what is to be
//! said, and has a unit test with small bad snippets. What clippy can ask stands in `Cargo.toml`
//! and `clippy.toml`.
//!
//! | file | rules |
//! | --- | --- |
//! | `text.rs` | header, lengths; words that mark unfinished work, where `unsafe` may stand, paths that a package must not name; dead files, modules of other packages, paths of a build machine, links that lead nowhere; files that `verify/MUTANTS.md` names |
//! | `atomics.rs` | a reason beside each ordering; no `SeqCst` but in fences |
//! | `circles.rs` | circles between files, the order of the manager's rooms |
//! | `doors.rs` | how many methods the manager has |
//! | `packages.rs` | direction of dependencies, licences |

pub(crate) mod atomics;
mod circles;
mod doors;
pub(crate) mod packages;
pub(crate) mod source;
mod text;

use crate::shell;
use anyhow::{Context, Result, ensure};
use source::Source;
use std::path::Path;

/// The folders whose Rust files are held to the rules.
const ROOMS: [&str; 5] = ["crates/", "verify/", "xtask/", "benches/", "fuzz/"];

/// The rules about one Rust file.
const RULES: [fn(&Source) -> Vec<String>; 3] = [text::shape, text::words, atomics::check];

/// One breach of a rule, as it is printed. Lines count from 1.
fn finding(file: &str, line: usize, rule: &str, message: &str) -> String {
    format!("{file}:{line}: {rule}: {message}")
}

/// Checks the checkout; prints every finding.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut findings = Vec::new();
    let mut sources = Vec::new();
    for file in shell::files(&[])? {
        let Ok(text) = std::fs::read_to_string(root.join(&file)) else {
            continue;
        };
        findings.extend(text::machine_paths(&file, &text));
        if file == "verify/MUTANTS.md" {
            findings.extend(text::mutants(root, &text));
        }
        if file.ends_with(".md") {
            findings.extend(text::links(root, &file, &text));
        }
        if file.ends_with(".rs") && ROOMS.iter().any(|room| file.starts_with(room)) {
            findings.extend(text::foreign_modules(&file, &text));
            sources.push(Source::new(&file, &text));
        }
    }
    findings.extend(
        sources
            .iter()
            .flat_map(|source| RULES.iter().flat_map(|rule| rule(source))),
    );
    findings.extend(text::dead(&sources));
    findings.extend(circles::check(&sources));
    findings.extend(doors::check(&sources));
    let packages = packages::read().context("reading the packages")?;
    findings.extend(packages::check(root, &packages));
    findings.sort();
    findings.dedup();
    findings.iter().for_each(|finding| println!("{finding}"));
    ensure!(
        findings.is_empty(),
        "{} breaches of the house rules",
        findings.len()
    );
    println!(
        "{} Rust files and {} packages keep the house rules",
        sources.len(),
        packages.len()
    );
    Ok(())
}
