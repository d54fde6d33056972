//! Processes of tests' own: what a test does to its process, it does to a child.

use crate::turns::Turn;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const MARK: &str = "MEMFOLD_HOSTILE_CHILD";

/// How a child ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Code(i32),
    Signal(i32),
}

/// Whether this process is one.
pub fn is_one() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Runs the test's body in a process of its own and demands that it ends well.
pub fn isolated(test: &str, body: impl FnOnce()) {
    if let Some((end, text)) = in_child(test, body) {
        assert_eq!(end, End::Code(0), "{text}");
    }
}

/// How many times longer a child may take: more than once under a sanitizer.
fn patience() -> u32 {
    let times = std::env::var("MEMFOLD_PATIENCE").ok();
    times.and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// In the parent: runs this same test in a child process, and returns its end and output.
/// In the child: runs `body` and exits with 0. `test` is the test's whole name.
pub fn in_child(test: &str, body: impl FnOnce()) -> Option<(End, String)> {
    if std::env::var_os(MARK).is_some_and(|name| name == test) {
        body();
        std::process::exit(0);
    }
    let _turn = Turn::together();
    let mut child = Command::new(std::env::current_exe().expect("our own name"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(MARK, test)
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    let end = Instant::now() + Duration::from_secs(60) * patience();
    while child.try_wait().expect("our child").is_none() {
        if Instant::now() > end {
            child.kill().expect("our child");
            panic!("the child of {test} hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().expect("our child");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("running 1 test"),
        "no test is called {test}: {text}"
    );
    let end = match output.status.signal() {
        Some(signal) => End::Signal(signal),
        None => End::Code(output.status.code().expect("ended")),
    };
    Some((end, text))
}

/// `fork(2)`: runs `body` in a copy of this process, as a program would that forks while it has
/// spaces, and says how the copy ended: 0 when `body` returned, 101 when it panicked, 14 (SIGALRM)
/// when it hung.
pub fn forked(body: impl FnOnce()) -> End {
    // SAFETY: the child runs Rust code on a copy of this thread, which is what is tested; it ends
    // by `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "{}", std::io::Error::last_os_error());
    if child == 0 {
        // SAFETY: an alarm of the child's own.
        unsafe { libc::alarm(20) };
        let outcome = catch_unwind(AssertUnwindSafe(body));
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(if outcome.is_ok() { 0 } else { 101 }) };
    }
    let mut status = 0;
    // SAFETY: waits for our own child.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    if libc::WIFSIGNALED(status) {
        End::Signal(libc::WTERMSIG(status))
    } else {
        End::Code(libc::WEXITSTATUS(status))
    }
}
