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
use anyhow::{Context, Result, ensure};
use std::process::Command;
use std::time::{Duration, Instant};

/// A step of the gate, which is also a command.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) question: &'static str,
    /// When it runs, and beside what: see [`STEPS`].
    turn: (u8, u8),
    /// What answers. The words are handed to cargo.
    run: fn(&[String]) -> Result<()>,
}

const fn step(
    turn: (u8, u8),
    name: &'static str,
    question: &'static str,
    run: fn(&[String]) -> Result<()>,
) -> Step {
    Step {
        name,
        question,
        turn,
        run,
    }
}

/// All steps: what fails fastest first. Those whose turn begins with the same number begin
/// together; of these, those whose second number is the same follow one another. While all is
/// built, what the programs need comes from the network. Tests wait for clocks and threads much of
/// their time; and none of those beside them counts by a clock. (Race models do: they run alone.)
#[rustfmt::skip]
pub(crate) const STEPS: [Step; 10] = [
    step((0, 0), "fmt", "is the code formatted?", |_| shell::run(Build::Plain.cargo("fmt --all --check"))),
    step((0, 0), "tidy", "does it keep the house rules?", |_| tidy::run()),
    step((1, 0), "build", "does all build, and are clippy and rustdoc silent?", |_| no_run(Build::Plain)),
    step((1, 1), "programs", "do the Wasm programs build?", |args| shell::script("programs", args)),
    step((2, 0), "unit", "do all tests pass?", |args| shell::run(tests(Build::Plain, args))),
    step((2, 1), "instructions", "are the manager's instructions no more than committed?", instructions::run),
    step((2, 1), "shuttle", "do the scenarios hold on random schedules?", |args| explore(Build::Shuttle, args)),
    step((2, 1), "models", "do the race models build, and is clippy silent?", |_| no_run(Build::Loom)),
    step((3, 0), "loom", "do they hold on every interleaving within bounds?", |args| explore(Build::Loom, args)),
    step((4, 0), "defects", "do all seeded defects apply, and are eight caught?", |_| bugs::short()),
];

/// Runs one step, if there is one of that name.
pub(crate) fn one(name: &str, args: &[String]) -> Option<Result<()>> {
    let step = STEPS.iter().find(|step| step.name == name)?;
    Some((step.run)(args).with_context(|| format!("{name} failed")))
}

/// Seconds for a model, once for each of its threads that may go first.
const MODEL_SECONDS: &str = "5";

/// What a whole run may take on two cores; slower is reported, not refused.
const GATE_MAX: Duration = Duration::from_secs(20 * 60);

/// The packages with race models: the facade, the manager, and what tells them.
const MODELS: &str = "-p memfold-sync -p memfold-mm -p memfold-explain --features memfold-explain/explored";

/// The tests of a build: all, as users build; the race models of the facade and the manager, and
/// whether they are told as they are; the scenarios that span manager and simulated host. The
/// caller's words stand in place of the packages.
fn tests(build: Build, args: &[String]) -> Command {
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
    if build != Build::Shuttle {
        cargo.env("RUSTC_WORKSPACE_WRAPPER", shell::root().join("xtask/sh/rustc.sh"));
    }
    cargo
}

/// Runs models; that there are none is a failure, not a pass. A few race models would take minutes:
/// each has [`MODEL_SECONDS`], and says so when it is not explored to its end. Chosen by their
/// names, and in campaigns, they are. (Scenarios under shuttle have a number of schedules.)
fn explore(build: Build, args: &[String]) -> Result<()> {
    let mut models = tests(build, args);
    if args.is_empty() {
        let mut list = tests(build, args);
        list.args(["--", "--list"]);
        let count = shell::read(list)?
            .lines()
            .filter(|line| line.ends_with(": test"))
            .count();
        ensure!(count > 0, "there is not one model");
        println!("{count} models");
        if build == Build::Loom && std::env::var_os("MEMFOLD_SECONDS").is_none() {
            models.env("MEMFOLD_SECONDS", MODEL_SECONDS);
        }
    }
    shell::run(models)
}

/// Builds all that a build has, benchmarks and examples too, which clippy and rustdoc look at
/// (`rustc.sh`), and runs nothing.
fn no_run(build: Build) -> Result<()> {
    let mut build = tests(build, &[]);
    build.args(["--all-targets", "--no-run"]);
    shell::run(build)
}

