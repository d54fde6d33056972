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
//! The checker is `unit`, `loom` or `shuttle` with arguments for `cargo test`. It must pass without
//! the patch; with it the tests must still build, and then fail within the time (`Seconds:` may be
//! left out: 120). A patch that no longer applies is as red as a defect that nobody noticed. All of
//! it happens in a copy of the checkout (`copy.rs`). Defects of one package and build follow one
//! another, so that little is built for each. The gate asks of all what is cheap (see
//! [`headings`]), and tries a dozen, others at each commit (`draw.rs`), so that one which nobody
//! notices any more is known within days.

mod draw;
mod names;

pub(crate) use draw::short;

use crate::copy::{Checker, Copy, Outcome, options_end};
use crate::shell::{self, Build};
use crate::table;
use anyhow::{Context, Result, anyhow, bail, ensure};
use names::Programs;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const SECONDS_DEFAULT: u64 = 120;
/// A checker that passes explores all there is, which takes longer than to fail.
const CLEAN: u32 = 5;
/// So many defects are tried at the same time.
const LANES: u32 = 2;

/// One patch, its heading read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Defect {
    name: String,
    sentence: String,
    checker: Checker,
    limit: Duration,
}

impl Defect {
    fn patch(&self) -> PathBuf {
        folder().join(format!("{}.patch", self.name))
    }
}

/// How the defects of a run went.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Such as were caught.
    pub(crate) caught: u64,
    /// Such as were not tried, because the time was up.
    pub(crate) left: u64,
    /// The others, each with the reason.
    pub(crate) red: Vec<String>,
}

impl Tally {
    fn join(&mut self, other: Tally) {
        self.caught += other.caught;
        self.left += other.left;
        self.red.extend(other.red);
    }
}

/// How many times a limit: limits are for a machine that does nothing else, and whoever else works
/// on it shows in its load.
fn patience() -> u32 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().and_then(|load| load.parse::<f64>().ok());
    LANES.max(load.unwrap_or_default().min(20.0).ceil() as u32)
}

fn folder() -> PathBuf {
    shell::root().join("verify/bugs")
}

/// Checks every defect whose name contains one of `names` (all, when there are none).
pub(crate) fn run(names: &[String]) -> Result<()> {
    let begin = Instant::now();
    let tally = until(names, None)?;
    let time = table::time(begin.elapsed());
    println!("\n{} defects caught in {time}", tally.caught);
    tally.red.iter().for_each(|red| println!("{red}"));
    ensure!(
        tally.red.is_empty(),
        "{} defects were not caught",
        tally.red.len()
    );
    Ok(())
}

/// The same, as far as the time goes. One line says how each defect went.
pub(crate) fn until(names: &[String], end: Option<Instant>) -> Result<Tally> {
    let defects = read(&folder(), names)?;
    ensure!(!defects.is_empty(), "no defect of that name in verify/bugs/");
    lanes(defects, true, end)
}

/// Tries defects in two lanes, side by side: those that tests catch, and those that models catch.
/// Whether the checkers pass without them is asked before, where `clean` is said.
fn lanes(mut defects: Vec<Defect>, clean: bool, end: Option<Instant>) -> Result<Tally> {
    // Those of one package and build together.
    defects.sort_by(|a, b| (&a.checker, &a.name).cmp(&(&b.checker, &b.name)));
    let of_tests = |defect: &Defect| defect.checker.build == Build::Plain;
    let (tests, models): (Vec<Defect>, Vec<Defect>) = defects.into_iter().partition(of_tests);
    let (mut tally, other) = std::thread::scope(|scope| {
        let models = scope.spawn(|| lane(&models, clean, end));
        let tests = lane(&tests, clean, end);
        let models = models
            .join()
            .unwrap_or_else(|_| Err(anyhow!("the lane of models panicked")));
        Ok::<_, anyhow::Error>((tests?, models?))
    })?;
    tally.join(other);
    Ok(tally)
}

