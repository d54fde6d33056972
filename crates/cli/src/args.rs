//! The command line and its help. Plain values; what clap cannot check, `run` does.

use crate::surroundings::Surroundings;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use memfold_explain::options::RaceOptions;
use memfold_size::{Limit, SizeError};
use memfold_top::Size;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

const EXIT_STATUS: &str = "\
Exit status:
  0    every clone answered every call; the machine will do; every race is as it should be
  1    the program failed, in some clone or while it was warmed up; a defect was not caught, or a rule broken
  2    bad usage, a bad module (for `inspect`: one that cannot be forked), or a budget that cannot work
  3    the machine cannot do it (permission, kernel, limits); see `memfold check`
  130  interrupted (SIGINT); the report covers what was done until then";

const PEAK_STATUS: &str = "\
Exit status: the command's; 128 and the signal's number when a signal ended it; 2 when it cannot be started";

/// Runs many copies of one warmed-up program inside a fixed memory budget.
#[derive(Debug, Parser)]
#[command(name = "memfold", version, after_help = EXIT_STATUS)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Warm up one instance of a Wasm module or component, fork it many times, call every clone
    #[command(after_help = EXIT_STATUS)]
    Run(Box<RunOptions>),
    /// Tell whether a Wasm module or component can be forked, what its state is, and what would
    /// have to change
    #[command(after_help = EXIT_STATUS)]
    Inspect(InspectOptions),
    /// Tell whether this machine can run memfold, and try it
    #[command(after_help = EXIT_STATUS)]
    Check(CheckOptions),
    /// Run a command, and tell what it holds as the kernel counts it: nothing that it says about
    /// itself is used
    #[command(after_help = PEAK_STATUS)]
    Peak(PeakOptions),
    /// Look at what a process or a record holds and does, on the terminal
    #[command(after_help = EXIT_STATUS)]
    Top(TopOptions),
    /// Make a page for a browser of a record
    #[command(after_help = EXIT_STATUS)]
    Report(ReportOptions),
    /// Explore how memfold could go wrong, and show it step by step
    #[command(subcommand, after_help = EXIT_STATUS)]
    Explain(Topic),
}

#[derive(Args, Debug)]
pub(crate) struct PeakOptions {
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the peaks to this file instead of standard error
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Milliseconds between two samples
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub(crate) interval_ms: u32,
    /// The command and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    pub(crate) command: Vec<OsString>,
}

