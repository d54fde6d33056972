//! `cargo xtask fuzz`: the fuzz targets (`fuzz/`), each for so many seconds, on top of their
//! corpus.
//!
//! Needs cargo-fuzz; without it the step is skipped aloud. What the fuzzer finds new goes to
//! `fuzz/target/corpus/`, so that the committed corpus grows only by hand; an input that fails is
//! left in `fuzz/artifacts/`. The gate needs none of this: tests replay the corpus through the same
//! functions.

use crate::shell::{self, Build};
use anyhow::{Result, ensure};
use clap::Args;
use std::fs;

/// The targets, in the order in which they run.
const TARGETS: [&str; 5] = ["prepare", "modules", "size", "ops", "bodies"];
/// Whose corpus is written into another's: the modules that it means are in `prepare`'s, which the
/// gate can replay.
const WITHOUT_CORPUS: &str = "modules";

#[derive(Args)]
pub(crate) struct Options {
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only these targets (default: all)
    targets: Vec<String>,
}

/// Runs the named targets, all when none is named; the first failure ends it.
pub(crate) fn run(options: &Options) -> Result<()> {
    for name in &options.targets {
        let known = TARGETS.contains(&name.as_str());
        ensure!(known, "no target `{name}`; there are: {}", TARGETS.join(", "));
    }
    if !has_fuzz() {
        println!("SKIPPED: cargo-fuzz is not there (cargo install cargo-fuzz)");
        return Ok(());
    }
    let all = options.targets.is_empty();
    for target in TARGETS {
        if all || options.targets.iter().any(|name| name == target) {
            fuzz(target, options.seconds)?;
        }
    }
    Ok(())
}

fn has_fuzz() -> bool {
    shell::succeeds(Build::Plain.cargo(&["fuzz", "--version"]))
}

fn fuzz(target: &str, seconds: u64) -> Result<()> {
    let found = shell::root().join("fuzz/target/corpus").join(target);
    fs::create_dir_all(&found)?;
    // Safe Rust, but for what reads the clock and maps memory: the sanitizers have nothing to find,
    // and cost half the speed.
    let mut cargo = Build::Plain.cargo(&["fuzz", "run", "--sanitizer", "none", target]);
    cargo.arg(found);
    if target != WITHOUT_CORPUS {
        cargo.arg(shell::root().join("fuzz/corpus").join(target));
    }
    cargo.args(["--", "-print_final_stats=1"]);
    cargo.arg(format!("-max_total_time={seconds}"));
    // Instrumentation is an unstable option of the compiler.
    cargo.env("RUSTC_BOOTSTRAP", "1");
    shell::run(cargo)
}

#[cfg(test)]
mod tests {
    //! Goal: no target is forgotten. Method: the folder of the targets against the list.
    use super::*;

    #[test]
    fn every_target_is_run() {
        let files = fs::read_dir(shell::root().join("fuzz/fuzz_targets")).unwrap();
        let mut names: Vec<_> = files
            .map(|file| {
                file.unwrap()
                    .path()
                    .file_stem()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        let mut listed = TARGETS.map(str::to_owned);
        listed.sort();
        assert_eq!(names, listed);
        for target in TARGETS.into_iter().filter(|target| *target != WITHOUT_CORPUS) {
            let corpus = shell::root().join("fuzz/corpus").join(target);
            assert!(
                fs::read_dir(corpus).unwrap().count() >= 10,
                "{target} has no corpus"
            );
        }
    }
}
