//! Rules that one look at a file's text answers: its shape, its names, where `unsafe` stands, where
//! links lead. Long functions, `todo!()` and reasons for `unsafe` are clippy's to find
//! (`too_many_lines`, `todo`, `undocumented_unsafe_blocks`, `missing_safety_doc`).

use super::finding;
use super::source::{Source, words};
use std::collections::HashSet;

/// Lines of a file of the product, and of one of tests: tables of cases may be long.
const FILE_MAX: usize = 400;
const TEST_FILE_MAX: usize = 600;
/// Columns of a line that is a comment.
const COMMENT_MAX: usize = 100;
/// Words that announce unfinished work.
const UNFINISHED: [&str; 3] = ["FIXME", "TODO", "XXX"];

/// A file opens with a paragraph, it is short, its comments are narrow, and it is finished. A
/// table's row, or a word that cannot be broken, may be wider.
pub(super) fn shape(source: &Source) -> Vec<String> {
    let header = |line: &str| line.starts_with("//! ") && line.len() > "//! ".len();
    let mut found = source.find("unfinished", "do it, or open an issue", |_, line| {
        words(&line.comment).any(|(_, word)| UNFINISHED.contains(&word))
    });
    let message = format!("a comment has at most {COMMENT_MAX} columns");
    found.extend(source.find("comment-width", &message, |_, line| {
        let text = line.comment.trim_start_matches(['/', '!', ' ']);
        let indent = line.code.len() - line.comment.len().min(line.code.len());
        let columns = indent + line.comment.chars().count();
        line.is_comment() && columns > COMMENT_MAX && !text.starts_with('|') && text.contains(' ')
    }));
    if !source.lines.first().is_some_and(|line| header(&line.comment)) {
        let message = "a file begins with a `//!` paragraph: what lives here, and why";
        found.push(finding(&source.file, 1, "header", message));
    }
    let limit = if source.is_test() { TEST_FILE_MAX } else { FILE_MAX };
    if source.lines.len() > limit {
        let message = format!("{} lines; at most {limit}", source.lines.len());
        found.push(finding(&source.file, limit + 1, "file-length", &message));
    }
    found
}

/// Where `unsafe` may stand: in the Linux host, the facade, one file of the Wasmtime client, and
/// where tests and benchmarks use spaces as a program does, by pointer.
const UNSAFE: [&str; 5] = [
    "crates/linux",
    "crates/sync",
    "crates/wasmtime/src/creator.rs",
    "crates/memfold/tests",
    "benches/benches",
];
/// Packages of which some part may have it: the compiler cannot be told to forbid it.
const SOME_UNSAFE: [&str; 3] = ["crates/linux", "crates/sync", "crates/wasmtime"];

/// No `unsafe` outside of its rooms, and the root of a package there forbids it to the compiler.
pub(super) fn unsafety(source: &Source) -> Vec<String> {
    let message = "`unsafe` stands only in the Linux host, the facade, and one file of the Wasmtime client";
    let is_free = source.is_in(&UNSAFE);
    let mut found = source.find("unsafe-room", message, |_, line| !is_free && line.has("unsafe"));
    let is_root = ["/src/lib.rs", "/src/main.rs"]
        .iter()
        .any(|root| source.file.ends_with(root));
    let forbids = source
        .lines
        .iter()
        .any(|line| line.code.contains("#![forbid(unsafe_code)]"));
    if is_root && !forbids && !source.is_in(&SOME_UNSAFE) {
        let message = "this package says `#![forbid(unsafe_code)]`";
        found.push(finding(&source.file, 1, "unsafe-room", message));
    }
    found
}

/// Paths that a package must not name. The manager and the simulator run under loom and shuttle,
/// and replay from a seed: locks and atomics come from the facade, time and chance from the host.
/// The stores run inside the same schedules, so their locks come from the facade, too. What is no
/// part of `std` they cannot name, for they do not depend on it (`packages.rs`).
pub(super) fn names(source: &Source) -> Vec<String> {
    let banned: &[&str] = match () {
        () if source.is_in(&["crates/host", "crates/mm", "crates/sim"]) => &["sync", "thread", "time", "env"],
        () if source.is_in(&["crates/stores"]) => &["sync"],
        () => return Vec::new(),
    };
    let paths = source.paths(&["std", "core", "alloc"]).into_iter();
    let bad = paths.filter(|(path, _)| path.len() > 1 && banned.contains(&path[1].as_str()));
    let message = "has no place in this package: ask the facade or the host";
    let say = |(path, line): (Vec<String>, usize)| {
        finding(
            &source.file,
            line,
            "banned-name",
            &format!("`{}` {message}", path[..2].join("::")),
        )
    };
    bad.map(say).collect()
}