#[derive(Args, Debug)]
pub(crate) struct TopOptions {
    /// The socket of a process that runs; without one the only process of yours that has one
    pub(crate) socket: Option<PathBuf>,
    /// Look at a record instead, which `memfold run --record` writes
    #[arg(long, value_name = "FILE", conflicts_with = "socket")]
    pub(crate) replay: Option<PathBuf>,
    /// Print one screen of this size as text, and end
    #[arg(long, value_name = "COLUMNSxROWS", num_args = 0..=1, default_missing_value = "80x24")]
    pub(crate) once: Option<Size>,
    /// Use no colours (as with NO_COLOR in the environment)
    #[arg(long)]
    pub(crate) no_color: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ReportOptions {
    /// The record, which `memfold run --record` writes
    pub(crate) record: PathBuf,
    /// The page; it needs nothing else, and no network
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Topic {
    /// The race that memfold was born from: each known defect is put back into memfold's own
    /// sources and explored until it breaks something; then the same as memfold has it, on every
    /// interleaving
    #[command(after_help = EXIT_STATUS)]
    Race(RaceOptions),
}

#[derive(Args, Debug)]
pub(crate) struct InspectOptions {
    /// The module or component, in the binary or the text format
    pub(crate) module: PathBuf,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct CheckOptions {
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// How the clones are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Making {
    /// One is warmed up, the others are forks of it.
    Fork,
    /// Each is warmed up by itself, on memfold's memory.
    Independent,
    /// Each is warmed up by itself, on Wasmtime's own memory.
    Stock,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Delivery {
    /// Faults are resolved in the thread that made them, by a signal handler
    InThread,
    /// Faults are resolved by a thread of memfold's (needs more permission)
    Thread,
}

/// What to do before each call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// Nothing.
    Nothing,
    /// Move every page of the clone to the compressed store.
    Evict,
}

/// Where the report goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Text for people.
    Text,
    /// One object for programs.
    Json,
}

#[derive(Args, Debug)]
pub(crate) struct RunOptions {
    /// The program: a core module or a component, binary or text format; may import WASI preview 1
    /// or WASI 0.2
    pub(crate) module: PathBuf,
    /// How many clones; all stay alive until the end, but those that fail
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) clones: NonZeroU32,
    /// Most memory that all clones together may hold: 64MiB, 1.5GiB, bytes, or none
    #[arg(long, value_name = "SIZE", default_value = "none", value_parser = limit, conflicts_with = "stock")]
    budget: Limit,
    /// Export to call once before forking (after `_initialize`, if there is one)
    #[arg(long, value_name = "EXPORT")]
    pub(crate) warm: Option<String>,
    /// Export to call on every clone: parameters are none, (i32 clone) or (i32 clone, i32 call);
    /// results i32 or i64; of a component u32 instead, results of any simple type, functions of an
    /// exported instance as `instance#function`. Without it, a WASI command runs once in each clone
    #[arg(long, value_name = "EXPORT", group = "called")]
    pub(crate) call: Option<String>,
    /// Export to call on every clone with the values that follow `--`; one clone alone prints the
    /// results
    #[arg(long, value_name = "EXPORT", group = "called")]
    pub(crate) invoke: Option<String>,
    /// How often each clone is called: call 0 of all clones, then call 1, and so on
    #[arg(long, value_name = "K", default_value_t = 1, requires = "called")]
    pub(crate) calls: u32,
    /// Threads that the clones are divided among
    #[arg(long, value_name = "T", default_value = "1")]
    pub(crate) threads: NonZeroU32,
    /// Call the clones of each round in an order drawn from this number, instead of by their
    /// numbers
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,
    /// Warm up every instance by itself instead of forking one, on memfold's memory
    #[arg(long)]
    independent: bool,
    /// Warm up every instance by itself on plain Wasmtime, without memfold: for comparison
    #[arg(long, conflicts_with = "independent")]
    stock: bool,
    /// Move every page of a clone to the compressed store before each of its calls
    #[arg(long, conflicts_with = "stock")]
    evict_every: bool,
    /// Merge equal pages of the clones while they are called, and once more at the end
    #[arg(long, conflicts_with = "stock")]
    merge: bool,
    /// Processor time for merging while clones are called, in per cent of one core
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0, requires = "merge", value_parser = share)]
    merge_cpu: f64,
    /// How faults are delivered
    #[arg(long, value_enum, default_value_t = Delivery::InThread, conflicts_with = "stock")]
    delivery: Delivery,
    /// Let all clones print (one alone may, always); with --json their output goes to stderr
    #[arg(long)]
    inherit: bool,
    /// Print one JSON object instead of text
    #[arg(long, action = ArgAction::SetTrue)]
    json: bool,
    /// Write what is held and done, ten times a second, to this file, for `memfold top --replay`
    #[arg(long, value_name = "FILE", conflicts_with = "stock")]
    pub(crate) record: Option<PathBuf>,
    /// Write the same, at the end, as a page for a browser to this file
    #[arg(long, value_name = "FILE", conflicts_with = "stock")]
    pub(crate) report: Option<PathBuf>,
    /// Serve metrics for Prometheus at this address while the program runs: a port of this
    /// machine's own (127.0.0.1), or an address and a port, for whoever can reach it
    #[arg(long, value_name = "[IP:]PORT", conflicts_with = "stock", value_parser = address)]
    pub(crate) metrics: Option<SocketAddr>,
    /// Do not let `memfold top` look at this process
    #[arg(long)]
    pub(crate) no_socket: bool,
    /// Compile the module, whatever the user's cache folder has of it, and keep nothing there
    #[arg(long)]
    pub(crate) no_cache: bool,
    #[command(flatten)]
    pub(crate) surroundings: Surroundings,
}

