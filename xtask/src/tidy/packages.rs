//! Which package may depend on which (the arrows of `ARCHITECTURE.md`), read
//! from `cargo metadata` with loom's and shuttle's configurations on, so that
//! the packages of every build are seen.

use super::Finding;
use crate::shell::{self, Build};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::Path;

/// A package of the workspace, or one that it needs.
#[derive(Debug, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    /// An SPDX expression.
    pub(super) license: Option<String>,
    /// Where its `Cargo.toml` is.
    pub(super) manifest_path: String,
    /// `None` for a package of the workspace.
    pub(super) source: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `None` for an ordinary one, else `dev` or `build`.
    kind: Option<String>,
    /// The `cfg(..)` under which it is one.
    target: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// All packages of all builds on Linux.
pub(super) fn read() -> Result<Vec<Package>> {
    let mut cargo = Build::Plain.cargo(&["metadata", "--format-version", "1", "--quiet"]);
    cargo.args(["--filter-platform", "x86_64-unknown-linux-gnu"]);
    cargo.env("RUSTFLAGS", "--cfg loom --cfg shuttle");
    let metadata: Metadata = serde_json::from_str(&shell::read(cargo)?).context("cargo metadata")?;
    Ok(metadata.packages)
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
memfold: memfold-host memfold-mm memfold-sync memfold-linux memfold-stores | memfold-sim
memfold-wasmtime: memfold
memfold-explain: memfold-mm memfold-sync
memfold-cli: memfold memfold-wasmtime memfold-mm memfold-sim memfold-explain
memfold-verify: memfold-host memfold-mm memfold-sim memfold-sync memfold-stores memfold-linux memfold
memfold-benches: memfold memfold-sim memfold-wasmtime
xtask:
";

/// The table's lines: a package, what it may depend on, and what its tests may use in addition.
fn directions_table() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    DIRECTIONS.lines().filter_map(|line| {
        let (name, rest) = line.split_once(':')?;
        let (depend_on, test_with) = rest.split_once('|').unwrap_or((rest, ""));
        Some((name, depend_on, test_with))
    })
}

/// What no package below the hosts may pull in, whoever wrote it.
const MACHINE: [&str; 7] = ["libc", "rustix", "nix", "log", "rand", "parking_lot", "tokio"];
const PURE: [&str; 3] = ["memfold-host", "memfold-mm", "memfold-sim"];

/// The rule: dependencies of ours point downwards.
pub(super) fn directions(root: &Path, packages: &[Package]) -> Vec<Finding> {
    let ours = packages.iter().filter(|package| package.source.is_none());
    ours.flat_map(|package| {
        let manifest = package.manifest_path.as_str();
        let text = std::fs::read_to_string(manifest).unwrap_or_default();
        let file = Path::new(manifest)
            .strip_prefix(root)
            .map_or(manifest.into(), |file| file.to_string_lossy());
        breaches(package)
            .into_iter()
            .map(move |(dependency, message)| {
                let line = text
                    .lines()
                    .position(|line| line.starts_with(&dependency))
                    .map_or(1, |index| index + 1);
                Finding::new(&file, line, "direction", message)
            })
            .collect::<Vec<_>>()
    })
    .collect()
}

/// The dependencies that point the wrong way, each with what to say about it.
fn breaches(package: &Package) -> Vec<(String, String)> {
    let mut table = directions_table();
    let Some((_, depend_on, test_with)) = table.find(|may| may.0 == package.name) else {
        let message = format!("`{}` has no place in the table of directions", package.name);
        return vec![("[package]".to_owned(), message)];
    };
    let mut found = Vec::new();
    for dependency in &package.dependencies {
        let name = dependency.name.as_str();
        // The race models are tests, which `memfold-explain` tells too.
        let for_models = dependency.target.as_deref() == Some("cfg(loom)");
        let for_tests = for_models || dependency.kind.as_deref() == Some("dev");
        let ours = directions_table().any(|may| may.0 == name);
        let has = |list: &str| list.split_whitespace().any(|word| word == name);
        let allowed = has(depend_on) || (for_tests && has(test_with));
        if ours && !allowed {
            found.push((
                name.to_owned(),
                format!("`{}` must not depend on `{name}`", package.name),
            ));
        }
        if PURE.contains(&package.name.as_str()) && MACHINE.contains(&name) && !for_tests {
            found.push((
                name.to_owned(),
                format!("`{}` knows no machine: not `{name}`", package.name),
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    //! Goal: an arrow that points upwards is found. Method: small packages, good and bad.
    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let dependencies = dependencies.iter().map(|(name, kind)| Dependency {
            name: (*name).to_owned(),
            kind: kind.map(str::to_owned),
            target: None,
        });
        Package {
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            license: None,
            manifest_path: "Cargo.toml".to_owned(),
            source: None,
            dependencies: dependencies.collect(),
        }
    }

    #[test]
    fn arrows_point_downwards() {
        let good = package(
            "memfold-mm",
            &[
                ("memfold-sync", None),
                ("memfold-sim", Some("dev")),
                ("thiserror", None),
            ],
        );
        assert!(breaches(&good).is_empty());
        let bad = package(
            "memfold-mm",
            &[
                ("memfold-sim", None),
                ("memfold-linux", Some("dev")),
                ("libc", None),
            ],
        );
        let names: Vec<String> = breaches(&bad).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["memfold-sim", "memfold-linux", "libc"]);
    }

    #[test]
    fn nothing_depends_on_verify() {
        for (name, ..) in directions_table() {
            let package = package(name, &[("memfold-verify", Some("dev"))]);
            assert_eq!(breaches(&package).len(), 1, "{name}");
        }
    }

    #[test]
    fn a_new_package_is_placed_first() {
        assert_eq!(breaches(&package("memfold-new", &[])).len(), 1);
    }
}
