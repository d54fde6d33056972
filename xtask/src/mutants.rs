//! `cargo xtask mutants`: does a test fail when the manager's code is wrong in some small way?
//!
//! cargo-mutants changes the manager, builds, and runs the tests, once for each of some 2,500 small
//! ways (`.cargo/mutants.toml`); a whole round is a night's work on two cores, so `--shard 0/50` or
//! `--in-diff FILE` says which. What is added here is the record: each survivor stands in
//! `verify/MUTANTS.md` with the reason why nobody sees it.

use crate::shell::{self, Build};
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;

/// How cargo-mutants says that some mutants survived, or that tests did not end in time.
const SURVIVORS: [i32; 2] = [2, 3];

/// Runs cargo-mutants on the manager, with these words in addition, and judges the survivors.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if !shell::succeeds(Build::Plain.cargo("mutants --version")) {
        println!("SKIPPED: cargo-mutants is not there (cargo install --locked cargo-mutants)");
        return Ok(());
    }
    let folder = shell::target();
    let mut cargo = Build::Plain.cargo("mutants --package memfold-mm --output");
    cargo.arg(&folder).args(args);
    println!("$ {}", shell::describe(&cargo));
    let status = cargo.status().context("cannot start cargo mutants")?;
    if !status.success() && !status.code().is_some_and(|code| SURVIVORS.contains(&code)) {
        bail!("cargo mutants: {status}");
    }
    let missed = std::fs::read_to_string(folder.join("mutants.out/missed.txt")).unwrap_or_default();
    let known = std::fs::read_to_string(record()).context("verify/MUTANTS.md")?;
    let unknown = unexplained(&missed, &known);
    ensure!(
        unknown.is_empty(),
        "survivors without a reason in verify/MUTANTS.md:\n{}",
        unknown.join("\n")
    );
    Ok(())
}

fn record() -> std::path::PathBuf {
    shell::root().join("verify/MUTANTS.md")
}

/// The survivors, as cargo-mutants names them, that the record does not name. Line and column are
/// left out: other changes move them.
fn unexplained<'a>(missed: &'a str, record: &str) -> Vec<&'a str> {
    // A bar inside a table's cell is escaped.
    let record = record.replace("\\|", "|");
    let is_unknown = |name: &&str| !record.contains(name.splitn(4, ':').last().unwrap_or(name).trim());
    missed.lines().filter(is_unknown).collect()
}

/// The files of the manager that the record's table names: `merge/join.rs:144:68` is one.
fn places(record: &str) -> impl Iterator<Item = &str> {
    let cells = record.lines().filter_map(|line| line.strip_prefix("| `"));
    cells.filter_map(|cell| {
        cell.split(['`', ':'])
            .next()
            .filter(|place| place.ends_with(".rs"))
    })
}

/// What to say of the places of the record that are no files of the manager any more.
pub(crate) fn lost(root: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(record()).context("verify/MUTANTS.md")?;
    let source = root.join("crates/mm/src");
    let lost = places(&text).filter(|place| !source.join(place).is_file());
    let say = |place| format!("verify/MUTANTS.md:1: mutants-record: `{place}` is no file of `crates/mm/src`");
    Ok(lost.map(say).collect())
}

#[cfg(test)]
mod tests {
    //! Goal: a survivor is explained or named, and the record's files are found. Method: by
    //! example.
    use super::*;

    const RECORD: &str = "| `a/b.rs:1:2` | `replace \\| with ^ in join` | equivalent | x |\n| place | x |\n";

    #[test]
    fn a_survivor_without_a_reason_is_named() {
        let missed = "crates/mm/src/a/b.rs:9:9: replace | with ^ in join\ncrates/mm/src/a.rs:1:1: delete !\n";
        assert_eq!(unexplained(missed, RECORD), ["crates/mm/src/a.rs:1:1: delete !"]);
    }

    #[test]
    fn the_record_names_files() {
        assert_eq!(places(RECORD).collect::<Vec<_>>(), ["a/b.rs"]);
    }
}
