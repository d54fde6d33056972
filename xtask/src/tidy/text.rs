//! Rules that one look at a file's text answers: its shape, its words, where links lead. Long
//! functions, `todo!()` and reasons for `unsafe` are clippy's to find (`too_many_lines`, `todo`,
//! `undocumented_unsafe_blocks`, `missing_safety_doc`).

use super::finding;
use super::source::{Source, has};
use std::path::Path;

/// Lines of a file, be it of the product or of tests.
const FILE_MAX: usize = 400;
/// Columns of a line that is a comment.
const COMMENT_MAX: usize = 100;

/// Words that have no place in the code (or the comments) of some files.
struct Ban {
    rule: &'static str,
    comments: bool,
    words: &'static [&'static str],
    /// Only these files and folders, all when there are none; and never those.
    only: &'static [&'static str],
    but: &'static [&'static str],
    message: &'static str,
}

const BANS: [Ban; 4] = [
    Ban {
        rule: "unfinished",
        comments: true,
        words: &["FIXME", "TODO", "XXX"],
        only: &[],
        but: &[],
        message: "do it, or open an issue",
    },
    // Tests and benchmarks use spaces as a program does, by pointer.
    Ban {
        rule: "unsafe-room",
        comments: false,
        words: &["unsafe"],
        only: &[],
        but: &[
            "crates/linux",
            "crates/sync",
            "crates/wasmtime/src/creator.rs",
            "crates/wasmtime/src/mapping.rs",
            "crates/cli/src/run/mapping.rs",
            "crates/memfold/tests",
            "benches/benches",
        ],
        message: "`unsafe` stands only in the Linux host, the facade, and where Wasm meets what others can change",
    },
    // The manager and the simulator run under loom and shuttle, and replay from a seed: locks and
    // atomics come from the facade, time and chance from the host. What is no part of `std` they
    // cannot name, for they do not depend on it (`packages.rs`).
    Ban {
        rule: "banned-name",
        comments: false,
        words: &[
            "std::sync",
            "std::thread",
            "std::time",
            "std::env",
            "std::{",
            "core::sync",
            "alloc::sync",
        ],
        only: &["crates/host", "crates/mm", "crates/sim"],
        but: &[],
        message: "ask the facade or the host (and name what you need of `std` by itself)",
    },
    // The stores run inside the same schedules.
    Ban {
        rule: "banned-name",
        comments: false,
        words: &["std::sync", "std::{", "core::sync", "alloc::sync"],
        only: &["crates/stores"],
        but: &[],
        message: "locks come from the facade (name what you need of `std` by itself)",
    },
];

/// Words stand where they may.
pub(super) fn words(source: &Source) -> Vec<String> {
    let here = |ban: &&Ban| (ban.only.is_empty() || source.is_in(ban.only)) && !source.is_in(ban.but);
    let find = |ban: &Ban| {
        source.find(ban.rule, ban.message, |_, line| {
            let text = if ban.comments { &line.comment } else { &line.code };
            ban.words.iter().any(|words| has(text, words))
        })
    };
    BANS.iter().filter(here).flat_map(find).collect()
}

/// A file opens with a paragraph, it is short, and its comments are narrow. A table's row, or a
/// word that cannot be broken, may be wider.
pub(super) fn shape(source: &Source) -> Vec<String> {
    let message = format!("a comment has at most {COMMENT_MAX} columns");
    let mut found = source.find("comment-width", &message, |_, line| {
        let text = line.comment.trim_start_matches(['/', '!', ' ']);
        let columns = line.code.len() + line.comment.chars().count();
        line.code.trim().is_empty() && columns > COMMENT_MAX && !text.starts_with('|') && text.contains(' ')
    });
    let header = source
        .lines
        .first()
        .and_then(|line| line.comment.strip_prefix("//! "));
    if header.is_none_or(str::is_empty) {
        let message = "a file begins with a `//!` paragraph: what lives here, and why";
        found.push(finding(&source.file, 1, "header", message));
    }
    if source.lines.len() > FILE_MAX {
        let message = format!("{} lines; at most {FILE_MAX}", source.lines.len());
        found.push(finding(&source.file, FILE_MAX + 1, "file-length", &message));
    }
    found
}

