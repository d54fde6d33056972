//! `cargo xtask mutants`: does a test fail when the manager's code is wrong in some small way?
//!
//! cargo-mutants says which small ways there are (`.cargo/mutants.toml`). It builds and runs the tests
//! anew for each of some 1,300, which takes a night on two cores. Here all of them are woven into one copy of the sources,
//! each behind a switch (`mutants/weave.rs`), built once, and tried one by one with the test programs of
//! the manager and of `verify` (`mutants/trial.rs`), cheapest first; a failing test ends a mutant's trial. What
//! survives them is tried on the race models. The few that cannot be woven (constants, mostly) are built one by one.
//! Every survivor has to stand in `verify/MUTANTS.md` with the reason why nobody sees it.

mod build;
mod list;
mod report;
mod trial;
mod weave;

use crate::shell;
use anyhow::{Context, Result, bail, ensure};
use list::Mutant;
use report::{Outcome, Verdict};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use trial::{Ending, Trial};

/// What `cargo xtask mutants` can be told.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only mutants whose name contains one of these
    names: Vec<String>,
    /// Only mutants of the lines that this diff changes
    #[arg(long, value_name = "FILE")]
    in_diff: Option<PathBuf>,
    /// Only mutants that the last run did not catch, or did not try
    #[arg(long)]
    iterate: bool,
    /// Only so many of the test programs, cheapest first; what survives is tried with the others by `--iterate`
    #[arg(long, value_name = "PROGRAMS", default_value_t = usize::MAX)]
    depth: usize,
    /// Also try what survives on the race models
    #[arg(long)]
    loom: bool,
    /// How many are tried at the same time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

/// What a trial may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub time: Duration,
    /// Address space, in bytes.
    pub memory: u64,
}

/// More than any test program needs.
const MEMORY: u64 = 6 << 30;

/// What a trial of a mutant that was built alone may take: several times what the longest does.
const ALONE: Limits = Limits {
    time: Duration::from_secs(300),
    memory: MEMORY,
};

/// Of the viable mutants, so many of a hundred must be caught.
const LEAST_CAUGHT: usize = 90;

/// Tries the mutants, records what happened, and demands that enough of them are caught and each survivor is explained.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.jobs > 0, "somebody has to do it: --jobs 0");
    let mutants = list::all(options.in_diff.as_deref())?;
    let mut outcomes = report::load()?;
    outcomes.retain(|name, _| options.in_diff.is_some() || mutants.iter().any(|m| m.name == *name));
    let wanted = |m: &Mutant| {
        (options.names.is_empty() || options.names.iter().any(|name| m.name.contains(name)))
            && !(options.iterate && outcomes.get(&m.name).is_some_and(|o| o.verdict.is_settled()))
    };
    let tried: Vec<usize> = (0..mutants.len()).filter(|&n| wanted(&mutants[n])).collect();
    println!("{} mutants, {} to be tried", mutants.len(), tried.len());
    std::fs::create_dir_all(folder())?;
    let tree = build::Tree::copy(&mutants)?;
    let known = |m: &Mutant| {
        outcomes
            .get(&m.name)
            .is_some_and(|o| o.verdict == Verdict::Unviable)
            && options.iterate
    };
    let unviable = (1..=mutants.len()).filter(|no| known(&mutants[no - 1])).collect();
    let plain = tree.build(build::Programs::Tests, unviable)?;
    for &no in &plain.unviable {
        outcomes.insert(mutants[no - 1].name.clone(), Outcome::of(Verdict::Unviable));
    }
    for &no in &plain.alone {
        let known = outcomes.entry(mutants[no - 1].name.clone());
        known.or_insert_with(|| Outcome::of(Verdict::Alone));
    }
    let open = |numbers: &[usize]| -> Vec<usize> {
        let skipped = |no: &usize| plain.unviable.contains(no) || plain.alone.contains(no);
        numbers.iter().map(|n| n + 1).filter(|no| !skipped(no)).collect()
    };
    let trials = &plain.trials[..options.depth.min(plain.trials.len())];
    let survivors = try_all(&mutants, &open(&tried), trials, options.jobs, &mut outcomes)?;
    for no in tried.iter().map(|n| n + 1).filter(|no| plain.alone.contains(no)) {
        let verdict = try_alone(&tree, no)?;
        println!("{verdict}: {}", mutants[no - 1].name);
        outcomes.insert(mutants[no - 1].name.clone(), Outcome::of(verdict));
        report::save(&outcomes)?;
    }
    if options.loom && !survivors.is_empty() {
        let models = tree.build(build::Programs::Models, plain.unviable)?;
        try_all(&mutants, &survivors, &models.trials, options.jobs, &mut outcomes)?;
    }
    report::summary(&outcomes);
    if options.names.is_empty() && options.in_diff.is_none() {
        report::judge(&outcomes, LEAST_CAUGHT)?;
    }
    Ok(())
}

