//! One part's share: its time, its folder, its log, and how its commands are run within it.

use super::Verdict;
use super::counts::Counts;
use crate::shell;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Commands that are to end by themselves when the time is up get this much more before they are
/// ended.
const GRACE: Duration = Duration::from_secs(60);

/// One part's share.
pub(crate) struct Share {
    /// Where failures of the part are kept, and its log.
    pub(crate) folder: PathBuf,
    /// What its seeds follow from.
    pub(crate) seed: u64,
    /// Cores that it may use.
    pub(crate) jobs: u64,
    /// What it counts itself.
    pub(crate) counts: Counts,
    end: Instant,
    log: File,
    commands: Vec<String>,
}

impl Share {
    pub(crate) fn new(name: &str, folder: PathBuf, time: Duration, seed: u64, jobs: u64) -> Result<Self> {
        // What an earlier campaign left would be taken for this one's.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let log = File::create(folder.join("log")).with_context(|| format!("the log of {name}"))?;
        Ok(Share {
            folder,
            seed,
            jobs,
            counts: Counts::default(),
            end: Instant::now() + time,
            log,
            commands: Vec::new(),
        })
    }

    /// What is left of its time.
    pub(crate) fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// When its time is up.
    pub(crate) fn end(&self) -> Instant {
        self.end
    }

    /// Runs a command to its end, or to the end of the time.
    pub(crate) fn run(&mut self, command: Command) -> Result<Verdict> {
        self.together(vec![command])
    }

    /// Runs commands side by side. The worst end counts.
    pub(crate) fn together(&mut self, commands: Vec<Command>) -> Result<Verdict> {
        let mut children = Vec::new();
        for command in commands {
            children.push(self.start(&command)?);
        }
        let mut verdict = Verdict::Passed;
        for (line, mut child) in children {
            verdict = match (judge(child.wait()?, &line), verdict) {
                (Verdict::Passed, before) => before,
                (_, Verdict::Failed(why)) => Verdict::Failed(why),
                (now, _) => now,
            };
        }
        Ok(verdict)
    }

    fn start(&mut self, command: &Command) -> Result<(String, Child)> {
        let line = shell::describe(command);
        println!("$ {line}");
        self.commands.push(line.clone());
        let mut command = shell::within(command, self.left() + GRACE);
        command.stdin(Stdio::null());
        command
            .stdout(self.log.try_clone()?)
            .stderr(self.log.try_clone()?);
        let child = command.spawn().with_context(|| format!("cannot start: {line}"))?;
        Ok((line, child))
    }

    /// The commands, and all that was counted.
    pub(crate) fn finish(self) -> (Vec<String>, Counts) {
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        let mut counts = Counts::read(&String::from_utf8_lossy(&log));
        counts.join(self.counts);
        (self.commands, counts)
    }
}

fn judge(status: ExitStatus, line: &str) -> Verdict {
    match status.code() {
        Some(0) => Verdict::Passed,
        Some(shell::TIMED_OUT | shell::KILLED) => Verdict::Cut,
        _ => Verdict::Failed(format!("{line}: {status}")),
    }
}
