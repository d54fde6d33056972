//! Rules that a file's text answers. Most are patterns that `git grep` searches for, line by line;
//! the rest is about a file as a whole, or about what stands near.

use super::{Source, finding};
use crate::shell;
use anyhow::{Context, Result};
use std::path::Path;

/// Lines of a file, be it of the product or of tests.
const FILE_MAX: usize = 400;
/// A reason stands on the line of the ordering, or on one of so many before it.
const LINES_BEFORE: usize = 3;

/// What must not be found: the rule, where it is searched for, and what to say; then the pattern, in
/// Perl's language. What begins with a hash says why.
const SEARCHES: &str = r#"
unfinished | *.rs | do it, or open an issue
//.*\b(FIXME|TODO|XXX)\b

# The manager and the simulator run under loom and shuttle, and replay from a seed: locks and atomics come from the
# facade, time and chance from the host. What is no part of `std` they cannot name, for they do not depend on it.
banned-name | crates/host/ crates/mm/ crates/sim/ | ask the facade or the host (and name what you need of `std` by itself)
^(?!\s*//).*\b(std::(sync\b|thread\b|time\b|env\b|\{)|(core|alloc)::sync\b)

# The stores run inside the same schedules.
store-name | crates/stores/ | locks come from the facade (name what you need of `std` by itself)
^(?!\s*//).*\b(std::(sync\b|\{)|(core|alloc)::sync\b)

ordering-name | *.rs | write `Ordering::X` in full where it is used: elsewhere it would not show
^(?!.*\bcmp::).*(\bOrdering::[{*]|\buse\b.*Ordering::\w)

seqcst | *.rs | `SeqCst` stands only in a `fence`: elsewhere the models do not see it
^(?!\s*//)(?!.*\bfence\b).*\bOrdering::SeqCst

# A table's row, or a word that cannot be broken, may be wider.
comment-width | *.rs | a comment has at most 100 columns
^(?=.{101})\s*//[/! ]*[^/! |]\S*[ ]

foreign-module | *.rs | a file of another package: depend on it
^\s*\#\[path = "\.\./\.\./

machine-path | . | a path of one machine
(?<![\w./}~>*-])/(work|root)/
"#;

/// Each search: rule, places, message, and pattern.
fn table() -> impl Iterator<Item = [&'static str; 4]> {
    let mut lines = SEARCHES
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    std::iter::from_fn(move || {
        let mut heading = lines.next()?.splitn(3, " | ");
        Some([heading.next()?, heading.next()?, heading.next()?, lines.next()?])
    })
}

/// Everything that is searched for and found.
pub(super) fn searches() -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for [rule, places, message, pattern] in table() {
        let mut git = shell::command("git grep --untracked -nIP");
        // Columns are counted as people see them. This file has the patterns, and what they find.
        git.env("LC_ALL", "C.UTF-8").args(["-e", pattern, "--"]);
        let output = git
            .args(places.split(' '))
            .arg(":!xtask/src/tidy/text.rs")
            .output()?;
        // One: nothing was found.
        let ended = output.status.code().filter(|code| *code <= 1);
        ended.with_context(|| format!("git grep: {}", String::from_utf8_lossy(&output.stderr)))?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let mut place = line.split(':');
            let (file, line) = (place.next().unwrap_or_default(), place.next().unwrap_or_default());
            findings.push(finding(file, line.parse()?, rule, message));
        }
    }
    Ok(findings)
}

/// A file opens with a paragraph, and it is short.
pub(super) fn shape(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let header = source
        .text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("//! "));
    if header.is_none_or(str::is_empty) {
        let message = "a file begins with a `//!` paragraph: what lives here, and why";
        found.push(finding(&source.file, 1, "header", message));
    }
    let lines = source.text.lines().count();
    if lines > FILE_MAX {
        let message = format!("{lines} lines; at most {FILE_MAX}");
        found.push(finding(&source.file, FILE_MAX + 1, "file-length", &message));
    }
    found
}

/// Every memory ordering has a reason beside it. (Those of `std::cmp` have other names.)
pub(super) fn reasons(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().collect();
    let names = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"].map(|name| format!("Ordering::{name}"));
    let mut found = Vec::new();
    for (index, code) in source.code().enumerate() {
        let near = &lines[index.saturating_sub(LINES_BEFORE)..=index];
        if names.iter().any(|name| code.contains(name)) && !near.iter().any(|line| line.contains("//")) {
            let message = "an ordering needs a reason on this line or just above";
            found.push(finding(&source.file, index + 1, "ordering-note", message));
        }
    }
    found
}

/// Links between the documents and to files lead somewhere; and so does a row of the mutants'
/// record, which names a file of the manager.
pub(super) fn links(root: &Path, file: &str, text: &str) -> Vec<String> {
    let folder = root.join(file).parent().unwrap_or(root).to_owned();
    let (mut found, mut fenced) = (Vec::new(), false);
    for (number, line) in (1..).zip(text.lines()) {
        fenced ^= line.trim_start().starts_with("```");
        let links = line.split("](").skip(if fenced { usize::MAX } else { 1 });
        let links = links.map(|link| link.split([')', ' ', '#']).next().unwrap_or_default());
        let links = links
            .filter(|link| !link.contains(':'))
            .map(|link| folder.join(link));
        let row = line.strip_prefix("| `").filter(|_| file.ends_with("MUTANTS.md"));
        let place = row.and_then(|row| row.split(['`', ':']).next());
        let place = place.filter(|place| place.ends_with(".rs"));
        let place = place.map(|place| root.join("crates/mm/src").join(place));
        for lost in links.chain(place).filter(|target| !target.exists()) {
            let message = format!("`{}` is not there", lost.display());
            found.push(finding(file, number, "dead-link", &message));
        }
    }
    found
}

