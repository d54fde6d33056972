//! What people have is run as it is: modules as text, arguments, variables, folders, input, values,
//! imports that nobody provides, and a cache of what was compiled.

mod common;

use common::{Done, done, file, memfold, module, program, run};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Answers with what WASI says of arguments, variables, the first folder and the input.
const ASKS: &str = r#"(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "args") (result i32 i32)
    (drop (call $args (i32.const 0) (i32.const 4))) (i32.load (i32.const 0)) (i32.load (i32.const 4)))
  (func (export "environ") (result i32 i32)
    (drop (call $environ (i32.const 0) (i32.const 4))) (i32.load (i32.const 0)) (i32.load (i32.const 4)))
  (func (export "folder") (result i32 i32)
    (call $prestat (i32.const 3) (i32.const 0)) (i32.load (i32.const 4)))
  (func (export "read") (result i32 i32)
    (i32.store (i32.const 0) (i32.const 100)) (i32.store (i32.const 4) (i32.const 50))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.load (i32.const 8)) (i32.load8_u (i32.const 100))))"#;

/// Runs a module with words that may have spaces in them.
fn given(module: &str, words: &[&str]) -> Done {
    let output = memfold(&format!("run {module}")).args(words).output();
    Done::new(&output.expect("the command was built"))
}

/// The first lines that were printed.
#[track_caller]
fn printed(done: &Done, lines: &[&str]) {
    assert_eq!(done.status, 0, "{}\n{}", done.stdout, done.stderr);
    let found: Vec<&str> = done.stdout.lines().take(lines.len()).collect();
    assert_eq!(found, lines);
}

/// Goal: arguments, variables, folders and input arrive, on both kinds of memory, and in forks.
/// Method: their numbers and sizes.
#[test]
fn surroundings_arrive() {
    let path = module(ASKS);
    let name = PathBuf::from(&path).file_name().unwrap().len() + 1;
    let folder = file(b"x");
    let folder = PathBuf::from(folder).parent().unwrap().display().to_string();
    let input = file(b"Qrs");
    for how in ["--stock", "--independent"] {
        let args = given(&path, &[how, "--call", "args", "--json", "--", "one", "-two"]);
        let alone = given(&path, &[how, "--call", "args", "--json"]);
        assert_ne!(args.fine()["digest"], alone.fine()["digest"]);
        printed(
            &given(&path, &[how, "--invoke", "args"]),
            &["1", &name.to_string()],
        );
        let environ = given(
            &path,
            &[how, "--invoke", "environ", "--env", "A=b c", "--env", "D="],
        );
        printed(&environ, &["2", "9"]);
        printed(&given(&path, &[how, "--invoke", "folder"]), &["8"]);
        let guest = format!("{folder}::/data");
        printed(
            &given(&path, &[how, "--invoke", "folder", "--dir", &guest]),
            &["0", "5"],
        );
        printed(&given(&path, &[how, "--invoke", "read"]), &["0", "0"]);
        printed(
            &given(&path, &[how, "--invoke", "read", "--stdin", &input]),
            &["3", "81"],
        );
    }
    // Each clone has a folder, and the whole input.
    let words = format!("--call read --stdin {input} --dir {folder} --clones 5 --json");
    let forks = run(&path, &words).fine();
    assert_eq!(forks["completed"], 5);
    assert_eq!(
        forks["digest"],
        run(&path, &format!("{words} --stock")).fine()["digest"]
    );

    run(&path, "--call read --dir /no/such::x").refused(2, &["folder /no/such", "No such file"]);
    run(&path, "--call read --stdin /no/such").refused(2, &["cannot read /no/such"]);
    run(&path, "--call read --dir ::x").refused(2, &["HOST::GUEST"]);
}

/// Goal: a command gets its arguments. Method: a real program that is told none of memfold's
/// options.
#[test]
fn a_command_runs_with_arguments() {
    let hello = given(&program("hello"), &["--", "--clones", "9"]);
    assert_eq!(hello.status, 0, "{}", hello.stderr);
}

