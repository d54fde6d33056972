//! `cargo xtask sanitize`: the Linux host and the public library under ThreadSanitizer and
//! AddressSanitizer, and the manager under Miri.
//!
//! The standard library is built with the sanitizer as well (`-Zbuild-std`): without that its own
//! locks are reported. There are no suppressions; what the options below turn off is said beside
//! them. Each has a target directory of its own. What is not installed is fetched by rustup, or
//! skipped aloud.

use crate::shell::{self, Build};
use anyhow::{Result, bail};
use std::process::Command;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What looks on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Sanitizer {
    /// ThreadSanitizer: data races of real threads
    Thread,
    /// AddressSanitizer and LeakSanitizer: memory that is not there any more, or never given back
    Address,
    /// Miri: undefined behaviour, weak memory, strict provenance
    Miri,
}

/// What came of it, if nothing was reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All tests passed and nothing was reported.
    Passed,
    /// The tool is not there and cannot be fetched: how to get it.
    Skipped(String),
}

/// Runs these, all when none is named, and says what was skipped.
pub(crate) fn run(which: &[Sanitizer]) -> Result<()> {
    let all = [Sanitizer::Thread, Sanitizer::Address, Sanitizer::Miri];
    let mut failed = Vec::new();
    for &one in if which.is_empty() { &all[..] } else { which } {
        match sanitize(one) {
            Ok(Verdict::Passed) => println!("{one:?}: nothing was reported"),
            Ok(Verdict::Skipped(hint)) => println!("{one:?}: SKIPPED ({hint})"),
            Err(error) => failed.push(format!("{one:?}: {error:#}")),
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("{}", failed.join("; "))
}

/// Runs one of them.
pub(crate) fn sanitize(which: Sanitizer) -> Result<Verdict> {
    let (toolchain, components) = match which {
        Sanitizer::Thread | Sanitizer::Address => (None, &["rust-src"][..]),
        Sanitizer::Miri => (Some("+nightly"), &["miri", "rust-src"][..]),
    };
    let mut add = Command::new("rustup");
    add.args(toolchain).args(["component", "add"]).args(components);
    let hint = shell::describe(&add);
    if !shell::succeeds(add) {
        return Ok(Verdict::Skipped(hint));
    }
    match which {
        Sanitizer::Thread => shell::run(thread()),
        Sanitizer::Address => shell::run(address()),
        Sanitizer::Miri => shell::run(miri(&[
            "-p",
            "memfold-sync",
            "-p",
            "memfold-mm",
            "-p",
            "memfold-sim",
        ])),
    }?;
    Ok(Verdict::Passed)
}

/// The tests of what runs on real threads and real memory, with a sanitizer in everything.
fn instrumented(name: &str, cfg: &str, folder: &str) -> Command {
    let mut cargo = Build::Plain.cargo(&["test", "-Zbuild-std", "--target", TARGET]);
    cargo.arg("--no-fail-fast");
    // Documentation tests are not built with the standard library that was built here.
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
        .env("RUSTFLAGS", format!("-Zsanitizer={name}{cfg}"))
        .env("CARGO_TARGET_DIR", shell::root().join(folder));
    if std::env::var_os("MEMFOLD_SECONDS").is_none() {
        cargo.env("MEMFOLD_SECONDS", "4");
    }
    cargo
}

fn thread() -> Command {
    // The manager orders stores to a window's page and its own reads of it by the page's
    // protection, which only the kernel knows of: where it compares protected pages it reads them
    // as atomics then (`span.rs`).
    let mut cargo = instrumented("thread", " --cfg memfold_tsan", "target-tsan");
    // A fault's handler allocates where an array of the manager grows. The signal is that of a load
    // or store to a window, so the interrupted code is not inside the allocator: the warning is
    // about signals that come from outside. Tests that look at how a process dies of a signal need
    // the signal, which the sanitizer would take.
    cargo.env(
        "TSAN_OPTIONS",
        "report_signal_unsafe=0:handle_segv=0:handle_sigbus=0",
    );
    // It counts the mappings of the process, and the sanitizer makes some of its own.
    cargo.args(["--", "--skip", "windows_come_and_go"]);
    cargo
}

fn address() -> Command {
    let mut cargo = instrumented("address", "", "target-asan");
    // The sanitizer's own alternate stacks are small, and handlers here run on the thread's own
    // stack. The signals as above.
    cargo.env("ASAN_OPTIONS", "use_sigaltstack=0:handle_segv=0:handle_sigbus=0");
    // As above.
    cargo.args(["--", "--skip", "windows_come_and_go"]);
    cargo
}

/// Tests under Miri. Its weak memory is drawn at random: a few seeds.
fn miri(packages: &[&str]) -> Command {
    let mut cargo = shell::clean(Command::new("cargo"));
    // Rustup chooses by the first word.
    cargo
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO")
        .env_remove("RUSTC")
        .args(["+nightly", "miri", "test", "--lib"])
        .args(packages);
    if std::env::var_os("MIRIFLAGS").is_none() {
        cargo.env("MIRIFLAGS", "-Zmiri-many-seeds=0..4 -Zmiri-strict-provenance");
    }
    cargo.env("CARGO_TARGET_DIR", shell::root().join("target-miri"));
    cargo
}