/// Tries these mutants with these programs; those that nobody noticed.
fn try_all(
    mutants: &[Mutant],
    numbers: &[usize],
    trials: &[Trial],
    jobs: usize,
    outcomes: &mut BTreeMap<String, Outcome>,
) -> Result<Vec<usize>> {
    let timed: Vec<(&Trial, Limits)> = trials.iter().map(|t| Ok((t, calm(t)?))).collect::<Result<_>>()?;
    let (next, done) = (AtomicUsize::new(0), Mutex::new((&mut *outcomes, Vec::new())));
    let work = || -> Result<()> {
        // Relaxed: a ticket; the results are under the lock.
        while let Some(&no) = numbers.get(next.fetch_add(1, Ordering::Relaxed)) {
            let begin = Instant::now();
            let verdict = try_one(no, &timed)?;
            let mut done = done.lock().expect("nobody panics with it");
            let name = &mutants[no - 1].name;
            println!("{verdict} in {:.1?}: {name}", begin.elapsed());
            if verdict == Verdict::Survived {
                done.1.push(no);
            }
            done.0.insert(name.clone(), Outcome::of(verdict));
            report::save(done.0)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        all.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => bail!("a worker panicked"),
        })
    })?;
    let (_, mut survivors) = done.into_inner().expect("nobody panics with it");
    survivors.sort_unstable();
    Ok(survivors)
}

/// How long a program takes without a mutant, and so how long it may take with one.
fn calm(trial: &Trial) -> Result<Limits> {
    let mut limits = Limits {
        time: Duration::from_secs(900),
        memory: MEMORY,
    };
    let begin = Instant::now();
    let ending = trial.run(0, limits).with_context(|| trial.name.clone())?;
    ensure!(
        ending == Ending::Passed,
        "{} fails without a mutant: {ending:?}",
        trial.name
    );
    let time = begin.elapsed();
    limits.time = time * 8 + Duration::from_secs(10);
    println!(
        "{}: {:.1?} without a mutant, at most {:.0?} with one",
        trial.name, time, limits.time
    );
    Ok(limits)
}

/// Builds with a mutant that cannot be woven, and tries it.
fn try_alone(tree: &build::Tree<'_>, no: usize) -> Result<Verdict> {
    for programs in [build::Programs::Unit, build::Programs::Tests] {
        let Some(trials) = tree.build_alone(no, programs)? else {
            return Ok(Verdict::Unviable);
        };
        let all: Vec<(&Trial, Limits)> = trials.iter().map(|trial| (trial, ALONE)).collect();
        // Its switch is not there: it is on whatever is said.
        match try_one(0, &all)? {
            Verdict::Survived => (),
            verdict => return Ok(verdict),
        }
    }
    Ok(Verdict::Survived)
}

fn try_one(no: usize, trials: &[(&Trial, Limits)]) -> Result<Verdict> {
    for (trial, limits) in trials {
        match trial.run(no, *limits)? {
            Ending::Passed => (),
            Ending::Failed(test) => return Ok(Verdict::Caught(format!("{} {test}", trial.name))),
            Ending::TimedOut => return Ok(Verdict::TimedOut(trial.name.clone())),
        }
    }
    Ok(Verdict::Survived)
}

/// Where the copy and the results are.
fn folder() -> PathBuf {
    shell::root().join("target-mutants")
}