/// Every file under a `src/` is declared as a module by the file above it.
pub(super) fn dead(sources: &[Source]) -> Vec<String> {
    let is_declared = |source: &&Source| {
        let inside = source.file.rsplit_once("/src/").map(|(_, inside)| inside);
        let stem = source.file.trim_end_matches(".rs").trim_end_matches("/mod");
        let (folder, name) = stem.rsplit_once('/').unwrap_or_default();
        let above = ["/mod.rs", "/lib.rs", "/main.rs", ".rs"].map(|end| format!("{folder}{end}"));
        let declares = format!("mod {name};");
        let mut parents = sources.iter().filter(|other| above.contains(&other.file));
        inside.is_none_or(|file| ["lib.rs", "main.rs"].contains(&file) || file.starts_with("bin/"))
            || parents.any(|parent| parent.code().any(|line| line.ends_with(&declares)))
    };
    let dead = sources.iter().filter(|source| !is_declared(source));
    dead.map(|source| finding(&source.file, 1, "dead-file", "no `mod` declares this file"))
        .collect()
}

#[cfg(test)]
mod tests {
    //! Goal: each rule finds its breach, and only that. Method: bad and good snippets.
    use super::*;

    /// Lines as a rule finds them, and after the empty line such as it does not.
    const CASES: [(&str, &str); 8] = [
        (
            "unfinished",
            "// TODO: x\n    // FIXME\n\nlet todo = \"TODO\"; // todos",
        ),
        (
            "banned-name",
            "use std::sync::Arc;\nx(::std::thread::spawn(f));\nuse std::{\n\nuse std::fmt;\n// std::sync\nlet std = 1;",
        ),
        ("store-name", "use std::sync::Arc;\n\nuse std::time::Instant;"),
        (
            "ordering-name",
            "use a::Ordering::*;\nuse a::Ordering::{A}; // x\npub use Ordering::A;\n\nuse std::cmp::Ordering::*;\nuse a::Ordering;",
        ),
        (
            "seqcst",
            "a(Ordering::SeqCst); // why\n\nfence(Ordering::SeqCst); // so",
        ),
        (
            "comment-width",
            "    /// é W\n//! a W\n\n//! | W\n//! w\nf(); // W\n// é",
        ),
        (
            "foreign-module",
            "    #[path = \"../../a/b.rs\"]\n\n#[path = \"../a.rs\"]",
        ),
        (
            "machine-path",
            "see /work/x\n\"/root/.cargo\"\n\na/work/b ./root/ $(x)/y https://a.b/work/ {dir}/root/",
        ),
    ];

    #[test]
    fn what_is_searched_for_is_found_and_no_more() {
        for ((name, lines), [rule, .., pattern]) in CASES.into_iter().zip(table()) {
            assert_eq!(name, rule);
            // So many columns are still right in the last line of the widths.
            let lines = lines.replace('W', &format!("b {}", "c".repeat(120)));
            let lines = lines.replace("\n// é", &format!("\n// {} é", "é".repeat(95)));
            let (bad, good) = lines.split_once("\n\n").unwrap();
            let file = shell::target().join(format!("tidy-test-{rule}"));
            std::fs::write(&file, [bad, "\n", good].concat()).unwrap();
            let mut grep = shell::command("grep -P");
            grep.env("LC_ALL", "C.UTF-8").args(["-e", pattern]).arg(&file);
            let found = String::from_utf8(grep.output().unwrap().stdout).unwrap();
            std::fs::remove_file(file).unwrap();
            assert_eq!(found.trim_end(), bad, "{rule}");
        }
        assert_eq!(table().count(), CASES.len());
    }

    #[test]
    fn a_file_has_a_header_is_short_and_gives_reasons() {
        let shape = |text: &str| shape(&Source::new("a.rs", text)).len();
        assert_eq!(shape("//! What lives here.\n"), 0);
        for bad in [
            "",
            "use a;\n//! Late.\n",
            "// No doc comment\n",
            "//!\n//! Late\n",
        ] {
            assert_eq!(shape(bad), 1, "{bad:?}");
        }
        assert_eq!(shape(&"//! x\n".repeat(401)), 1);
        let reasons = |text: &str| reasons(&Source::new("a.rs", text)).len();
        for bad in [
            "a(Ordering::Acquire);\n",
            "// far\n1;\n2;\n3;\na(Ordering::Relaxed);\n",
        ] {
            assert_eq!(reasons(bad), 1, "{bad}");
        }
        let near = "// Acquire: sees the owner.\na.swap(\n1,\natomic::Ordering::AcqRel);\n";
        for good in [near, "a(Ordering::Relaxed); // a count\n", "Ordering::Less\n"] {
            assert_eq!(reasons(good), 0, "{good}");
        }
    }

    #[test]
    fn a_link_leads_to_a_file() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let text = "[a](x.md) [b](Cargo.toml#x) [c](https://x.y) [d](#e)\n```\n[x](none)\n```\n[f](src)\n";
        assert_eq!(links(root, "README.md", text).len(), 2);
        let text = "| `lib.rs:1:2` | `replace \\| with ^` | x |\n| place | x |\n| `no/b.rs:1:2` | x |\n";
        assert_eq!(links(root, "verify/MUTANTS.md", text).len(), 1);
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
