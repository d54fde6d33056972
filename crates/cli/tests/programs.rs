//! Real programs give the same answers however their memory is held. Plain Wasmtime (`--stock`)
//! says what is right.

mod common;

use common::{program, run};
use serde_json::Value;

const CLONES: u64 = 20;

const MIB: u64 = 1 << 20;

#[track_caller]
fn number(report: &Value, field: &str) -> u64 {
    report[field]
        .as_u64()
        .unwrap_or_else(|| panic!("{field} in {report}"))
}

#[track_caller]
fn completed(report: &Value) {
    assert_eq!(report["completed"], CLONES, "{report}");
    assert_eq!(report["failed"], 0, "{report}");
}

/// Goal: no way to hold memory changes an answer. Method: the digests of all ways, against stock's.
fn answers_are_right(name: &str) {
    let module = program(name);
    let go = |how: &str, calls: u32| {
        let words = format!("--clones {CLONES} --warm warm --call run --calls {calls} --json {how}");
        let report = run(&module, &words).fine();
        completed(&report);
        report
    };
    let stock = go("--stock", 5);
    let free = go("", 5);
    assert_eq!(free["digest"], stock["digest"]);
    let pages = number(&free, "shared_bytes") + number(&free, "private_bytes");
    assert!(pages < number(&free, "logical_bytes"), "{free}");

    // Less than the pages that are held without a budget, but room for the tables and the warm
    // parent.
    let budget = (pages * 2 / 3).max(2 * MIB);
    let tight = go(&format!("--budget {budget}"), 5);
    assert_eq!(tight["digest"], stock["digest"]);
    assert!(number(&tight, "peak_bytes") <= budget, "{tight}");
    assert!(number(&tight, "evictions") > 0, "{tight}");

    let shuffled = go("--seed 7 --threads 2", 5);
    assert_eq!(shuffled["digest"], stock["digest"]);
}

#[test]
fn lua_answers_right() {
    answers_are_right("lua");
}

#[test]
fn sqlite_answers_right() {
    answers_are_right("sqlite");
}

#[test]
fn quickjs_answers_right() {
    answers_are_right("quickjs");
}

/// Goal: a clone that is moved out before each call does not notice. Method: 40 calls each, against
/// stock.
#[test]
fn evicted_before_every_call() {
    for name in ["lua", "sqlite"] {
        let module = program(name);
        let words = "--clones 3 --warm warm --call run --calls 40 --json";
        let stock = run(&module, &format!("{words} --stock")).fine();
        let evicted = run(&module, &format!("{words} --evict-every")).fine();
        assert_eq!(evicted["digest"], stock["digest"], "{name}");
        assert!(evicted["evictions"].as_u64() > Some(40), "{evicted}");
        let faults = &evicted["faults"];
        let back = number(faults, "swapped_in") + number(faults, "swapped_in_shared");
        assert!(back > 40, "{evicted}");
    }
}

/// Goal: instances that were warmed up one by one are the same, too. Method: a small program,
/// against stock.
#[test]
fn independent_instances() {
    let module = program("touch");
    let words = format!("--clones {CLONES} --warm warm --call run --calls 5 --json");
    let stock = run(&module, &format!("{words} --stock")).fine();
    let independent = run(&module, &format!("{words} --independent")).fine();
    let forked = run(&module, &words).fine();
    assert_eq!(independent["digest"], stock["digest"]);
    assert_eq!(forked["digest"], stock["digest"]);
    assert!(forked["peak_bytes"].as_u64() < independent["peak_bytes"].as_u64());
    assert_eq!(independent["mode"], "independent");
}

/// Goal: instances that grew up apart become one, and answer as before. Method: three real
/// programs, merged before there are calls, which says how much is equal; then merged while they
/// are called, against stock.
#[test]
fn independent_instances_are_merged() {
    for (name, most_percent) in [("lua", 30), ("sqlite", 45), ("quickjs", 45)] {
        let module = program(name);
        let apart = format!("--clones {CLONES} --independent --merge --warm warm --json");
        let warm = run(&module, &apart).fine();
        let first = &warm["merge"]["first"];
        let (before, after) = (number(first, "pages_before"), number(first, "pages_after"));
        assert!(after * 100 <= before * most_percent, "{name}: {warm}");
        assert_eq!(
            before - after,
            number(first, "merged_pages") + number(first, "zero_pages"),
            "{warm}"
        );

        let called = run(
            &module,
            &format!("{apart} --call run --calls 5 --threads 2 --merge-cpu 100"),
        )
        .fine();
        completed(&called);
        let stock = run(
            &module,
            &format!("--clones {CLONES} --stock --warm warm --json --call run --calls 5"),
        );
        assert_eq!(called["digest"], stock.fine()["digest"], "{name}");
        assert!(
            number(&called["merge"]["last"], "pages_after") < before,
            "{called}"
        );
        assert!(called["merge"]["refused"].is_null(), "{called}");
    }
}

/// Goal: a WASI command runs once in each clone, and one alone may print. Method: the smallest one.
#[test]
fn a_wasi_command_runs() {
    let module = program("hello");
    let alone = run(&module, "");
    assert_eq!(alone.status, 0, "{}", alone.stderr);
    assert!(
        alone.stdout.starts_with("hello from WebAssembly\n"),
        "{}",
        alone.stdout
    );

    let silent = run(&module, "--clones 3 --json").fine();
    assert_eq!(
        (&silent["completed"], &silent["calls_answered"]),
        (&Value::from(3), &Value::from(3))
    );

    let loud = run(&module, "--clones 3 --json --inherit");
    loud.fine();
    assert_eq!(loud.stderr.matches("hello from WebAssembly").count(), 3);
}
