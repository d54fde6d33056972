//! One fault, by kind: the kernel's own, that of a bare loop of userfaultfd, and memfold's.
//!
//! Each side makes the same memory in a process of its own, then accesses the same pages, one of
//! each sixteen or all in order; the sides take turns. A row has the medians of all turns: the mean
//! a page, and of single pages the 99th percentile, in microseconds, and ratios of means. The bare
//! loop compresses by the library that memfold uses. Swap goes to zram, which needs root; without
//! it those cells are empty. `memfold, managed` is without native runs, so what is left under
//! pressure. `ROUNDS=9` sets how often each side runs, `ONLY=write` which rows.
//! It needs no Wasm: `cargo bench -p memfold-benches --no-default-features --bench faults`.

mod bare;
mod case;
mod kernel;
mod mapping;
mod ours;

use case::{Case, Times};
use memfold::Native;
use memfold_benches::is_smoke_test;
use memfold_benches::rival::Rival;
use memfold_benches::schedule::{PRIORITY, first_in_line, pin};
use std::process::{Command, Stdio};

/// Which side a process is.
const SIDES: [&str; 4] = ["kernel", "bare", "memfold", "managed"];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == "side") {
        let [side, case] = &args[at + 1..at + 3] else {
            panic!("a side and a case");
        };
        one_side(side, case.parse().expect("a number"));
        return;
    }
    let setting = |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
    let usual = if is_smoke_test() { "1" } else { "5" };
    let rounds: usize = setting("ROUNDS", usual).parse().expect("a number of rounds");
    let only = setting("ONLY", "");
    let rival = if is_smoke_test() {
        Err("not in a smoke test".to_owned())
    } else {
        Rival::open()
    };
    if let Err(why) = &rival {
        println!("without the kernel's swap: {why}");
    }
    println!("us a page: mean (99th percentile); medians of {rounds}");
    println!("| fault | kernel | bare | memfold | / kernel | / bare | managed | / kernel |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for (number, (case, name)) in Case::all().enumerate() {
        if name.contains(&only) {
            row(number, case, &name, rounds, rival.as_ref().ok());
        }
    }
}

/// What a process of its own does.
fn one_side(side: &str, number: usize) {
    let (case, _) = Case::all().nth(number).expect("a case");
    pin(0);
    first_in_line(PRIORITY);
    let times = match side {
        "kernel" => kernel::run(case),
        "bare" => bare::run(case),
        "memfold" => Some(ours::run(case, Native::On)),
        _ => Some(ours::run(case, Native::Off)),
    };
    if let Some(times) = times {
        println!("{times}");
    }
}

fn row(number: usize, case: Case, name: &str, rounds: usize, rival: Option<&Rival>) {
    let mut all: [Vec<Times>; 4] = Default::default();
    for _ in 0..rounds {
        for (side, times) in SIDES.into_iter().zip(&mut all) {
            let took = match side {
                "managed" if !case.kind.of_a_template() => None,
                "kernel" if case.kind.needs_swap() => {
                    rival.and_then(|rival| rival.during(|| child(side, number)))
                }
                _ => child(side, number),
            };
            times.extend(took);
        }
    }
    let medians = all.map(|times| {
        (!times.is_empty()).then(|| {
            let median = |value: fn(&Times) -> f64| {
                let mut values: Vec<f64> = times.iter().map(value).collect();
                values.sort_by(f64::total_cmp);
                values[values.len() / 2]
            };
            (median(|times| times.mean), median(|times| times.p99))
        })
    });
    let [kernel, bare, ours, managed] = medians;
    let cell =
        |of: Option<(f64, f64)>| of.map_or("-".to_owned(), |(mean, p99)| format!("{mean:.2} ({p99:.1})"));
    let ratio = |ours: Option<(f64, f64)>, theirs: Option<(f64, f64)>| {
        let ratio = ours.zip(theirs).map(|(ours, theirs)| ours.0 / theirs.0);
        ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"))
    };
    println!(
        "| {name} | {} | {} | {} | {} | {} | {} | {} |",
        cell(kernel),
        cell(bare),
        cell(ours),
        ratio(ours, kernel),
        ratio(ours, bare),
        cell(managed),
        ratio(managed, kernel),
    );
}

/// Runs a side of a case in a process of its own.
fn child(side: &str, number: usize) -> Option<Times> {
    let own = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(own);
    if !is_smoke_test() {
        command.arg("--bench");
    }
    let child = command
        .args(["side", side, &number.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .expect("it starts again");
    assert!(child.status.success(), "{side}, case {number}: {}", child.status);
    let text = String::from_utf8_lossy(&child.stdout);
    (!text.trim().is_empty()).then(|| Times::parse(text.trim()).expect("three numbers"))
}
