//! `cargo xtask weaken`: each ordering of the core that is not relaxed is made weaker, and a race
//! model must fail.
//!
//! `Acquire` and `Release` become `Relaxed`; `AcqRel` becomes that and each of its halves, for a
//! half that nobody needs is an ordering too strong. The models of the module run first, then all.
//! Fences are left alone: without one the code would have to be another. A weakening is a defect
//! like those of `bugs.rs`, which tries it.

use crate::bugs::{self, Change, Defect};
use crate::copy::Checker;
use crate::shell::{self, Build};
use anyhow::{Result, ensure};
use std::fs;
use std::time::Duration;

/// Where orderings are the core's: its packages.
const ROOMS: [&str; 2] = ["crates/mm/src/", "crates/sync/src/"];
/// What all models together may take.
const LIMIT: Duration = Duration::from_secs(900);
/// What becomes of each ordering.
const WEAKER: [(&str, &[&str]); 3] = [
    ("Acquire", &["Relaxed"]),
    ("Release", &["Relaxed"]),
    ("AcqRel", &["Relaxed", "Acquire", "Release"]),
];

/// What the command line says.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// End after so many seconds, and say how many were not tried
    #[arg(long)]
    seconds: Option<u64>,
    /// Only files whose path contains one of these (default: all)
    files: Vec<String>,
}

/// Weakens the orderings, one after the other.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut all = Vec::new();
    for file in shell::files(&ROOMS)? {
        let is_named = options.files.is_empty() || options.files.iter().any(|part| file.contains(part));
        let is_test = ["tests.rs", "races.rs", "/tests/", "/races/"]
            .iter()
            .any(|part| file.contains(part));
        if is_named && !is_test && file.ends_with(".rs") {
            all.extend(weakened(&file, &fs::read_to_string(shell::root().join(&file))?));
        }
    }
    ensure!(!all.is_empty(), "no ordering to weaken in such a file");
    bugs::lanes(all, true, options.seconds)
}

/// The weakenings of a file, whose tests stand at its end.
fn weakened(file: &str, text: &str) -> Vec<Defect> {
    let mut found = Vec::new();
    let product = text.split("\n#[cfg(all(test").next().unwrap_or_default();
    let product = product.split("\n#[cfg(test").next().unwrap_or_default();
    for (at, word) in product.match_indices("Ordering::") {
        let (before, rest) = text.split_at(at + word.len());
        let line = before.matches('\n').count() + 1;
        let is_comment = before.rsplit('\n').next().unwrap_or_default().contains("//");
        for (ordering, weaker) in WEAKER.iter().filter(|_| !is_comment) {
            let Some(rest) = rest.strip_prefix(ordering) else {
                continue;
            };
            found.extend(weaker.iter().map(|to| {
                Defect {
                    name: format!("{file}:{line} {ordering} -> {to}"),
                    sentence: "no model sees it".to_owned(),
                    change: Change::Text(file.to_owned(), [before, to, rest].concat()),
                    checkers: [module(file), String::new()]
                        .map(|module| models(file, module))
                        .to_vec(),
                    limit: LIMIT,
                }
            }));
        }
    }
    found
}

/// The path of a file's module: what its models' names begin with.
fn module(file: &str) -> String {
    let path = file.split_once("/src/").map_or(file, |(_, path)| path);
    match path.trim_end_matches(".rs").trim_end_matches("/mod") {
        "lib" => String::new(),
        path => format!("{}::", path.replace('/', "::")),
    }
}

/// The models of a module, or all: of the file's package and of the one that stands on it.
fn models(file: &str, module: String) -> Checker {
    let sync = if file.starts_with(ROOMS[1]) {
        "-p memfold-sync "
    } else {
        ""
    };
    let words = format!("{sync}-p memfold-mm --lib {module}");
    let args = words.split_whitespace().map(str::to_owned).collect();
    let build = Build::Loom;
    Checker { build, args }
}

#[cfg(test)]
mod tests {
    //! Goal: one ordering is changed and no other. Method: by example.
    use super::*;

    #[test]
    fn each_ordering_is_weakened_alone() {
        let text = "/// Ordering::Acquire.\né(\"é\"); a.swap(1, Ordering::AcqRel, Ordering::Relaxed); // x\n\
            a.load(Ordering::Acquire); // y\n#[cfg(all(test, loom))]\nmod t { f(Ordering::Release) }\n";
        let all = weakened("crates/mm/src/frame/count.rs", text);
        let made: Vec<&str> = all
            .iter()
            .map(|one| one.name.rsplit_once("rs:").unwrap().1)
            .collect();
        let expected = [
            "2 AcqRel -> Relaxed",
            "2 AcqRel -> Acquire",
            "2 AcqRel -> Release",
            "3 Acquire -> Relaxed",
        ];
        assert_eq!(made, expected);
        let Change::Text(_, first) = &all[0].change else {
            panic!()
        };
        assert_eq!(first, &text.replace("AcqRel", "Relaxed"));
        assert_eq!(all[0].checkers[0].args.last().unwrap(), "frame::count::");
        assert_eq!(all[0].checkers[1].args, ["-p", "memfold-mm", "--lib"]);
    }
}
