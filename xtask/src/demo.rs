//! `cargo xtask demo`: the main job of memfold, shown and checked.
//!
//! For each program: (1) 500 clones of one warm instance without a budget, (2) the same inside a
//! quarter of what (1) took, watched from outside by `memfold peak`, (3) stock Wasmtime, every
//! instance warmed by itself, for the digest that is right. What each run printed stays in
//! `target/demo/`.
//!
//! With `--merge`, instances that were warmed up one by one come together again: independent
//! instances as they are, the same merged, and stock Wasmtime. The round of merging begins with the
//! first call, so calls go on beside it; pages in memory when it ends are to be at most
//! [`most_percent`] of those when it began.
//!
//! With `--files`, 300 clones look words up in a file of 256 MiB that all of them map, inside 96
//! MiB; stock instances read it into their own memory, as many as fit (`demo/dictionary.rs`).
//!
//! With `--components`, 200 clones each of components that three languages' toolchains make of one
//! program (`programs/components`); what cannot be fetched is skipped aloud.
//!
//! With `--http`, a server answers each request in a fork of its own (`demo/http.rs`).

mod dictionary;
mod http;

use crate::shell::{self, Build};
use crate::table;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The command line of `cargo xtask demo`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many copies of the warm program [default: 500; 50 with --merge, 300 with --files, 200
    /// with --components]
    #[arg(long)]
    clones: Option<u32>,
    /// How often each copy is called [default: 20; 5 with --files, 10 with --components]
    #[arg(long)]
    calls: Option<u32>,
    /// Lua, SQLite and QuickJS, not only Lua
    #[arg(long)]
    all: bool,
    /// Show merging instead: copies that were warmed up one by one, without a budget
    #[arg(long)]
    merge: bool,
    /// Show a file that all clones map instead
    #[arg(long, conflicts_with_all = ["merge", "all"])]
    files: bool,
    /// Show components instead: one program in Rust, in Python and in JavaScript
    #[arg(long, conflicts_with_all = ["merge", "all", "files"])]
    components: bool,
    /// Show a server instead that answers 5,000 HTTP requests, each in a fork of its own
    #[arg(long, conflicts_with_all = ["merge", "all", "files", "components", "clones", "calls"])]
    http: bool,
}

/// What is shown, in this order. The first alone unless more is asked for: who looks for the first
/// time sees a result soon.
const PROGRAMS: [&str; 3] = ["lua", "sqlite", "quickjs"];
/// What the components are written in.
const LANGUAGES: [&str; 3] = ["rust", "python", "javascript"];
/// The budget is the peak without one, divided by this.
const BUDGET_DIVISOR: u64 = 4;

/// The columns, and what they mean.
const HEADING: &str =
    "program|clones|logical|unlimited peak|budget|inside|outside|process|fork|s free / budget|verdict";
const LEGEND: &str = "
logical: the clones' memories if nothing were shared. inside: the most that memfold's own budget counted.
outside: pages of the images (pool and windows) and page tables, counted by the kernel, read by another process.
process: all memory of the process, Wasm runtime and compressed store included, counted the same way.
Each program: every clone answered, the answers are those of stock Wasmtime, and inside <= budget, outside <= budget.";
const MERGE_HEADING: &str = "program|pages|after one round|of|beside it|background|at the end|verdict";

/// A line of the table, but for the verdict; and every promise that was not kept.
type Shown = (Vec<String>, Vec<String>);

/// Builds the command, and the programs by their script: what these need comes from the network,
/// beside the long build.
fn ready(script: &str, programs: &[&str]) -> Result<()> {
    std::thread::scope(|scope| {
        let build = "build --release --quiet -p memfold-cli";
        let built = scope.spawn(|| shell::run(Build::Plain.cargo(build)));
        let names: Vec<_> = programs.iter().map(|&name| name.to_owned()).collect();
        let programs = shell::script(script, &names);
        programs.and(built.join().unwrap_or_else(|_| bail!("the build panicked")))
    })
}

