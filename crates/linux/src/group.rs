//! How much memory the control group of this process may hold: the least of its own and its
//! ancestors' limits.
//!
//! Reads `/proc/self/cgroup` and `/proc/self/mountinfo`, and the groups' files where they are
//! mounted, for both versions of control groups. What cannot be read sets no limit. Nothing shared.

use std::fs;
use std::path::{Path, PathBuf};

/// Limits above this are no limits: version 1 writes "none" as a number near 2^63.
const NONE: u64 = 1 << 60;

/// The limit in bytes; `None`: there is none, or it cannot be read.
pub(crate) fn limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let places = groups.lines().filter_map(|line| place(line, &mounts));
    places.filter_map(|place| place.limit()).min()
}

/// A group's directory, and the file of a limit in it.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    mount: PathBuf,
    group: PathBuf,
    file: &'static str,
}

impl Place {
    fn limit(&self) -> Option<u64> {
        let up = self
            .group
            .ancestors()
            .take_while(|dir| dir.starts_with(&self.mount));
        let read = |dir: &Path| fs::read_to_string(dir.join(self.file)).ok()?.trim().parse().ok();
        up.filter_map(read).filter(|&bytes| bytes < NONE).min()
    }
}

/// Where the group of a line of `/proc/self/cgroup` stands, if it limits memory.
fn place(line: &str, mounts: &str) -> Option<Place> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let (kind, file) = match controllers {
        "" => ("cgroup2", "memory.max"),
        list if list.split(',').any(|name| name == "memory") => ("cgroup", "memory.limit_in_bytes"),
        _ => return None,
    };
    mounts.lines().find_map(|mount| {
        let (before, after) = mount.split_once(" - ")?;
        let mut after = after.split(' ');
        let (this, options) = (after.next()?, after.nth(1)?);
        if this != kind || (kind == "cgroup" && !options.split(',').any(|name| name == "memory")) {
            return None;
        }
        let mut fields = before.split(' ').skip(3);
        let (root, mount) = (fields.next()?, PathBuf::from(fields.next()?));
        // What is mounted may be a group further down, as in a container.
        let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
        let below = below.strip_prefix("/").unwrap_or(below);
        let group = mount.components().chain(below.components()).collect();
        Some(Place { mount, group, file })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                          36 31 0:33 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                          41 31 0:38 /docker/7 /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";

    fn found(line: &str) -> Option<(String, &'static str)> {
        place(line, MOUNTS).map(|place| (place.group.display().to_string(), place.file))
    }

    /// Goal: the group's file is found in both versions, in containers too. Method: samples.
    #[test]
    fn groups_are_found() {
        let first = ("/sys/fs/cgroup/memory/a/b".to_owned(), "memory.limit_in_bytes");
        assert_eq!(found("4:memory:/a/b"), Some(first));
        assert_eq!(found("1:cpu:/a"), None);
        let second = ("/sys/fs/cgroup/x".to_owned(), "memory.max");
        assert_eq!(found("0::/docker/7/x"), Some(second));
        assert_eq!(
            found("0::/").map(|(group, _)| group),
            Some("/sys/fs/cgroup".to_owned())
        );
    }
}