/// No absolute path of a machine that the project was written on.
pub(super) fn machine_paths(file: &str, text: &str) -> Vec<String> {
    // Written in two parts, so that the rule does not find itself.
    let folders = ["work", "root"].map(|folder| format!("/{folder}/"));
    let outer = |c: char| c.is_alphanumeric() || "._-/}~>*".contains(c);
    let is_bad = |line: &str| {
        let mut found = folders
            .iter()
            .flat_map(|folder| line.match_indices(folder.as_str()));
        found.any(|(at, _)| !line[..at].ends_with(outer))
    };
    let lines = (1..).zip(text.lines()).filter(|(_, line)| is_bad(line));
    lines
        .map(|(n, _)| finding(file, n, "machine-path", "a path of one machine"))
        .collect()
}

/// Links between the documents and to files lead somewhere; `exists` takes a path from the root.
pub(super) fn links(file: &str, text: &str, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let (mut found, mut fenced) = (Vec::new(), false);
    for (number, line) in (1..).zip(text.lines()) {
        fenced ^= line.trim_start().starts_with("```");
        for link in line.split("](").skip(if fenced { usize::MAX } else { 1 }) {
            let target = link.split([')', ' ', '#']).next().unwrap_or_default();
            let elsewhere = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
            if !elsewhere && !exists(&join(folder, target)) {
                found.push(finding(
                    file,
                    number,
                    "dead-link",
                    &format!("`{target}` leads nowhere"),
                ));
            }
        }
    }
    found
}

