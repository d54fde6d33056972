//! `memfold run`: one program, warmed up once, forked many times, every clone called.
//!
//! ```text
//!  draft.rs     read                                  Draft
//!  program.rs   prepare, compile, link a module       Draft -> Program
//!  composed.rs  the same with a component             Draft -> Program
//!  clones.rs    warm up, freeze, fork                 Program -> Clones
//!  calls.rs     call all instances, round by round    Clones -> Tally
//!  mod.rs       what it comes to                      all of it -> Report
//! ```
//!
//! Beside that way: `module` (any file, read), `outline` (its names and types), `environment` (what
//! it is given), `mapping` (what it finds in its memory), `room` (what is known not to fit),
//! `entry`, `function` and `values` (what is called), `instance` and `body` (one instance),
//! `failure` (what stops one clone), `interrupt` (what stops all), `merging` (what goes on beside
//! the calls), `recording` (for who looks on), `digest`, `order`, `times`, `progress`.

mod body;
mod calls;
mod clones;
mod composed;
mod digest;
mod draft;
pub(crate) mod entry;
mod environment;
pub(crate) mod failure;
mod function;
mod instance;
mod interrupt;
#[allow(unsafe_code, reason = "a mapped file may be changed by others")]
mod mapping;
mod merging;
mod metrics;
mod module;
mod order;
mod outline;
mod program;
pub(crate) mod progress;
mod recording;
pub(crate) mod room;
mod stock;
mod times;
mod values;

pub(crate) use module::read as read_module;
pub(crate) use outline::{Outline, named};

use crate::args::{Making, Output, RunOptions};
use crate::error::{Error, Exit};
use crate::output;
use crate::report::{Area, Held, Merged, Report, StockMemory, Times};
use calls::{Plan, Tally};
use clones::Clones;
use draft::Draft;
use failure::{Failed, REPORTED};
use interrupt::Interrupt;
use order::Order;
use program::Program;
use progress::{Phase, Progress};

/// Runs it and prints the report.
pub(crate) fn run(options: &RunOptions) -> Result<Exit, Error> {
    let mut progress = Progress::new();
    progress.begin(Phase::Compile, 1);
    let draft = Draft::new(options)?;
    let interrupt = Interrupt::watch(draft.engine())?;
    let program = draft.compile(options)?;
    let mut warned = Vec::new();
    warn(&program, &mut warned);
    progress.record(recording::begin(&program, options)?);
    let _metrics = metrics::Serving::begin(&program, options)?;
    interrupt.in_order();
    let mut run = Run {
        options,
        stock: StockMemory::new(),
        clones: Clones::make(&program, options, &interrupt, &mut progress)?,
        tally: Tally::default(),
        merged: None,
    };
    run.stock.look();
    run.call(&program, &interrupt, &mut progress)?;
    run.stock.look();
    let synced = program.files.sync();
    progress.end();
    let recorded = progress.end_record();
    warn(&program, &mut warned);
    let report = Report {
        warnings: warned,
        ..run.report(&program, &interrupt, &progress)
    };
    output::print(&match options.output() {
        Output::Text => report.text(),
        Output::Json => report.json() + "\n",
    })?;
    synced?;
    recorded?;
    recording::write_page(options)?;
    Ok(exit(&report))
}

/// All that a report is made of.
struct Run<'a> {
    options: &'a RunOptions,
    stock: StockMemory,
    clones: Clones,
    tally: Tally,
    merged: Option<Merged>,
}