/// How a step ended: its name, whether with yes, and the time it took.
type Done = (&'static str, bool, Duration);

/// Runs steps one after the other until the first no, each as a command of its own. What those
/// beside others say is shown when they have ended.
fn lane(steps: &[Step]) -> Result<Vec<Done>> {
    let mut done = Vec::new();
    for Step {
        name, question, turn, ..
    } in steps
    {
        let title = format!("\n==== {name}: {question}");
        let begin = Instant::now();
        let mut xtask = shell::command(&std::env::current_exe()?.display().to_string());
        xtask.arg(name);
        let passed = if turn.1 > 0 {
            let output = xtask.output()?;
            let said = [output.stdout, output.stderr].concat();
            println!("{title}\n{}", String::from_utf8_lossy(&said));
            output.status.success()
        } else {
            println!("{title}");
            xtask.status()?.success()
        };
        let verdict = if passed { "passed" } else { "FAILED" };
        println!("==== {name}: {verdict} in {}", table::time(begin.elapsed()));
        done.push((*name, passed, begin.elapsed()));
        if !passed {
            break;
        }
    }
    Ok(done)
}

/// Runs every step in its turn, stops after the first failure, and says what took how long.
pub(crate) fn all() -> Result<()> {
    let begin = Instant::now();
    let mut done = Vec::new();
    let is_red = |done: &[Done]| done.iter().find(|(_, passed, _)| !passed).map(|red| red.0);
    for together in STEPS.chunk_by(|a, b| a.turn.0 == b.turn.0) {
        std::thread::scope(|scope| -> Result<()> {
            let lanes = together.chunk_by(|a, b| a.turn == b.turn);
            let lanes: Vec<_> = lanes.map(|steps| scope.spawn(|| lane(steps))).collect();
            for lane in lanes {
                done.extend(lane.join().expect("a lane does not panic")?);
            }
            Ok(())
        })?;
        if is_red(&done).is_some() {
            break;
        }
    }
    print!("\n{}", summary(&done));
    println!("total: {}", table::time(begin.elapsed()));
    if begin.elapsed() > GATE_MAX {
        println!("note: the gate should take less than {}", table::time(GATE_MAX));
    }
    let name = is_red(&done);
    let why = || {
        format!(
            "the gate is red at `{0}` (alone: cargo xtask {0})",
            name.unwrap_or_default()
        )
    };
    ensure!(name.is_none(), why());
    Ok(())
}

/// One line a step, those that did not run included.
fn summary(done: &[Done]) -> String {
    let mut rows = vec![["step", "result", "time"].map(str::to_owned).to_vec()];
    for Step { name, .. } in STEPS {
        let (verdict, time) = match done.iter().find(|done| done.0 == name) {
            Some((_, true, time)) => ("passed", table::time(*time)),
            Some((_, false, time)) => ("FAILED", table::time(*time)),
            None => ("not run", String::new()),
        };
        rows.push(vec![name.to_owned(), verdict.to_owned(), time]);
    }
    table::render(&rows)
}

#[cfg(test)]
mod tests {
    //! Goal: the summary tells the truth about a run that stopped early, and every step has its
    //! place in the order. Method: by example.
    use super::*;

    #[test]
    fn the_summary_names_the_step_that_failed_and_those_not_run() {
        let second = Duration::from_secs(1);
        let text = summary(&[("fmt", true, second), ("tidy", false, second)]);
        let lines: Vec<&str> = text.lines().collect();
        let is = |line: &str, name, verdict| line.starts_with(name) && line.contains(verdict);
        assert!(
            is(lines[2], "fmt", "passed") && is(lines[3], "tidy", "FAILED"),
            "{text}"
        );
        assert!(lines[4..].iter().all(|line| line.contains("not run")), "{text}");
    }

    #[test]
    fn each_step_has_its_turn() {
        assert!(STEPS.is_sorted_by_key(|step| step.turn));
        for (n, step) in STEPS.iter().enumerate() {
            assert!(
                STEPS[..n].iter().all(|other| other.name != step.name),
                "{}",
                step.name
            );
        }
    }

    #[test]
    fn the_caller_may_choose_what_to_test() {
        let command = super::tests(Build::Loom, &["-p".into(), "memfold-mm".into(), "lru".into()]);
        let command = shell::describe(&command);
        assert!(command.ends_with("test --release -p memfold-mm lru"), "{command}");
    }
}
