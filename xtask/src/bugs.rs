//! `cargo xtask bugs`: puts each known defect back, and demands that its checker fails.
//!
//! A defect is a patch in `verify/bugs/`. Above the patch stand three lines:
//!
//! ```text
//! Defect: the swap-in forgets that the page was written
//! Checker: unit -p memfold-verify --test scenarios r31
//! Seconds: 60
//! ```
//!
//! The checker is `unit`, `loom` or `shuttle` with arguments for `cargo test`.
//! It must pass without the patch; with it the tests must still build, and then
//! fail within the time (`Seconds:` may be left out: 120). A patch that no longer
//! applies is as red as a defect that nobody noticed. All of it happens in a
//! copy of the checkout, `target-bugs/`; the checkout itself is not touched.

use crate::shell::{self, Build};
use crate::{gate, table};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SECONDS_DEFAULT: u64 = 120;
/// What `timeout` answers when the time was up,
const TIMED_OUT: i32 = 124;
/// and when the command had to be killed.
const KILLED: i32 = 137;

/// One patch, its heading read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Defect {
    name: String,
    sentence: String,
    build: Build,
    args: Vec<String>,
    limit: Duration,
}

/// How a test run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    TimedOut,
}

/// Checks every defect whose name contains one of `names` (all, when there are none).
pub(crate) fn run(names: &[String]) -> Result<()> {
    let defects = read(&shell::root().join("verify/bugs"), names)?;
    ensure!(!defects.is_empty(), "no defect of that name in verify/bugs/");
    let copy = Copy {
        tree: shell::root().join("target-bugs/tree"),
    };
    copy.refresh()?;
    let mut clean = BTreeSet::new();
    let mut rows = vec![["defect", "verdict", "time"].map(str::to_owned).to_vec()];
    let mut red = 0;
    for defect in &defects {
        println!("{}: {}", defect.name, defect.sentence);
        let begin = Instant::now();
        let verdict = match copy.check(defect, &mut clean) {
            Ok(()) => "caught".to_owned(),
            Err(error) => {
                red += 1;
                format!("NOT CAUGHT: {error:#}")
            }
        };
        rows.push(vec![defect.name.clone(), verdict, table::time(begin.elapsed())]);
    }
    print!("\n{}", table::render(&rows));
    ensure!(red == 0, "{red} of {} defects were not caught", defects.len());
    Ok(())
}

fn read(folder: &Path, names: &[String]) -> Result<Vec<Defect>> {
    let mut paths: Vec<PathBuf> = match fs::read_dir(folder) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => bail!("this checkout has no defects (verify/bugs/)"),
    };
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    paths.sort();
    let mut defects = Vec::new();
    for path in paths {
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if names.is_empty() || names.iter().any(|part| name.contains(part.as_str())) {
            let text = fs::read_to_string(&path)?;
            defects.push(heading(&name, &text).with_context(|| format!("verify/bugs/{name}.patch"))?);
        }
    }
    Ok(defects)
}

/// Reads what stands above the patch.
fn heading(name: &str, text: &str) -> Result<Defect> {
    let head = text.split("\n---").next().unwrap_or_default();
    let field = |field: &str| {
        head.lines()
            .find_map(|line| line.strip_prefix(field))
            .map(str::trim)
    };
    let sentence = field("Defect:").context("has no line `Defect:`")?.to_owned();
    let mut words = field("Checker:")
        .context("has no line `Checker:`")?
        .split_whitespace()
        .map(str::to_owned);
    let build = match words.next().as_deref() {
        Some("unit") => Build::Plain,
        Some("loom") => Build::Loom,
        Some("shuttle") => Build::Shuttle,
        other => bail!("its checker is {other:?}, not unit, loom or shuttle"),
    };
    let args: Vec<String> = words.collect();
    ensure!(!args.is_empty(), "its checker has no arguments");
    let seconds = field("Seconds:")
        .map_or(Ok(SECONDS_DEFAULT), str::parse)
        .context("`Seconds:`")?;
    Ok(Defect {
        name: name.to_owned(),
        sentence,
        build,
        args,
        limit: Duration::from_secs(seconds),
    })
}

/// A copy of the checkout, in which files may be changed.
struct Copy {
    tree: PathBuf,
}

