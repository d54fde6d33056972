//! What the command is given and where it runs may be anything: one sentence and the documented
//! status, never a panic, never a run without an end.

mod common;

use common::{Done, SMALL, file, module, program};
use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// No refusal takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a line of the shell, in which `$0` is the command. It has to end by itself.
#[track_caller]
fn shell(line: &str) -> Done {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", line, env!("CARGO_BIN_EXE_memfold")])
        .env("XDG_CACHE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"))
        .stdin(Stdio::null());
    let (out, err) = (file(b""), file(b""));
    let open = |path: &str| fs::File::create(path).expect("the file is ours");
    let mut child = shell
        .stdout(open(&out))
        .stderr(open(&err))
        .spawn()
        .expect("there is a shell");
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().expect("it is our child") {
            let read =
                |path: &str| String::from_utf8_lossy(&fs::read(path).expect("it was written")).into_owned();
            return Done {
                status: status.code().expect("it ended by itself"),
                stdout: read(&out),
                stderr: read(&err),
            };
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.kill().and_then(|()| child.wait()).expect("it is our child");
    panic!("`{line}` did not end within {PATIENCE:?}");
}

/// Refused with this status, in one line with these words, and nothing on stdout.
#[track_caller]
fn refused(line: &str, status: i32, words: &[&str]) {
    let done = shell(line);
    done.refused(status, words);
    assert_eq!(done.stderr.lines().count(), 1, "{line}: {}", done.stderr);
    assert_eq!(done.stdout, "", "{line}");
}

/// Goal: what is not a module is told apart and refused, on both kinds of memory. Method: text,
/// devices, a folder, nothing.
#[test]
fn any_file_may_be_given() {
    let text = file(b"\n;; a program\n(module");
    let other = file(b"#!/bin/sh\n");
    for how in ["", "--stock", "--independent"] {
        let run = |path: &str| format!("ulimit -v 20000000; exec \"$0\" run {path} --call run {how}");
        refused(&run(&text), 2, &["expected", "(line 3, column 8)"]);
        refused(&run("/dev/zero"), 2, &["/dev/zero", "not a valid module"]);
        refused(&run("/dev/null"), 2, &["not a valid module"]);
        refused(&run(&other), 2, &["not a valid module"]);
        refused(&run("/"), 2, &["cannot read /: Is a directory"]);
        refused(&run("/no/such"), 2, &["cannot read /no/such: No such file"]);
    }
    // A module may come through a pipe.
    let small = module(SMALL);
    let piped = shell(&format!("cat {small} | \"$0\" run /dev/stdin --call one"));
    assert_eq!(piped.status, 0, "{}", piped.stderr);
    // One without an end.
    let endless = format!("(cat {small}; cat /dev/zero) | \"$0\" run /dev/stdin --call one");
    refused(&endless, 2, &["no module may"]);
}

/// Goal: more clones than the machine's limits allow are refused before the first is made, by the
/// limit's name. Method: this machine's own limits; a small one of addresses.
#[test]
fn too_many_clones_are_refused_at_once() {
    let small = module(SMALL);
    for how in ["", "--independent"] {
        for clones in ["200000", "4294967295"] {
            let line = format!("exec \"$0\" run {small} --call one --clones {clones} {how}");
            let begin = Instant::now();
            refused(
                &line,
                3,
                &[
                    &format!("{clones} clones cannot be made"),
                    "addresses of a process",
                ],
            );
            assert!(begin.elapsed() < Duration::from_secs(5), "it was tried");
        }
        let maps = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap_or_default();
        if maps.trim().parse().is_ok_and(|maps: u64| maps < 80_000) {
            let line = format!("exec \"$0\" run {small} --call one --clones 40000 {how}");
            refused(&line, 3, &["vm.max_map_count", "sysctl -w"]);
        }
        let line = format!("ulimit -v 50000000; exec \"$0\" run {small} --call one --clones 30 {how}");
        refused(
            &line,
            3,
            &["30 clones", "RLIMIT_AS=51200000000", "about 9", "ulimit -v"],
        );
    }
    // Those on Wasmtime's own memory may need none.
    let none = module("(module (func (export \"run\")))");
    let stock = shell(&format!(
        "exec \"$0\" run {none} --call run --clones 40000 --stock --json"
    ));
    assert_eq!(stock.report()["completed"], 40_000);
}

