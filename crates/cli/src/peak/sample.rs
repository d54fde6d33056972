//! One look at a process (and its children) through `/proc`. A process that
//! ends meanwhile counts as nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;

/// How the memfds that hold frames are called.
const MEMFD: &str = "/memfd:memfold";
/// The unit of `st_blocks`.
const BLOCK_BYTES: u64 = 512;

/// The process and all that it started and that still run.
pub(super) fn tree(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(&pid) = all.get(next) {
        next += 1;
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(
                children
                    .split_whitespace()
                    .filter_map(|child| child.parse::<u32>().ok()),
            );
        }
    }
    all
}

/// Bytes in the memfds that hold frames, each counted once. One whose last
/// descriptor is closed while it is still mapped is not seen.
pub(super) fn pool_bytes(pids: &[u32]) -> u64 {
    let mut blocks = BTreeMap::new();
    for pid in pids {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
            continue;
        };
        for path in descriptors.flatten().map(|entry| entry.path()) {
            let holds_frames =
                fs::read_link(&path).is_ok_and(|link| link.to_string_lossy().starts_with(MEMFD));
            if let Some(file) = holds_frames.then(|| fs::metadata(&path).ok()).flatten() {
                blocks.insert((file.dev(), file.ino()), file.blocks());
            }
        }
    }
    blocks.values().sum::<u64>() * BLOCK_BYTES
}

/// `RssAnon`: all anonymous memory that is present.
pub(super) fn anonymous_bytes(pids: &[u32]) -> u64 {
    status_bytes(pids, "RssAnon:")
}

/// `VmPTE`: all page tables.
pub(super) fn page_table_bytes(pids: &[u32]) -> u64 {
    status_bytes(pids, "VmPTE:")
}

fn status_bytes(pids: &[u32], field: &str) -> u64 {
    let one = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status
            .lines()
            .find_map(|line| line.strip_prefix(field).and_then(kib))
    };
    pids.iter().filter_map(one).sum()
}

/// Private pages in the mappings of the memfds that hold frames. Slow: walks page tables.
pub(super) fn window_bytes(pids: &[u32]) -> u64 {
    let one = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/smaps")).ok();
    pids.iter().filter_map(one).map(|smaps| windows(&smaps)).sum()
}

/// Whether every thread of every process is stopped.
pub(super) fn all_stopped(pids: &[u32]) -> bool {
    let stopped = |stat: String| {
        stat.rsplit_once(") ")
            .is_none_or(|(_, rest)| rest.starts_with(['T', 't', 'Z', 'X']))
    };
    pids.iter().all(|pid| {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
            return true;
        };
        tasks
            .flatten()
            .all(|task| fs::read_to_string(task.path().join("stat")).map_or(true, stopped))
    })
}

/// The processes that are stopped already, and are not ours to wake.
pub(super) fn stopped(pids: &[u32]) -> BTreeSet<u32> {
    pids.iter().copied().filter(|&pid| all_stopped(&[pid])).collect()
}

/// The `Anonymous:` sum of the mappings of frames in an `smaps`.
fn windows(smaps: &str) -> u64 {
    let mut inside = false;
    let mut sum = 0;
    for line in smaps.lines() {
        // A mapping begins with its addresses; its fields with a name and a colon.
        let heading = line
            .split_once(' ')
            .is_some_and(|(first, _)| !first.ends_with(':') && first.contains('-'));
        if heading {
            inside = line.contains(MEMFD);
        } else if let Some(value) = line.strip_prefix("Anonymous:").filter(|_| inside) {
            sum += kib(value).unwrap_or(0);
        }
    }
    sum
}

/// `  12 kB` in bytes.
fn kib(text: &str) -> Option<u64> {
    text.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    //! Goal: the figures are the kernel's. Method: a piece of a real `smaps`, and this very
    //! process.
    use super::*;

    #[test]
    fn only_windows_are_summed() {
        let smaps = "7f0000000000-7f0000100000 rw-p 00000000 00:01 5    /memfd:memfold (deleted)\n\
            Rss:                  64 kB\nAnonymous:            12 kB\n\
            7f0000100000-7f0000200000 rw-p 00000000 00:00 0 \nAnonymous:            99 kB\n\
            7f0000200000-7f0000300000 rw-p 00000000 00:01 5    /memfd:memfold-pool (deleted)\n\
            Anonymous:             4 kB\nVmFlags: rd wr\n";
        assert_eq!(windows(smaps), 16 * 1024);
    }

    #[test]
    fn this_process_has_anonymous_memory() {
        let before = anonymous_bytes(&[std::process::id()]);
        let memory = std::hint::black_box(vec![1_u8; 32 << 20]);
        let after = anonymous_bytes(&[std::process::id()]);
        assert!(after > before + (memory.len() as u64) / 2, "{before} {after}");
        assert!(page_table_bytes(&[std::process::id()]) > 16 << 10);
        assert!(!all_stopped(&[std::process::id()]));
    }

    #[test]
    fn what_has_ended_counts_as_nothing() {
        let never = [u32::MAX];
        assert_eq!(
            (pool_bytes(&never), anonymous_bytes(&never), window_bytes(&never)),
            (0, 0, 0)
        );
        assert!(all_stopped(&never));
    }
}
