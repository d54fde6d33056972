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

/// What a package of ours may depend on, among ours; and for its tests alone, in addition.
struct May {
    name: &'static str,
    depend_on: &'static [&'static str],
    test_with: &'static [&'static str],
}

const fn may(
    name: &'static str,
    depend_on: &'static [&'static str],
    test_with: &'static [&'static str],
) -> May {
    May {
        name,
        depend_on,
        test_with,
    }
}

/// The direction of the house; a package that is not listed is an error.
const DIRECTIONS: [May; 13] = [
    may("memfold-host", &[], &[]),
    may("memfold-sync", &[], &[]),
    may("memfold-mm", &["memfold-host", "memfold-sync"], &["memfold-sim"]),
    may(
        "memfold-linux",
        &["memfold-host", "memfold-sync"],
        &["memfold-mm", "memfold-sim", "memfold-stores"],
    ),
    may("memfold-sim", &["memfold-host", "memfold-sync"], &[]),
    may("memfold-stores", &["memfold-host", "memfold-sync"], &[]),
    may(
        "memfold",
        &[
            "memfold-host",
            "memfold-mm",
            "memfold-sync",
            "memfold-linux",
            "memfold-stores",
        ],
        &["memfold-sim"],
    ),
    may("memfold-wasmtime", &["memfold"], &[]),
    // Where loom is asked for; otherwise nothing but its options.
    may("memfold-explain", &["memfold-mm", "memfold-sync"], &[]),
    may(
        "memfold-cli",
        &[
            "memfold",
            "memfold-wasmtime",
            "memfold-mm",
            "memfold-sim",
            "memfold-explain",
        ],
        &[],
    ),
    may(
        "memfold-verify",
        &[
            "memfold-host",
            "memfold-mm",
            "memfold-sim",
            "memfold-sync",
            "memfold-stores",
            "memfold-linux",
            "memfold",
        ],
        &[],
    ),
    may(
        "memfold-benches",
        &["memfold", "memfold-sim", "memfold-wasmtime"],
        &[],
    ),
    may("xtask", &[], &[]),
];

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
    let Some(may) = DIRECTIONS.iter().find(|may| may.name == package.name) else {
        let message = format!("`{}` has no place in the table of directions", package.name);
        return vec![("[package]".to_owned(), message)];
    };
    let mut found = Vec::new();
    for dependency in &package.dependencies {
        let name = dependency.name.as_str();
        // The race models are tests, which `memfold-explain` tells too.
        let for_models = dependency.target.as_deref() == Some("cfg(loom)");
        let for_tests = for_models || dependency.kind.as_deref() == Some("dev");
        let ours = DIRECTIONS.iter().any(|may| may.name == name);
        let allowed = may.depend_on.contains(&name) || (for_tests && may.test_with.contains(&name));
        if ours && !allowed {
            found.push((
                name.to_owned(),
                format!("`{}` must not depend on `{name}`", package.name),
            ));
        }
        if PURE.contains(&may.name) && MACHINE.contains(&name) && !for_tests {
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
        for may in &DIRECTIONS {
            assert_eq!(
                breaches(&package(may.name, &[("memfold-verify", Some("dev"))])).len(),
                1,
                "{}",
                may.name
            );
        }
    }

    #[test]
    fn a_new_package_is_placed_first() {
        assert_eq!(breaches(&package("memfold-new", &[])).len(), 1);
    }
}
