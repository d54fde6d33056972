//! `cargo xtask campaign`: the checks that take hours, for a night or a release.
//!
//! Each part needs a tool that may not be there (Miri and the sanitizers come
//! with rustup components, mutants with a cargo command). A part whose tool
//! is missing is reported as *skipped*, never as passed.

use crate::shell::{self, Build};
use crate::{bugs, gate, table};
use anyhow::{Result, ensure};
use std::process::Command;
use std::time::Instant;

/// One long check.
struct Part {
    name: &'static str,
    /// Whether its tool is there.
    probe: fn() -> bool,
    /// What to do when it is not.
    hint: &'static str,
    run: fn() -> Result<()>,
}

const PARTS: [Part; 6] = [
    Part {
        name: "bugs",
        probe: || shell::root().join("verify/bugs").exists(),
        hint: "no verify/bugs/",
        run: all_bugs,
    },
    Part {
        name: "loom",
        probe: || true,
        hint: "",
        run: deep_loom,
    },
    Part {
        name: "shuttle",
        probe: || true,
        hint: "",
        run: long_shuttle,
    },
    Part {
        name: "miri",
        probe: has_miri,
        hint: "rustup +nightly component add miri rust-src",
        run: miri,
    },
    Part {
        name: "tsan",
        probe: has_rust_src,
        hint: "rustup component add rust-src",
        run: tsan,
    },
    Part {
        name: "mutants",
        probe: has_mutants,
        hint: "cargo install cargo-mutants",
        run: crate::mutants::campaign,
    },
];

/// Runs the named parts, all when none is named; goes on after a failure.
pub(crate) fn run(names: &[String]) -> Result<()> {
    for name in names {
        let known: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
        ensure!(
            known.contains(&name.as_str()),
            "no part `{name}`; there are: {}",
            known.join(", ")
        );
    }
    let mut rows = vec![["part", "verdict", "time"].map(str::to_owned).to_vec()];
    let mut failed = 0;
    for part in PARTS
        .iter()
        .filter(|part| names.is_empty() || names.iter().any(|name| name == part.name))
    {
        println!("\n==== {}", part.name);
        let begin = Instant::now();
        let verdict = if !(part.probe)() {
            format!("SKIPPED ({})", part.hint)
        } else if let Err(error) = (part.run)() {
            failed += 1;
            format!("FAILED: {error:#}")
        } else {
            "passed".to_owned()
        };
        println!("==== {}: {verdict}", part.name);
        rows.push(vec![part.name.to_owned(), verdict, table::time(begin.elapsed())]);
    }
    print!("\n{}", table::render(&rows));
    ensure!(failed == 0, "{failed} parts failed");
    Ok(())
}

fn all_bugs() -> Result<()> {
    bugs::run(&[])
}

/// Every interleaving of models that set no bound of their own.
fn deep_loom() -> Result<()> {
    let mut cargo = gate::loom(&[]);
    cargo.env("LOOM_MAX_PREEMPTIONS", "5");
    shell::run(cargo)
}

/// The same scenarios on a hundred times as many schedules.
fn long_shuttle() -> Result<()> {
    let mut cargo = gate::shuttle(&[]);
    cargo.env("MEMFOLD_EFFORT", "100");
    shell::run(cargo)
}

/// A cargo of another toolchain: rustup chooses by the first word.
fn nightly(args: &[&str]) -> Command {
    let mut cargo = shell::clean(Command::new("cargo"));
    cargo
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO")
        .env_remove("RUSTC")
        .arg("+nightly")
        .args(args);
    cargo
}

fn has_miri() -> bool {
    shell::succeeds(nightly(&["miri", "--version"]))
}

fn miri() -> Result<()> {
    let mut cargo = nightly(&[
        "miri",
        "test",
        "-p",
        "memfold-sync",
        "-p",
        "memfold-mm",
        "-p",
        "memfold-sim",
    ]);
    cargo.env("MIRIFLAGS", "-Zmiri-many-seeds=0..16 -Zmiri-strict-provenance");
    cargo.env("CARGO_TARGET_DIR", shell::root().join("target-miri"));
    shell::run(cargo)
}

fn has_rust_src() -> bool {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "sysroot"]);
    let sysroot = shell::read(rustc).unwrap_or_default();
    std::path::Path::new(sysroot.trim())
        .join("lib/rustlib/src/rust/library/Cargo.lock")
        .exists()
}

/// The standard library is built with the sanitizer, too: without that its own locks are reported.
fn tsan() -> Result<()> {
    let mut cargo = Build::Plain.cargo(&["test", "-Zbuild-std", "--target", "x86_64-unknown-linux-gnu"]);
    cargo.args([
        "--lib",
        "--tests",
        "-p",
        "memfold-mm",
        "-p",
        "memfold-linux",
        "-p",
        "memfold",
    ]);
    cargo
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=thread");
    cargo.env("CARGO_TARGET_DIR", shell::root().join("target-tsan"));
    shell::run(cargo)
}

fn has_mutants() -> bool {
    shell::succeeds(Build::Plain.cargo(&["mutants", "--version"]))
}
