//! `cargo xtask fuzz`: the fuzz targets (`fuzz/`), each for so many seconds, on top of their
//! corpus.
//!
//! Needs cargo-fuzz; without it the step is skipped aloud. What the fuzzer finds new goes to
//! `fuzz/target/corpus/`, so that the committed corpus grows only by hand; an input that fails is
//! left in `fuzz/artifacts/`. The gate needs none of this: tests replay the corpus through the same
//! functions.

use crate::shell::{self, Build};
use anyhow::{Context, Result, ensure};
use std::fs;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only these targets (default: all)
    targets: Vec<String>,
}

/// All targets, by their names.
fn targets() -> Result<Vec<String>> {
    let files = shell::files(&["fuzz/fuzz_targets"])?;
    let name = |file: &String| Some(file.rsplit_once('/')?.1.strip_suffix(".rs")?.to_owned());
    Ok(files.iter().filter_map(name).collect())
}

/// Runs the named targets, all when none is named; the first failure ends it.
pub(crate) fn run(options: &Options) -> Result<()> {
    if !shell::succeeds(Build::Plain.cargo("fuzz --version")) {
        println!("SKIPPED: cargo-fuzz is not there (cargo install cargo-fuzz)");
        return Ok(());
    }
    let known = targets()?;
    let all = options.targets.is_empty();
    for target in if all { &known } else { &options.targets } {
        let named = known.contains(target);
        ensure!(named, "no target `{target}`; there are: {}", known.join(", "));
        fuzz(target, options.seconds).with_context(|| target.clone())?;
    }
    Ok(())
}

fn fuzz(target: &str, seconds: u64) -> Result<()> {
    let found = shell::root().join("fuzz/target/corpus").join(target);
    fs::create_dir_all(&found)?;
    // Safe Rust, but for what reads the clock and maps memory: the sanitizers have nothing to find,
    // and cost half the speed.
    let mut cargo = Build::Plain.cargo(&format!("fuzz run --sanitizer none {target}"));
    cargo.arg(found);
    // One's corpus is written into another's: what `modules` means is in that of `prepare`, which
    // the gate can replay.
    let corpus = shell::root().join("fuzz/corpus").join(target);
    cargo.args(corpus.exists().then_some(corpus));
    cargo.args(["--", "-print_final_stats=1"]);
    cargo.arg(format!("-max_total_time={seconds}"));
    // Instrumentation is an unstable option of the compiler.
    cargo.env("RUSTC_BOOTSTRAP", "1");
    shell::run(cargo)
}

#[cfg(test)]
mod tests {
    //! Goal: each target has a corpus, but for the one whose is another's. Method: the folders.
    use super::*;

    #[test]
    fn every_target_has_a_corpus() {
        let targets = targets().unwrap();
        assert!(targets.len() >= 5, "{targets:?}");
        for target in targets.iter().filter(|target| *target != "modules") {
            let corpus = shell::files(&[&format!("fuzz/corpus/{target}")]).unwrap();
            assert!(corpus.len() >= 10, "{target} has no corpus");
        }
    }
}
