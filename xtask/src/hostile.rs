//! `cargo xtask hostile`: the promises under hostile machines, full budgets and hostile guests, at
//! their full length.
//!
//! The same tests stand in the gate with fewer guests. Here they are built as users build, one test
//! runs at a time (some change a setting of the machine, and all are judged by what the kernel
//! counts), and the well-behaved tenant's slowest call has a limit.

use crate::gate;
use crate::shell::{self, Build};
use anyhow::{Context, Result};

/// What the command line says.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many hostile guests there are
    #[arg(long, default_value_t = 10_000)]
    guests: u64,
    /// Where their scripts begin
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What is run: package, and its suites.
const SUITES: [(&str, &[&str]); 2] = [
    (
        "memfold",
        &["--test", "hostile", "--test", "full", "--test", "page_tables"],
    ),
    ("memfold-wasmtime", &["--test", "hostile"]),
];

/// Runs all of it; the first suite that fails ends the run.
pub(crate) fn run(options: &Options) -> Result<()> {
    gate::one("programs", &[])?;
    for (package, tests) in SUITES {
        let mut cargo = Build::Plain.cargo(&["test", "--release", "-p", package]);
        cargo.args(tests).args(["--", "--test-threads=1", "--nocapture"]);
        cargo.env("MEMFOLD_GUESTS", options.guests.to_string());
        cargo.env("MEMFOLD_SEED", options.seed.to_string());
        shell::run(cargo).with_context(|| format!("a promise of {package} does not hold"))?;
    }
    Ok(())
}
