//! A full budget beside the kernel's own swapping, on the same accesses.
//!
//! Pages that compress 3:1 are loaded and stored to at random, by a Zipf distribution or evenly,
//! while half or a quarter of them can be resident; each access checks the page's number, version
//! and sum. The kernel's side is anonymous memory in a memory cgroup with a limit, with zram (LZ4)
//! to swap to. The limit does not count what zram holds, a budget counts everything: memfold's is
//! the limit and what zram came to hold in that cell. Sides take turns, each in a process of its
//! own; the rows are medians. The kernel's side needs root, zram and a memory cgroup; without them
//! the bench says so and measures memfold alone, with a budget of the limit and what zram usually
//! holds.
//!
//! `ROUNDS=5` sets how often each side runs, `CELLS=1:1,2:2` which numbers of threads and spaces;
//! with `PRIORITY=usual` what accesses memory is scheduled as any other work, not in real time.
//! It needs no Wasm: `cargo bench -p memfold-benches --no-default-features --bench pressure`.
//! Killed in the middle, it leaves its zram device behind as swap.

mod load;
mod times;

use load::Cell;
use memfold_benches::is_smoke_test;
use memfold_benches::rival::Rival;
use std::process::{Command, Stdio};
use times::Outcome;

/// How often the kernel's side is begun again where the kernel ended it.
const TRIES: usize = 3;

/// Which side a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// Anonymous memory under a limit in MiB, swapped to zram.
    Kernel,
    /// A memory with a budget in MiB.
    Memfold,
}

impl Side {
    const ALL: [(Self, &'static str); 2] = [(Self::Kernel, "kernel"), (Self::Memfold, "memfold")];

    fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find_map(|(side, its)| (its == name).then_some(side))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Memfold => "memfold",
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, first, side, cell @ ..] = &args[..]
        && first == "side"
    {
        let side = Side::named(side).expect("the name of a side");
        let cell = Cell::from_args(cell).expect("a cell");
        println!("{}", cell.run(side));
        return;
    }
    let smoke = is_smoke_test();
    let rival = if smoke {
        Err("not in a smoke test".to_owned())
    } else {
        Rival::open()
    };
    if let Err(why) = &rival {
        println!("memfold alone; the kernel's side was left out: {why}");
    }
    let setting = |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
    let usual = if smoke { ("1", "2:2") } else { ("3", "1:1,2:1,2:2") };
    let rounds = setting("ROUNDS", usual.0).parse().expect("a number of rounds");
    println!(
        "thousands of accesses a second; us; per cent of a core; threads and spaces: {} MiB, medians of {rounds}",
        Cell::usual(smoke).mib
    );
    println!(
        "| threads, spaces | accesses, resident | zram | memfold | ratio | p50 | p99 zram / memfold | p99.9 | cpu |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for pair in setting("CELLS", usual.1).split(',') {
        let (threads, spaces) = pair.split_once(':').expect("threads:spaces");
        let number = |text: &str| text.parse::<usize>().expect("a number");
        for zipf in [true, false] {
            for part in [2, 4] {
                let cell = Cell {
                    zipf,
                    threads: number(threads),
                    spaces: number(spaces),
                    ..Cell::usual(smoke)
                };
                row(cell, part, rounds, rival.as_ref().ok());
            }
        }
    }
}

/// Measures a cell with one part in so many resident, and prints its row.
fn row(cell: Cell, part: u64, rounds: usize, rival: Option<&Rival>) {
    let limit = cell.mib / part;
    // What zram holds of the rest, in a usual run.
    let mut held = (cell.mib - limit) * 35 / 100;
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        if let Some(rival) = rival {
            // With two threads the kernel sometimes ends the group for want of memory.
            let tries = || (0..TRIES).find_map(|_| run(Side::Kernel, Cell { limit, ..cell }));
            if let Some(outcome) = rival.during(tries) {
                held = outcome.held_mib;
                theirs.push(outcome);
            }
        }
        let limit = limit + held;
        let outcome = run(Side::Memfold, Cell { limit, ..cell });
        ours.push(outcome.expect("memfold's side ends well"));
    }
    let median = |of: &[Outcome], value: fn(&Outcome) -> f64| {
        let mut all: Vec<f64> = of.iter().map(value).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    };
    let both = |value: fn(&Outcome) -> f64| {
        let [kernel, ours] = [&theirs, &ours].map(|of| {
            median(of, value).map_or("-".to_owned(), |v| format!("{v:.3}").chars().take(5).collect())
        });
        (
            kernel.trim_end_matches('.').to_owned(),
            ours.trim_end_matches('.').to_owned(),
        )
    };
    let pair = |value| {
        let (kernel, ours) = both(value);
        format!("{kernel} / {ours}")
    };
    let rate: fn(&Outcome) -> f64 = |o| o.rate / 1e3;
    let ratio = median(&ours, rate)
        .zip(median(&theirs, rate))
        .map_or("-".to_owned(), |(ours, theirs)| format!("{:.2}", ours / theirs));
    let (kernel, memfold) = both(rate);
    println!(
        "| {}, {} | {}, 1/{part} ({limit} + {held} MiB) | {kernel} | {memfold} | {ratio} | {} | {} | {} | {} |",
        cell.threads,
        cell.spaces,
        if cell.zipf { "Zipf 0.99" } else { "even" },
        pair(|o| o.p50),
        pair(|o| o.p99),
        pair(|o| o.p999),
        pair(|o| o.cpu),
    );
}

/// Runs a side in a process of its own; `None` when the kernel ended that.
fn run(side: Side, cell: Cell) -> Option<Outcome> {
    let own = std::env::current_exe().expect("this program has a path");
    let child = Command::new(own)
        .args(["side", side.name()])
        .args(cell.to_args())
        .stderr(Stdio::inherit())
        .output()
        .expect("it starts again");
    let text = String::from_utf8_lossy(&child.stdout);
    if child.status.code().is_none() {
        eprintln!("{side:?} {cell:?} was ended: {}", child.status);
        return None;
    }
    let outcome = Outcome::parse(text.trim());
    assert!(outcome.is_some(), "{side:?} {cell:?} failed: {text}");
    outcome
}