/// The defects of a lane, one after the other.
fn lane(defects: &[Defect], clean: bool, end: Option<Instant>) -> Result<Tally> {
    let mut tally = Tally::default();
    for of_build in defects.chunk_by(|a, b| a.checker.build == b.checker.build) {
        let copy = Copy::new(of_build[0].checker.build)?;
        let known = if clean {
            without(&copy, of_build, end)
        } else {
            BTreeMap::new()
        };
        tally.join(each(&copy, of_build, &known, end)?);
        // What is built next in this target directory is not to find a defect.
        copy.refresh()?;
    }
    Ok(tally)
}

/// Tries each defect whose checker is not known to fail without it.
fn each(
    copy: &Copy,
    defects: &[Defect],
    clean: &BTreeMap<Checker, Result<(), String>>,
    end: Option<Instant>,
) -> Result<Tally> {
    let mut tally = Tally::default();
    for (n, defect) in defects.iter().enumerate() {
        if end.is_some_and(|end| Instant::now() >= end) {
            tally.left = (defects.len() - n) as u64;
            break;
        }
        let begin = Instant::now();
        let verdict = match clean.get(&defect.checker) {
            Some(Err(why)) => Err(anyhow!("{why}")),
            _ => check(copy, defect),
        };
        let word = match &verdict {
            Ok(()) => "caught".to_owned(),
            Err(error) => format!("NOT CAUGHT: {error:#}"),
        };
        let (name, time) = (&defect.name, table::time(begin.elapsed()));
        println!("{:>3}/{}  {name}: {word}, {time}", n + 1, defects.len());
        match verdict {
            Ok(()) => tally.caught += 1,
            Err(error) => tally.red.push(format!("{name} ({}): {error:#}", defect.sentence)),
        }
    }
    Ok(tally)
}

/// Whether each checker passes without any defect. All of them first: so each build is made once.
fn without(copy: &Copy, defects: &[Defect], end: Option<Instant>) -> BTreeMap<Checker, Result<(), String>> {
    let mut clean = BTreeMap::new();
    for defect in defects {
        let late = end.is_some_and(|end| Instant::now() >= end);
        if late || clean.contains_key(&defect.checker) {
            continue;
        }
        let checker = &defect.checker;
        let outcome = copy
            .build(checker)
            .and_then(|()| copy.test(checker, defect.limit * patience() * CLEAN));
        let verdict = match outcome {
            Ok(Outcome::Passed) => Ok(()),
            Ok(Outcome::Failed(test)) => Err(format!("its checker fails without the defect: {test}")),
            Ok(Outcome::TimedOut) => Err("its checker takes too long without the defect".to_owned()),
            Err(error) => Err(format!("{error:#}")),
        };
        let word = verdict.clone().err().unwrap_or_else(|| "passes".to_owned());
        println!(
            "without defects: {:?} {}: {word}",
            checker.build,
            checker.args.join(" ")
        );
        clean.insert(checker.clone(), verdict);
    }
    clean
}

/// One defect.
fn check(copy: &Copy, defect: &Defect) -> Result<()> {
    let checker = &defect.checker;
    copy.refresh()?;
    copy.patch(&defect.patch())?;
    copy.build(checker)?;
    let limit = defect.limit * patience();
    match copy.test(checker, limit)? {
        Outcome::Failed(_) => Ok(()),
        Outcome::Passed => bail!("its checker passes"),
        Outcome::TimedOut => bail!("its checker did not end within {}", table::time(limit)),
    }
}

