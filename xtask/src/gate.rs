//! The gate: the steps of `cargo xtask test`, in order, each also a command.
//!
//! A step is one question that has to be answered with yes before a change is
//! merged. The first no ends the run. The tests run in the `dev` profile: it is
//! optimised enough for them, builds in half the time of `release`, and has the
//! debug assertions (lock ranks among them) on.
//!
//! Loom and shuttle replace the threads of the whole build, so each has a target
//! directory of its own and runs only the packages that hold its models.

use crate::shell::{self, Build};
use crate::{bugs, instructions, table, tidy};
use anyhow::{Context, Result, anyhow, ensure};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// One step of the gate: its name, its question, and what answers it. The words are the caller's,
/// handed to cargo.
type Step = (&'static str, &'static str, fn(&[String]) -> Result<()>);

/// All steps, in the order of the gate: what fails fastest stands first.
const STEPS: [Step; 11] = [
    ("fmt", "is the code formatted?", |_| {
        shell::run(Build::Plain.cargo("fmt --all --check"))
    }),
    ("tidy", "does it keep the house rules?", |_| {
        tidy::run(&shell::root())
    }),
    ("clippy", "is clippy silent?", |_| clippy()),
    ("docs", "is the documentation whole?", |_| docs()),
    ("programs", "do the Wasm programs build?", |args| {
        shell::script("programs", args)
    }),
    ("build", "do all tests build?", |_| {
        let mut build = tests(Build::Plain, &[]);
        build.arg("--no-run");
        shell::run(build)
    }),
    ("unit", "do all tests pass?", |args| {
        shell::run(tests(Build::Plain, args))
    }),
    (
        "instructions",
        "does no operation of the manager take more instructions than is committed?",
        |_| instructions::run(&instructions::Options::default()),
    ),
    ("shuttle", "do the scenarios hold on random schedules?", |args| {
        explore(Build::Shuttle, args)
    }),
    (
        "loom",
        "do the race models hold on every interleaving within bounds?",
        |args| explore(Build::Loom, args),
    ),
    (
        "bugs --short",
        "do the seeded defects still apply, and are a dozen of them caught?",
        |_| bugs::short(),
    ),
];

/// Steps that run beside another, from its beginning on. While clippy works, what the programs need
/// comes from the network. Tests wait for clocks and threads much of their time; and neither of
/// those beside them counts by a clock: one counts instructions, one schedules. (Race models do:
/// they run alone.)
const BESIDE: [(&str, &[&str]); 2] = [("clippy", &["programs"]), ("unit", &["instructions", "shuttle"])];

/// Seconds for a model, once for each of its threads that may go first.
const MODEL_SECONDS: &str = "30";

/// What a whole run may take on two cores; slower is reported, not refused.
const GATE_MAX: Duration = Duration::from_secs(20 * 60);

/// The packages with race models: the facade, the manager, and what tells them.
const MODELS: &str = "-p memfold-sync -p memfold-mm -p memfold-explain --features memfold-explain/explored";

/// All of it as users build it; and what only the model checker sees.
fn clippy() -> Result<()> {
    let deny = "--all-targets -- -D warnings";
    shell::run(Build::Plain.cargo(&format!("clippy --workspace {deny}")))?;
    shell::run(Build::Loom.cargo(&format!("clippy --release {MODELS} {deny}")))
}

/// What clippy has checked already is not checked again: so all packages at once.
fn docs() -> Result<()> {
    let mut cargo = Build::Plain.cargo("doc --no-deps --workspace");
    cargo.env("RUSTDOCFLAGS", "-D warnings");
    shell::run(cargo)
}

/// The tests of a build: all, as users build; the race models of the facade and the manager, and
/// whether they are told as they are; the scenarios that span manager and simulated host. The
/// caller's words stand in place of the packages.
pub(crate) fn tests(build: Build, args: &[String]) -> Command {
    let (how, packages) = match build {
        Build::Plain => ("test", "--workspace".to_owned()),
        Build::Loom => ("test --release", format!("--lib {MODELS}")),
        Build::Shuttle => ("test --release", "-p memfold-verify --test shuttle".to_owned()),
    };
    let mut cargo = build.cargo(how);
    if args.is_empty() {
        cargo.args(packages.split(' '));
    }
    cargo.args(args);
    cargo
}

/// Runs models; that there are none is a failure, not a pass. A few race models would take minutes:
/// each has [`MODEL_SECONDS`], and says so when it is not explored to its end. Chosen by their
/// names, and in campaigns, they are. (Scenarios under shuttle have a number of schedules.)
fn explore(build: Build, args: &[String]) -> Result<()> {
    let mut models = tests(build, args);
    if args.is_empty() {
        let mut list = tests(build, args);
        list.arg("--");
        let count = shell::tests(list)?.len();
        ensure!(count > 0, "there is not one model");
        println!("{count} models");
        if build == Build::Loom && std::env::var_os("MEMFOLD_SECONDS").is_none() {
            models.env("MEMFOLD_SECONDS", MODEL_SECONDS);
        }
    }
    shell::run(models)
}

