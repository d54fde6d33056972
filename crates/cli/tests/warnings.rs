//! What the memory warns of reaches people and programs.

mod common;

use common::{Done, SMALL, module};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const GROUP_BYTES: u64 = 1 << 30;

/// A control group with a limit, which goes with it. None where that is not allowed.
struct Group(PathBuf);

impl Group {
    fn new() -> Option<Self> {
        let first = Path::new("/sys/fs/cgroup/memory");
        let (root, file) = match first.is_dir() {
            true => (first, "memory.limit_in_bytes"),
            false => (Path::new("/sys/fs/cgroup"), "memory.max"),
        };
        let group = Self(root.join(format!("memfold-cli-test-{}", std::process::id())));
        std::fs::create_dir(&group.0).ok()?;
        std::fs::write(group.0.join(file), GROUP_BYTES.to_string()).ok()?;
        Some(group)
    }

    /// Runs the command in the group.
    fn memfold(&self, words: &str) -> Done {
        let script = format!(
            "echo $$ > {}/cgroup.procs && exec {} {words}",
            self.0.display(),
            env!("CARGO_BIN_EXE_memfold")
        );
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(script).stdin(Stdio::null());
        Done::new(&shell.output().expect("a shell"))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Goal: a warning is one line on stderr, and stands in the report for programs; without one there
/// is nothing. Method: a budget that the control group may not hold, and one that it may.
#[test]
fn a_small_group() {
    let Some(group) = Group::new() else { return };
    let module = module(SMALL);
    for (budget, count) in [("2GiB", 1), ("32MiB", 0)] {
        let words = format!("run {module} --clones 4 --warm warm --call run --json --budget {budget}");
        let done = group.memfold(&words);
        let report = done.fine();
        let lines: Vec<_> = done
            .stderr
            .lines()
            .filter(|line| line.starts_with("memfold: warning: "))
            .collect();
        let told = report["warnings"].as_array().expect("a list");
        assert_eq!((lines.len(), told.len()), (count, count), "{}", done.stderr);
        for (line, told) in lines.iter().zip(told) {
            assert_eq!(line.strip_prefix("memfold: warning: "), told.as_str());
            assert!(line.contains("lower the budget"), "{line}");
        }
    }
}
