//! Small programs: reports, options, and what goes wrong in one clone while the others go on.

mod common;

use common::{Done, SMALL, done, file, module, run};
use serde_json::Value;
use std::process::Command;

fn small(words: &str) -> Done {
    run(&module(SMALL), words)
}

/// Goal: programs can rely on the report's fields. Method: all names, in a run with and one without
/// a budget.
#[test]
fn the_report_has_its_fields() {
    let numbers = [
        "clones",
        "completed",
        "failed",
        "calls_answered",
        "logical_bytes",
        "peak_bytes",
        "held_bytes",
        "shared_bytes",
        "private_bytes",
        "compressed_bytes",
        "zero_bytes",
        "table_bytes",
        "page_table_bytes",
        "pool_bytes",
        "stored_bytes",
        "fork_us",
        "fork_us_p50",
        "fork_us_p99",
        "space_fork_us_p50",
        "evictions",
        "refaults",
        "seconds",
        "bytes_per_clone",
        "would_fit",
    ];
    let faults = [
        "total",
        "zero_shown",
        "new_pages",
        "shown",
        "copied",
        "reused",
        "swapped_in",
    ];
    for (budget, bytes) in [("none", Value::Null), ("32MiB", Value::from(32 << 20))] {
        let words = format!("--clones 4 --warm warm --call run --calls 3 --json --budget {budget}");
        let report = small(&words).fine();
        for name in numbers {
            assert!(report[name].is_number(), "{name}: {report}");
        }
        for name in faults {
            assert!(report["faults"][name].is_number(), "{name}: {report}");
        }
        assert!(report["warnings"].is_array(), "{report}");
        for name in ["compile", "warm", "fork", "calls"] {
            assert!(report["phase_seconds"][name].is_number(), "{name}: {report}");
        }
        assert_eq!(report["budget_bytes"], bytes);
        assert_eq!(report["digest"].as_str().map(str::len), Some(16));
        assert_eq!(report["calls_answered"], 12);
        assert_eq!(report["logical_bytes"], 4 * 4 * 65536);
        assert_eq!(
            (&report["interrupted"], &report["failures"]),
            (&false.into(), &Value::Array(Vec::new()))
        );
    }
}

/// Goal: the digest depends on the answers alone. Method: the same work in other orders; other
/// work.
#[test]
fn the_digest_is_of_the_answers() {
    let digest = |words: &str| {
        let words = format!("--clones 9 --warm warm --calls 4 --json {words}");
        small(&words).fine()["digest"].clone()
    };
    let right = digest("--call run --stock");
    for words in [
        "",
        "--threads 2",
        "--threads 99",
        "--seed 1",
        "--independent",
        "--evict-every",
        "--delivery thread",
    ] {
        assert_eq!(digest(&format!("--call run {words}")), right, "{words}");
    }
    assert_ne!(digest("--call one"), right);
}

/// Goal: people see what was done. Method: the text of a run.
#[test]
fn the_text_is_for_people() {
    let text = small("--clones 4 --warm warm --call run --budget 32MiB");
    assert_eq!(text.status, 0, "{}", text.stderr);
    text.shows(&[
        "4 clones of one warm instance: all done",
        "shared",
        "budget",
        "32.0 MiB",
        "fork",
        "digest",
    ]);
    assert_eq!(text.stderr, "", "no progress where there is no terminal");
}

/// Goal: a trap ends its clone, not the others. Method: one of five traps in its second call.
#[test]
fn a_trap_is_one_clones_own() {
    for how in ["", "--stock", "--threads 2", "--independent"] {
        let done = small(&format!("--clones 5 --call trap_in_3 --calls 4 --json {how}"));
        assert_eq!(done.status, 1, "{}", done.stderr);
        let report = done.report();
        assert_eq!(
            (&report["completed"], &report["failed"]),
            (&4.into(), &1.into()),
            "{report}"
        );
        assert_eq!(report["calls_answered"], 4 * 4 + 1);
        let failure = &report["failures"][0];
        assert_eq!(
            (&failure["clone"], &failure["call"], &failure["kind"]),
            (&3.into(), &1.into(), &"trap".into())
        );
        assert!(
            failure["message"].as_str().unwrap().contains("unreachable"),
            "{failure}"
        );
    }
    let all = small("--clones 8 --call always");
    assert_eq!(all.status, 1);
    assert!(all.stdout.contains("(in always)"), "{}", all.stdout);
    assert!(all.stdout.contains("and 3 more clones"), "{}", all.stdout);
}

