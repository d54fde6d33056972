//! The parts of a campaign: what each runs within its share.

use super::Verdict;
use super::share::Share;
use crate::shell::{self, Build};
use crate::{bugs, gate, weaken};
use anyhow::{Result, ensure};
use std::process::Command;

/// One long check.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    /// How much of the time it gets, among the others' weights.
    pub(crate) weight: u32,
    /// What it counts: a part that counted none of it did nothing.
    pub(crate) counts: &'static str,
    /// What to do to have its tool, when that is not here.
    pub(crate) missing: fn() -> Option<String>,
    /// Builds, before the clock starts.
    pub(crate) build: fn() -> Result<()>,
    pub(crate) run: fn(&mut Share) -> Result<Verdict>,
}

/// All parts, in their order.
pub(crate) const PARTS: [Part; 11] = [
    Part {
        name: "simulation",
        weight: 15,
        counts: "operations",
        build: build_simulation,
        run: simulation,
        ..USUAL
    },
    Part {
        name: "shuttle",
        weight: 30,
        counts: "schedules",
        build: || built(scenarios()),
        run: shuttle,
        ..USUAL
    },
    Part {
        name: "loom",
        weight: 15,
        counts: "executions",
        build: || built(gate::loom(&[])),
        run: loom,
        ..USUAL
    },
    Part {
        name: "stress",
        weight: 5,
        counts: "stores",
        build: || built(on_this_kernel()),
        run: stress,
        ..USUAL
    },
    Part {
        name: "bugs",
        weight: 15,
        counts: "defects_caught",
        run: all_bugs,
        ..USUAL
    },
    Part {
        name: "weaken",
        weight: 12,
        counts: "orderings_caught",
        run: weakened,
        ..USUAL
    },
    Part {
        name: "tsan",
        weight: 5,
        run: tsan,
        ..USUAL
    },
    Part {
        name: "asan",
        weight: 5,
        run: asan,
        ..USUAL
    },
    Part {
        name: "miri",
        weight: 8,
        run: miri,
        ..USUAL
    },
    Part {
        name: "fuzz",
        weight: 8,
        counts: "fuzz_inputs",
        missing: no_fuzz,
        run: fuzz,
        ..USUAL
    },
    Part {
        name: "mutants",
        weight: 8,
        counts: "mutants_caught",
        missing: no_mutants,
        run: mutants,
        ..USUAL
    },
];

/// What most parts have in common.
pub(crate) const USUAL: Part = Part {
    name: "",
    weight: 1,
    counts: "tests_passed",
    missing: || None,
    build: || Ok(()),
    run: |_| Ok(Verdict::Passed),
};

/// Builds what a test command would run.
fn built(mut cargo: Command) -> Result<()> {
    cargo.arg("--no-run");
    shell::run(cargo)
}

/// How a failure of the part is seen again.
pub(crate) fn replay(part: &str) -> &'static str {
    match part {
        "simulation" => {
            "`cargo run --profile checked -p memfold-verify --example simulate --` with the words that stand there"
        }
        "shuttle" => "`MEMFOLD_SCHEDULE=file cargo xtask shuttle -p memfold-verify --test shuttle scenario`",
        "bugs" => "`cargo xtask bugs name`",
        _ => "the command above",
    }
}

fn build_simulation() -> Result<()> {
    let mut build = Build::Plain.cargo(&["build", "--profile", "checked", "-p", "memfold-verify"]);
    build.args(["--example", "simulate"]);
    shell::run(build)
}

/// Operations on the manager and the oracle, with calls refused; a process for each core.
fn simulation(share: &mut Share) -> Result<Verdict> {
    let mut commands = Vec::new();
    for job in 0..share.jobs {
        let mut command = shell::clean(Command::new(shell::target().join("checked/examples/simulate")));
        let from = share.seed * 1_000_000 + job;
        for (name, number) in [
            ("--from", from),
            ("--by", share.jobs),
            ("--seconds", share.left().as_secs()),
        ] {
            command.args([name, &number.to_string()]);
        }
        commands.push(command);
    }
    share.together(commands)
}

