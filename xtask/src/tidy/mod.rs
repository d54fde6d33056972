//! `cargo xtask tidy`: the house rules that no lint has, as a test.
//!
//! Every rule has a test with small bad snippets. What clippy and rustc can ask (long functions,
//! reasons for `unsafe` and the packages that have none, `todo!()`) stands in `Cargo.toml`,
//! `clippy.toml` and at the head of each package.
//!
//! | file | rules |
//! | --- | --- |
//! | `text.rs` | words that are searched for: unfinished work, names that a package must not use, orderings, wide comments, modules of other packages, paths of a build machine; header and length of a file, a reason beside each ordering, dead files, links that lead nowhere |
//! | `circles.rs` | circles between files, the order of the manager's rooms, how many methods it has |
//! | `packages.rs` | direction of dependencies, licences |

mod circles;
pub(crate) mod packages;
mod text;

use crate::shell;
use anyhow::{Context, Result, ensure};

/// A Rust file.
#[derive(Debug)]
struct Source {
    /// From the root of the workspace.
    file: String,
    text: String,
}

impl Source {
    fn new(file: &str, text: &str) -> Self {
        let (file, text) = (file.to_owned(), text.to_owned());
        Source { file, text }
    }

    /// Its lines without their comments. (A string with two slashes ends there, too, which is to be
    /// known when findings are read.)
    fn code(&self) -> impl Iterator<Item = &str> {
        let lines = self.text.lines();
        lines.map(|line| line.split("//").next().unwrap_or_default())
    }
}

/// One breach of a rule, as it is printed. Lines count from 1.
fn finding(file: &str, line: usize, rule: &str, message: &str) -> String {
    format!("{file}:{line}: {rule}: {message}")
}

/// Checks the checkout; prints every finding.
pub(crate) fn run() -> Result<()> {
    let root = shell::root();
    let mut findings = text::searches()?;
    let mut sources = Vec::new();
    for file in shell::files(&["*.md", "*.rs"])? {
        let Ok(text) = std::fs::read_to_string(root.join(&file)) else {
            continue;
        };
        match file.ends_with(".rs") {
            true => sources.push(Source::new(&file, &text)),
            false => findings.extend(text::links(&root, &file, &text)),
        }
    }
    findings.extend(sources.iter().flat_map(text::shape));
    findings.extend(sources.iter().flat_map(text::reasons));
    findings.extend(text::dead(&sources));
    findings.extend(circles::check(&sources));
    findings.extend(circles::doors(&sources));
    let packages = packages::read().context("reading the packages")?;
    findings.extend(packages::check(&root, &packages));
    findings.sort();
    findings.iter().for_each(|finding| println!("{finding}"));
    ensure!(
        findings.is_empty(),
        "{} breaches of the house rules",
        findings.len()
    );
    let (files, packages) = (sources.len(), packages.len());
    println!("{files} Rust files and {packages} packages keep the house rules");
    Ok(())
}
