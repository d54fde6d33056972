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

/// What is run.
const SUITES: [&str; 2] = [
    "-p memfold --test hostile --test full --test page_tables",
    "-p memfold-wasmtime --test hostile",
];

/// Runs all of it; the first suite that fails ends the run.
pub(crate) fn run(options: &Options) -> Result<()> {
    gate::one("programs", &[])?;
    for suite in SUITES {
        let words = format!("test --release {suite} -- --test-threads=1 --nocapture");
        let mut cargo = Build::Plain.cargo(&words);
        cargo.env("MEMFOLD_GUESTS", options.guests.to_string());
        cargo.env("MEMFOLD_SEED", options.seed.to_string());
        shell::run(cargo).context("a promise does not hold")?;
    }
    Ok(())
}