/// How many tests these words choose.
fn listed(cargo: &mut Command) -> Result<u64> {
    cargo.args(["--", "--list"]);
    let mut list = Command::new(cargo.get_program());
    list.args(cargo.get_args()).current_dir(shell::root());
    list.envs(cargo.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let tests = shell::read(list)?;
    let count = tests.lines().filter(|line| line.ends_with(": test")).count();
    ensure!(count > 0, "there is not one test");
    Ok(count as u64)
}

/// The time of each of `tests`, when as many as there are cores run side by side.
fn seconds_each(share: &Share, tests: u64) -> u64 {
    (share.left().as_secs() / tests.div_ceil(share.jobs)).max(1)
}

fn scenarios() -> Command {
    let mut cargo = Build::Shuttle.cargo(&["test", "--profile", "checked", "-p", "memfold-verify"]);
    cargo.args(["--test", "shuttle", "--no-fail-fast"]);
    cargo
}

/// The scenarios, each for its time, on random schedules and such with few preemptions.
fn shuttle(share: &mut Share) -> Result<Verdict> {
    let number = listed(&mut scenarios())?;
    let mut test = scenarios();
    test.args(["--", "--nocapture", "--test-threads", &share.jobs.to_string()]);
    test.env("MEMFOLD_SECONDS", seconds_each(share, number).to_string());
    test.env("MEMFOLD_SEED", share.seed.to_string());
    test.env("MEMFOLD_FAILURES", &share.folder);
    share.run(test)
}

/// The race models with a preemption more than usual.
fn loom(share: &mut Share) -> Result<Verdict> {
    let models = listed(&mut gate::loom(&[]))?;
    let mut test = gate::loom(&[]);
    test.args(["--no-fail-fast", "--", "--test-threads", &share.jobs.to_string()]);
    test.env("MEMFOLD_DEEPER", "1");
    // A model is explored from each of its parts, for so long each: most need less.
    let seconds = seconds_each(share, models).div_ceil(2);
    test.env("MEMFOLD_SECONDS", seconds.to_string());
    share.run(test)
}

fn on_this_kernel() -> Command {
    let mut cargo = Build::Plain.cargo(&["test", "--profile", "checked", "-p", "memfold"]);
    cargo.args(["--tests", "--no-fail-fast"]);
    cargo
}

/// The library on this kernel, with both ways in which faults are delivered.
fn stress(share: &mut Share) -> Result<Verdict> {
    // Four tests take the time that they are given; all others take seconds.
    let seconds = share.left().as_secs() / 5;
    let mut test = on_this_kernel();
    test.args(["--", "--nocapture", "--test-threads=1"]);
    test.env("MEMFOLD_SECONDS", seconds.max(1).to_string());
    share.run(test)
}

fn all_bugs(share: &mut Share) -> Result<Verdict> {
    let tally = bugs::until(&[], Some(share.end()))?;
    share.counts.add("defects_caught", tally.caught);
    share.counts.add("defects_not_tried", tally.left);
    tally.red.into_iter().for_each(|red| share.counts.fail(red));
    Ok(match tally.left {
        0 => Verdict::Passed,
        _ => Verdict::Cut,
    })
}

fn weakened(share: &mut Share) -> Result<Verdict> {
    let tally = weaken::until(&[], Some(share.end()))?;
    share.counts.add("orderings_caught", tally.caught);
    share.counts.add("orderings_with_a_reason", tally.written);
    share.counts.add("orderings_not_tried", tally.left);
    tally.red.into_iter().for_each(|red| share.counts.fail(red));
    Ok(match tally.left {
        0 => Verdict::Passed,
        _ => Verdict::Cut,
    })
}

/// A step of `cargo xtask` that is long enough alone; it says itself what is missing.
fn itself(share: &mut Share, words: &[&str]) -> Result<Verdict> {
    let mut xtask = shell::clean(Command::new(std::env::current_exe()?));
    xtask.args(words);
    // For what is given a time.
    xtask.env(
        "MEMFOLD_SECONDS",
        (share.left().as_secs() / 10).max(4).to_string(),
    );
    share.run(xtask)
}

fn tsan(share: &mut Share) -> Result<Verdict> {
    itself(share, &["sanitize", "thread"])
}

fn asan(share: &mut Share) -> Result<Verdict> {
    itself(share, &["sanitize", "address"])
}

fn miri(share: &mut Share) -> Result<Verdict> {
    itself(share, &["sanitize", "miri"])
}

fn has_fuzz() -> bool {
    let help = std::env::current_exe().map(|exe| {
        let mut help = shell::clean(Command::new(exe));
        help.args(["fuzz", "--help"]);
        help
    });
    help.is_ok_and(shell::succeeds)
}

fn no_fuzz() -> Option<String> {
    (!has_fuzz()).then(|| "this checkout has no `cargo xtask fuzz`".to_owned())
}

/// The fuzz targets, each for its time.
fn fuzz(share: &mut Share) -> Result<Verdict> {
    let seconds = (share.left().as_secs() / 5).max(1).to_string();
    itself(share, &["fuzz", "--seconds", &seconds])
}

/// A fiftieth of the mutants, chosen by the seed, as far as the time goes; each survivor stands in
/// the log.
fn mutants(share: &mut Share) -> Result<Verdict> {
    let jobs = share.jobs.to_string();
    let shard = format!("{}/50", share.seed % 50);
    itself(
        share,
        &["mutants", "--caught", "--jobs", &jobs, "--shard", &shard],
    )
}

fn no_mutants() -> Option<String> {
    (!crate::mutants::is_there()).then(|| "cargo install --locked cargo-mutants".to_owned())
}
