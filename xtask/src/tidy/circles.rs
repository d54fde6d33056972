//! Files of a package depend on one another one way: no circles; the rooms of the manager stand in
//! an order; and the manager has few doors.
//!
//! What a file names by `crate::`, `super::` or `self::` is where it points; the longest beginning
//! of such a path that is a file is meant. The file of the package itself (`lib.rs`, `main.rs`) is
//! its table of contents and counts for nothing, and tests count for nothing either.

use super::{Source, finding};
use std::collections::BTreeMap;

/// The packages that are held to this; the first is the manager.
const PACKAGES: [&str; 4] = ["crates/mm", "crates/memfold", "crates/cli", "crates/prepare"];

/// The rooms of the manager, bottom up: each may name those before it. A file that stands lower
/// than its room is named by itself: what the manager holds for the room between its calls.
const ORDER: &str = "
    budget stats emptying backing swap table frame window_tables space error stalled scratch
    drop::doomed loans::ring merge::scanner native::queue reclaim::state standby::ring window::hand mm keep window neighbours rmap emptied path own_page
    door residency migrate giving create files peek native writable standby loans reclaim fault pin mapped drop merge digest check
    space_stats survey fork reset copies freeze area_map resize";

/// Methods of `Mm` in all its files, tests left out: what belongs to a room is a method of the
/// room's object, or a function that takes the manager.
const DOORS: usize = 40;

/// For each file, by its module's path, the files that it names and the line of the first time.
type Graph = BTreeMap<String, BTreeMap<String, usize>>;

/// Circles, and names that point upwards.
pub(super) fn check(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for package in PACKAGES {
        let files = modules(package, sources);
        let edges = |(path, source): (&String, &&Source)| (path.clone(), names(path, source, &files));
        let graph: Graph = files.iter().map(edges).collect();
        for (from, edges) in &graph {
            for (to, &line) in edges {
                let (rule, why) = if reaches(&graph, to, from) {
                    ("circle", "which leads back to it")
                } else if package == PACKAGES[0] && points_up(from, to) {
                    (
                        "order",
                        "which does not stand below it in the tidy test's `ORDER`",
                    )
                } else {
                    continue;
                };
                let message = format!("`{from}` names `{to}`, {why}");
                findings.push(finding(&files[from].file, line, rule, &message));
            }
        }
    }
    findings
}

/// How many methods the manager has.
pub(super) fn doors(sources: &[Source]) -> Vec<String> {
    let files = modules(PACKAGES[0], sources);
    let count: usize = files.values().map(|source| methods(source)).sum();
    let message = format!("`Mm` has {count} methods, at most {DOORS}: give the new ones to their room");
    let found = (count > DOORS).then(|| finding("crates/mm/src/mm.rs", 1, "doors", &message));
    found.into_iter().collect()
}

/// The methods in a file's `impl` blocks of the manager. rustfmt has put each at its column.
fn methods(source: &Source) -> usize {
    let (mut inside, mut count) = (false, 0);
    for code in source.code() {
        if code.starts_with("impl") {
            inside = code.contains("> Mm<") && !code.contains(" for ");
        }
        inside &= !code.starts_with('}');
        let words = code.strip_prefix("    ").filter(|rest| !rest.starts_with(' '));
        let mut words = words.unwrap_or_default().split(' ');
        count += usize::from(inside && words.any(|word| word == "fn"));
    }
    count
}

/// Whether a room names another that stands above it, or one of them has no place in the order.
fn points_up(from: &str, to: &str) -> bool {
    let room = |module: &str| module.split("::").next().unwrap_or_default().to_owned();
    let named = |name: &str| ORDER.split_whitespace().position(|other| other == name);
    let place = |module: &str| named(module).or_else(|| named(&room(module)));
    room(from) != room(to) && !matches!((place(from), place(to)), (Some(from), Some(to)) if to < from)
}

/// Whether `to` can be reached. Ends: each file is looked at once.
fn reaches(graph: &Graph, from: &str, to: &str) -> bool {
    let (mut seen, mut next) = (vec![from], vec![from]);
    while let Some(at) = next.pop() {
        for file in graph.get(at).into_iter().flat_map(BTreeMap::keys) {
            if !seen.contains(&file.as_str()) {
                seen.push(file);
                next.push(file);
            }
        }
    }
    seen.contains(&to)
}

/// The files of a package that are no tests, by their modules' paths.
fn modules<'a>(package: &str, sources: &'a [Source]) -> BTreeMap<String, &'a Source> {
    let module = |source: &'a Source| {
        let inside = source.file.strip_prefix(package)?.strip_prefix("/src/")?;
        let stem = inside.strip_suffix(".rs")?;
        let path = stem.strip_suffix("/mod").unwrap_or(stem).replace('/', "::");
        let counts = |part: &str| !["tests", "races", "rig", "lib", "main"].contains(&part);
        path.split("::").all(counts).then_some((path, source))
    };
    sources.iter().filter_map(module).collect()
}

