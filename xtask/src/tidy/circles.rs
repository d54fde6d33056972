//! Files of a package depend on one another one way: no circles; and the rooms of the manager stand
//! in an order.
//!
//! What a file names by `crate::`, `super::` or `self::` is where it points; the longest beginning
//! of such a path that is a file is meant. The file of the package itself (`lib.rs`, `main.rs`) is
//! its table of contents and counts for nothing, and tests count for nothing either. What still
//! points the wrong way is listed here, edge by edge: the list shrinks, and an edge that is cut
//! must leave it.

use super::Finding;
use super::scan::Source;
use std::collections::{BTreeMap, BTreeSet};

/// The packages that are held to this.
const PACKAGES: [&str; 3] = ["crates/mm", "crates/memfold", "crates/cli"];

/// The rooms of the manager, bottom up: each may name those before it.
const ORDER: &[&str] = &[
    "budget",
    "stats",
    "backing",
    "swap",
    "table",
    "frame",
    "window",
    "space",
    "error",
    "stalled",
    "scratch",
    "mm",
    "neighbours",
    "rmap",
    "emptied",
    "path",
    "door",
    "residency",
    "migrate",
    "giving",
    "create",
    "peek",
    "writable",
    "standby",
    "reclaim",
    "fault",
    "pin",
    "drop",
    "merge",
    "digest",
    "check",
    "space_stats",
    "fork",
    "freeze",
];

/// What still points the wrong way: package, who points, and where to.
const KNOWN: &[(&str, &str, &str)] = &[
    // The manager holds what its operations keep between calls.
    ("crates/mm", "mm", "merge"),
    ("crates/mm", "mm", "reclaim::choice"),
    ("crates/mm", "mm", "reclaim::replacer"),
    ("crates/mm", "mm", "standby"),
    // What a window's tables cost is charged by the manager.
    ("crates/mm", "window", "error"),
    ("crates/mm", "window", "mm"),
    ("crates/mm", "window", "space"),
    // A space remembers how far its faults go ahead.
    ("crates/mm", "create", "fault::ahead"),
    ("crates/mm", "space", "fault::ahead"),
    // What is shared holds the threads that work on it.
    ("crates/memfold", "inner", "merger"),
    ("crates/memfold", "inner", "reclaimer"),
    ("crates/memfold", "space", "pin"),
    // Errors and reports are told in the words of a run.
    ("crates/cli", "error", "run"),
    ("crates/cli", "report", "run"),
];

/// For each file, by its module's path, the files that it names and the line of the first time.
type Graph = BTreeMap<String, BTreeMap<String, usize>>;

/// The rule.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in PACKAGES {
        let files: BTreeMap<String, &Source> = modules(package, sources);
        let mut graph = graph(&files);
        for &(_, from, to) in KNOWN.iter().filter(|known| known.0 == package) {
            let edge = graph.get_mut(from).and_then(|edges| edges.remove(to));
            if edge.is_none() {
                let message = format!(
                    "`{from}` does not name `{to}` any more: take the edge off the list of known ones"
                );
                findings.push(Finding::new(
                    "xtask/src/tidy/circles.rs",
                    1,
                    "known-edge",
                    message,
                ));
            }
        }
        let found = |from: &String, line, rule, message| Finding::new(&files[from].file, line, rule, message);
        for (from, edges) in &graph {
            for (to, &line) in edges {
                if reaches(&graph, to, from) {
                    let message = format!("`{from}` names `{to}`, which leads back to it");
                    findings.push(found(from, line, "circle", message));
                } else if package == PACKAGES[0] && points_up(from, to) {
                    let message = format!(
                        "`{from}` names `{to}`, which does not stand below it in the order of rooms (`ORDER` in the tidy test)"
                    );
                    findings.push(found(from, line, "order", message));
                }
            }
        }
    }
    findings
}

/// Whether a room names another that stands above it, or one of them has no place in the order.
fn points_up(from: &str, to: &str) -> bool {
    let room = |module: &str| module.split("::").next().map(str::to_owned);
    let place = |module| {
        ORDER
            .iter()
            .position(|&name| room(module).as_deref() == Some(name))
    };
    room(from) != room(to) && !matches!((place(from), place(to)), (Some(from), Some(to)) if to < from)
}

