//! A copy of the checkout in which files may be changed, and its tests run: for seeded defects and
//! weakened orderings.
//!
//! A copy is `target-bugs/BUILD`; the checkout itself is not touched. Files that are equal keep
//! their times, so that little is built again. One command at a time has a copy.

use crate::shell::{self, Build};
use crate::tidy;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Which tests are to fail: words for `cargo test`, and how it builds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Checker {
    pub(crate) build: Build,
    pub(crate) args: Vec<String>,
}

impl Checker {
    /// The words for cargo, and those for the tests.
    pub(crate) fn split(&self) -> (&[String], &[String]) {
        let end = self.args.iter().position(|word| word == "--");
        self.args.split_at(end.unwrap_or(self.args.len()))
    }
}

/// How a test run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// By which test, if the harness could say so.
    Failed(String),
    TimedOut,
}

/// The copy for one build.
pub(crate) struct Copy {
    build: Build,
    tree: PathBuf,
    _lock: File,
}

impl Copy {
    /// A copy that is equal to the checkout.
    pub(crate) fn new(build: Build) -> Result<Self> {
        let folder = shell::root().join("target-bugs");
        fs::create_dir_all(&folder)?;
        let name = format!("{build:?}").to_lowercase();
        let lock = File::create(folder.join(format!("{name}.lock")))?;
        ensure!(
            lock.try_lock().is_ok(),
            "another command works in target-bugs/{name}"
        );
        let tree = folder.join(name);
        let copy = Copy {
            build,
            tree,
            _lock: lock,
        };
        copy.refresh()?;
        Ok(copy)
    }

    /// Makes the copy equal to the checkout.
    pub(crate) fn refresh(&self) -> Result<()> {
        let mut files = BTreeSet::new();
        for file in shell::files(&[])? {
            let Ok(wanted) = fs::read(shell::root().join(&file)) else {
                continue;
            };
            let copy = self.tree.join(file);
            if fs::read(&copy).ok().as_ref() != Some(&wanted) {
                fs::create_dir_all(copy.parent().unwrap_or(&self.tree))?;
                fs::write(&copy, wanted)?;
            }
            files.insert(copy);
        }
        remove_others(&self.tree, &files)
    }

    /// Applies a patch of `verify/bugs/`.
    pub(crate) fn patch(&self, patch: &Path) -> Result<()> {
        let mut git = shell::command("git apply");
        // The copy is no repository; without the ceiling git would patch the checkout around it.
        git.current_dir(&self.tree)
            .env("GIT_CEILING_DIRECTORIES", shell::root().join("target-bugs"));
        git.arg(patch);
        shell::read(git).context("the patch does not apply")?;
        Ok(())
    }

    /// Gives a file other content.
    pub(crate) fn write(&self, file: &str, text: &str) -> Result<()> {
        Ok(fs::write(self.tree.join(file), text)?)
    }

    /// Builds the tests, which must succeed.
    pub(crate) fn build(&self, checker: &Checker) -> Result<()> {
        let mut build = self.cargo(checker);
        build.args(checker.split().0).arg("--no-run");
        ensure!(shell::succeeds(build), "the tests do not build");
        Ok(())
    }

    /// Runs the tests, built before, until the first fails.
    pub(crate) fn test(&self, checker: &Checker, limit: Duration) -> Result<Outcome> {
        let mut test = self.cargo(checker);
        test.args(&checker.args);
        let mut test = shell::within(&test, limit);
        test.stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = test.spawn().context("cannot start `timeout`")?;
        let stdout = child.stdout.take().context("it has no output")?;
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        if let Some(line) = lines.find(|line| line.ends_with("... FAILED")) {
            // `timeout` hands the signal on to all that it started.
            shell::succeeds(shell::command(&format!("kill {}", child.id())));
            child.wait()?;
            let name = line.trim_end_matches(" ... FAILED").trim_start_matches("test ");
            return Ok(Outcome::Failed(name.to_owned()));
        }
        Ok(match child.wait()?.code() {
            Some(0) => Outcome::Passed,
            Some(shell::TIMED_OUT | shell::KILLED) => Outcome::TimedOut,
            _ => Outcome::Failed(String::new()),
        })
    }

    /// Libraries are those that the gate has built, in its target directory: only what is ours is
    /// built anew, and with another level of debug information, so that cargo never takes the one
    /// for the other. For the same reason each build has its copy: cargo tells packages of one
    /// target directory apart by their place in the workspace, not by the workspace's.
    fn cargo(&self, checker: &Checker) -> Command {
        debug_assert_eq!(self.build, checker.build);
        let mut cargo = checker.build.cargo("test");
        cargo.current_dir(&self.tree).env("CARGO_INCREMENTAL", "1");
        match checker.build {
            Build::Plain => {
                cargo.env("CARGO_TARGET_DIR", shell::target());
                cargo.args(["--config", "profile.dev.debug=0"]);
            }
            Build::Loom | Build::Shuttle => {
                cargo.args(["--release", "--config", "profile.release.debug=0"]);
                // Of what is ours much is built, and little is run.
                for name in tidy::packages::names() {
                    cargo.args(["--config", &format!("profile.release.package.{name}.opt-level=1")]);
                }
            }
        }
        cargo
    }
}

/// Removes what is not in the list.
fn remove_others(folder: &Path, files: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, files)?;
        } else if !files.contains(&path) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
