//! `cargo xtask sanitize`: the Linux host and the public library under ThreadSanitizer and
//! AddressSanitizer, and the manager under Miri.
//!
//! The standard library is built with the sanitizer as well (`-Zbuild-std`): without that its own
//! locks are reported. There are no suppressions; what the options below turn off is said beside
//! them. Each has a target directory of its own. What is not installed is fetched by rustup, or
//! skipped aloud.

use crate::shell::{self, Build};
use anyhow::{Result, ensure};
use clap::ValueEnum;
use std::process::Command;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What looks on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sanitizer {
    /// ThreadSanitizer: data races of real threads
    Thread,
    /// AddressSanitizer and LeakSanitizer: memory that is not there any more, or never given back
    Address,
    /// Miri: undefined behaviour, weak memory, strict provenance
    Miri,
}

/// Runs these, all when none is named, and says what was skipped.
pub(crate) fn run(which: &[Sanitizer]) -> Result<()> {
    let all = Sanitizer::value_variants();
    let mut failed = Vec::new();
    for &one in if which.is_empty() { all } else { which } {
        let hint = match one {
            Sanitizer::Miri => "rustup +nightly component add miri rust-src",
            _ => "rustup component add rust-src",
        };
        if !shell::succeeds(shell::command(hint)) {
            println!("{one:?}: SKIPPED ({hint})");
            continue;
        }
        let test = match one {
            Sanitizer::Thread => thread()?,
            Sanitizer::Address => address()?,
            Sanitizer::Miri => miri(),
        };
        match shell::run(test) {
            Ok(()) => println!("{one:?}: nothing was reported"),
            Err(error) => failed.push(format!("{one:?}: {error:#}")),
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("; "));
    Ok(())
}

/// Test programs that stay out: they do to their process what a sanitizer does, too, or forbids
/// (forks, signals' masks and stacks, filters, allocations refused), or hold it to what the kernel
/// counts.
const NOT_HERE: [&str; 3] = ["hostile", "short_of_memory", "page_tables"];

/// The test programs of the host and the library.
fn programs() -> Result<Vec<String>> {
    let files = shell::files(&["crates/linux/tests", "crates/memfold/tests"])?;
    let name = |file: &String| {
        let name = file.strip_suffix("/main.rs").or(file.strip_suffix(".rs"))?;
        let (folder, name) = name.rsplit_once('/')?;
        (folder.ends_with("/tests") && !NOT_HERE.contains(&name)).then(|| name.to_owned())
    };
    Ok(files.iter().filter_map(name).collect())
}

/// The tests of what runs on real threads and real memory, with a sanitizer in everything.
fn instrumented(name: &str, cfg: &str, folder: &str) -> Result<Command> {
    let mut cargo = Build::Plain.cargo(&format!("test -Zbuild-std --target {TARGET}"));
    // Documentation tests are not built with the standard library that was built here.
    let words = "--no-fail-fast --lib -p memfold-mm -p memfold-linux -p memfold";
    cargo.args(words.split(' '));
    for program in programs()? {
        cargo.args(["--test", &program]);
    }
    // It counts the mappings of the process, and a sanitizer makes some of its own.
    cargo.args(["--", "--skip", "windows_come_and_go"]);
    cargo.env("RUSTC_BOOTSTRAP", "1");
    cargo.env("RUSTFLAGS", format!("-Zsanitizer={name}{cfg}"));
    cargo.env("CARGO_TARGET_DIR", shell::root().join(folder));
    // Everything takes ten times as long, and some have a time to end in.
    cargo.env("MEMFOLD_PATIENCE", "10");
    if std::env::var_os("MEMFOLD_SECONDS").is_none() {
        cargo.env("MEMFOLD_SECONDS", "4");
    }
    Ok(cargo)
}

fn thread() -> Result<Command> {
    // The manager orders stores to a window's page and its own reads of it by the page's
    // protection, which only the kernel knows of: where it compares protected pages it reads them
    // as atomics then (`span.rs`).
    let mut cargo = instrumented("thread", " --cfg memfold_tsan", "target-tsan")?;
    // A fault's handler allocates where an array of the manager grows. The signal is that of a load
    // or store to a window, so the interrupted code is not inside the allocator: the warning is
    // about signals that come from outside. Tests that look at how a process dies of a signal need
    // the signal, which the sanitizer would take.
    let options = "report_signal_unsafe=0:handle_segv=0:handle_sigbus=0";
    cargo.env("TSAN_OPTIONS", options);
    Ok(cargo)
}

fn address() -> Result<Command> {
    let mut cargo = instrumented("address", "", "target-asan")?;
    // The sanitizer's own alternate stacks are small, and handlers here run on the thread's own
    // stack. The signals as above.
    cargo.env("ASAN_OPTIONS", "use_sigaltstack=0:handle_segv=0:handle_sigbus=0");
    Ok(cargo)
}

/// Tests under Miri. Its weak memory is drawn at random: a few seeds.
fn miri() -> Command {
    let words = "cargo +nightly miri test --lib -p memfold-sync -p memfold-mm -p memfold-sim";
    let mut cargo = shell::command(words);
    // Rustup chooses by the first word.
    for name in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC"] {
        cargo.env_remove(name);
    }
    if std::env::var_os("MIRIFLAGS").is_none() {
        cargo.env("MIRIFLAGS", "-Zmiri-many-seeds=0..4 -Zmiri-strict-provenance");
    }
    cargo.env("CARGO_TARGET_DIR", shell::root().join("target-miri"));
    cargo
}

#[cfg(test)]
mod tests {
    //! Goal: a test program is looked at unless it is named here. Method: the folders.
    use super::*;

    #[test]
    fn other_test_programs_are_looked_at() {
        let programs = programs().unwrap();
        for name in ["conformance", "signals", "stress", "full", "basic"] {
            assert!(programs.iter().any(|program| program == name), "{name}");
        }
        let out = |name: &String| NOT_HERE.contains(&name.as_str()) || name == "common";
        assert!(!programs.iter().any(out), "{programs:?}");
    }
}
