//! Goal: the simulator and Linux are one machine to the manager: the same operations have the same
//! outcomes, the same bytes, the same digests and the same counters, be faults delivered in the
//! faulting thread or by a handler thread; and a system call that is refused ends in a typed error
//! that changes nothing, or in none. Method: one generator of operations (`ops.rs`), run on each
//! host (`runs.rs`) in a child process of its own with a time limit, so that a lost fault is a
//! failure and not a hang; what the children say of each step is compared line by line.
//!
//! `MEMFOLD_SEED` runs that seed alone, `MEMFOLD_EFFORT` multiplies how many there are.

mod files;
mod machine;
mod ops;
mod runs;
mod side;

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a child is to do, in its environment.
const TASK: &str = "MEMFOLD_CONFORMANCE";
/// What a child may take; under a sanitizer, so many times longer as `MEMFOLD_PATIENCE` says.
const LIMIT: Duration = Duration::from_secs(60);
/// Seeds that are compared, each on three hosts,
const SEEDS: u64 = 100;
/// seeds with areas of files,
const FILES: u64 = 40;
/// and seeds that are run with refused calls.
const REFUSED: u64 = 24;
/// Seeds of one child.
const EACH: u64 = 10;

/// Runs this file again as a child, and returns the lines that it said; the error names what went
/// wrong.
fn child(host: &str, way: &str, seeds: std::ops::Range<u64>) -> Result<Vec<String>, String> {
    let task = format!("{host} {way} {} {}", seeds.start, seeds.end);
    let mut child = Command::new(std::env::current_exe().expect("a test knows where it lies"))
        .args(["--exact", "as_a_child", "--nocapture", "--test-threads=1"])
        .env(TASK, &task)
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{task}: {error}"))?;
    let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let ended = wait(&mut child);
    let (out, err) = (out.join().expect("reads"), err.join().expect("reads"));
    let lines: Vec<String> = out
        .lines()
        .filter_map(|line| Some(line.split_once("| ")?.1.to_owned()))
        .collect();
    match ended {
        Some(status) if status.success() => Ok(lines),
        Some(status) => Err(format!(
            "{task}: {status} after {:?}\n{}",
            lines.last(),
            err.lines().take(12).collect::<Vec<_>>().join("\n")
        )),
        None => Err(format!(
            "{task}: no end after {LIMIT:?}, a fault is lost; the last step was {:?}",
            lines.last()
        )),
    }
}

/// Reads a pipe to its end, beside the child.
fn drain(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    let mut pipe = pipe.expect("it is a pipe");
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// How the child ended; `None` when it had to be killed.
fn wait(child: &mut Child) -> Option<std::process::ExitStatus> {
    let begin = Instant::now();
    let limit = LIMIT * number("MEMFOLD_PATIENCE").unwrap_or(1) as u32;
    while begin.elapsed() < limit {
        if let Some(status) = child.try_wait().expect("it is ours") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
    None
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text:?}")),
    )
}

/// The seeds to run, in parts.
fn parts(usual: u64) -> Vec<std::ops::Range<u64>> {
    let all = match number("MEMFOLD_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..usual * number("MEMFOLD_EFFORT").unwrap_or(1).max(1),
    };
    let part = |start| start..all.end.min(start + EACH);
    (all.start..all.end).step_by(EACH as usize).map(part).collect()
}

/// The first line in which two children differ, with the lines before it.
fn difference(one: &[String], other: &[String]) -> Option<String> {
    let at = (0..one.len().max(other.len())).find(|&n| one.get(n) != other.get(n))?;
    let before = one[at.saturating_sub(4)..at].join("\n  ");
    Some(format!("  {before}\n- {:?}\n+ {:?}", one.get(at), other.get(at)))
}

/// Whether the kernel has a device to swap to: then no host takes pages out of windows.
fn swaps() -> bool {
    let text = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    text.lines().count() > 1
}

/// Whether these histories have equal results on three hosts; how many steps they were. A simulated
/// machine takes pages out of windows or does not, as the one does that it is compared with.
fn agree(what: &str, seeds: &std::ops::Range<u64>) -> usize {
    let run = |host| child(host, what, seeds.clone()).unwrap_or_else(|error| panic!("{error}"));
    let (taking, still) = (run("sim"), run("still"));
    for host in ["signal", "thread"] {
        let expected = if host == "signal" && !swaps() {
            &taking
        } else {
            &still
        };
        if let Some(difference) = difference(expected, &run(host)) {
            panic!(
                "seeds {seeds:?}: the simulator (-) and Linux with faults by {host} (+) differ:\n{difference}"
            );
        }
    }
    // A step says what it is, and then what came of it.
    still.len() / 2
}

/// Goal: equal results on three hosts. Method: the lines of children for the same seeds.
#[test]
fn hosts_agree() {
    let steps: usize = parts(SEEDS).iter().map(|seeds| agree("plain", seeds)).sum();
    println!("{steps} steps have the same results on three hosts");
}

/// Goal: equal results with areas of files. Method: as above.
#[test]
fn hosts_agree_on_files() {
    for seeds in parts(FILES) {
        agree("files", &seeds);
    }
}

/// Goal: a refused system call is survived. Method: before each step one system call is chosen and
/// refused, once or often; the child demands typed errors and intact data.
#[test]
fn refused_calls_are_stated() {
    if !cfg!(debug_assertions) {
        eprintln!("SKIPPED: this build cannot refuse system calls (it has no debug assertions)");
        return;
    }
    let (mut steps, mut stated) = (0, 0);
    for seeds in parts(REFUSED) {
        for host in ["signal", "thread"] {
            let lines = child(host, "refused", seeds.clone()).unwrap_or_else(|error| panic!("{error}"));
            steps += lines.len();
            stated += lines.iter().filter(|line| line.contains("Err(")).count();
        }
    }
    println!("{steps} steps, {stated} of them ended in a stated error");
    assert!(stated > steps / 100, "hardly anything was refused");
}

/// Not a test of its own: what the others start.
#[test]
fn as_a_child() {
    let Ok(task) = std::env::var(TASK) else { return };
    let words: Vec<&str> = task.split(' ').collect();
    let [host, way, start, end] = words[..] else {
        panic!("not a task: {task:?}")
    };
    let seed = |text: &str| text.parse::<u64>().expect("a seed");
    for seed in seed(start)..seed(end) {
        match way {
            "plain" => runs::plain(host, seed),
            "files" => runs::files(host, seed),
            _ => runs::refused(host, seed),
        }
    }
}
