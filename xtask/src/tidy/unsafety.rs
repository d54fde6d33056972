//! `unsafe` stands in two rooms, and where tests and benchmarks use memory by pointer.
//!
//! That every use says why it is sound is clippy's to ask: `undocumented_unsafe_blocks` of blocks
//! and `impl`s, `missing_safety_doc` of functions and traits (private ones too, by `clippy.toml`).

use super::Finding;
use super::scan::Source;

/// Where `unsafe` may stand; in the Wasmtime client, in one file. The last two use spaces as a
/// program does, by pointer.
const ROOMS: [&str; 5] = [
    "crates/linux",
    "crates/sync",
    ONE_FILE_ROOM,
    "crates/memfold/tests",
    "benches/benches",
];
const ONE_FILE_ROOM: &str = "crates/wasmtime";

/// The rule for one file: none outside the rooms, and the root of a package there forbids it to the
/// compiler, too.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    if ROOMS.iter().any(|room| source.is_in(room)) {
        return Vec::new();
    }
    let find = |line, message: &str| Finding::new(&source.file, line, "unsafe-room", message);
    let mut findings = Vec::new();
    if let Some(line) = first_use(source) {
        let message =
            "`unsafe` stands only in the Linux host, the facade, and one file of the Wasmtime client";
        findings.push(find(line, message));
    }
    let is_root = ["src/lib.rs", "src/main.rs"]
        .iter()
        .any(|root| source.file.ends_with(root));
    let forbids = |line: &super::scan::Line| line.code.contains("#![forbid(unsafe_code)]");
    if is_root && !source.lines.iter().any(forbids) {
        findings.push(find(1, "this package says `#![forbid(unsafe_code)]`"));
    }
    findings
}

/// Of the Wasmtime client, one file at most has `unsafe`.
pub(super) fn one_file(sources: &[Source]) -> Vec<Finding> {
    let in_room = sources.iter().filter(|source| source.is_in(ONE_FILE_ROOM));
    let users = in_room.filter_map(|source| Some((source, first_use(source)?)));
    let message = "the client has `unsafe` in another file already; keep it in one";
    users
        .skip(1)
        .map(|(source, line)| Finding::new(&source.file, line, "unsafe-room", message))
        .collect()
}

/// The line of the first use.
fn first_use(source: &Source) -> Option<usize> {
    let mut lines = source.lines.iter();
    Some(lines.position(|line| line.words().any(|(_, word)| word == "unsafe"))? + 1)
}

#[cfg(test)]
mod tests {
    //! Goal: no `unsafe` in the wrong room. Method: small bad and good snippets.
    use super::*;

    fn lines(file: &str, text: &str) -> Vec<usize> {
        check(&Source::new(file, text))
            .iter()
            .map(|found| found.line)
            .collect()
    }

    #[test]
    fn the_manager_has_none() {
        let text = "// why\nunsafe { f() }\n";
        assert_eq!(lines("crates/mm/src/a.rs", text), [2]);
        assert!(lines("crates/linux/src/a.rs", text).is_empty());
        let words = "// unsafe\nlet a = \"unsafe\"; #![forbid(unsafe_code)]\n";
        assert!(lines("crates/mm/src/a.rs", words).is_empty());
    }

    #[test]
    fn a_package_outside_the_rooms_forbids_it() {
        assert_eq!(lines("crates/mm/src/lib.rs", "//! x\n"), [1]);
        assert!(lines("crates/mm/src/lib.rs", "//! x\n#![forbid(unsafe_code)]\n").is_empty());
        assert!(lines("crates/linux/src/lib.rs", "//! x\n").is_empty());
    }

    #[test]
    fn the_wasmtime_client_keeps_it_in_one_file() {
        let source = |name: &str| Source::new(&format!("crates/wasmtime/src/{name}.rs"), "unsafe { f() }\n");
        assert!(one_file(&[source("a")]).is_empty());
        let found = one_file(&[source("a"), source("b")]);
        assert_eq!(found[0].file, "crates/wasmtime/src/b.rs");
    }
}
