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
use crate::{bugs, instructions, programs, table, tidy};
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::process::Command;
use std::time::{Duration, Instant};

/// One step of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Formatting.
    Fmt,
    /// House rules.
    Tidy,
    /// Lints.
    Clippy,
    /// The Wasm programs that later steps run.
    Programs,
    /// All tests.
    Unit,
    /// The manager's instructions.
    Instructions,
    /// Race models.
    Loom,
    /// Scenarios on random schedules.
    Shuttle,
    /// Seeded defects: whether all apply, and whether a dozen, drawn by the commit, are caught.
    Bugs,
    /// Documentation.
    Docs,
}

/// All steps, in the order of the gate: what fails fastest stands first.
const STEPS: [Step; 10] = [
    Step::Fmt,
    Step::Tidy,
    Step::Clippy,
    Step::Docs,
    Step::Programs,
    Step::Unit,
    Step::Instructions,
    Step::Shuttle,
    Step::Loom,
    Step::Bugs,
];

/// Steps that run while the tests do, which wait for clocks and threads much of their time. Neither
/// counts by a clock: one counts instructions, one schedules. (Race models do: they run alone.)
const BESIDE_UNIT: [Step; 2] = [Step::Instructions, Step::Shuttle];

/// Seconds for a model, once for each of its threads that may go first.
const MODEL_SECONDS: &str = "30";

/// What a whole run may take on two cores; slower is reported, not refused.
const GATE_MAX: Duration = Duration::from_secs(20 * 60);

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::Fmt => "fmt",
            Step::Tidy => "tidy",
            Step::Clippy => "clippy",
            Step::Programs => "programs",
            Step::Unit => "unit",
            Step::Instructions => "instructions",
            Step::Loom => "loom",
            Step::Shuttle => "shuttle",
            Step::Bugs => "bugs --short",
            Step::Docs => "docs",
        }
    }

    fn question(self) -> &'static str {
        match self {
            Step::Fmt => "is the code formatted?",
            Step::Tidy => "does it keep the house rules?",
            Step::Clippy => "is clippy silent?",
            Step::Programs => "do the Wasm programs build?",
            Step::Unit => "do all tests pass?",
            Step::Instructions => {
                "does no operation of the manager take more instructions than is committed?"
            }
            Step::Loom => "do the race models hold on every interleaving within bounds?",
            Step::Shuttle => "do the scenarios hold on random schedules?",
            Step::Bugs => "do the seeded defects still apply, and are a dozen of them caught?",
            Step::Docs => "is the documentation whole?",
        }
    }

    fn run(self, args: &[String]) -> Result<()> {
        match self {
            Step::Fmt => shell::run(Build::Plain.cargo(&["fmt", "--all", "--check"])),
            Step::Tidy => tidy::run(&shell::root()),
            Step::Clippy => clippy(),
            Step::Programs => programs::build(&shell::root(), &[]).context("building the Wasm programs"),
            Step::Unit => shell::run(unit(args)),
            Step::Instructions => instructions::run(&instructions::Options::default()),
            Step::Loom => explore(loom_in_time, args),
            Step::Shuttle => explore(shuttle, args),
            Step::Bugs => bugs::short(),
            Step::Docs => docs(),
        }
    }
}

/// All of it as users build it; and what only the model checker sees.
fn clippy() -> Result<()> {
    let workspace = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    shell::run(Build::Plain.cargo(&workspace))?;
    let mut models = Build::Loom.cargo(&["clippy", "--release", "--all-targets"]);
    models.args(MODELS).args(["--", "-D", "warnings"]);
    shell::run(models)
}

/// The packages with race models: the facade, the manager, and what tells them.
const MODELS: [&str; 8] = [
    "-p",
    "memfold-sync",
    "-p",
    "memfold-mm",
    "-p",
    "memfold-explain",
    "--features",
    "memfold-explain/explored",
];

/// All tests, as users build.
pub(crate) fn unit(args: &[String]) -> Command {
    with(Build::Plain.cargo(&["test"]), &["--workspace"], args)
}

/// The race models of the facade and the manager, and whether they are told as they are.
pub(crate) fn loom(args: &[String]) -> Command {
    let packages = [&MODELS[..], &["--lib"]].concat();
    let mut cargo = with(Build::Loom.cargo(&["test", "--release"]), &packages, args);
    // A model that sets no bound of its own gets this one; the caller may say otherwise.
    if std::env::var_os("LOOM_MAX_PREEMPTIONS").is_none() {
        cargo.env("LOOM_MAX_PREEMPTIONS", "3");
    }
    cargo
}

/// The scenarios that span manager and simulated host.
pub(crate) fn shuttle(args: &[String]) -> Command {
    with(
        Build::Shuttle.cargo(&["test", "--release"]),
        &["-p", "memfold-verify"],
        args,
    )
}

/// Runs models; that there are none is a failure, not a pass.
fn explore(models: fn(&[String]) -> Command, args: &[String]) -> Result<()> {
    if args.is_empty() {
        let mut list = models(args);
        list.args(["--", "--list"]);
        let count = shell::read(list)?
            .lines()
            .filter(|line| line.ends_with(": test"))
            .count();
        ensure!(count > 0, "there is not one model");
        println!("{count} models");
    }
    shell::run(models(args))
}