/// Runs the demonstration; an error when any check fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    let begin = Instant::now();
    let output = shell::root().join("target/demo");
    fs::create_dir_all(&output)?;
    if options.http {
        return http::run(&output);
    }
    type Act = fn(&Stage, &str) -> Result<Shown>;
    let (programs, usual, heading, act): (&[&str], _, _, Act) = match options {
        Options { merge: true, .. } => (&PROGRAMS, (50, 20), MERGE_HEADING, merge),
        Options { files: true, .. } => (&[dictionary::PROGRAM], (300, 5), HEADING, dictionary::look_up),
        Options { components: true, .. } => (&LANGUAGES, (200, 10), HEADING, squeeze),
        Options { all: true, .. } => (&PROGRAMS, (500, 20), HEADING, squeeze),
        _ => (&PROGRAMS[..1], (500, 20), HEADING, squeeze),
    };
    let script = if options.components {
        "components"
    } else {
        "programs"
    };
    ready(script, programs)?;
    let stage = Stage {
        clones: options.clones.unwrap_or(usual.0),
        calls: options.calls.unwrap_or(usual.1),
        program: "--warm warm --call run".to_owned(),
        output,
    };
    let mut rows = vec![heading.split('|').map(str::to_owned).collect::<Vec<_>>()];
    let built = |program: &&str| {
        shell::root()
            .join(format!("target/programs/{program}.wasm"))
            .exists()
    };
    let (programs, skipped): (Vec<&str>, Vec<&str>) = programs.iter().copied().partition(built);
    let mut red = 0;
    for &program in &programs {
        println!("{program}");
        let (mut cells, failures) =
            act(&stage, program).with_context(|| format!("{program} (see target/demo/)"))?;
        red += usize::from(!failures.is_empty());
        cells.push(verdict(&failures));
        rows.push(cells);
    }
    println!("\n{}", table::render(&rows));
    if !options.merge {
        println!("{}", LEGEND.trim_start());
    }
    if !skipped.is_empty() {
        let names = skipped.join(", ");
        println!("SKIPPED, for their toolchains cannot be had: {names}");
    }
    println!("total: {}", table::time(begin.elapsed()));
    if heading == HEADING && programs == PROGRAMS[..1] {
        println!("SQLite and QuickJS too: cargo xtask demo --all");
    }
    ensure!(red == 0, "{red} of {} programs did not pass", programs.len());
    Ok(())
}

/// The last cell of a row: which promises were not kept, if there are any.
fn verdict(failures: &[String]) -> String {
    match failures.is_empty() {
        true => "PASS".to_owned(),
        false => format!("FAIL: {}", failures.join("; ")),
    }
}

/// What a run says about itself (`memfold run --json`), and what was seen from outside (`memfold
/// peak --json`).
#[derive(Clone, Debug)]
struct Run {
    report: Value,
    peaks: Value,
    elapsed: Duration,
}

/// A number of what was said; none is the most that there is.
fn number(of: &Value, name: &str) -> u64 {
    of[name].as_u64().unwrap_or(u64::MAX)
}

/// Where and how the runs take place.
struct Stage {
    clones: u32,
    calls: u32,
    /// What is called, and what it is given.
    program: String,
    output: PathBuf,
}

impl Stage {
    /// One run, watched from outside: one `memfold` watches another.
    fn act(&self, program: &str, name: &str, how: &str) -> Result<Run> {
        let file = |end: &str| self.output.join(format!("{program}-{name}{end}"));
        let (out, log, seen) = (file(".json"), file(".log"), file("-outside.json"));
        let binary = shell::target().join("release/memfold").display().to_string();
        let (clones, calls, given) = (self.clones, self.calls, &self.program);
        let mut command = shell::command(&format!(
            "{binary} peak --json --output {} -- {binary} run target/programs/{program}.wasm {given} --json {how} \
             --clones {clones} --calls {calls}",
            seen.display()
        ));
        command.stdout(File::create(&out)?).stderr(File::create(&log)?);
        let line = shell::describe(&command);
        let begin = Instant::now();
        let status = command.status();
        let status = status.with_context(|| format!("cannot start: {line}"))?;
        let elapsed = begin.elapsed();
        let said = fs::read_to_string(&log)?;
        ensure!(status.success(), "{line}: {status}\n{said}");
        let output = fs::read_to_string(&out)?;
        // The report is the last line, or all of it.
        let last = output.lines().last().filter(|line| line.starts_with('{'));
        let report: Value = serde_json::from_str(last.unwrap_or(&output)).context(line)?;
        let peaks = serde_json::from_str(&fs::read_to_string(&seen)?)?;
        let peak = table::bytes(number(&report, "peak_bytes"));
        println!("  {name}: {}, peak {peak}", table::time(elapsed));
        Ok(Run {
            report,
            peaks,
            elapsed,
        })
    }
}

/// Every clone answered, as stock Wasmtime does.
fn wrong_answers(runs: &[(&str, &Run)], stock: &Run, clones: u32) -> Vec<String> {
    let mut failures = Vec::new();
    for (name, run) in runs.iter().chain(&[("stock", stock)]) {
        let completed = number(&run.report, "completed");
        if completed != u64::from(clones) {
            failures.push(format!("{name}: {completed} of {clones} clones completed"));
        }
        if run.report["digest"].is_null() || run.report["digest"] != stock.report["digest"] {
            failures.push(format!("{name}: other answers than stock Wasmtime"));
        }
    }
    failures
}

/// A quarter of the memory.
fn squeeze(stage: &Stage, program: &str) -> Result<Shown> {
    let free = stage.act(program, "unlimited", "--budget none")?;
    let budget = number(&free.report, "peak_bytes") / BUDGET_DIVISOR;
    let limited = stage.act(program, "budget", &format!("--budget {budget}"))?;
    let stock = stage.act(program, "stock", "--stock")?;
    let mut failures = wrong_answers(
        &[("unlimited", &free), ("budget", &limited)],
        &stock,
        stage.clones,
    );
    failures.extend(over_budget(&limited, budget));
    Ok((cells(stage, program, &free, &limited), failures))
}