/// Goal: values are given and printed by their types, and wrong ones refused before anything is
/// compiled.
#[test]
fn values_are_given() {
    let add = module(
        r#"(module (memory 1)
          (func (export "add") (param i32 i64) (result i64) (i64.add (i64.extend_i32_s (local.get 0)) (local.get 1)))
          (func (export "half") (param f32 f64) (result f64 f32)
            (f64.div (local.get 1) (f64.const 2)) (f32.div (local.get 0) (f32.const 2)))
          (func (export "vector") (param v128)))"#,
    );
    for how in ["", "--stock"] {
        let words = |words: &str| done(&format!("run {add} {how} {words}"));
        printed(&words("--invoke add -- -3 0x10"), &["13"]);
        printed(&words("--invoke add --calls 2 -- 1 2"), &["3", "3"]);
        printed(&words("--invoke half -- 3 -5"), &["-2.5", "1.5"]);
        assert_eq!(
            words("--invoke add --clones 3 --json -- 1 2").fine()["completed"],
            3
        );
        words("--invoke add -- 1").refused(2, &["takes 2 values, and 1 follow"]);
        words("--invoke add -- 1 two").refused(2, &["type i64", "\"two\""]);
        words("--invoke nope").refused(2, &["no export \"nope\"", "add"]);
        words("--invoke vector -- 1").refused(2, &["(v128) -> ()"]);
    }
}

/// Goal: text is a module as well, and a mistake in it is named with its place.
#[test]
fn text_is_a_module() {
    let text = file(b"(module (memory 1)\n  (func (export \"run\") (result i32) (i32.const 7)))");
    for how in ["", "--stock"] {
        printed(&run(&text, &format!("--invoke run {how}")), &["7"]);
        let wrong = file(b"(module\n  (memory one))");
        let refused = run(&wrong, &format!("--invoke run {how}"));
        refused.refused(2, &["cannot run", "(line 2, column "]);
        assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    }
}

/// Goal: a module whose imports nobody provides can be tried. Method: both kinds of stubs.
#[test]
fn imports_are_stubbed() {
    let path = module(
        r#"(module (import "env" "a" (func $a (result i32))) (import "env" "b" (func (param f64)))
          (memory 1) (func (export "calls") (result i32) (call $a)) (func (export "other") (result i32) (i32.const 1)))"#,
    );
    for how in ["", "--stock"] {
        let words = |words: &str| run(&path, &format!("{how} {words}"));
        words("--invoke other").refused(2, &["\"env\" \"a\"", "--stub-imports"]);
        printed(&words("--invoke other --stub-imports trap"), &["1"]);
        printed(&words("--invoke calls --stub-imports zero"), &["0"]);
        let trapped = words("--invoke calls --stub-imports trap");
        assert_eq!(trapped.status, 1, "{}", trapped.stderr);
        // In one line, with the place behind it.
        trapped.shows(&["host: the import \"env\" \"a\" is a stub (in function 2)"]);
    }
}

/// Goal: a module that imports a memory, a table and mutable globals which nobody else has runs.
/// Method: each of them, as it is, and with zeros for the globals.
#[test]
fn what_nobody_else_has_need_not_be_provided() {
    let memory = module(
        r#"(module (import "env" "memory" (memory 1)) (import "env" "table" (table 1 funcref)) (global $n (mut i32) (i32.const 0))
          (export "memory" (memory 0)) (func (export "warm") (i32.store (i32.const 0) (i32.const 5)))
          (func (export "run") (result i32) (i32.load (i32.const 0))))"#,
    );
    printed(&run(&memory, "--warm warm --invoke run"), &["5"]);
    let report = run(&memory, "--warm warm --call run --clones 3 --evict-every --json").fine();
    assert_eq!(report["completed"], 3);
    let global = module(
        r#"(module (import "env" "sp" (global $sp (mut i32))) (memory 1) (func (export "run") (result i32) (global.get $sp)))"#,
    );
    run(&global, "--invoke run").refused(2, &["mutable global \"env\" \"sp\"", "value must be given"]);
    printed(&run(&global, "--invoke run --stub-imports zero"), &["0"]);
    // Stock instances get the same, each its own.
    printed(&run(&memory, "--warm warm --invoke run --stock"), &["5"]);
    run(&global, "--invoke run --stock").refused(2, &["\"env\" \"sp\""]);
    printed(&run(&global, "--invoke run --stock --stub-imports zero"), &["0"]);
    let all = module(
        r#"(module (import "env" "memory" (memory 1 4)) (import "env" "table" (table $t 2 funcref)) (import "env" "sp" (global $sp (mut i32)))
          (import "env" "base" (global $base i32)) (import "env" "f" (func $f (result i32)))
          (data (global.get $base) "\07") (elem (table $t) (global.get $base) func $f $g) (func $g (result i32) (i32.const 9))
          (func (export "warm") (drop (memory.grow (i32.const 2))) (global.set $sp (i32.const 100)))
          (func (export "run") (param i32 i32) (result i32 i32 i32)
            (global.set $sp (i32.add (global.get $sp) (local.get 0)))
            (i32.store8 (i32.const 0) (i32.add (i32.load8_u (i32.const 0)) (local.get 1)))
            (i32.load8_u (i32.const 0)) (i32.add (global.get $sp) (memory.size))
            (i32.add (call_indirect $t (result i32) (i32.const 0)) (call_indirect $t (result i32) (i32.const 1)))))"#,
    );
    let digest = |how: &str| {
        let words = format!("--warm warm --call run --clones 3 --calls 2 --stub-imports zero --json {how}");
        run(&all, &words).fine()["digest"].clone()
    };
    assert_eq!(digest(""), digest("--stock"));
}