impl Copy {
    /// Makes the copy equal to the checkout; files that are equal keep their
    /// times, so that little is built again.
    fn refresh(&self) -> Result<()> {
        let mut git = shell::clean(Command::new("git"));
        git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        for file in shell::read(git)?.split_terminator('\0') {
            let Ok(wanted) = fs::read(shell::root().join(file)) else {
                continue;
            };
            let copy = self.tree.join(file);
            if fs::read(&copy).ok().as_ref() != Some(&wanted) {
                fs::create_dir_all(copy.parent().unwrap_or(&self.tree))?;
                fs::write(copy, wanted)?;
            }
        }
        Ok(())
    }

    /// One defect; `clean` remembers which checkers passed without any.
    fn check(&self, defect: &Defect, clean: &mut BTreeSet<Vec<String>>) -> Result<()> {
        let mut key = defect.args.clone();
        key.push(format!("{:?}", defect.build));
        if !clean.contains(&key) {
            ensure!(
                self.test(defect)? == Outcome::Passed,
                "its checker fails without the defect"
            );
            clean.insert(key);
        }
        self.patch(defect)?;
        let outcome = self.test(defect);
        self.refresh()?;
        match outcome? {
            Outcome::Failed => Ok(()),
            Outcome::Passed => bail!("its checker passes"),
            Outcome::TimedOut => bail!("its checker did not end within {}", table::time(defect.limit)),
        }
    }

    fn patch(&self, defect: &Defect) -> Result<()> {
        let mut git = shell::clean(Command::new("git"));
        // The copy is no repository; without the ceiling git would patch the checkout around it.
        git.current_dir(&self.tree)
            .env("GIT_CEILING_DIRECTORIES", shell::root().join("target-bugs"));
        git.arg("apply").arg(
            shell::root()
                .join("verify/bugs")
                .join(format!("{}.patch", defect.name)),
        );
        shell::read(git).context("the patch does not apply")?;
        Ok(())
    }

    /// Builds the tests, which must succeed, then runs them.
    fn test(&self, defect: &Defect) -> Result<Outcome> {
        let mut build = self.cargo(defect);
        build
            .args(&defect.args[..options_end(&defect.args)])
            .arg("--no-run");
        ensure!(shell::succeeds(build), "the tests do not build");
        let mut test = self.cargo(defect);
        test.args(&defect.args);
        let status = within(&test, defect.limit)
            .status()
            .context("cannot start `timeout`")?;
        Ok(match status.code() {
            Some(0) => Outcome::Passed,
            Some(TIMED_OUT | KILLED) => Outcome::TimedOut,
            _ => Outcome::Failed,
        })
    }

    fn cargo(&self, defect: &Defect) -> Command {
        let mut cargo = match defect.build {
            Build::Plain => Build::Plain.cargo(&["test"]),
            Build::Loom => gate::loom(&["--quiet".to_owned()]),
            Build::Shuttle => gate::shuttle(&["--quiet".to_owned()]),
        };
        let target = self
            .tree
            .with_file_name(format!("target-{:?}", defect.build).to_lowercase());
        cargo.current_dir(&self.tree).env("CARGO_TARGET_DIR", target);
        cargo
    }
}

/// The command under `timeout`, which ends what the command started, too: a test that hangs is a
/// child of cargo.
fn within(command: &Command, limit: Duration) -> Command {
    let mut timeout = Command::new("timeout");
    timeout.args(["--kill-after=5", &limit.as_secs().to_string()]);
    timeout.arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        timeout.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => timeout.env(name, value),
            None => timeout.env_remove(name),
        };
    }
    timeout
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    timeout
}

/// Where the words for cargo end and those for the tests begin.
fn options_end(args: &[String]) -> usize {
    args.iter().position(|word| word == "--").unwrap_or(args.len())
}

#[cfg(test)]
mod tests {
    //! Goal: the heading of a patch is read, and a bad one refused. Method: by example.
    use super::*;

    #[test]
    fn what_hangs_is_ended_with_its_children() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60; true"]);
        let begin = Instant::now();
        let status = within(&command, Duration::from_secs(1)).status().unwrap();
        assert_eq!(status.code(), Some(TIMED_OUT));
        assert!(begin.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_heading_says_what_and_who() {
        let text = "Defect: forgets.\nChecker: loom -p memfold-mm lru -- --exact\n\n--- a/x\n+++ b/x\n";
        let defect = heading("R31-x", text).unwrap();
        assert_eq!(
            (defect.build, defect.limit),
            (Build::Loom, Duration::from_secs(120))
        );
        assert_eq!(options_end(&defect.args), 3);
        for bad in [
            "",
            "Defect: x\n",
            "Defect: x\nChecker: eye\n",
            "Defect: x\nChecker: unit\n",
        ] {
            assert!(heading("x", bad).is_err(), "{bad:?}");
        }
    }
}