/// The line of a program, without a budget and inside one.
fn cells(stage: &Stage, program: &str, free: &Run, limited: &Run) -> Vec<String> {
    let bytes = |of: &Value, name| table::bytes(number(of, name));
    let (free_s, limited_s) = (free.elapsed.as_secs_f64(), limited.elapsed.as_secs_f64());
    vec![
        program.to_owned(),
        stage.clones.to_string(),
        bytes(&limited.report, "logical_bytes"),
        bytes(&free.report, "peak_bytes"),
        bytes(&limited.report, "budget_bytes"),
        bytes(&limited.report, "peak_bytes"),
        bytes(&limited.peaks, "kernel_bytes"),
        bytes(&limited.peaks, "process_bytes"),
        format!("{:.0} us", limited.report["fork_us"].as_f64().unwrap_or(0.0)),
        format!("{free_s:.1} / {limited_s:.1}"),
    ]
}

/// What the budget was, seen from inside and from outside.
fn over_budget(run: &Run, budget: u64) -> Vec<String> {
    let inside = ("inside", number(&run.report, "peak_bytes"));
    let seen = [inside, ("outside", number(&run.peaks, "kernel_bytes"))];
    let over = seen.into_iter().filter(|(_, peak)| *peak > budget);
    let mut failures: Vec<String> = over
        .map(|(name, peak)| format!("{name} {} over budget", table::bytes(peak - budget)))
        .collect();
    if run.peaks["stopped_samples"].as_u64().unwrap_or(0) == 0 {
        failures.push("outside: no sample".to_owned());
    }
    failures
}

/// What may be left of a program's pages.
fn most_percent(program: &str) -> u64 {
    if program == "lua" { 30 } else { 45 }
}

/// Merging.
fn merge(stage: &Stage, program: &str) -> Result<Shown> {
    let apart = stage.act(program, "independent", "--independent")?;
    let merged = stage.act(program, "merged", "--independent --merge")?;
    let stock = stage.act(program, "stock", "--stock")?;
    let merging = &merged.report["merge"];
    let (first, last) = (&merging["first"], &merging["last"]);
    ensure!(first.is_object() && last.is_object(), "a round was refused");
    let pages = |round: &Value| (number(round, "pages_before"), number(round, "pages_after"));
    let (before, after) = pages(first);
    let background = merging["background_cpu_percent"].as_f64();
    let cells = vec![
        program.to_owned(),
        before.to_string(),
        format!("{after} ({:.1} %)", after as f64 / before.max(1) as f64 * 100.0),
        format!("{} %", most_percent(program)),
        format!("{} calls", first["calls_meanwhile"]),
        background.map_or("-".to_owned(), |cpu| format!("{cpu:.1} % of a core")),
        format!("{} -> {}", pages(last).0, pages(last).1),
    ];
    let mut failures = wrong_answers(
        &[("independent", &apart), ("merged", &merged)],
        &stock,
        stage.clones,
    );
    failures.extend(left_too_much(first, most_percent(program)));
    Ok((cells, failures))
}

fn left_too_much(first: &Value, most: u64) -> Vec<String> {
    let mut failures = Vec::new();
    let (before, after) = (number(first, "pages_before"), number(first, "pages_after"));
    if after.saturating_mul(100) > before.saturating_mul(most) {
        failures.push(format!("{after} of {before} pages are left"));
    }
    if first["calls_meanwhile"].as_u64().unwrap_or(0) == 0 {
        failures.push("no call was answered beside the round".to_owned());
    }
    failures
}

#[cfg(test)]
mod tests {
    //! Goal: what is promised is checked. Method: a run that keeps every promise, and such as break
    //! one.
    use super::*;
    use serde_json::json;

    #[test]
    fn each_promise_is_checked() {
        let run = |completed: u64, digest: &str, inside: u64, outside: u64, samples: u64| Run {
            report: json!({ "completed": completed, "digest": digest, "peak_bytes": inside }),
            peaks: json!({ "kernel_bytes": outside, "stopped_samples": samples }),
            elapsed: Duration::ZERO,
        };
        let stock = run(5, "a", 0, 0, 0);
        for (run, failures) in [
            (run(5, "a", 100, 100, 1), 0),
            (run(4, "a", 100, 100, 1), 1),
            (run(5, "b", 100, 100, 1), 1),
            (run(5, "a", 101, 100, 1), 1),
            (run(5, "a", 100, 101, 1), 1),
            (run(5, "a", 100, 100, 0), 1),
            // What was not said is not kept.
            (
                Run {
                    report: json!({}),
                    peaks: json!({}),
                    ..run(0, "", 0, 0, 0)
                },
                5,
            ),
        ] {
            let found = wrong_answers(&[("run", &run)], &stock, 5).len() + over_budget(&run, 100).len();
            assert_eq!(found, failures, "{run:?}");
        }
        assert_eq!(wrong_answers(&[], &run(4, "a", 0, 0, 0), 5).len(), 1);
    }

    #[test]
    fn a_round_that_left_too_much_or_stopped_the_calls_fails() {
        for (after, calls, failures) in [(450, 1, 0), (451, 1, 1), (451, 0, 2)] {
            let round = json!({ "pages_before": 1000, "pages_after": after, "calls_meanwhile": calls });
            assert_eq!(left_too_much(&round, 45).len(), failures);
        }
    }
}
