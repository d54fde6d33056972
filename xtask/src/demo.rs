//! `cargo xtask demo`: the main job of memfold, shown and checked.
//!
//! For each program: (1) 500 clones of one warm instance without a budget, (2)
//! the same inside a quarter of what (1) took, watched from outside by
//! `memfold peak`, (3) stock Wasmtime, every instance warmed by itself, for the
//! digest that is right. What each run printed stays in `target/demo/`.
//!
//! `report.rs` holds what is read from a run, the checks, and the table. `merging.rs` is the other
//! demonstration: `--merge`.

mod merging;
mod report;

use crate::shell::{self, Build};
use crate::{programs, table};
use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use report::{Peaks, Row, Run};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The command line of `cargo xtask demo`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many copies of the warm program [default: 500; 50 with --merge]
    #[arg(long)]
    clones: Option<u32>,
    /// How often each copy is called
    #[arg(long, default_value_t = 20)]
    calls: u32,
    /// Lua, SQLite and QuickJS, not only Lua
    #[arg(long, conflicts_with = "programs")]
    all: bool,
    /// These programs [default: lua; all three with --merge]
    #[arg(long, value_delimiter = ',')]
    programs: Vec<String>,
    /// Show merging instead: copies that were warmed up one by one, without a budget
    #[arg(long)]
    merge: bool,
}

impl Options {
    fn clones(&self) -> u32 {
        let usual = if self.merge { merging::CLONES } else { 500 };
        self.clones.unwrap_or(usual)
    }

    /// The first alone unless more is asked for: who looks for the first time sees a result soon.
    fn programs(&self) -> Vec<String> {
        let usual = match self.all || self.merge {
            true => &PROGRAMS[..],
            false => &PROGRAMS[..1],
        };
        match self.programs.is_empty() {
            true => usual.iter().map(|&name| name.to_owned()).collect(),
            false => self.programs.clone(),
        }
    }
}

/// What is shown, in this order.
const PROGRAMS: [&str; 3] = ["lua", "sqlite", "quickjs"];
/// The budget is the peak without one, divided by this.
const BUDGET_DIVISOR: u64 = 4;
/// Runs the demonstration; an error when any check fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    let begin = Instant::now();
    let programs = options.programs();
    programs::build(&shell::root(), &programs).context("building the Wasm programs")?;
    shell::run(Build::Plain.cargo(&["build", "--release", "--quiet", "-p", "memfold-cli"]))?;
    let stage = Stage::new(options)?;
    if options.merge {
        return merging::play(&stage, &programs);
    }
    let mut rows = Vec::new();
    for program in &programs {
        println!("{program}");
        rows.push(
            stage
                .play(program)
                .with_context(|| format!("{program} (see target/demo/)"))?,
        );
    }
    println!("\n{}", report::table(&rows));
    println!("{}", report::LEGEND);
    println!("total: {}", table::time(begin.elapsed()));
    if programs.len() < PROGRAMS.len() && options.programs.is_empty() {
        println!("SQLite and QuickJS too: cargo xtask demo --all");
    }
    let red = rows.iter().filter(|row| !row.failures().is_empty()).count();
    ensure!(red == 0, "{red} of {} programs did not pass", rows.len());
    Ok(())
}

/// Where and how the runs take place.
struct Stage<'a> {
    options: &'a Options,
    binary: PathBuf,
    programs: PathBuf,
    output: PathBuf,
}

impl<'a> Stage<'a> {
    fn new(options: &'a Options) -> Result<Self> {
        let output = shell::root().join("target/demo");
        fs::create_dir_all(&output)?;
        let binary = shell::target().join("release/memfold");
        ensure!(binary.exists(), "{} was not built", binary.display());
        Ok(Stage {
            options,
            binary,
            programs: shell::root().join("target/programs"),
            output,
        })
    }

    /// The three runs of one program.
    fn play(&self, program: &str) -> Result<Row> {
        let unlimited = self.act(program, "unlimited", &["--budget", "none"])?;
        let budget = unlimited.report.peak_bytes / BUDGET_DIVISOR;
        let limited = self.act(program, "budget", &["--budget", &budget.to_string()])?;
        let stock = self.act(program, "stock", &["--stock"])?;
        let clones = self.options.clones();
        Ok(Row {
            program: program.to_owned(),
            clones,
            budget,
            unlimited,
            limited,
            stock,
        })
    }

    /// One run, watched from outside.
    fn act(&self, program: &str, name: &str, how: &[&str]) -> Result<Run> {
        let spinner = spinner(&format!(
            "{name}: {} clones x {} calls",
            self.options.clones(),
            self.options.calls
        ));
        let out = self.output.join(format!("{program}-{name}.json"));
        let log = self.output.join(format!("{program}-{name}.log"));
        let seen = self.output.join(format!("{program}-{name}-outside.json"));
        let mut command = self.command(program, how, &seen);
        command.stdout(File::create(&out)?).stderr(File::create(&log)?);
        let line = shell::describe(&command);
        let begin = Instant::now();
        let status = command
            .status()
            .with_context(|| format!("cannot start: {line}"))?;
        let elapsed = begin.elapsed();
        spinner.finish_and_clear();
        ensure!(status.success(), "{line}: {status}\n{}", tail(&log));
        let report = report::parse(&fs::read_to_string(&out)?).with_context(|| line)?;
        let peaks: Peaks = serde_json::from_str(&fs::read_to_string(&seen)?)?;
        let peak = table::bytes(report.peak_bytes);
        println!("  {name}: {}, peak {peak}", table::time(elapsed));
        Ok(Run {
            report,
            peaks,
            elapsed,
        })
    }

    /// One `memfold` watches another.
    fn command(&self, program: &str, how: &[&str], seen: &Path) -> Command {
        let mut command = shell::clean(Command::new(&self.binary));
        command.args(["peak", "--json", "--output"]).arg(seen).arg("--");
        command
            .arg(&self.binary)
            .arg("run")
            .arg(self.programs.join(format!("{program}.wasm")));
        command.args([
            "--clones",
            &self.options.clones().to_string(),
            "--warm",
            "warm",
            "--call",
            "run",
        ]);
        command
            .args(["--calls", &self.options.calls.to_string()])
            .args(how)
            .arg("--json");
        command
    }
}

fn spinner(message: &str) -> ProgressBar {
    let style =
        ProgressStyle::with_template("  {spinner} {msg} ({elapsed})").expect("the template is constant");
    let spinner = ProgressBar::new_spinner()
        .with_style(style)
        .with_message(message.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

/// The last lines of a log.
fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