/// Whether `to` can be reached. Ends: each file is visited once.
fn reaches(graph: &Graph, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut next = vec![from];
    while let Some(at) = next.pop() {
        if at == to {
            return true;
        }
        let edges = graph.get(at).into_iter().flat_map(|edges| edges.keys());
        next.extend(edges.map(String::as_str).filter(|&file| seen.insert(file)));
    }
    false
}

/// The files of a package that are no tests, by their modules' paths.
fn modules<'a>(package: &str, sources: &'a [Source]) -> BTreeMap<String, &'a Source> {
    let mut modules = BTreeMap::new();
    for source in sources {
        let inside = source
            .file
            .strip_prefix(package)
            .and_then(|file| file.strip_prefix("/src/"));
        let Some(stem) = inside.and_then(|file| file.strip_suffix(".rs")) else {
            continue;
        };
        let path = stem.strip_suffix("/mod").unwrap_or(stem).replace('/', "::");
        let is_test = path
            .split("::")
            .any(|part| ["tests", "races", "rig"].contains(&part));
        if !is_test && !["lib", "main"].contains(&path.as_str()) {
            modules.insert(path, source);
        }
    }
    modules
}

fn graph(files: &BTreeMap<String, &Source>) -> Graph {
    let edges = |(path, source): (&String, &&Source)| {
        let mut edges = BTreeMap::new();
        for (named, line) in names(path, source) {
            let beginnings = (1..=named.len()).rev().map(|len| named[..len].join("::"));
            let meant = beginnings.into_iter().find(|name| files.contains_key(name));
            if let Some(to) = meant.filter(|to| to != path) {
                edges.entry(to).or_insert(line);
            }
        }
        (path.clone(), edges)
    };
    files.iter().map(edges).collect()
}

/// The paths within the package that a file names, each with its line. Test modules at the end of a
/// file are left out.
fn names(module: &str, source: &Source) -> Vec<(Vec<String>, usize)> {
    let end = source
        .lines
        .iter()
        .position(|line| line.code.contains("mod tests {"));
    let here: Vec<&str> = module.split("::").collect();
    let absolute = |path: &[String]| {
        let up = path.iter().take_while(|word| *word == "super").count();
        let (base, rest) = match path[0].as_str() {
            "crate" => (0, &path[1..]),
            "self" => (here.len(), &path[1..]),
            _ => (here.len().saturating_sub(up), &path[up..]),
        };
        let base = here[..base].iter().map(|&word| word.to_owned());
        base.chain(rest.iter().cloned()).collect()
    };
    let paths = source.paths(&["crate", "self", "super"]).into_iter();
    paths
        .filter(|&(_, line)| end.is_none_or(|end| line <= end))
        .map(|(path, line)| (absolute(&path), line))
        .collect()
}

#[cfg(test)]
mod tests {
    //! Goal: a circle is found by whatever path it is named, and no more. Method: small trees.
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<(String, usize, &'static str)> {
        let sources: Vec<Source> = files
            .iter()
            .map(|(name, text)| Source::new(&format!("crates/cli/src/{name}"), text))
            .collect();
        let findings = check(&sources);
        let mine = findings.into_iter().filter(|finding| finding.rule == "circle");
        mine.map(|finding| (finding.file, finding.line, finding.rule))
            .collect()
    }

    #[test]
    fn a_circle_is_found_on_both_sides() {
        let files = [
            ("lib.rs", "mod a;\nmod b;\n"),
            ("a.rs", "//! A.\nuse crate::{\n    b::{X, y::Z},\n};\n"),
            ("b/mod.rs", "fn f() { crate::a::g() }\n"),
            ("b/y.rs", "use super::X;\n"),
        ];
        let at = |file: &str, line| (format!("crates/cli/src/{file}"), line, "circle");
        // `y` is named by `a` and names `b`, which names `a`.
        assert_eq!(
            found(&files),
            [at("a.rs", 2), at("a.rs", 2), at("b/mod.rs", 1), at("b/y.rs", 1)]
        );
    }

    #[test]
    fn one_way_is_no_circle() {
        let files = [
            ("lib.rs", "pub use a::A;\n"),
            ("a.rs", "use crate::b::B;\n// crate::c\n"),
            (
                "b.rs",
                "use crate::A;\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n",
            ),
            ("b/tests.rs", "use crate::a::A;\n"),
        ];
        assert_eq!(found(&files), []);
    }
}
