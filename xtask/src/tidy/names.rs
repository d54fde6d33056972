//! Paths that a package must not name.
//!
//! The manager and the simulator run under loom and shuttle, and replay from a seed: locks and
//! atomics come from the facade, time and chance from the host. The stores run inside the same
//! schedules, so their locks come from the facade, too. What is no part of `std` they cannot name,
//! for they do not depend on it (`packages.rs`).

use super::Finding;
use super::scan::Source;

/// The roots of the standard library.
const STD: [&str; 3] = ["std", "core", "alloc"];

/// The rule for one file.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let is_in = |rooms: &[&str]| rooms.iter().any(|room| source.is_in(room));
    let banned: &[&str] = if is_in(&["crates/host", "crates/mm", "crates/sim"]) {
        &["sync", "thread", "time", "env"]
    } else if is_in(&["crates/stores"]) {
        &["sync"]
    } else {
        return Vec::new();
    };
    let paths = source.paths(&STD);
    let bad = paths
        .iter()
        .filter(|(path, _)| path.len() > 1 && banned.contains(&path[1].as_str()));
    let mut findings: Vec<Finding> = bad
        .map(|(path, line)| {
            let name = path[..2].join("::");
            let message = format!("`{name}` has no place in this package: ask the facade or the host");
            Finding::new(&source.file, *line, "banned-name", message)
        })
        .collect();
    findings.dedup();
    findings
}

#[cfg(test)]
mod tests {
    //! Goal: a banned path is found however it is written. Method: small bad and good snippets.
    use super::*;

    fn lines(file: &str, text: &str) -> Vec<usize> {
        check(&Source::new(file, text))
            .iter()
            .map(|found| found.line)
            .collect()
    }

    #[test]
    fn the_manager_names_no_machine() {
        let mm = "crates/mm/src/a.rs";
        assert_eq!(lines(mm, "use std::sync::Arc;\nuse std::fmt;\n"), [1]);
        assert_eq!(lines(mm, "x;\nlet a = ::std::thread::spawn(f);\n"), [2]);
        assert_eq!(
            lines(mm, "use std::{\n  fmt,\n  time::{Duration, Instant},\n};\n"),
            [1]
        );
        assert_eq!(
            lines("crates/sim/src/a.rs", "core::sync::atomic::fence(x);\n"),
            [1]
        );
    }

    #[test]
    fn other_words_are_free() {
        let text = "use memfold_sync::Arc;\nlet std = 1;\n// std::sync\nlet x = \"std::sync\";\n";
        assert!(lines("crates/mm/src/a.rs", text).is_empty());
        assert!(lines("crates/linux/src/a.rs", "use std::sync::OnceLock;\n").is_empty());
        assert!(lines("crates/stores/src/a.rs", "use std::time::Instant;\n").is_empty());
    }
}