/// Every patch applies, every heading chooses tests that exist.
fn headings(defects: &[Defect]) -> Result<()> {
    let mut programs = Programs::default();
    for defect in defects {
        let mut git = shell::clean(Command::new("git"));
        git.args(["apply", "--check"]).arg(defect.patch());
        shell::read(git).context("a defect's patch does not apply any more")?;
        let (cargo, filter) = split(&defect.checker);
        let names = programs.tests(&cargo).with_context(|| defect.name.clone())?;
        let filter = filter.unwrap_or_default();
        ensure!(
            names.iter().any(|name| name.contains(&filter)),
            "{}: there is no test `{filter}`",
            defect.name
        );
    }
    println!("{} defects apply, and name tests that exist", defects.len());
    Ok(())
}

/// The words that choose packages and targets, and the one that chooses tests.
fn split(checker: &Checker) -> (Checker, Option<String>) {
    let mut cargo = Vec::new();
    let mut filter = None;
    let mut words = checker.args[..options_end(&checker.args)].iter();
    while let Some(word) = words.next() {
        if !word.starts_with('-') {
            filter = Some(word.clone());
            continue;
        }
        cargo.push(word.clone());
        if ["-p", "--test"].contains(&word.as_str()) {
            cargo.extend(words.next().cloned());
        }
    }
    let cargo = Checker {
        build: checker.build,
        args: cargo,
    };
    (cargo, filter)
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
        checker: Checker { build, args },
        limit: Duration::from_secs(seconds),
    })
}

#[cfg(test)]
mod tests {
    //! Goal: the heading of a patch is read, and a bad one refused; the table of scenarios tells
    //! the truth. Method: by example; the table against the folder.
    use super::*;

    #[test]
    fn a_heading_says_what_and_who() {
        let text = "Defect: forgets.\nChecker: loom -p memfold-mm lru -- --exact\n\n--- a/x\n+++ b/x\n";
        let defect = heading("R31-x", text).unwrap();
        assert_eq!(
            (defect.checker.build, defect.limit),
            (Build::Loom, Duration::from_secs(120))
        );
        let (cargo, filter) = split(&defect.checker);
        assert_eq!(
            (cargo.args, filter),
            (vec!["-p".into(), "memfold-mm".into()], Some("lru".into()))
        );
        for bad in [
            "",
            "Defect: x\n",
            "Defect: x\nChecker: eye\n",
            "Defect: x\nChecker: unit\n",
        ] {
            assert!(heading("x", bad).is_err(), "{bad:?}");
        }
    }

    /// The cells of the table's rows.
    fn rows(readme: &str) -> Vec<Vec<String>> {
        let rows = readme.lines().filter(|line| line.starts_with("| R"));
        rows.map(|line| {
            line.trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().to_owned())
                .collect()
        })
        .collect()
    }

    /// What stands between backticks.
    fn quoted(text: &str) -> impl Iterator<Item = &str> {
        text.split('`').skip(1).step_by(2)
    }

    #[test]
    fn every_scenario_has_a_defect_or_a_reason() {
        let readme = fs::read_to_string(folder().join("README.md")).unwrap();
        let rows = rows(&readme);
        for n in 1..=58 {
            let name = format!("R{n:02}");
            let row = rows.get(n - 1).unwrap_or_else(|| panic!("{name} is missing"));
            assert_eq!((row.len(), &row[0]), (4, &name));
            let defects = quoted(&row[2]).count();
            assert!(
                (defects > 0) == row[3].is_empty(),
                "{name}: defects, or a reason why there are none"
            );
        }
        assert_eq!(rows.len(), 58);
    }

    #[test]
    fn the_table_and_the_folder_name_the_same_defects() {
        let readme = fs::read_to_string(folder().join("README.md")).unwrap();
        let defects = read(&folder(), &[]).unwrap();
        for defect in &defects {
            let quoted = quoted(&readme).any(|name| name == defect.name);
            assert!(quoted, "{} is not in the table", defect.name);
        }
        let rows = rows(&readme);
        for name in rows.iter().flat_map(|row| quoted(&row[2])) {
            assert!(
                defects.iter().any(|defect| defect.name == name),
                "there is no {name}.patch"
            );
        }
    }
}