/// Goal: a clone that needs more than the budget is told so, and nothing else breaks. Method: pages
/// of noise, more than the budget, in one of three clones.
#[test]
fn over_budget_in_a_clone() {
    let greedy = module(
        r#"(module (memory 512)
          (func (export "warm") (i32.store (i32.const 0) (i32.const 1)))
          (func (export "run") (param $clone i32) (result i32) (local $at i32) (local $x i64)
            (if (i32.ne (local.get $clone) (i32.const 1)) (then (return (i32.load (i32.const 0)))))
            (local.set $x (i64.const 88172645463325252))
            (loop $next
              (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
              (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
              (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
              (i64.store (local.get $at) (local.get $x))
              (local.set $at (i32.add (local.get $at) (i32.const 8)))
              (br_if $next (i32.lt_u (local.get $at) (i32.const 33554432))))
            (i32.const 0)))"#,
    );
    let done = run(&greedy, "--clones 3 --warm warm --call run --budget 8MiB --json");
    assert_eq!(done.status, 1, "{}", done.stderr);
    let report = done.report();
    assert_eq!(
        (&report["completed"], &report["failed"]),
        (&2.into(), &1.into()),
        "{report}"
    );
    let failure = &report["failures"][0];
    assert_eq!(
        (&failure["clone"], &failure["kind"]),
        (&1.into(), &"budget".into()),
        "{failure}"
    );
    assert!(
        failure["message"].as_str().unwrap().contains("raise the budget"),
        "{failure}"
    );
    assert!(report["peak_bytes"].as_u64() <= Some(8 << 20), "{report}");
}

/// Goal: input that cannot work is refused in words that help. Method: each kind once.
#[test]
fn bad_input_is_refused() {
    small("--call nope").refused(2, &["no export \"nope\"", "trap_in_3"]);
    small("--call memory").refused(2, &["\"memory\" is not a function"]);
    small("--call float").refused(2, &["(f32) -> ()", "i32 clone"]);
    small("--call three").refused(2, &["(i32, i32, i32)"]);
    small("--call decimal").refused(2, &["() -> (f64)", "results must be i32 or i64"]);
    small("--warm run").refused(2, &["no parameter"]);
    small("").refused(2, &["nothing to run", "--call", "trap_in_3"]);
    small("--warm always").refused(1, &["while it was warmed up", "unreachable"]);
    small("--call run --budget 5parsec").refused(2, &["is not a unit"]);
    small("--call run --budget 0").refused(2, &["too small"]);
    small("--call run --budget 64KiB").refused(2, &["a budget of 65536 bytes is too small"]);
    small("--call run --clones many").refused(2, &["many"]);
    run("/nowhere/a.wasm", "--call run").refused(2, &["cannot read /nowhere/a.wasm"]);
    let empty = module(
        "(module (func (import \"env\" \"x\")) (func (import \"env\" \"y\")) (memory 1) (func (export \"run\")))",
    );
    for how in ["", "--stock"] {
        run(&empty, &format!("--call run {how}")).refused(2, &["\"env\" \"x\"", "\"env\" \"y\""]);
    }
}

/// Goal: a module cut short is refused wherever it is cut. Method: every length of a small one.
#[test]
fn truncated_modules_are_refused() {
    let whole = wat::parse_str(SMALL).unwrap();
    for length in [0, 3, 8, 9, whole.len() / 2, whole.len() - 1] {
        let cut = file(&whole[..length]);
        let words: &[&str] = if length == 8 {
            &["no memory"]
        } else {
            &["not a valid module"]
        };
        run(&cut, "--call run").refused(2, words);
        let stock = run(&cut, "--call run --stock");
        stock.refused(2, &[]);
    }
}

/// Goal: all reasons against forking are said at once. Method: a module with three.
#[test]
fn what_cannot_be_forked_says_why() {
    let module = module(
        r#"(module (memory 1) (type $s (struct)) (global (ref $s) (struct.new $s))
          (type $a (array i32)) (global (ref $a) (array.new_fixed $a 0)) (func (export "run")))"#,
    );
    let words = [
        "- it begins with garbage-collected objects, which cannot be copied: struct.new",
        "array.new_fixed",
        "--stock",
    ];
    run(&module, "--call run").refused(2, &words);
    run(&module, "--call run --stock --json").fine();
}

/// Goal: the machine is judged and tried. Method: this one, which runs these tests.
#[test]
fn check_tells_and_tries() {
    let text = done("check");
    assert_eq!(text.status, 0, "{}\n{}", text.stdout, text.stderr);
    text.shows(&[
        "vm.max_map_count",
        "RLIMIT_NOFILE",
        "trial",
        "This machine can run memfold",
    ]);
    let report = done("check --json").fine();
    assert_ne!(report["verdict"], "missing");
    let lines = report["lines"].as_array().unwrap();
    assert!(
        lines
            .iter()
            .any(|line| line["name"] == "trial" && line["verdict"] == "ok"),
        "{report}"
    );
}

/// Goal: a machine that cannot is told apart from bad input. Method: limits of the process that
/// leave too little.
#[test]
fn a_machine_that_cannot() {
    let module = module(SMALL);
    let limited = |limit: &str, words: &str| {
        let script = format!("ulimit {limit}; exec \"$0\" {words}");
        let command = env!("CARGO_BIN_EXE_memfold");
        let output = Command::new("sh").args(["-c", &script, command]).output();
        Done::new(&output.expect("there is a shell"))
    };
    let words = format!("run {module} --call one --clones 30");
    limited("-n 5", &words).refused(3, &["RLIMIT_NOFILE is 5"]);
    limited("-v 3000000", &words).refused(3, &["RLIMIT_AS=3072000000"]);

    let full = limited("-n 64", &format!("run {module} --call one >/dev/full"));
    full.refused(3, &["refused to write the report"]);
    let check = limited("-n 5", "check");
    assert_eq!(check.status, 3, "{}", check.stdout);
    assert!(
        check.stdout.contains("MISSING") && check.stdout.contains("->"),
        "{}",
        check.stdout
    );
}

/// Goal: exit statuses are documented. Method: the help.
#[test]
fn the_help_tells_the_exit_statuses() {
    for words in ["--help", "run --help", "check --help"] {
        let help = done(words);
        assert_eq!(help.status, 0);
        for part in ["Exit status", "130", "budget that cannot work"] {
            assert!(help.stdout.contains(part), "{words}: {}", help.stdout);
        }
    }
    assert_eq!(done("").status, 2);
}
