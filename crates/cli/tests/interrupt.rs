//! SIGINT ends a run quickly, with a report of what was done. The programs print a line when they
//! have begun, so that no test depends on how fast the machine is.

mod common;

use common::{Done, memfold, module};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// `begin` prints a line in clone 0 at call 0; then `spin` never ends, `work` takes a while.
const SLOW: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "begun\n")
  (func (export "nothing"))
  (func $begin (param $clone i32) (param $call i32)
    (if (i32.eqz (i32.or (local.get $clone) (local.get $call)))
      (then
        (i32.store (i32.const 0) (i32.const 16))
        (i32.store (i32.const 4) (i32.const 6))
        (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8))))))
  (func (export "spin") (param $clone i32) (param $call i32)
    (call $begin (local.get $clone) (local.get $call))
    (loop $ever (i32.store (i32.const 64) (i32.const 1)) (br $ever)))
  (func (export "spin_warm")
    (call $begin (i32.const 0) (i32.const 0))
    (loop $ever (br $ever)))
  (func (export "work") (param $clone i32) (param $call i32) (result i32) (local $left i32)
    (call $begin (local.get $clone) (i32.sub (local.get $call) (i32.const 1)))
    (local.set $left (i32.const 100000))
    (loop $next
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $next (local.get $left)))
    (local.get $call)))"#;

/// How long the run may take to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs it, waits until the program has begun, interrupts it, and waits for its end.
fn interrupted(words: &str) -> Done {
    interrupted_before(words, |_| ())
}

/// The same with something done before the interrupt.
fn interrupted_before(words: &str, before: impl FnOnce(&mut Option<BufReader<ChildStderr>>)) -> Done {
    let mut command = memfold(&format!("run {} --inherit --json {words}", module(SLOW)));
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command was built");
    let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("it is text");
    assert_eq!(line, "begun\n");
    let mut stderr = Some(stderr);
    before(&mut stderr);
    let number = child.id().to_string();
    let killed = Command::new("kill").args(["-INT", &number]).status();
    assert!(killed.expect("there is a `kill`").success());
    let status = end(&mut child);
    let mut stdout = String::new();
    let mut out = child.stdout.take().expect("it is piped");
    out.read_to_string(&mut stdout).expect("it is text");
    let mut rest = String::new();
    if let Some(mut stderr) = stderr {
        stderr.read_to_string(&mut rest).expect("it is text");
    }
    Done {
        status,
        stdout,
        stderr: rest,
    }
}

/// Ends when the child has ended, or with a failure after [`PATIENCE`].
fn end(child: &mut Child) -> i32 {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return status.code().expect("it ended by itself");
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.kill().expect("it is our child");
    panic!("it did not end within {PATIENCE:?}");
}

/// Goal: an endless loop is ended. Method: one in a clone, on each kind of memory and on two
/// threads.
#[test]
fn an_endless_loop_is_ended() {
    for how in ["", "--stock", "--threads 2", "--evict-every"] {
        let done = interrupted(&format!("--clones 4 --call spin {how}"));
        assert_eq!(done.status, 130, "{how}: {}", done.stderr);
        let report = done.report();
        assert_eq!(report["interrupted"], true, "{report}");
        assert_eq!(
            (&report["completed"], &report["failed"]),
            (&0.into(), &0.into()),
            "{report}"
        );
    }
}

/// Goal: that nobody can be told of it does not keep a run from ending. Method: an endless loop,
/// and who reads stderr goes first.
#[test]
fn a_run_is_ended_that_cannot_say_so() {
    let done = interrupted_before("--clones 4 --call spin", |stderr| drop(stderr.take()));
    assert_eq!(done.status, 130);
    assert_eq!(done.report()["interrupted"], true);
}

/// Goal: no new call begins. Method: many short calls; the report has some of them.
#[test]
fn a_run_is_ended_in_the_middle() {
    let done = interrupted("--clones 10 --call work --calls 1000000");
    assert_eq!(done.status, 130, "{}", done.stderr);
    let report = done.report();
    assert_eq!(
        (&report["interrupted"], &report["failed"]),
        (&true.into(), &0.into()),
        "{report}"
    );
    let answered = report["calls_answered"].as_u64().unwrap();
    assert!((10..10_000_000).contains(&answered), "{report}");
    assert!(done.stderr.contains("interrupted, finishing"), "{}", done.stderr);
}

/// Goal: a warm-up that never ends is ended, too. Method: on both kinds of making.
#[test]
fn a_warm_up_is_ended() {
    for how in ["", "--independent"] {
        let done = interrupted(&format!("--clones 4 --warm spin_warm {how}"));
        assert_eq!(done.status, 130, "{how}: {}", done.stderr);
        assert_eq!(done.report()["completed"], 0);
    }
}
