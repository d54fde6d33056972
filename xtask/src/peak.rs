//! `cargo xtask peak -- COMMAND`: what a program that uses memfold holds, seen
//! from outside, by the kernel's own count. Nothing that the program says about itself is used.
//!
//! Four figures, and three sums:
//!
//! * **pool**: blocks of its memfds named `memfold*`: the frames that windows share;
//! * **windows**: `Anonymous` of the mappings of those memfds: the private pages of the images;
//! * **anonymous**: `RssAnon` of the whole process: the windows, and everything that has nothing
//!   to do with memory images (heap, stacks, code made at run time, the compressed store);
//! * **page tables**: `VmPTE` of the whole process: those under the windows, and a few hundred KiB for the rest;
//! * *images* = pool + windows, *kernel* = images + page tables, and *process* = pool + anonymous.
//!
//! Pool and `RssAnon` take microseconds to read, and are read every few
//! milliseconds. The windows need `/proc/PID/smaps`, which walks page tables, and
//! pages that move meanwhile would be counted twice or not at all. The command
//! is therefore stopped (SIGSTOP) for that reading, so seldom that it costs a
//! few percent. Both are samples: a peak between two of them is not seen.
//!
//! `sample.rs` reads one process; `watch.rs` runs a command and keeps the peaks.

mod sample;
mod watch;

pub(crate) use watch::{Peaks, watch};

use crate::table;
use anyhow::Result;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// The command line of `cargo xtask peak`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Print the peaks as JSON (to standard error, as the text)
    #[arg(long)]
    json: bool,
    /// Milliseconds between two samples
    #[arg(long, default_value_t = 2)]
    interval_ms: u64,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Runs the command where xtask was called, and reports on standard error, so
/// that what the command prints stays as it is. The exit code is the command's.
pub(crate) fn run(options: Options) -> ExitCode {
    match measure(&options) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<ExitCode> {
    let mut command = Command::new(&options.command[0]);
    command.args(&options.command[1..]);
    let (status, peaks) = watch(command, Duration::from_millis(options.interval_ms))?;
    if options.json {
        eprintln!("{}", serde_json::to_string_pretty(&peaks)?);
    } else {
        eprint!("{}", text(&peaks));
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

fn text(peaks: &Peaks) -> String {
    let row =
        |name: &str, value: u64, from: &str| vec![name.to_owned(), table::bytes(value), from.to_owned()];
    let fast = format!("{} samples", peaks.samples);
    let stopped = format!("{} samples, stopped", peaks.stopped_samples);
    let rows = [
        vec![
            "peak, from outside".to_owned(),
            String::new(),
            "seen in".to_owned(),
        ],
        row("pool (memfd blocks)", peaks.pool_bytes, &fast),
        row("windows (private pages)", peaks.window_bytes, &stopped),
        row("images = pool + windows", peaks.image_bytes, &stopped),
        row("page tables (VmPTE)", peaks.page_table_bytes, &stopped),
        row("kernel = images + tables", peaks.kernel_bytes, &stopped),
        row("anonymous (RssAnon)", peaks.anonymous_bytes, &fast),
        row("process = pool + anonymous", peaks.process_bytes, &fast),
    ];
    let gap = Duration::from_micros(peaks.longest_gap_us);
    format!(
        "{}longest time between two samples: {:.1} ms\n",
        table::render(&rows),
        gap.as_secs_f64() * 1e3
    )
}