/// Goal: a module that lacks nothing but values is told apart from one that cannot be forked.
#[test]
fn values_that_are_missing_are_counted() {
    let path = module(
        r#"(module (import "env" "sp" (global (mut i32))) (import "env" "base" (global $base i32))
          (memory 1) (data (global.get $base) "x"))"#,
    );
    let told = done(&format!("inspect {path}"));
    assert_eq!(told.status, 2, "{}", told.stderr);
    told.shows(&[
        "can be forked when its imported globals are given values",
        "\"env\" \"sp\"",
    ]);
    let report = done(&format!("inspect {path} --json")).report();
    assert_eq!(
        (&report["forkable"], &report["forkable_with_values"]),
        (&false.into(), &true.into())
    );
}

/// Goal: memories of every kind run, and are the same in forks. Method: the digest of stock
/// instances, with all pages moved out before each call, and the sizes that are reported.
#[test]
fn memories_of_every_kind_run() {
    let path = module(
        r#"(module (memory (export "a") 2) (memory (export "b") i64 0 9) (memory (export "c") 5000 90000 (pagesize 1))
          (data (memory 2) (i32.const 4990) "at its end")
          (func (export "warm") (drop (memory.grow 1 (i64.const 1))) (drop (memory.grow 2 (i32.const 7)))
            (i64.store 1 (i64.const 65528) (i64.const 11)))
          (func (export "run") (param i32 i32) (result i64 i32 i32)
            (i64.store 1 (i64.const 65528)
              (i64.add (i64.load 1 (i64.const 65528)) (i64.extend_i32_u (local.get 0))))
            (i32.store8 2 (i32.const 5006) (i32.add (i32.load8_u 2 (i32.const 5006)) (local.get 1)))
            (i64.load 1 (i64.const 65528)) (i32.load8_u 2 (i32.const 5006)) (memory.size 2))
          (func (export "beyond") (result i32) (i32.load8_u 2 (i32.const 5007))))"#,
    );
    let digest = |how: &str| {
        let report = run(
            &path,
            &format!("--warm warm --call run --clones 5 --calls 3 --json {how}"),
        )
        .fine();
        (report["digest"].clone(), report["logical_bytes"].clone())
    };
    let right = digest("--stock");
    for how in ["", "--independent", "--evict-every", "--threads 2"] {
        assert_eq!(digest(how), right, "{how}");
    }
    for how in ["", "--stock"] {
        let beyond = run(&path, &format!("--warm warm --call beyond {how}"));
        assert_eq!(beyond.status, 1, "{}", beyond.stderr);
        beyond.shows(&["out of bounds memory access"]);
    }
}