/// Runs one step.
pub(crate) fn one(name: &str, args: &[String]) -> Result<()> {
    let (.., run) = STEPS.iter().find(|step| step.0 == name).context("no such step")?;
    run(args).with_context(|| format!("{name} failed"))
}

/// Runs the benchmark package.
pub(crate) fn bench(args: &[String]) -> Result<()> {
    let mut cargo = Build::Plain.cargo("bench -p memfold-benches");
    cargo.args(args);
    shell::run(cargo)
}

/// Runs a step as a command of its own, whose words are kept: its end, its time, and what it said.
fn aside(name: &str) -> (Result<()>, Duration, String) {
    let begin = Instant::now();
    let output = std::env::current_exe().and_then(|xtask| {
        let mut xtask = shell::clean(Command::new(xtask));
        xtask.arg(name).stdin(Stdio::null()).output()
    });
    let outcome = match &output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(_) => Err(anyhow!("see above")),
        Err(error) => Err(anyhow!("cannot start: {error}")),
    };
    let said = output.map_or_else(|_| Vec::new(), |output| [output.stdout, output.stderr].concat());
    (
        outcome,
        begin.elapsed(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// Runs every step in order, stops at the first failure, and says what took how long.
pub(crate) fn all() -> Result<()> {
    let begin = Instant::now();
    let (say, hear) = mpsc::channel();
    let mut done = Vec::new();
    let mut outcome = Ok(());
    for (n, (name, question, run)) in (1..).zip(STEPS) {
        println!("\n==== {n}/{}  {name}: {question}", STEPS.len());
        for (_, names) in BESIDE.into_iter().filter(|(beside, _)| *beside == name) {
            let say = say.clone();
            std::thread::spawn(move || {
                for name in names {
                    // Nobody hears it where the gate is over; it has run all the same.
                    let _ = say.send(aside(name));
                }
                // The race models are only built here.
                if names.contains(&"shuttle") {
                    let mut build = tests(Build::Loom, &[]);
                    build.arg("--no-run");
                    shell::succeeds(build);
                }
            });
        }
        let begin = Instant::now();
        let mut time = None;
        if BESIDE.iter().any(|(_, names)| names.contains(&name)) {
            let (end, took, said) = hear.recv().context("a step has run beside another")?;
            print!("{said}");
            (outcome, time) = (end, Some(took));
        } else {
            outcome = run(&[]);
        }
        let time = time.unwrap_or_else(|| begin.elapsed());
        let verdict = if outcome.is_ok() { "passed" } else { "FAILED" };
        println!("==== {name}: {verdict} in {}", table::time(time));
        done.push((verdict, time));
        if outcome.is_err() {
            break;
        }
    }
    // Nothing runs on after the gate.
    drop(say);
    hear.iter().for_each(drop);
    print!("\n{}", summary(&done));
    println!("total: {}", table::time(begin.elapsed()));
    if begin.elapsed() > GATE_MAX {
        println!("note: the gate should take less than {}", table::time(GATE_MAX));
    }
    let name = STEPS[done.len() - 1].0;
    outcome.with_context(|| format!("the gate is red at `{name}` (alone: cargo xtask {name})"))
}

/// One line a step, those that did not run included.
fn summary(done: &[(&str, Duration)]) -> String {
    let mut rows = vec![["step", "result", "time"].map(str::to_owned).to_vec()];
    for (index, step) in STEPS.iter().enumerate() {
        let (verdict, time) = match done.get(index) {
            Some((verdict, time)) => (*verdict, table::time(*time)),
            None => ("not run", String::new()),
        };
        rows.push(vec![step.0.to_owned(), verdict.to_owned(), time]);
    }
    table::render(&rows)
}

#[cfg(test)]
mod tests {
    //! Goal: the summary tells the truth about a run that stopped early. Method: by example.
    use super::*;

    #[test]
    fn the_summary_names_the_step_that_failed_and_those_not_run() {
        let second = Duration::from_secs(1);
        let text = summary(&[("passed", second), ("FAILED", second)]);
        let lines: Vec<&str> = text.lines().collect();
        let is = |line: &str, name, verdict| line.starts_with(name) && line.contains(verdict);
        assert!(
            is(lines[2], "fmt", "passed") && is(lines[3], "tidy", "FAILED"),
            "{text}"
        );
        assert!(lines[4..].iter().all(|line| line.contains("not run")), "{text}");
    }

    #[test]
    fn the_caller_may_choose_what_to_test() {
        let command = super::tests(Build::Loom, &["-p".into(), "memfold-mm".into(), "lru".into()]);
        let command = shell::describe(&command);
        assert!(command.ends_with("test --release -p memfold-mm lru"), "{command}");
    }
}