/// The files of the package that a file names, each with its line. Test modules at the end of a
/// file are left out. Of a group in a group only the name before it is looked at.
fn names(module: &str, source: &Source, files: &BTreeMap<String, &Source>) -> BTreeMap<String, usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let code: String = source.code().flat_map(|line| [line, "\n"]).collect();
    let code = code.split("mod tests {").next().unwrap_or_default();
    let here: Vec<&str> = module.split("::").collect();
    let mut edges = BTreeMap::new();
    let roots = ["crate::", "self::", "super::"].map(|root| code.match_indices(root));
    let begins = roots.into_iter().flatten();
    for (at, root) in begins.filter(|&(at, _)| !code[..at].ends_with(is_word)) {
        let line = code[..at].matches('\n').count() + 1;
        let (path, rest) = code[at..].split_at(code[at..].find(|c| !is_word(c)).unwrap_or(code.len() - at));
        let up = path.matches("super::").count();
        let base = if root == "crate::" {
            0
        } else {
            here.len().saturating_sub(up)
        };
        let words = path.trim_end_matches("::").split("::").skip(up.max(1));
        let stem: Vec<&str> = here[..base].iter().copied().chain(words).collect();
        let group = rest.strip_prefix('{').and_then(|group| group.split('}').next());
        for member in group.unwrap_or_default().split(',') {
            let named: Vec<&str> = stem.iter().copied().chain(member.trim().split("::")).collect();
            let beginnings = (1..=named.len()).rev().map(|len| named[..len].join("::"));
            let meant = beginnings.into_iter().find(|name| files.contains_key(name));
            if let Some(to) = meant.filter(|to| to != module) {
                edges.entry(to).or_insert(line);
            }
        }
    }
    edges
}

#[cfg(test)]
mod tests {
    //! Goal: a circle is found by whatever path it is named, methods of the manager are counted,
    //! and nothing else is. Method: small trees.
    use super::*;

    fn found(package: &str, files: &[(&str, &str)], rule: &str) -> String {
        let source = |(name, text): &(&str, &str)| Source::new(&format!("{package}/src/{name}"), text);
        let sources: Vec<Source> = files.iter().map(source).collect();
        let place = |line: &String| Some(line.split_once(rule)?.0.rsplit_once("/src/")?.1.to_owned());
        check(&sources).iter().filter_map(place).collect()
    }

    #[test]
    fn a_circle_is_found_on_both_sides() {
        let files = [
            ("lib.rs", "mod a;\nmod b;\n"),
            (
                "a.rs",
                "//! A.\nuse crate::{\n    b::y::Z,\n    c,\n};\nuse super::b::X;\n",
            ),
            ("b/mod.rs", "fn f() { crate::a::g() }\n"),
            ("b/y.rs", "use super::X;\n"),
        ];
        // `y` is named by `a` and names `b`, which names `a`.
        let places = "a.rs:6: a.rs:2: b/mod.rs:1: b/y.rs:1: ";
        assert_eq!(found("crates/cli", &files, "circle:"), places);
    }

    #[test]
    fn one_way_is_no_circle() {
        let files = [
            ("lib.rs", "pub use a::A;\n"),
            ("a.rs", "use crate::b::B;\n// crate::c\npub(super) fn f() {}\n"),
            (
                "b.rs",
                "use crate::A;\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n",
            ),
            ("b/tests.rs", "use crate::a::A;\n"),
        ];
        assert_eq!(found("crates/cli", &files, "circle:"), "");
    }

    #[test]
    fn a_room_names_those_below_it() {
        let files = [
            (
                "table/mod.rs",
                "use crate::budget::A;\nuse crate::fork;\nuse crate::reclaim::state::S;\n",
            ),
            ("budget.rs", ""),
            ("mm.rs", "use crate::reclaim::state::S;\n"),
            ("reclaim/state.rs", "use super::T;\n"),
            ("reclaim/mod.rs", "use crate::mm::Mm;\n"),
            ("fork.rs", "use crate::new;\n"),
            ("new.rs", ""),
        ];
        let places = "fork.rs:1: table/mod.rs:2: table/mod.rs:3: ";
        assert_eq!(found("crates/mm", &files, "order:"), places);
    }

    #[test]
    fn methods_of_the_manager_are_counted() {
        let text = "impl<H: Host, S: Store> Mm<H, S> {\n    /// A fn.\n    pub fn a(&self) {\n        fn inner() {}\n    }\n\n    \
            pub(crate) fn b(&self, f: impl Fn()) {}\n}\nimpl<H, S> Drop for Mm<H, S> {\n    fn drop(&mut self) {}\n}\n\
            impl<'m, H, S> Room<'m, H, S> {\n    fn of(mm: &'m Mm<H, S>) -> Self {}\n}\nfn c<H, S>(mm: &Mm<H, S>) {}\n";
        let file = |n: usize| Source::new(&format!("crates/mm/src/f{n}.rs"), text);
        assert_eq!(methods(&file(0)), 2);
        let mut all: Vec<Source> = (0..20).map(file).collect();
        all.push(Source::new("crates/mm/src/f/tests.rs", text));
        all.push(Source::new("crates/sim/src/f.rs", text));
        assert_eq!(doors(&all), Vec::<String>::new());
        all.push(file(20));
        assert_eq!(doors(&all).len(), 1);
    }
}