/// The path of `target`, as seen from `folder`.
fn join(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/').filter(|part| !["", "."].contains(part)) {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Every file under a `src/` is declared as a module by the file above it.
pub(super) fn dead(sources: &[Source]) -> Vec<String> {
    let declared: HashSet<String> = sources.iter().flat_map(declarations).collect();
    let is_root = |inside: &str| ["lib.rs", "main.rs"].contains(&inside) || inside.starts_with("bin/");
    let dead = |source: &&Source| {
        let inside = source.file.rsplit_once("/src/").map(|(_, inside)| inside);
        inside.is_some_and(|inside| !is_root(inside)) && !declared.contains(&source.file)
    };
    let dead = sources.iter().filter(dead);
    dead.map(|source| finding(&source.file, 1, "dead-file", "no `mod` declares this file"))
        .collect()
}

/// The files that the `mod x;` of a file may mean.
fn declarations(source: &Source) -> Vec<String> {
    let stem = source.file.trim_end_matches(".rs");
    let (folder, name) = stem.rsplit_once('/').unwrap_or(("", stem));
    let home = if ["lib", "main", "mod"].contains(&name) {
        folder
    } else {
        stem
    };
    let lines = source
        .lines
        .iter()
        .filter(|line| line.code.trim_end().ends_with(';'));
    let modules = lines.filter_map(|line| {
        words(&line.code)
            .map(|(_, word)| word)
            .skip_while(|word| *word != "mod")
            .nth(1)
    });
    modules
        .flat_map(|module| [format!("{home}/{module}.rs"), format!("{home}/{module}/mod.rs")])
        .collect()
}

#[cfg(test)]
mod tests {
    //! Goal: each rule finds its breach, and only that. Method: bad and good snippets, and how many
    //! findings there are.
    use super::*;

    fn count(rule: fn(&Source) -> Vec<String>, file: &str, text: &str) -> usize {
        rule(&Source::new(file, text)).len()
    }

    #[test]
    fn a_file_has_a_header_is_short_narrow_and_finished() {
        let count = |text: &str| count(shape, "verify/src/a.rs", text);
        assert_eq!(count("//! What lives here.\n"), 0);
        for bad in [
            "",
            "use a;\n//! Late.\n",
            "// Not a doc comment\n",
            "//!\n//! Late\n",
        ] {
            assert_eq!(count(bad), 1, "{bad:?}");
        }
        let long = "//! x\n".repeat(401);
        assert_eq!(count(&long), 1);
        assert_eq!(shape(&Source::new("crates/mm/src/lru/tests.rs", &long)).len(), 0);
        assert_eq!(
            shape(&Source::new("crates/mm/tests/a.rs", &"//! x\n".repeat(601))).len(),
            1
        );
        let wide = |mark: &str, columns: usize| {
            format!("//! x\n    {mark} a {}\n", "é".repeat(columns - mark.len() - 7))
        };
        assert_eq!((count(&wide("//", 100)), count(&wide("///", 101))), (0, 1));
        let free = ["//! | a | ", "//! ", "f(); // d "].map(|begin| begin.to_owned() + &"c".repeat(120));
        assert_eq!(count(&free.join("\n")), 0);
        assert_eq!(
            count("//! x\n// TODO: later\n/* FIXME */\nlet todo = \"TODO\"; // todos\n"),
            2
        );
    }

    #[test]
    fn the_manager_has_no_unsafe_and_forbids_it() {
        let count = |file: &str, text: &str| count(unsafety, file, text);
        let text = "// why\nunsafe { f() }\n";
        assert_eq!(count("crates/mm/src/a.rs", text), 1);
        assert_eq!(count("crates/wasmtime/src/a.rs", text), 1);
        assert_eq!(
            count("crates/linux/src/a.rs", text) + count("crates/wasmtime/src/creator.rs", text),
            0
        );
        assert_eq!(
            count("crates/mm/src/lib.rs", "//! x\nlet a = \"unsafe\"; // unsafe\n"),
            1
        );
        assert_eq!(
            count("crates/mm/src/lib.rs", "//! x\n#![forbid(unsafe_code)]\n"),
            0
        );
        assert_eq!(count("crates/linux/src/lib.rs", "//! x\n"), 0);
    }

    #[test]
    fn the_manager_names_no_machine() {
        let count = |file: &str, text: &str| count(names, file, text);
        let mm = "crates/mm/src/a.rs";
        for bad in [
            "use std::sync::Arc;\nuse std::fmt;\n",
            "x;\nlet a = ::std::thread::spawn(f);\n",
            "use std::{\n  fmt,\n  time::{self},\n};\n",
            "core::sync::atomic::fence(x);\n",
        ] {
            assert_eq!(count(mm, bad), 1, "{bad}");
        }
        assert_eq!(
            count(
                mm,
                "use memfold_sync::Arc;\nlet std = 1;\n// std::sync\nlet x = \"std::sync\";\n"
            ),
            0
        );
        assert_eq!(count("crates/linux/src/a.rs", "use std::sync::OnceLock;\n"), 0);
        assert_eq!(
            count(
                "crates/stores/src/a.rs",
                "use std::time::Instant;\nuse std::sync::Arc;\n"
            ),
            1
        );
    }

    #[test]
    fn a_path_of_a_machine_is_found() {
        let bad = format!("ok\nsee /{}/x\nand \"/{}/.cargo\"\n", "work", "root");
        assert_eq!(machine_paths("a.md", &bad).len(), 2);
        assert!(machine_paths("a.md", "a/work/b ./root/ $(x)/y https://a.b/work/ {dir}/root/").is_empty());
    }

    #[test]
    fn a_link_leads_to_a_file() {
        let exists = |path: &str| ["README.md", "docs/a.md"].contains(&path);
        let text = "[a](a.md) [b](../README.md#x) [c](https://x.y) [d](#e)\n```\n[x](none)\n```\n[f](b.md)\n";
        let found = links("docs/b.md", text, &exists);
        assert!(
            found.len() == 1 && found[0].starts_with("docs/b.md:5:"),
            "{found:?}"
        );
        assert_eq!(links("README.md", "[a](docs/none.md#x)", &exists).len(), 1);
    }

    #[test]
    fn a_file_nobody_declares_is_dead() {
        let tree = [
            (
                "lib.rs",
                "pub mod lru;\n#[cfg(test)] mod frame;\nmod inline {\n}\n",
            ),
            ("lru.rs", "#[cfg(test)]\nmod tests;\n"),
            ("lru/tests.rs", ""),
            ("frame/mod.rs", "// mod races;\n"),
            ("frame/races.rs", ""),
            ("bin/x.rs", ""),
        ];
        let sources = tree.map(|(file, text)| Source::new(&format!("crates/mm/src/{file}"), text));
        let found = dead(&sources);
        assert!(
            found.len() == 1 && found[0].contains("frame/races.rs"),
            "{found:?}"
        );
    }
}