/// No absolute path of a machine that the project was written on.
pub(super) fn machine_paths(file: &str, text: &str) -> Vec<String> {
    // Written in two parts, so that the rule does not find itself.
    let folders = ["work", "root"].map(|folder| format!("/{folder}/"));
    let is_outer = |c: char| c.is_alphanumeric() || "._-/}~>*".contains(c);
    let is_bad = |line: &str, folder: &String| {
        let mut found = line.match_indices(folder.as_str());
        found.any(|(at, _)| !line[..at].ends_with(is_outer))
    };
    let lines = (1..).zip(text.lines());
    let bad = lines.filter(|(_, line)| folders.iter().any(|folder| is_bad(line, folder)));
    bad.map(|(n, _)| finding(file, n, "machine-path", "a path of one machine"))
        .collect()
}

/// A module stands in its own package: who goes up one folder at most does not leave it.
pub(super) fn foreign_modules(file: &str, text: &str) -> Vec<String> {
    let is_foreign = |line: &str| line.trim_start().starts_with(r#"#[path = "../../"#);
    let lines = (1..).zip(text.lines()).filter(|(_, line)| is_foreign(line));
    let message = "a file of another package: depend on it";
    lines
        .map(|(n, _)| finding(file, n, "foreign-module", message))
        .collect()
}

/// Links between the documents and to files lead somewhere.
pub(super) fn links(root: &Path, file: &str, text: &str) -> Vec<String> {
    let folder = root.join(file).parent().unwrap_or(root).to_owned();
    let (mut found, mut fenced) = (Vec::new(), false);
    for (number, line) in (1..).zip(text.lines()) {
        fenced ^= line.trim_start().starts_with("```");
        for link in line.split("](").skip(if fenced { usize::MAX } else { 1 }) {
            let target = link.split([')', ' ', '#']).next().unwrap_or_default();
            if !target.contains(':') && !folder.join(target).exists() {
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

/// What `verify/MUTANTS.md` says of the manager's mutants names files that are there.
pub(super) fn mutants(root: &Path, text: &str) -> Vec<String> {
    let cells = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let places = cells.filter_map(|cell| cell.split(['`', ':']).next());
    let lost =
        places.filter(|place| place.ends_with(".rs") && !root.join("crates/mm/src").join(place).is_file());
    let say = |place| format!("`{place}` is no file of `crates/mm/src`");
    lost.map(|place| finding("verify/MUTANTS.md", 1, "mutants-record", &say(place)))
        .collect()
}

/// Every file under a `src/` is declared as a module by the file above it.
pub(super) fn dead(sources: &[Source]) -> Vec<String> {
    let is_declared = |source: &&Source| {
        let Some((_, inside)) = source.file.rsplit_once("/src/") else {
            return true;
        };
        let stem = source.file.trim_end_matches(".rs").trim_end_matches("/mod");
        let (folder, name) = stem.rsplit_once('/').unwrap_or_default();
        let above = ["/mod.rs", "/lib.rs", "/main.rs", ".rs"].map(|end| format!("{folder}{end}"));
        let declares = format!("mod {name};");
        let is_root = ["lib.rs", "main.rs"].contains(&inside) || inside.starts_with("bin/");
        is_root
            || sources
                .iter()
                .any(|other| above.contains(&other.file) && has(&other.code(), &declares))
    };
    let dead = sources.iter().filter(|source| !is_declared(source));
    dead.map(|source| finding(&source.file, 1, "dead-file", "no `mod` declares this file"))
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
    fn a_file_has_a_header_is_short_and_narrow() {
        let count = |text: &str| count(shape, "verify/src/a.rs", text);
        assert_eq!(count("//! What lives here.\n"), 0);
        for bad in [
            "",
            "use a;\n//! Late.\n",
            "// No doc comment\n",
            "//!\n//! Late\n",
        ] {
            assert_eq!(count(bad), 1, "{bad:?}");
        }
        let long = "//! x\n".repeat(401);
        assert_eq!(count(&long), 1);
        assert_eq!(shape(&Source::new("crates/mm/src/lru/tests.rs", &long)).len(), 1);
        let wide = |mark: &str, columns: usize| {
            format!("//! x\n    {mark} a {}\n", "é".repeat(columns - mark.len() - 7))
        };
        assert_eq!((count(&wide("//", 100)), count(&wide("///", 101))), (0, 1));
        let free = ["//! | a | ", "//! ", "f(); // d "].map(|begin| begin.to_owned() + &"c".repeat(120));
        assert_eq!(count(&free.join("\n")), 0);
    }

    #[test]
    fn words_stand_where_they_may() {
        let (mm, linux) = ("crates/mm/src/a.rs", "crates/linux/src/a.rs");
        for (file, text, findings) in [
            (
                mm,
                "// TODO: later\n    // FIXME\nlet todo = \"TODO\"; // todos\n",
                2,
            ),
            (mm, "// why\nunsafe { f() }\n", 1),
            ("crates/wasmtime/src/a.rs", "unsafe { f() }\n", 1),
            ("crates/wasmtime/src/creator.rs", "unsafe { f() }\n", 0),
            (linux, "unsafe { f() }\nuse std::sync::OnceLock;\n", 0),
            (mm, "#![forbid(unsafe_code)]\nlet a = \"unsafe\"; // unsafe\n", 0),
            (
                mm,
                "use std::sync::Arc;\nuse std::fmt;\nx(::std::thread::spawn(f));\n",
                2,
            ),
            (mm, "use std::{\n  fmt,\n  time::{self},\n};\n", 1),
            (
                mm,
                "use memfold_sync::Arc;\nlet std = 1;\n// std::sync\nlet x = \"std::sync\";\n",
                0,
            ),
            (
                "crates/stores/src/a.rs",
                "use std::time::Instant;\nuse std::sync::Arc;\n",
                1,
            ),
        ] {
            assert_eq!(count(words, file, text), findings, "{file}: {text}");
        }
    }

    #[test]
    fn a_path_of_a_machine_is_found() {
        let bad = format!("ok\nsee /{}/x\nand \"/{}/.cargo\"\n", "work", "root");
        assert_eq!(machine_paths("a.md", &bad).len(), 2);
        assert!(machine_paths("a.md", "a/work/b ./root/ $(x)/y https://a.b/work/ {dir}/root/").is_empty());
    }

    #[test]
    fn a_module_of_another_package_is_found() {
        let text = "#[path = \"../common/a.rs\"]\nmod a;\n    #[path = \"../../cli/b.rs\"]\nmod b;\n";
        assert_eq!(foreign_modules("fuzz/src/lib.rs", text).len(), 1);
    }

    #[test]
    fn a_link_leads_to_a_file() {
        let text = "[a](x.md) [b](../Cargo.toml#x) [c](https://x.y) [d](#e)\n```\n[x](none)\n```\n[f](src)\n";
        let found = links(Path::new(env!("CARGO_MANIFEST_DIR")), "src/main.rs", text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("src/main.rs:1:") && found[1].starts_with("src/main.rs:5:"));
    }

    #[test]
    fn the_record_names_files() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let text = "| `lib.rs:1:2` | `replace \\| with ^` | x |\n| place | x |\n| `no/b.rs:1:2` | x |\n";
        assert_eq!(mutants(root, text).len(), 1);
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
        let found = dead(&tree.map(|(file, text)| Source::new(&format!("crates/mm/src/{file}"), text)));
        assert!(
            found.len() == 1 && found[0].contains("frame/races.rs"),
            "{found:?}"
        );
    }
}