impl Run<'_> {
    /// Calls all clones, with merging beside it if that is wanted.
    fn call(
        &mut self,
        program: &Program,
        interrupt: &Interrupt,
        progress: &mut Progress,
    ) -> Result<(), Error> {
        if program.entries.call.is_some() {
            let made = u64::try_from(self.clones.instances.len()).unwrap_or(u64::MAX);
            progress.begin(Phase::Calls, made * u64::from(self.options.calls));
        }
        let bar = progress.bar();
        let (instances, options) = (&mut self.clones.instances, self.options);
        let mut calls = || {
            program.entries.call.as_ref().map(|entry| {
                let plan = Plan {
                    entry,
                    calls: options.calls,
                    threads: options.threads.get(),
                    order: Order::new(options.seed),
                    before: options.before(),
                    interrupt,
                    bar,
                };
                calls::run(instances, plan)
            })
        };
        let tally = match (options.merge_percent(), program.memory()) {
            (Some(percent), Some(memory)) => {
                let (tally, halfway) = merging::beside(memory, percent, || bar.position(), calls)?;
                self.merged = Some(merging::after(memory, halfway));
                tally
            }
            _ => calls(),
        };
        self.tally = tally.transpose()?.unwrap_or_default();
        Ok(())
    }

    fn report(&mut self, program: &Program, interrupt: &Interrupt, progress: &Progress) -> Report {
        let stats = program.memory().map(memfold::Memory::stats);
        let held = stats.as_ref().map(Held::new);
        let peak = stats.map_or_else(|| self.stock.peak_bytes(), |stats| stats.usage.peak);
        let mut alive: Vec<_> = self.clones.instances.iter_mut().flatten().collect();
        let logical_bytes = alive.iter_mut().map(|instance| instance.logical_bytes()).sum();
        let end = held.map_or(peak, |held| held.held_bytes);
        let added = end.saturating_sub(self.clones.base_bytes);
        let bytes_per_clone = added.checked_div(u64::try_from(alive.len()).unwrap_or(u64::MAX));
        let calls = program.entries.call.as_ref().map_or(0, |_| self.options.calls);
        let done = alive.iter().filter(|instance| instance.answered == calls).count();
        Report {
            program: program.name().to_owned(),
            mode: match self.options.making() {
                Making::Fork => "fork",
                Making::Independent => "independent",
                Making::Stock => "stock",
            },
            clones: self.options.clones.get(),
            completed: u32::try_from(done).unwrap_or(u32::MAX),
            failed: self.clones.failed + self.tally.failed,
            interrupted: interrupt.wanted(),
            calls_answered: self.tally.answered,
            digest: self.tally.digest.to_string(),
            logical_bytes,
            budget_bytes: self.options.budget_bytes(),
            peak_bytes: peak,
            held,
            merge: self.merged.clone(),
            bytes_per_clone,
            would_fit: bytes_per_clone.and_then(|bytes| self.would_fit(bytes)),
            times: self.times(),
            seconds: progress.total_seconds(),
            phase_seconds: progress.seconds(),
            warnings: Vec::new(),
            failures: self.failures(),
            areas: self.areas(program),
        }
    }

    /// Of the first clone that is there; the others' are the same.
    fn areas(&self, program: &Program) -> Vec<Area> {
        let first = self.clones.instances.iter().flatten().next();
        first.map_or_else(Vec::new, |instance| program.files.areas(&instance.areas()))
    }

    /// By memory; and no more than the machine has addresses for.
    fn would_fit(&self, bytes_per_clone: u64) -> Option<u64> {
        let machine = memfold::linux::probe();
        let room = self.options.budget_bytes().or(machine.total_ram)?;
        let clones = room.saturating_sub(self.clones.base_bytes) / bytes_per_clone.max(1);
        Some(clones.min(machine.windows().unwrap_or(u64::MAX)))
    }

    fn times(&self) -> Times {
        let (p50, p99) = (
            self.clones.starts.percentile_us(50),
            self.clones.starts.percentile_us(99),
        );
        match self.options.making() {
            Making::Fork => Times {
                fork_us: p50,
                fork_us_p50: p50,
                fork_us_p99: p99,
                space_fork_us_p50: self.clones.bare_forks.percentile_us(50),
                ..Times::default()
            },
            Making::Independent | Making::Stock => Times {
                start_us_p50: p50,
                start_us_p99: p99,
                ..Times::default()
            },
        }
    }

    fn failures(&self) -> Vec<Failed> {
        let all = self.clones.failures.iter().chain(&self.tally.failures);
        all.take(REPORTED).cloned().collect()
    }
}

/// Says each warning of the memory once, a line on stderr.
fn warn(program: &Program, warned: &mut Vec<String>) {
    let all = program
        .memory()
        .map(memfold::Memory::warnings)
        .unwrap_or_default();
    for warning in all.iter().map(ToString::to_string) {
        if !warned.contains(&warning) {
            output::complain(&format_args!("warning: {warning}"));
            warned.push(warning);
        }
    }
}

fn exit(report: &Report) -> Exit {
    match (report.interrupted, report.failed) {
        (true, _) => Exit::Interrupted,
        (false, 0) => Exit::Fine,
        (false, _) => Exit::Failed,
    }
}
