//! `memfold peak -- COMMAND`: what a program that uses memfold holds, seen
//! from outside, by the kernel's own count. Nothing that the program says about itself is used.
//!
//! Four figures, and three sums:
//!
//! * **pool**: blocks of its memfds named `memfold*`: the frames that windows share;
//! * **windows**: `Anonymous` of the mappings of those memfds: the private pages of the images;
//! * **anonymous**: `RssAnon` of the whole process: the windows, and everything that has nothing
//!   to do with memory images (heap, stacks, code made at run time, the compressed store);
//! * **page tables**: `VmPTE` of the whole process: those under the windows, and a few hundred KiB
//!   for the rest;
//! * *images* = pool + windows, *kernel* = images + page tables, and *process* = pool + anonymous.
//!
//! Pool, `RssAnon` and `VmPTE` take microseconds to read, and are read every few
//! milliseconds. The windows need `/proc/PID/smaps`, which walks page tables, and
//! pages that move meanwhile would be counted twice or not at all. The command
//! is therefore stopped (SIGSTOP) for that reading, so seldom that it costs a
//! few percent. Both are samples: a peak between two of them is not seen.
//!
//! `sample.rs` reads one process; `watch.rs` runs a command and keeps the peaks.

mod sample;
mod watch;

use crate::args::PeakOptions;
use crate::error::Error;
use crate::output;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus};
use std::time::Duration;
use watch::{Peaks, watch};

/// What a shell answers for a command that a signal ended: so much more than the signal's number.
const SIGNALLED: i32 = 128;

/// Runs the command, and reports on standard error or to a file, so that what the command prints
/// stays as it is. The exit status is the command's.
pub(crate) fn peak(options: &PeakOptions) -> Result<ExitCode, Error> {
    // Clap asks for one word at least.
    let (program, words) = options.command.split_first().ok_or(Error::NoCommand)?;
    let mut command = Command::new(program);
    command.args(words);
    let (status, peaks) = watch(command, Duration::from_millis(options.interval_ms.into()))?;
    report(options, &peaks)?;
    Ok(code(status))
}

fn report(options: &PeakOptions, peaks: &Peaks) -> Result<(), Error> {
    let text = match options.json {
        // Numbers only: there is nothing that could fail.
        true => serde_json::to_string(peaks).unwrap_or_default() + "\n",
        false => text(peaks),
    };
    match &options.output {
        None => {
            output::remark(&text);
            Ok(())
        }
        Some(path) => fs::write(path, text).map_err(|source| Error::system("to write the peaks", source)),
    }
}

fn code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| SIGNALLED + signal));
    code.and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from)
}

fn text(peaks: &Peaks) -> String {
    let fast = format!("{} samples", peaks.samples);
    let stopped = format!("{} samples, stopped", peaks.stopped_samples);
    let rows = [
        ("pool (memfd blocks)", peaks.pool_bytes, &fast),
        ("windows (private pages)", peaks.window_bytes, &stopped),
        ("images = pool + windows", peaks.image_bytes, &stopped),
        ("page tables (VmPTE)", peaks.page_table_bytes, &fast),
        ("kernel = images + tables", peaks.kernel_bytes, &stopped),
        ("anonymous (RssAnon)", peaks.anonymous_bytes, &fast),
        ("process = pool + anonymous", peaks.process_bytes, &fast),
    ];
    let mut text = format!("{:<28}{:>10}  seen in\n", "peak, from outside", "");
    for (name, bytes, from) in rows {
        text += &format!("{name:<28}{:>10}  {from}\n", memfold_size::show(bytes));
    }
    let gap = Duration::from_micros(peaks.longest_gap_us);
    text + &format!(
        "longest time between two samples: {:.1} ms\n",
        gap.as_secs_f64() * 1e3
    )
}

#[cfg(test)]
mod tests {
    //! Goal: the status is the command's, and the table has the figures. Method: by hand.
    use super::*;

    #[test]
    fn statuses() {
        let same = |raw, code| {
            let found = super::code(ExitStatus::from_raw(raw));
            assert_eq!(format!("{found:?}"), format!("{:?}", ExitCode::from(code)));
        };
        same(0, 0);
        same(3 << 8, 3);
        // SIGKILL
        same(9, 137);
    }

    #[test]
    fn figures() {
        let peaks = Peaks {
            pool_bytes: 3 << 20,
            samples: 7,
            longest_gap_us: 2500,
            ..Peaks::default()
        };
        let text = text(&peaks);
        for part in ["pool (memfd blocks)", "3.0 MiB  7 samples\n", ": 2.5 ms"] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }
}
