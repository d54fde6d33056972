//! Running a test's body in a child process, to see how that ends.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const MARK: &str = "MEMFOLD_TEST_CHILD";

/// How a child ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Code(i32),
    Signal(i32),
}

/// Whether this process is a child.
#[allow(dead_code, reason = "not every test program asks")]
pub fn is_one() -> bool {
    std::env::var_os(MARK).is_some()
}

/// In the parent: runs this same test in a child process, which may take so long, and returns its
/// end and output. In the child: runs `body` and exits with 0. `test` is the test's whole name.
pub fn in_child(test: &str, limit: Duration, body: impl FnOnce()) -> Option<(End, String)> {
    if std::env::var_os(MARK).is_some_and(|name| name == test) {
        body();
        std::process::exit(0);
    }
    let mut child = Command::new(std::env::current_exe().expect("our own name"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(MARK, test)
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    let end = Instant::now() + limit * patience();
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
    println!("child of {test}: {end:?}\n{text}");
    Some((end, text))
}

/// How many times longer a child may take: more than once under a sanitizer.
fn patience() -> u32 {
    let times = std::env::var("MEMFOLD_PATIENCE").ok();
    times.and_then(|times| times.parse().ok()).unwrap_or(1)
}