/// The race models as the gate runs them. A few would take minutes: each has [`MODEL_SECONDS`], and
/// says so when it is not explored to its end. Chosen by their names, and in campaigns, they are.
/// (Scenarios under shuttle have a number of schedules and need no such limit: they would fill it.)
fn loom_in_time(args: &[String]) -> Command {
    let mut models = loom(args);
    if args.is_empty() && std::env::var_os("MEMFOLD_SECONDS").is_none() {
        models.env("MEMFOLD_SECONDS", MODEL_SECONDS);
    }
    models
}

/// What clippy has checked already is not checked again: so all packages at once.
fn docs() -> Result<()> {
    let mut cargo = Build::Plain.cargo(&["doc", "--no-deps", "--workspace"]);
    cargo.env("RUSTDOCFLAGS", "-D warnings");
    shell::run(cargo)
}

/// Adds the caller's words, or the usual ones when there are none.
fn with(mut cargo: Command, usual: &[&str], args: &[String]) -> Command {
    if args.is_empty() {
        cargo.args(usual)
    } else {
        cargo.args(args)
    };
    cargo
}

/// Runs one step.
pub(crate) fn one(step: Step, args: &[String]) -> Result<()> {
    step.run(args).with_context(|| format!("{} failed", step.name()))
}

/// Runs the benchmark package.
pub(crate) fn bench(args: &[String]) -> Result<()> {
    if !shell::root().join("benches/Cargo.toml").exists() {
        bail!("this checkout has no benchmark package (benches/)");
    }
    shell::run(with(
        Build::Plain.cargo(&["bench", "-p", "memfold-benches"]),
        &[],
        args,
    ))
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Failed => "FAILED",
        }
    }
}

/// What a step came to that ran beside another: its end, its time, and what it said.
type Aside = (Result<()>, Duration, String);

/// Runs the steps of [`BESIDE_UNIT`], each as a command of its own, whose words are kept.
fn aside() -> Vec<Aside> {
    let one = |step: Step| {
        let begin = Instant::now();
        let outcome = std::env::current_exe().map_err(Into::into).and_then(|xtask| {
            let mut xtask = shell::clean(Command::new(xtask));
            shell::keep(xtask.arg(step.name()))
        });
        let (outcome, said) = match outcome {
            Ok((true, said)) => (Ok(()), said),
            Ok((false, said)) => (Err(anyhow!("see above")), said),
            Err(error) => (Err(error), String::new()),
        };
        (outcome, begin.elapsed(), said)
    };
    BESIDE_UNIT.into_iter().map(one).collect()
}

/// Runs every step in order, stops at the first failure, and says what took how long.
pub(crate) fn all() -> Result<()> {
    let begin = Instant::now();
    let mut done = Vec::new();
    let mut outcome = Ok(());
    let mut beside = None;
    let mut kept = Vec::new().into_iter();
    for (n, step) in (1..).zip(STEPS) {
        let (name, steps) = (step.name(), STEPS.len());
        println!("\n==== {n}/{steps}  {name}: {}", step.question());
        if step == Step::Unit {
            beside = Some(std::thread::spawn(aside));
        }
        let begin = Instant::now();
        let time;
        if BESIDE_UNIT.contains(&step) {
            if let Some(thread) = beside.take() {
                let results = thread
                    .join()
                    .map_err(|_| anyhow!("what ran beside the tests panicked"))?;
                kept = results.into_iter();
            }
            let said;
            (outcome, time, said) = kept.next().context("a step has run beside the tests")?;
            print!("{said}");
        } else {
            outcome = step.run(&[]);
            time = begin.elapsed();
        }
        let verdict = if outcome.is_ok() {
            Verdict::Passed
        } else {
            Verdict::Failed
        };
        done.push((verdict, time));
        println!("==== {name}: {} in {}", verdict.word(), table::time(time));
        if outcome.is_err() {
            break;
        }
    }
    if let Some(thread) = beside {
        // Not wanted any more; but nothing runs on after the gate.
        let _ = thread.join();
    }
    print!("\n{}", summary(&done));
    println!("total: {}", table::time(begin.elapsed()));
    if begin.elapsed() > GATE_MAX {
        println!("note: the gate should take less than {}", table::time(GATE_MAX));
    }
    let name = STEPS[done.len() - 1].name();
    outcome.with_context(|| format!("the gate is red at `{name}` (alone: cargo xtask {name})"))
}

/// One line a step, those that did not run included.
fn summary(done: &[(Verdict, Duration)]) -> String {
    let mut rows = vec![vec!["step".to_owned(), "result".to_owned(), "time".to_owned()]];
    for (index, step) in STEPS.into_iter().enumerate() {
        let (result, time) = match done.get(index) {
            None => ("not run", String::new()),
            Some(&(verdict, time)) => (verdict.word(), table::time(time)),
        };
        rows.push(vec![step.name().to_owned(), result.to_owned(), time]);
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
        let text = summary(&[(Verdict::Passed, second), (Verdict::Failed, second)]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[2].starts_with("fmt") && lines[2].contains("passed"),
            "{text}"
        );
        assert!(
            lines[3].starts_with("tidy") && lines[3].contains("FAILED"),
            "{text}"
        );
        assert!(lines[4..].iter().all(|line| line.contains("not run")), "{text}");
    }

    #[test]
    fn the_caller_may_choose_what_to_test() {
        let command = shell::describe(&loom(&["-p".into(), "memfold-mm".into(), "lru".into()]));
        assert!(command.ends_with("test --release -p memfold-mm lru"), "{command}");
    }
}