impl RunOptions {
    pub(crate) fn making(&self) -> Making {
        match (self.stock, self.independent) {
            (true, _) => Making::Stock,
            (false, true) => Making::Independent,
            (false, false) => Making::Fork,
        }
    }

    pub(crate) fn budget_bytes(&self) -> Option<u64> {
        self.budget.bytes()
    }

    pub(crate) fn delivery(&self) -> memfold::Delivery {
        match self.delivery {
            Delivery::InThread => memfold::Delivery::InThread,
            Delivery::Thread => memfold::Delivery::Thread,
        }
    }

    pub(crate) fn before(&self) -> Before {
        if self.evict_every {
            Before::Evict
        } else {
            Before::Nothing
        }
    }

    /// Whether equal pages are merged, and with how many per cent of a core while clones are
    /// called.
    pub(crate) fn merge_percent(&self) -> Option<f64> {
        self.merge.then_some(self.merge_cpu)
    }

    pub(crate) fn output(&self) -> Output {
        if self.json { Output::Json } else { Output::Text }
    }

    /// Whether clones may print.
    pub(crate) fn voice(&self) -> Voice {
        match (self.inherit || self.clones.get() == 1, self.json) {
            (false, _) => Voice::Silent,
            (true, false) => Voice::Ours,
            (true, true) => Voice::Stderr,
        }
    }
}

/// Where what the program prints goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Voice {
    /// Nowhere.
    Silent,
    /// To our own stdout and stderr.
    Ours,
    /// All to our stderr: stdout is for the report.
    Stderr,
}

fn share(text: &str) -> Result<f64, String> {
    let percent: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=100.0).contains(&percent) {
        Ok(percent)
    } else {
        Err("per cent of one core are 0 to 100".to_owned())
    }
}

/// A port alone is one of the machine's own.
fn address(text: &str) -> Result<SocketAddr, String> {
    let own = text
        .parse::<u16>()
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let given = own.or_else(|_| text.parse());
    given.map_err(|_| "say a port, as 9184, or an address and a port, as 127.0.0.1:9184".to_owned())
}

fn limit(text: &str) -> Result<Limit, SizeError> {
    memfold_size::parse_limit(text)
}

#[cfg(test)]
mod tests {
    //! Goal: the command line is consistent. Method: clap's own check, and the combinations that
    //! matter.
    use super::*;
    use clap::CommandFactory;

    fn options(words: &str) -> Result<Box<RunOptions>, clap::Error> {
        let words = ["memfold", "run", "a.wasm"]
            .into_iter()
            .chain(words.split_whitespace());
        match Cli::try_parse_from(words)?.command {
            Command::Run(options) => Ok(options),
            _ => unreachable!("the words say run"),
        }
    }

    #[test]
    fn clap_finds_no_fault() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_exclude_each_other() {
        for words in [
            "--stock --independent",
            "--stock --evict-every",
            "--stock --budget 1GiB",
            "--stock --delivery thread",
            "--stock --merge",
            "--stock --record a",
            "--stock --report a",
            "--metrics localhost",
            "--stock --metrics 9184",
            "--merge --merge-cpu 101",
            "--merge --merge-cpu NaN",
            "--calls 3",
            "--call a --invoke b",
            "--dir ::x",
            "--env x",
            "--stub-imports one",
            "one",
            "--clones 0",
            "--threads 0",
            "--budget many",
        ] {
            assert!(options(words).is_err(), "{words}");
        }
    }

    #[test]
    fn defaults_are_modest() {
        let options = options("").unwrap();
        assert_eq!((options.making(), options.budget_bytes()), (Making::Fork, None));
        assert_eq!(
            (options.before(), options.voice()),
            (Before::Nothing, Voice::Ours)
        );
    }

    #[test]
    fn many_clones_are_silent_unless_asked() {
        assert_eq!(options("--clones 2").unwrap().voice(), Voice::Silent);
        assert_eq!(options("--clones 2 --inherit").unwrap().voice(), Voice::Ours);
        assert_eq!(options("--clones 1 --json").unwrap().voice(), Voice::Stderr);
    }
}
