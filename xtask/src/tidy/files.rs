//! Rules about the tree as a whole: no dead Rust file, no path of a build
//! machine, no link that leads nowhere.

use super::Finding;
use super::scan::Source;
use crate::shell;
use anyhow::Result;
use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

/// The files of the checkout, those not yet committed included.
pub(super) fn list(root: &Path) -> Result<Vec<String>> {
    let mut git = shell::clean(Command::new("git"));
    git.current_dir(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let mut files: Vec<String> = shell::read(git)?
        .split_terminator('\0')
        .map(str::to_owned)
        .collect();
    files.sort();
    files.dedup();
    Ok(files)
}

/// No absolute path of a machine that the project was written on.
pub(super) fn machine_paths(file: &str, text: &str) -> Vec<Finding> {
    // Written in two parts, so that the rule does not find itself.
    let folders = ["work", "root"].map(|folder| format!("/{folder}/"));
    let outer = |c: char| c.is_alphanumeric() || "._-/}~>*".contains(c);
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for folder in &folders {
            let absolute = |(at, _): (usize, &str)| !line[..at].ends_with(outer);
            if line.match_indices(folder.as_str()).any(absolute) {
                let message = format!("`{folder}` is a path of one machine");
                findings.push(Finding::new(file, index + 1, "machine-path", message));
            }
        }
    }
    findings
}

/// Links between the documents and to files lead somewhere; `exists` takes a path from the root.
pub(super) fn links(file: &str, text: &str, exists: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        for (at, mark) in line.match_indices("](") {
            let link = line[at + mark.len()..]
                .split([')', ' '])
                .next()
                .unwrap_or_default();
            let target = link.split('#').next().unwrap_or_default();
            let elsewhere = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
            if !elsewhere && !exists(&join(folder, target)) {
                findings.push(Finding::new(
                    file,
                    index + 1,
                    "dead-link",
                    format!("`{link}` leads nowhere"),
                ));
            }
        }
    }
    findings
}

/// The path of `target`, as seen from `folder`.
fn join(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Every file under a `src/` is declared as a module by the file above it.
pub(super) fn dead(sources: &[Source]) -> Vec<Finding> {
    let declared: HashSet<String> = sources.iter().flat_map(declarations).collect();
    let mut findings = Vec::new();
    for source in sources {
        let Some((_, inside)) = source.file.rsplit_once("/src/") else {
            continue;
        };
        let is_root = ["lib.rs", "main.rs"].contains(&inside) || inside.starts_with("bin/");
        if !is_root && !declared.contains(&source.file) {
            findings.push(Finding::new(
                &source.file,
                1,
                "dead-file",
                "no `mod` declares this file",
            ));
        }
    }
    findings
}

/// The files that the `mod x;` of a file may mean.
fn declarations(source: &Source) -> Vec<String> {
    let (folder, name) = source.file.rsplit_once('/').unwrap_or(("", &source.file));
    let stem = name.trim_end_matches(".rs");
    let home = match stem {
        "lib" | "main" | "mod" => folder.to_owned(),
        stem => format!("{folder}/{stem}"),
    };
    let mut files = Vec::new();
    for line in &source.lines {
        let words: Vec<&str> = line.words().map(|(_, word)| word).collect();
        let module = words
            .iter()
            .position(|word| *word == "mod")
            .and_then(|at| words.get(at + 1));
        if let Some(module) = module.filter(|_| line.code.trim_end().ends_with(';')) {
            files.push(format!("{home}/{module}.rs"));
            files.push(format!("{home}/{module}/mod.rs"));
        }
    }
    files
}

#[cfg(test)]
mod tests {
    //! Goal: each rule finds its breach, and only that. Method: small bad and good trees and texts.
    use super::*;

    #[test]
    fn a_path_of_a_machine_is_found() {
        let bad = format!("ok\nsee /{}/x and \"/{}/.cargo\"\n", "work", "root");
        let lines: Vec<usize> = machine_paths("a.md", &bad)
            .iter()
            .map(|finding| finding.line)
            .collect();
        assert_eq!(lines, [2, 2]);
        assert!(machine_paths("a.md", "a/work/b ./root/ $(x)/y https://a.b/work/ {dir}/root/").is_empty());
    }

    #[test]
    fn a_link_leads_to_a_file() {
        let exists = |path: &str| ["README.md", "docs/a.md"].contains(&path);
        let text = "[a](a.md) [b](../README.md#x) [c](https://x.y) [d](#e)\n```\n[x](none)\n```\n[f](b.md)\n";
        let found = links("docs/b.md", text, &exists);
        assert_eq!((found.len(), found[0].line), (1, 5));
        assert_eq!(links("README.md", "[a](docs/none.md#x)", &exists).len(), 1);
    }

    #[test]
    fn a_file_nobody_declares_is_dead() {
        let source = |file: &str, text: &str| Source::new(file, text);
        let tree = [
            source(
                "crates/mm/src/lib.rs",
                "pub mod lru;\n#[cfg(test)] mod frame;\nmod inline {\n}\n",
            ),
            source("crates/mm/src/lru.rs", "#[cfg(test)]\nmod tests;\n"),
            source("crates/mm/src/lru/tests.rs", ""),
            source("crates/mm/src/frame/mod.rs", "// mod races;\n"),
            source("crates/mm/src/frame/races.rs", ""),
            source("crates/mm/tests/a.rs", ""),
        ];
        let found = dead(&tree);
        assert_eq!(
            (found.len(), found[0].file.as_str()),
            (1, "crates/mm/src/frame/races.rs")
        );
    }
}
