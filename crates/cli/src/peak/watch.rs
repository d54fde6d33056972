//! Runs a command under observation and keeps the highest of every figure.

use super::sample;
use crate::error::Error;
use serde::Serialize;
use signal_hook::consts::SIGINT;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The highest of each figure among all samples; sums are sums of one sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Peaks {
    /// Blocks of the memfds.
    pub(super) pool_bytes: u64,
    /// Private pages under the windows.
    pub(super) window_bytes: u64,
    /// Pool and windows, while the command stood still.
    pub(super) image_bytes: u64,
    /// `VmPTE`: page tables, those of the rest of the process among them.
    pub(super) page_table_bytes: u64,
    /// Pool, windows and page tables, while the command stood still.
    pub(super) kernel_bytes: u64,
    /// `RssAnon`.
    pub(super) anonymous_bytes: u64,
    /// Pool and `RssAnon`.
    pub(super) process_bytes: u64,
    /// How often pool, `RssAnon` and `VmPTE` were read.
    pub(super) samples: u64,
    /// How often the command was stopped to read its windows.
    pub(super) stopped_samples: u64,
    /// The longest time between two samples.
    pub(super) longest_gap_us: u64,
}

/// Between two stopped samples at least so long,
const STOP_EVERY_MIN: Duration = Duration::from_millis(100);
/// and so many times as long as the last one took: 4 % of the run at most.
const STOP_EVERY_TIMES: u32 = 25;
/// A thread in a system call that cannot be interrupted may not stop; then this sample is left out.
const STOP_WAIT_MAX: Duration = Duration::from_millis(500);
/// Between two looks for new child processes.
const TREE_EVERY: Duration = Duration::from_millis(50);

/// Runs the command to its end, sampling every `interval`.
pub(super) fn watch(mut command: Command, interval: Duration) -> Result<(ExitStatus, Peaks), Error> {
    let child = command.spawn().map_err(|source| Error::Start {
        program: command.get_program().to_owned(),
        source,
    })?;
    // A terminal sends SIGINT to both of us: the command decides what becomes of it, and is then
    // reported on.
    let refused = |source| Error::system("to watch for SIGINT", source);
    signal_hook::flag::register(SIGINT, Arc::default()).map_err(refused)?;
    let mut watcher = Watcher::new(child);
    loop {
        watcher.sample();
        let ended = watcher.child.try_wait();
        if let Some(status) = ended.map_err(|source| Error::system("to wait for the command", source))? {
            return Ok((status, watcher.peaks));
        }
        std::thread::sleep(interval);
    }
}

struct Watcher {
    child: Child,
    pids: Vec<u32>,
    peaks: Peaks,
    last: Instant,
    next_tree: Instant,
    next_stop: Instant,
}

impl Watcher {
    fn new(child: Child) -> Self {
        let now = Instant::now();
        let pids = vec![child.id()];
        Watcher {
            child,
            pids,
            peaks: Peaks::default(),
            last: now,
            next_tree: now,
            next_stop: now + TREE_EVERY,
        }
    }

    fn sample(&mut self) {
        let now = Instant::now();
        let gap = u64::try_from((now - self.last).as_micros()).unwrap_or(u64::MAX);
        self.peaks.longest_gap_us = self.peaks.longest_gap_us.max(gap);
        self.last = now;
        if now >= self.next_tree {
            self.pids = sample::tree(self.child.id());
            self.next_tree = now + TREE_EVERY;
        }
        self.running();
        // Without a pool there are no windows, and no reason to stop anybody.
        if now >= self.next_stop && self.peaks.pool_bytes > 0 {
            self.stopped();
            self.last = Instant::now();
            let pause = STOP_EVERY_MIN.max(now.elapsed() * STOP_EVERY_TIMES);
            self.next_stop = Instant::now() + pause;
        }
    }

    /// Pool, `RssAnon` and `VmPTE`, while the command runs.
    fn running(&mut self) {
        let pool = sample::pool_bytes(&self.pids);
        let anonymous = sample::anonymous_bytes(&self.pids);
        let tables = sample::page_table_bytes(&self.pids);
        let peaks = &mut self.peaks;
        peaks.samples += 1;
        peaks.pool_bytes = peaks.pool_bytes.max(pool);
        peaks.anonymous_bytes = peaks.anonymous_bytes.max(anonymous);
        peaks.page_table_bytes = peaks.page_table_bytes.max(tables);
        peaks.process_bytes = peaks.process_bytes.max(pool + anonymous);
    }

    /// Pool and windows, while the command stands still.
    fn stopped(&mut self) {
        let already = sample::stopped(&self.pids);
        let ours: Vec<u32> = self
            .pids
            .iter()
            .copied()
            .filter(|pid| !already.contains(pid))
            .collect();
        signal("STOP", &ours);
        let begin = Instant::now();
        while !sample::all_stopped(&self.pids) && begin.elapsed() < STOP_WAIT_MAX {
            std::thread::sleep(Duration::from_micros(200));
        }
        if sample::all_stopped(&self.pids) {
            let pool = sample::pool_bytes(&self.pids);
            let windows = sample::window_bytes(&self.pids);
            let peaks = &mut self.peaks;
            peaks.stopped_samples += 1;
            peaks.window_bytes = peaks.window_bytes.max(windows);
            peaks.image_bytes = peaks.image_bytes.max(pool + windows);
            let tables = sample::page_table_bytes(&self.pids);
            peaks.page_table_bytes = peaks.page_table_bytes.max(tables);
            peaks.kernel_bytes = peaks.kernel_bytes.max(pool + windows + tables);
        }
        signal("CONT", &ours);
    }
}

impl Drop for Watcher {
    /// However the watch ends, nothing stays stopped.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            signal("CONT", &self.pids);
        }
    }
}

/// Sends a signal by the shell's own `kill`: the standard library has none.
fn signal(name: &str, pids: &[u32]) {
    if pids.is_empty() {
        return;
    }
    let mut command = Command::new("sh");
    command
        .args(["-c", "kill -s \"$0\" \"$@\"", name])
        .args(pids.iter().map(u32::to_string));
    // A process that has just ended is no error.
    let _ = command.stdin(Stdio::null()).stderr(Stdio::null()).status();
}

#[cfg(test)]
mod tests {
    //! Goal: peaks come from the command, and it runs to its end. Method: a shell, stopped and
    //! woken.
    use super::*;

    #[test]
    fn the_command_ends_as_it_would_alone() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 0.1; exit 3"]);
        let (status, peaks) = watch(command, Duration::from_millis(1)).unwrap();
        assert_eq!(status.code(), Some(3));
        assert!(peaks.samples > 10 && peaks.anonymous_bytes > 0, "{peaks:?}");
        assert!(peaks.page_table_bytes > 0, "{peaks:?}");
        assert_eq!((peaks.pool_bytes, peaks.stopped_samples), (0, 0));
    }

    #[test]
    fn a_stopped_command_goes_on() {
        let child = Command::new("sleep").arg("0.2").spawn().unwrap();
        let mut watcher = Watcher::new(child);
        watcher.stopped();
        assert_eq!(watcher.peaks.stopped_samples, 1);
        assert!(watcher.child.wait().unwrap().success());
    }
}
