//! Components are run as modules are: forked, called, inspected, refused by name; their answers are
//! those of stock Wasmtime. Method: components as text, runs with `--json` on both.

mod common;

use common::{Done, done, file, memfold, module, run};

/// Counts in a global of one core instance and in the memory of another, says so in words, and is a
/// WASI command.
const COUNTER: &str = r#"(component
  (core module $other (global $steps (mut i32) (i32.const 0))
    (func (export "step") (result i32) (global.set $steps (i32.add (global.get $steps) (i32.const 1)))
      (global.get $steps)))
  (core module $m (import "other" "step" (func $step (result i32))) (memory (export "memory") 1)
    (data (i32.const 100) "warm? ") (global $heap (mut i32) (i32.const 4096))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $heap (i32.add (global.get $heap) (local.get 3)))
      (i32.sub (global.get $heap) (local.get 3)))
    (func (export "warm") (drop (call $step)) (i32.store (i32.const 0) (i32.const 1000)))
    (func (export "run") (param i32 i32) (result i32)
      (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.add (local.get 0) (call $step))))
      (i32.add (i32.load (i32.const 0)) (i32.mul (local.get 1) (i32.const 7))))
    (func (export "say") (param i32 i32) (result i32)
      (memory.copy (i32.const 106) (local.get 0) (local.get 1))
      (i32.store (i32.const 8) (i32.const 100)) (i32.store (i32.const 12) (i32.add (i32.const 6) (local.get 1)))
      (i32.const 8))
    (func (export "fail") (result i32) (i32.const 1))
    (func (export "command") (result i32) (drop (call $step)) (i32.const 0)))
  (core instance $other (instantiate $other))
  (core instance $m (instantiate $m (with "other" (instance $other))))
  (func (export "warm") (canon lift (core func $m "warm")))
  (func (export "run") (param "clone" u32) (param "call" u32) (result u32) (canon lift (core func $m "run")))
  (func (export "say") (param "what" string) (result string)
    (canon lift (core func $m "say") (memory $m "memory") (realloc (func $m "cabi_realloc"))))
  (func $fail (result (result)) (canon lift (core func $m "fail")))
  (export "fail" (func $fail))
  (func $command (result (result)) (canon lift (core func $m "command")))
  (instance $run (export "run" (func $command)))
  (export "wasi:cli/run@0.2.3" (instance $run)))"#;

#[test]
fn answers_are_those_of_stock_wasmtime() {
    let path = module(COUNTER);
    let words = "--warm warm --call run --clones 5 --calls 3 --json";
    let digest = |more: &str| run(&path, &format!("{words} {more}")).fine()["digest"].clone();
    let stock = digest("--stock");
    for more in [
        "",
        "--independent",
        "--evict-every --threads 2",
        "--budget 8MiB --merge",
    ] {
        assert_eq!(digest(more), stock, "{more}");
    }
    let other = run(&path, "--call run --clones 5 --calls 3 --json").fine();
    assert_ne!(other["digest"], stock);
}

#[test]
fn words_go_in_and_come_out() {
    let path = module(COUNTER);
    let said = Done::new(
        &memfold(&format!("run {path} --invoke say -- "))
            .arg("two words")
            .output()
            .expect("the command was built"),
    );
    assert_eq!(said.status, 0, "{}", said.stderr);
    assert!(said.stdout.starts_with("warm? two words\n"), "{}", said.stdout);
    run(&path, "--invoke say").refused(2, &["takes 1 value"]);
    run(&path, "--call say").refused(2, &["(string) -> (string)", "--invoke"]);
    run(&path, "--call none").refused(2, &["no export", "say", "wasi:cli/run@0.2.3#run"]);
}

#[test]
fn a_command_runs_once_in_each_clone() {
    let path = module(COUNTER);
    for more in ["", "--stock"] {
        let report = run(&path, &format!("--clones 3 --json {more}")).fine();
        assert_eq!(
            (&report["completed"], &report["calls_answered"]),
            (&3.into(), &3.into())
        );
    }
    let failed = run(&path, "--call fail --json");
    assert_eq!(failed.status, 1, "{}", failed.stderr);
    assert_eq!(failed.report()["failures"][0]["kind"], "exit");
}

#[test]
fn what_cannot_be_done_is_named() {
    let path = module(COUNTER);
    let mapped = file(b"something");
    run(&path, &format!("--call run --map {mapped}@1MiB")).refused(2, &["--map", "component"]);
    run(&path, "--call run --stub-imports zero").refused(2, &["--stub-imports zero", "component"]);
    let nested =
        module("(component (component (core module $m (memory 1)) (core instance (instantiate $m))))");
    run(&nested, "--call f").refused(2, &["core modules of its own", "--stock"]);
    let imports = module(
        r#"(component (import "strange" (func)) (core module $m (memory 1) (func (export "f")))
            (core instance $m (instantiate $m)) (func (export "f") (canon lift (core func $m "f"))))"#,
    );
    run(&imports, "--call f").refused(2, &["strange"]);
    let stubbed = run(&imports, "--call f --stub-imports trap --json");
    assert_eq!(stubbed.status, 0, "{}", stubbed.stderr);
}

#[test]
fn a_component_is_inspected() {
    let path = module(COUNTER);
    let counter = done(&format!("inspect {path}"));
    assert_eq!(counter.status, 0, "{}", counter.stderr);
    counter.shows(&[
        "can be forked",
        "globals    2 mutable",
        "say",
        "wasi:cli/run@0.2.3",
        "there is one",
    ]);
    let nested =
        module("(component (component (core module $m (memory 1)) (core instance (instantiate $m))))");
    let refused = done(&format!("inspect {nested}"));
    assert_eq!(refused.status, 2, "{}", refused.stderr);
    refused.shows(&[
        "cannot be forked",
        "core modules of its own",
        "-> build it as one component",
    ]);
}
