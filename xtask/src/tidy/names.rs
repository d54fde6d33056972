//! Paths that a package must not name.
//!
//! The manager and the simulator run under loom and shuttle, and replay from a
//! seed: locks and atomics come from the facade, time and chance from the host.
//! The stores run inside the same schedules, so their locks come from the facade, too.

use super::Finding;
use super::scan::Source;

const STD_SYNC: [&str; 3] = ["std::sync", "core::sync", "alloc::sync"];
const MACHINE: [&str; 7] = [
    "std::thread",
    "std::time",
    "std::env",
    "libc",
    "log",
    "rand",
    "rustix",
];

/// The rule for one file.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let pure = ["crates/host", "crates/mm", "crates/sim"]
        .iter()
        .any(|room| source.is_in(room));
    let mut banned = Vec::new();
    if pure || source.is_in("crates/stores") {
        banned.extend(STD_SYNC);
    }
    if pure {
        banned.extend(MACHINE);
    }
    if banned.is_empty() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (line, path) in paths(source) {
        if let Some(name) = banned.iter().find(|name| begins_with(&path, name)) {
            let message = format!("`{name}` has no place in this package: ask the facade or the host");
            findings.push(Finding::new(&source.file, line, "banned-name", message));
        }
    }
    findings.dedup();
    findings
}

fn begins_with(path: &str, name: &str) -> bool {
    path.strip_prefix(name)
        .is_some_and(|rest| rest.starts_with("::") || (rest.is_empty() && name.contains("::")))
}

/// Every path in the code with the line it begins on, groups of imports spelled out.
fn paths(source: &Source) -> Vec<(usize, String)> {
    let code = source.code();
    let part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(begin) = code[at..].find(part).map(|offset| at + offset) {
        let end = code[begin..]
            .find(|c| !part(c))
            .map_or(code.len(), |length| begin + length);
        let line = code[..begin].matches('\n').count() + 1;
        let path = code[begin..end].trim_start_matches("::");
        if path.ends_with("::") && code[end..].starts_with('{') {
            found.extend(spell_out(path, &code[end..]).into_iter().map(|path| (line, path)));
        } else if path == "use" {
            // `use libc;` and `use libc as c;` name a path of one word.
            let rest = code[end..].trim_start().trim_start_matches("::");
            let word: String = rest.chars().take_while(|&c| part(c)).collect();
            found.push((line, format!("{word}::")));
        } else {
            found.push((line, path.to_owned()));
        }
        at = end;
    }
    found
}

/// The paths of the group `{a, b::{c, d}}` that follows `prefix`.
fn spell_out(prefix: &str, group: &str) -> Vec<String> {
    let mut prefixes = vec![prefix.to_owned()];
    let mut path = prefix.to_owned();
    let mut found = Vec::new();
    for c in group.chars().skip(1) {
        match c {
            '{' => prefixes.push(path.clone()),
            ',' | '}' => {
                found.push(std::mem::take(&mut path));
                if c == '}' {
                    prefixes.pop();
                }
                let Some(outer) = prefixes.last() else { break };
                path.clone_from(outer);
            }
            ';' => break,
            c if c.is_whitespace() => {}
            c => path.push(c),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    //! Goal: a banned path is found however it is written. Method: small bad and good snippets.
    use super::*;

    fn lines(file: &str, text: &str) -> Vec<usize> {
        check(&Source::new(file, text))
            .iter()
            .map(|finding| finding.line)
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
            lines(mm, "log::warn!(\"x\");\nlibc::getpid();\nuse libc;\n"),
            [1, 2, 3]
        );
        assert_eq!(
            lines("crates/sim/src/a.rs", "core::sync::atomic::fence(x);\n"),
            [1]
        );
    }

    #[test]
    fn other_words_are_free() {
        let mm = "crates/mm/src/a.rs";
        let text = "use memfold_sync::Arc;\nlet log = 1;\nlog.push(a::log::B);\n// std::sync\nlet x = \"std::sync\";\n";
        assert!(lines(mm, text).is_empty());
        assert!(lines("crates/linux/src/a.rs", "use std::sync::OnceLock;\n").is_empty());
        assert!(lines("crates/stores/src/a.rs", "use std::time::Instant;\n").is_empty());
    }
}