/// Goal: where a limit is met after all, the clones behind it are not tried one by one. Method:
/// addresses for all but a few, which the size that is asked for does not tell: slots are larger.
#[test]
fn a_limit_met_later_ends_the_making() {
    let small = module(SMALL);
    for how in ["", "--independent"] {
        let line =
            format!("ulimit -v 4235600000; exec \"$0\" run {small} --call one --clones 1000 --json {how}");
        let some = shell(&line);
        assert_eq!(some.status, 1, "{}", some.stderr);
        let report = some.report();
        let number = |name: &str| report[name].as_u64().unwrap();
        assert!(number("completed") > 900 && number("failed") > 1, "{report}");
        assert_eq!(number("completed") + number("failed"), 1000);
        let failures = report["failures"].as_array().unwrap();
        assert_eq!(
            (failures.len(), &failures[0]["kind"]),
            (1, &Value::from("machine")),
            "{report}"
        );
    }
}

/// Goal: full and closed outputs change no status but that of a report that is lost. Method:
/// /dev/full, a reader that goes, no descriptor at all.
#[test]
fn outputs_may_be_full_or_gone() {
    let small = module(SMALL);
    let hello = program("hello");
    let run = format!("\"$0\" run {small} --call one --clones 3");
    // (what is run, its status with a full stdout, with a full stderr)
    for (command, full_out, full_err) in [
        (run.as_str(), 3, 0),
        (&format!("{run} --json"), 3, 0),
        (&format!("\"$0\" run {small} --call nope"), 2, 2),
        (&format!("\"$0\" run {hello}"), 3, 0),
        ("\"$0\" run /no/such", 2, 2),
        ("\"$0\" check", 3, 0),
        ("\"$0\"", 2, 2),
        ("\"$0\" run", 2, 2),
    ] {
        let status = |line: String| {
            let done = shell(&line);
            assert!(!done.stderr.contains("panicked"), "{line}: {}", done.stderr);
            done.status
        };
        assert_eq!(
            status(format!("exec {command} >/dev/full")),
            full_out,
            "{command}"
        );
        assert_eq!(
            status(format!("exec {command} 2>/dev/full")),
            full_err,
            "{command}"
        );
        assert_eq!(
            status(format!("exec {command} >/dev/full 2>/dev/full")),
            full_out,
            "{command}"
        );
        assert_eq!(
            status(format!("exec {command} >&- 2>&- <&-")),
            full_err,
            "{command}"
        );
        // The status of the command, not that of the reader.
        let gone = format!("({command}; echo $? >&2) 2>&1 >/dev/full | tail -n 1");
        assert_eq!(shell(&gone).stdout.trim(), full_out.to_string(), "{command}");
        let gone = format!("({command} 2>&3; echo $? >&3) 3>&2 | true");
        let told = shell(&gone).stderr;
        assert_eq!(
            told.lines().last(),
            Some(full_err.to_string().as_str()),
            "{command}: {told}"
        );
    }
}

/// Goal: with any small number of descriptors the command works, or says what it lacks. Method:
/// every number.
#[test]
fn few_descriptors() {
    let small = module(SMALL);
    let mut works_from = None;
    // The loader of programs needs some itself.
    for most in 4..24 {
        let what = format!("run {small} --call one --threads 2 --clones 3");
        let done = shell(&format!("ulimit -n {most}; exec \"$0\" {what}"));
        match done.status {
            127 if done.stderr.contains("shared libraries") => {}
            0 => works_from = works_from.or(Some(most)),
            _ => {
                done.refused(3, &[&format!("RLIMIT_NOFILE is {most}"), "ulimit -n"]);
                assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
            }
        }
    }
    assert!(works_from.is_some(), "24 are plenty");
}

/// Goal: threads that cannot be had are a refusal. Method: stacks of more threads than there are
/// addresses for.
#[test]
fn too_many_threads() {
    let none = module("(module (func (export \"run\")))");
    let line =
        format!("ulimit -v 2000000; exec \"$0\" run {none} --call run --stock --clones 4000 --threads 4000");
    refused(&line, 3, &["--threads"]);
}
