//! Trials: the tests that decide about a mutant, cheapest first, and how one of them is run.
//!
//! A test program runs with one mutant on; its first failing test ends it. It is also ended when it takes far longer
//! than without a mutant, or more memory than any of them needs.

use super::Limits;
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Instant;

/// A test program.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    /// For people.
    pub name: String,
    pub program: PathBuf,
    /// Where cargo would start it.
    pub dir: PathBuf,
    pub args: Vec<&'static str>,
    pub env: Vec<(&'static str, &'static str)>,
}

/// How a trial ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All tests passed: nobody noticed.
    Passed,
    /// This test failed.
    Failed(String),
    /// It took too long.
    TimedOut,
}

/// What the reader of the program's lines says.
enum News {
    Failed(String),
    Closed,
}

impl Trial {
    /// Runs all tests of the program with mutant `no` on (0: none).
    pub(crate) fn run(&self, no: usize, limits: Limits) -> Result<Ending> {
        let mut shell = Command::new("sh");
        // The limit of memory is the shell's: a mutant may ask for all there is.
        shell.args(["-c", "ulimit -v $0; exec \"$@\""]);
        shell.arg((limits.memory >> 10).to_string()).arg(&self.program);
        shell.args(["--test-threads", "1"]).args(&self.args);
        shell.current_dir(&self.dir).envs(self.env.iter().copied());
        shell
            .env("MEMFOLD_MUTANT", no.to_string())
            .env("RUST_BACKTRACE", "0");
        shell
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = shell
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        let (tell, hear) = channel();
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        let reader = std::thread::spawn(move || read(lines, &tell));
        let ending = self.watch(&mut child, &hear, limits);
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
        let _ = reader.join();
        ending
    }

    fn watch(&self, child: &mut Child, hear: &Receiver<News>, limits: Limits) -> Result<Ending> {
        let begin = Instant::now();
        match hear.recv_timeout(limits.time.saturating_sub(begin.elapsed())) {
            Ok(News::Failed(test)) => Ok(Ending::Failed(test)),
            Ok(News::Closed) | Err(RecvTimeoutError::Disconnected) => {
                let status = child.wait()?;
                Ok(match status.success() {
                    true => Ending::Passed,
                    false => Ending::Failed(format!("({status})")),
                })
            }
            Err(RecvTimeoutError::Timeout) => Ok(Ending::TimedOut),
        }
    }
}

fn read(lines: impl BufRead, tell: &Sender<News>) {
    for line in lines.lines().map_while(Result::ok) {
        if let Some(test) = line
            .strip_suffix("FAILED")
            .and_then(|line| line.strip_prefix("test "))
        {
            let test = test.split(" - should panic").next().unwrap_or(test);
            let test = test.trim_end_matches(" ... ").to_owned();
            if !test.starts_with("result:") {
                // Nobody may listen any more.
                let _ = tell.send(News::Failed(test));
                return;
            }
        }
    }
    let _ = tell.send(News::Closed);
}
