//! Scenarios on many schedules: random ones, and such with few, well-placed preemptions (PCT).
//!
//! Usually a scenario gets so many schedules; `MEMFOLD_SECONDS` gives it so much time instead, in
//! rounds whose seeds follow from `MEMFOLD_SEED`, with preemptions of several depths. How many
//! schedules were run is counted as they begin, and said in a line for campaigns. A schedule that
//! fails is printed, or put into the folder that `MEMFOLD_FAILURES` names; `MEMFOLD_SCHEDULE` names
//! such a file, and then it alone is run again.

use crate::campaign::{accuse, say};
use crate::run::{effort, number};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, Runner};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Random schedules, and half as many with few preemptions.
const SCHEDULES: usize = 2000;
/// The preemptions of the usual run.
const DEPTH: usize = 3;
/// Schedules of a round.
const ROUND: usize = 500;
/// The preemptions of the rounds, one after another.
const DEPTHS: [usize; 4] = [2, 3, 4, 6];

/// Says how many schedules were run, also when the last one failed.
struct Count {
    begun: Arc<AtomicU64>,
    seed: Option<u64>,
}

impl Drop for Count {
    fn drop(&mut self) {
        // Relaxed: the schedules are over.
        let begun = self.begun.load(Ordering::Relaxed);
        say(&[("scenarios", 1), ("schedules", begun)]);
        if std::thread::panicking() {
            let test = std::thread::current();
            let test = test.name().unwrap_or("a scenario");
            accuse(&format!("{test}: schedule {begun}, seeds from {:?}", self.seed));
        }
    }
}

/// Runs the scenario on many schedules.
///
/// # Panics
/// When it fails on one of them.
pub fn explore(scenario: impl Fn() + Send + Sync + 'static) {
    if let Some(file) = std::env::var_os("MEMFOLD_SCHEDULE") {
        shuttle::replay_from_file(scenario, PathBuf::from(file));
        return;
    }
    let begun = Arc::new(AtomicU64::new(0));
    let seconds = number("MEMFOLD_SECONDS");
    let count = Count {
        begun: begun.clone(),
        seed: seconds.map(|_| number("MEMFOLD_SEED").unwrap_or(0)),
    };
    let scenario = Arc::new(move || {
        // Relaxed: a count.
        begun.fetch_add(1, Ordering::Relaxed);
        scenario();
    });
    match (seconds, count.seed) {
        (Some(seconds), Some(seed)) => rounds(&scenario, Duration::from_secs(seconds), seed),
        _ => {
            let schedules = SCHEDULES * effort() as usize;
            run(RandomScheduler::new(schedules), &scenario);
            run(PctScheduler::new(DEPTH, schedules / 2), &scenario);
        }
    }
}

/// Rounds of both kinds until the time is up.
fn rounds(scenario: &Arc<impl Fn() + Send + Sync + 'static>, time: Duration, seed: u64) {
    let begin = Instant::now();
    let mut round = 0;
    while begin.elapsed() < time {
        let seed = (seed << 20) + round;
        let depth = DEPTHS[(round / 2) as usize % DEPTHS.len()];
        match round % 2 {
            0 => run(RandomScheduler::new_from_seed(seed, ROUND), scenario),
            _ => run(PctScheduler::new_from_seed(seed, depth, ROUND), scenario),
        }
        round += 1;
    }
}

fn run(scheduler: impl Scheduler + 'static, scenario: &Arc<impl Fn() + Send + Sync + 'static>) {
    let mut config = Config::new();
    if let Some(folder) = std::env::var_os("MEMFOLD_FAILURES") {
        config.failure_persistence = FailurePersistence::File(Some(folder.into()));
    }
    let scenario = scenario.clone();
    Runner::new(scheduler, config).run(move || scenario());
}
