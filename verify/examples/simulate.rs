//! `simulate`: long simulations by seed, for campaigns; also how a seed that failed is run again.
//!
//! ```text
//! simulate --seed 17                             one seed
//! simulate --from 0 --by 2 --seconds 600         seeds 0, 2, 4... until the time is up
//! ```
//! `--steps` sets the operations of each seed (10,000). Several processes share the cores: each
//! takes its own `--from`. Every 16th of its seeds is run twice and must make the same calls. A
//! seed that fails is named and the run goes on; at the end the process fails. What was done is
//! said in lines to be counted (`memfold_verify::campaign`).
#![forbid(unsafe_code)]

// Under shuttle, locks and atomics are those of its threads only.
#[cfg(shuttle)]
fn main() {}

#[cfg(not(shuttle))]
fn main() -> std::process::ExitCode {
    match long::Wish::read(std::env::args().skip(1)) {
        Ok(wish) => long::run(&wish),
        Err(why) => {
            eprintln!("simulate: {why}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(not(shuttle))]
mod long {
    use memfold_verify::campaign::{accuse, plan, say, simulate};
    use memfold_verify::run::Outcome;
    use std::panic::catch_unwind;
    use std::process::ExitCode;
    use std::time::{Duration, Instant};

    /// One of so many of a process's seeds is run twice.
    const TWICE: u64 = 16;
    /// After so many failures a process gives up: the rest would say the same.
    const FAILURES_MAX: u64 = 20;

    /// What the command line asks for.
    #[derive(Debug)]
    pub struct Wish {
        from: u64,
        by: u64,
        /// How many seeds, when not as many as the time allows.
        seeds: u64,
        steps: u64,
        time: Duration,
    }

    impl Wish {
        pub fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
            let mut wish = Self {
                from: 0,
                by: 1,
                seeds: u64::MAX,
                steps: 10_000,
                time: Duration::MAX,
            };
            while let Some(name) = words.next() {
                let value = words.next().and_then(|word| word.parse().ok());
                let value: u64 = value.ok_or_else(|| format!("{name} needs a number"))?;
                match name.as_str() {
                    "--seed" => (wish.from, wish.seeds) = (value, 1),
                    "--from" => wish.from = value,
                    "--by" => wish.by = value,
                    "--seeds" => wish.seeds = value,
                    "--steps" => wish.steps = value,
                    "--seconds" => wish.time = Duration::from_secs(value),
                    _ => return Err(format!("unknown word {name}")),
                }
            }
            match (wish.seeds, wish.time) {
                (u64::MAX, Duration::MAX) => Err("say --seed, --seeds or --seconds".to_owned()),
                _ => Ok(wish),
            }
        }
    }

    pub fn run(wish: &Wish) -> ExitCode {
        let begin = Instant::now();
        let mut failures = 0;
        for n in 0..wish.seeds {
            if begin.elapsed() >= wish.time || failures == FAILURES_MAX {
                break;
            }
            let seed = wish.from + n * wish.by;
            let Some(outcome) = once(seed, wish.steps) else {
                failures += 1;
                continue;
            };
            count(&outcome);
            if wish.seeds == 1 {
                println!("{:?}\n{outcome:?}", plan(seed));
            }
            if n % TWICE == 0 {
                failures += u64::from(!repeats(seed, wish.steps, &outcome));
            }
        }
        match failures {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }

    /// The seed's outcome, unless it fails.
    fn once(seed: u64, steps: u64) -> Option<Outcome> {
        let outcome = catch_unwind(|| simulate(seed, steps)).ok();
        if outcome.is_none() {
            let (mix, store) = plan(seed);
            let name = mix.name;
            accuse(&format!(
                "mix {name}, {store:?}: simulate --seed {seed} --steps {steps}"
            ));
        }
        outcome
    }

    fn count(outcome: &Outcome) {
        let tally = outcome.tally;
        say(&[
            ("seeds", 1),
            ("operations", tally.steps),
            ("faults_injected", tally.refused),
            ("operations_refused", tally.failed),
            ("audits", tally.audits),
            ("drops_left_for_later", tally.left),
            ("drops_completed_later", tally.late),
            ("forked_processes", tally.copies),
            ("pages_called_in", tally.called_in),
        ]);
    }

    /// Whether the same seed does the same again; these operations count as well.
    fn repeats(seed: u64, steps: u64, first: &Outcome) -> bool {
        let Some(second) = once(seed, steps) else {
            return false;
        };
        let same = second == *first;
        if !same {
            accuse(&format!(
                "not the same twice: simulate --seed {seed} --steps {steps}"
            ));
        }
        say(&[
            ("seeds_repeated", 1),
            ("operations", second.tally.steps),
            ("faults_injected", second.tally.refused),
            ("audits", second.tally.audits),
        ]);
        same
    }
}
