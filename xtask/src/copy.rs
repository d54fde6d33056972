//! A copy of the checkout in which files may be changed, and its tests run: for seeded defects and
//! weakened orderings.
//!
//! A copy is `target-bugs/BUILD`; the checkout itself is not touched. Git keeps it: a second index
//! and working tree of the same repository, in which files that are equal keep their times, so that
//! little is built again. One command at a time has a copy.

use crate::shell::{self, Build};
use crate::tidy;
use anyhow::{Context, Result, ensure};
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

/// What cargo is told. Tests with Wasmtime are chosen out of the whole workspace: for one package
/// alone Wasmtime has other features than the gate built it with, and would be built again.
fn told(checker: &Checker) -> impl Iterator<Item = &str> {
    let args = checker.args.iter().map(String::as_str);
    let is_large = checker.args.get(1).is_some_and(|name| name == "memfold-wasmtime");
    let (instead, skipped) = if is_large {
        (Some("--workspace"), 2)
    } else {
        (None, 0)
    };
    instead.into_iter().chain(args.skip(skipped))
}

/// How a test run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
    TimedOut,
}

/// The copy for one build.
pub(crate) struct Copy {
    tree: PathBuf,
    /// The checkout as it was, files not yet committed included: a tree of git's.
    wanted: String,
    _lock: File,
}

impl Copy {
    /// A copy that is equal to the checkout.
    pub(crate) fn new(build: Build) -> Result<Self> {
        let tree = shell::root().join(format!("target-bugs/{build:?}").to_lowercase());
        fs::create_dir_all(&tree)?;
        let lock = File::create(tree.with_extension("lock"))?;
        ensure!(
            lock.try_lock().is_ok(),
            "another command works in {}",
            tree.display()
        );
        let of_checkout = |words| {
            let mut git = shell::command(words);
            git.env("GIT_INDEX_FILE", tree.with_extension("checkout"));
            shell::read(git)
        };
        of_checkout("git add --all")?;
        let wanted = of_checkout("git write-tree")?.trim().to_owned();
        let copy = Copy {
            tree,
            wanted,
            _lock: lock,
        };
        copy.refresh()?;
        Ok(copy)
    }

    /// Git, for which the copy is the working tree.
    fn git(&self, words: &str) -> Result<String> {
        let folder = shell::read(shell::command("git rev-parse --absolute-git-dir"))?;
        let mut git = shell::command(words);
        git.current_dir(&self.tree).env("GIT_DIR", folder.trim());
        git.env("GIT_WORK_TREE", &self.tree);
        git.env("GIT_INDEX_FILE", self.tree.with_extension("index"));
        shell::read(git)
    }

    /// Makes the copy equal to the checkout.
    pub(crate) fn refresh(&self) -> Result<()> {
        self.git(&format!("git read-tree --reset -u {}", self.wanted))?;
        self.git("git clean --quiet --force -d").map(drop)
    }

    /// Applies a patch of `verify/bugs/`.
    pub(crate) fn patch(&self, patch: &Path) -> Result<()> {
        let apply = format!("git apply {}", patch.display());
        self.git(&apply).context("the patch does not apply")?;
        Ok(())
    }

    /// Gives a file other content.
    pub(crate) fn write(&self, file: &str, text: &str) -> Result<()> {
        Ok(fs::write(self.tree.join(file), text)?)
    }

    /// Builds the tests, which must succeed.
    pub(crate) fn build(&self, checker: &Checker) -> Result<()> {
        let mut build = self.cargo("cargo test --no-run", checker);
        build.args(told(checker).take_while(|word| *word != "--"));
        ensure!(shell::succeeds(build), "the tests do not build");
        Ok(())
    }

    /// Runs the tests, built before, until the first fails. `timeout` ends what they started, too:
    /// a test that hangs is a child of cargo.
    pub(crate) fn test(&self, checker: &Checker, limit: Duration) -> Result<Outcome> {
        let words = format!("timeout --kill-after=5 {} cargo test", limit.as_secs().max(1));
        let mut test = self.cargo(&words, checker);
        test.args(told(checker)).stdin(Stdio::null());
        let mut child = test.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let stdout = child.stdout.take().context("it has no output")?;
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        if lines.any(|line| line.ends_with("... FAILED")) {
            // `timeout` hands the signal on to all that it started.
            shell::succeeds(shell::command(&format!("kill {}", child.id())));
            child.wait()?;
            return Ok(Outcome::Failed);
        }
        Ok(match child.wait()?.code() {
            Some(0) => Outcome::Passed,
            // The time was up; and so it was when the command had to be killed.
            Some(124 | 137) => Outcome::TimedOut,
            _ => Outcome::Failed,
        })
    }

    /// Libraries are those that the gate has built, in its target directory: only what is ours is
    /// built anew, and with another level of debug information, so that cargo never takes the one
    /// for the other. For the same reason each build has its copy: cargo tells packages of one
    /// target directory apart by their place in the workspace, not by the workspace's.
    ///
    /// Of what is ours much is built, and little is run: in many parts, of which a defect changes
    /// few. Unit tests are not optimised, models a little.
    fn cargo(&self, words: &str, checker: &Checker) -> Command {
        let mut cargo = checker.build.command(words);
        cargo.current_dir(&self.tree).env("CARGO_INCREMENTAL", "1");
        let mut config = |setting: String| {
            cargo.args(["--config", &format!("profile.{setting}")]);
        };
        let is_unit = checker.args.iter().any(|word| word == "--lib");
        let plain = checker.build == Build::Plain;
        if plain {
            config("dev.debug=\"line-directives-only\"".to_owned());
        } else {
            config("release.debug=0".to_owned());
        }
        for name in tidy::packages::names() {
            match (plain, is_unit) {
                (true, true) => config(format!("dev.package.{name}.opt-level=0")),
                (false, _) => config(format!("release.package.{name}.opt-level=1")),
                (true, false) => (),
            }
            if plain {
                config(format!("dev.package.{name}.codegen-units=256"));
            }
        }
        if plain {
            cargo.env("CARGO_TARGET_DIR", shell::target());
        } else {
            cargo.arg("--release");
        }
        cargo
    }
}