/// Goal: a module is judged without running it: what a fork copies, or each reason with what helps.
/// Method: one of each kind.
#[test]
fn modules_are_inspected() {
    let good = file(
        br#"(module (import "env" "f" (func $f)) (import "env" "m" (memory 1 9)) (table 1 funcref) (global (mut i32) (i32.const 0))
          (data $d "abc") (data (i32.const 0) "four") (start $s)
          (func $s (table.set (i32.const 0) (ref.null func)) (data.drop $d)) (func (export "run")))"#,
    );
    let report = done(&format!("inspect {good} --json")).fine();
    assert_eq!(report["forkable"], true);
    for (name, number) in [
        ("mutable_globals", 1),
        ("changing_tables", 1),
        ("dropped_segments", 1),
        ("referable_functions", 1),
    ] {
        assert_eq!(report["state"][name], number, "{name} in {report}");
    }
    let memory = serde_json::json!({
        "pages": 1, "most_pages": 9, "page_bytes": 65536, "address_bits": 32, "data_bytes": 4
    });
    assert_eq!(report["state"]["memories"], serde_json::json!([memory]));
    assert_eq!(report["imports"], serde_json::json!(["\"env\" \"f\""]));
    assert_eq!(report["own_imports"], serde_json::json!(["\"env\" \"m\""]));
    assert_eq!(report["functions"], serde_json::json!(["run"]));
    let text = done(&format!("inspect {good}"));
    assert!(text.stdout.contains("can be forked"), "{}", text.stdout);

    let several = module(
        r#"(module (memory 1) (memory i64 0 9) (memory 70 70 (pagesize 1)) (data (memory 2) (i32.const 0) "abc"))"#,
    );
    done(&format!("inspect {several}")).shows(&[
        "memory 0   1 pages of 64 KiB at first, no limit; 0 bytes of data",
        "memory 1   0 pages of 64 KiB at first, at most 9; 64-bit addresses, 0 bytes of data",
        "memory 2   70 pages of 1 byte at first, at most 70; 3 bytes of data",
    ]);

    let bad = module("(module (memory 1 1 shared) (memory i64 70000))");
    let text = done(&format!("inspect {bad}"));
    assert_eq!(text.status, 2, "{}", text.stderr);
    text.shows(&[
        "cannot be forked",
        "- its memory is shared",
        "-> build it without threads",
        "- its memory 1 begins with 4587520000 bytes",
        "-> let the memory begin smaller",
    ]);
    let report = done(&format!("inspect {bad} --json")).report();
    assert_eq!(report["reasons"].as_array().unwrap().len(), 2, "{report}");
    done("inspect /no/such").refused(2, &["cannot read /no/such"]);
}

/// Goal: names and types are checked before the module is compiled. Method: one that takes long to
/// compile is refused at once.
#[test]
fn wrong_names_are_refused_at_once() {
    let begin = Instant::now();
    run(&program("sqlite"), "--call nope --no-cache").refused(2, &["no export \"nope\"", "warm"]);
    run(&program("sqlite"), "--invoke run --no-cache -- 1").refused(2, &["takes 2 values"]);
    assert!(begin.elapsed() < Duration::from_secs(10), "it was compiled first");
}

/// Goal: what was compiled is kept in the user's cache folder, and found there; `--no-cache` keeps
/// nothing. Method: a cache folder of the test's own, and one that cannot be.
#[test]
fn compiled_code_is_kept() {
    let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("cache-{}", std::process::id()));
    let lua = program("lua");
    let go = |cache: &str, words: &str| {
        let mut command = memfold(&format!("run {lua} --warm warm --call run --json {words}"));
        Done::new(&command.env("XDG_CACHE_HOME", cache).output().unwrap()).fine()
    };
    let files = || fs::read_dir(cache.join("wasmtime")).map_or(0, Iterator::count);
    let none = go(cache.to_str().unwrap(), "--no-cache");
    assert_eq!(files(), 0);
    let first = go(cache.to_str().unwrap(), "");
    assert!(files() > 0, "nothing was kept");
    let second = go(cache.to_str().unwrap(), "");
    let nowhere = go("/dev/null/cache", "");
    for report in [&first, &second, &nowhere] {
        assert_eq!(report["digest"], none["digest"]);
    }
    let seconds = |report: &serde_json::Value| report["phase_seconds"]["compile"].as_f64().unwrap();
    assert!(seconds(&second) < seconds(&none), "{second} {none}");
    fs::remove_dir_all(&cache).unwrap();
}
