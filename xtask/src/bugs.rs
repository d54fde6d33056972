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
//! The checker is `unit`, `loom` or `shuttle` with arguments for `cargo test`: a package, `--lib`
//! or a test program, and the tests' names. It must pass without the patch; with it the tests must
//! still build, and then fail within the time (`Seconds:` may be left out: 120). A patch that no
//! longer applies is as red as a defect that nobody noticed. All of it happens in a copy of the
//! checkout (`copy.rs`). Defects of one package and build follow one another, so that little is
//! built for each. The gate asks of all what is cheap ([`headings`]), and tries eight, others at
//! each commit, so that one which nobody notices any more is known within days.

use crate::copy::{Checker, Copy, Outcome};
use crate::shell::{self, Build};
use crate::table;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SECONDS_DEFAULT: u64 = 120;
/// A checker that passes explores all there is, which takes longer than to fail.
const CLEAN: u32 = 5;
/// So many defects are tried at the same time.
const LANES: u32 = 2;
/// How many the short form tries: of those that tests catch, and of those that models catch.
const SHARES: [(bool, usize); 2] = [(true, 5), (false, 3)];
/// At most so many of them, one after the other, have their tests in one program: the first of a
/// program takes minutes to build, another of the same takes seconds.
const OF_A_PROGRAM: usize = 4;

/// What the command line says.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The step `defects`: whether every patch applies and names tests that exist; of all, only
    /// eight are tried, drawn by the commit
    #[arg(long)]
    short: bool,
    /// End after so many seconds, and say how many were not tried
    #[arg(long)]
    seconds: Option<u64>,
    /// Only defects whose file name contains one of these
    names: Vec<String>,
}

/// A mistake, and who is to notice it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Defect {
    pub(crate) name: String,
    pub(crate) sentence: String,
    pub(crate) change: Change,
    /// One of these must fail. They are asked in this order; the last has all that the others have.
    pub(crate) checkers: Vec<Checker>,
    pub(crate) limit: Duration,
}

impl Defect {
    /// Whether a test catches it, and no model.
    fn is_of_tests(&self) -> bool {
        self.checkers[0].build == Build::Plain
    }

    /// What is built for it: build, package, and test program.
    fn program(&self) -> (Build, &[String]) {
        let Checker { build, args } = &self.checkers[0];
        let is_named = args.get(2).is_some_and(|word| word == "--test");
        (*build, &args[..args.len().min(if is_named { 4 } else { 3 })])
    }
}

/// How a mistake comes into the copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// By a patch of `verify/bugs/`.
    Patch(PathBuf),
    /// By another text of a file.
    Text(String, String),
}

/// Tries every defect whose name contains one of the words (all, when there are none).
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.short {
        return short();
    }
    let defects = read(&options.names)?;
    ensure!(!defects.is_empty(), "no defect of that name in verify/bugs/");
    lanes(defects, true, options.seconds)
}

/// The short form, for the gate: all headings, and eight defects tried, drawn by the commit. That
/// their checkers pass without them is what the steps before this one have just found out.
pub(crate) fn short() -> Result<()> {
    let defects = read(&[])?;
    headings(&defects)?;
    let commit =
        shell::read(shell::command("git rev-parse HEAD")).context("the commit draws the defects to try")?;
    let drawn = by_commit(commit.trim(), &defects);
    println!("{} are tried, drawn by commit {}", drawn.len(), commit.trim());
    lanes(drawn, false, None)
}

/// The defects to try at a commit: each has a number by the commit's name and its own; from the
/// least on, each brings others of its program with it. So every defect comes up.
fn by_commit(commit: &str, defects: &[Defect]) -> Vec<Defect> {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let mut order: Vec<&Defect> = defects.iter().collect();
    order.sort_by_key(|defect| hasher.hash_one((commit, &defect.name)));
    let mut all = Vec::new();
    for (of_tests, share) in SHARES {
        let (mut drawn, mut programs) = (Vec::new(), BTreeSet::new());
        for first in order.iter().filter(|defect| defect.is_of_tests() == of_tests) {
            if programs.insert(first.program()) {
                let same = order.iter().filter(|defect| defect.program() == first.program());
                drawn.extend(same.take(OF_A_PROGRAM).map(|&defect| defect.clone()));
            }
        }
        drawn.truncate(share);
        all.extend(drawn);
    }
    all
}

/// Tries defects in two lanes, side by side: those that tests catch, and those that models catch.
/// Whether the checkers pass without them is asked before, where `clean` is said.
pub(crate) fn lanes(mut defects: Vec<Defect>, clean: bool, seconds: Option<u64>) -> Result<()> {
    let begin = Instant::now();
    let end = seconds.map(|seconds| begin + Duration::from_secs(seconds));
    // Those of one package and build together.
    defects.sort_by(|a, b| (&a.checkers, &a.name).cmp(&(&b.checkers, &b.name)));
    let all = defects.len();
    let (tests, models): (Vec<Defect>, Vec<Defect>) = defects.into_iter().partition(Defect::is_of_tests);
    let (mut red, left) = std::thread::scope(|scope| {
        let models = scope.spawn(|| lane(&models, clean, end));
        let (mut red, left) = lane(&tests, clean, end)?;
        let models = models.join();
        let models = models.unwrap_or_else(|_| bail!("the lane of models panicked"))?;
        red.extend(models.0);
        Ok::<_, anyhow::Error>((red, left + models.1))
    })?;
    let caught = (all - left).saturating_sub(red.len());
    println!("{caught} defects caught in {}", table::time(begin.elapsed()));
    if left > 0 {
        println!("campaign: not_tried={left}");
    }
    red.push("(alone: cargo xtask bugs NAME)".to_owned());
    ensure!(red.len() == 1, "not caught:\n{}", red.join("\n"));
    Ok(())
}

/// The defects of a lane, one after the other: what to say of those that were not caught, and how
/// many were not tried because the time was up.
fn lane(defects: &[Defect], clean: bool, end: Option<Instant>) -> Result<(Vec<String>, usize)> {
    let late = || end.is_some_and(|end| Instant::now() >= end);
    let (mut red, mut left) = (Vec::new(), 0);
    for of_build in defects.chunk_by(|a, b| a.checkers[0].build == b.checkers[0].build) {
        let copy = Copy::new(of_build[0].checkers[0].build)?;
        // All checkers first: so each build is made once.
        let checkers = of_build.iter().filter_map(|defect| defect.checkers.last());
        for checker in checkers.filter(|_| clean).collect::<BTreeSet<_>>() {
            let ended = (!late()).then(|| without(&copy, checker, of_build[0].limit));
            red.extend(ended.and_then(Result::err).map(|why| format!("{why:#}")));
        }
        for (n, defect) in (1..).zip(of_build) {
            if late() {
                left += 1;
                continue;
            }
            let begin = Instant::now();
            let verdict = check(&copy, defect);
            let word = match &verdict {
                Ok(()) => "caught".to_owned(),
                Err(why) => format!("NOT CAUGHT: {why:#}"),
            };
            let (name, all, time) = (&defect.name, of_build.len(), table::time(begin.elapsed()));
            println!("{n:>3}/{all}  {name}: {word}, {time}");
            let say = |why| format!("{name} ({}): {why:#}", defect.sentence);
            red.extend(verdict.err().map(say));
        }
        // What is built next in this target directory is not to find a defect.
        copy.refresh()?;
    }
    Ok((red, left))
}

/// How many times a limit: limits are for a machine that does nothing else, and whoever else works
/// on it shows in its load.
fn patience() -> u32 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().and_then(|load| load.parse::<f64>().ok());
    LANES.max(load.unwrap_or_default().min(20.0).ceil() as u32)
}

/// Whether a checker passes without any defect.
fn without(copy: &Copy, checker: &Checker, limit: Duration) -> Result<()> {
    copy.build(checker)?;
    let outcome = copy.test(checker, limit * patience() * CLEAN)?;
    let Checker { build, args } = checker;
    let said = format!("without defects: {build:?} {}: {outcome:?}", args.join(" "));
    println!("{said}");
    ensure!(outcome == Outcome::Passed, said);
    Ok(())
}

/// One defect.
fn check(copy: &Copy, defect: &Defect) -> Result<()> {
    copy.refresh()?;
    match &defect.change {
        Change::Patch(patch) => copy.patch(patch)?,
        Change::Text(file, text) => copy.write(file, text)?,
    }
    let limit = defect.limit * patience();
    for checker in &defect.checkers {
        copy.build(checker)?;
        match copy.test(checker, limit)? {
            Outcome::Failed => return Ok(()),
            Outcome::Passed => {}
            Outcome::TimedOut => bail!("its checker did not end within {}", table::time(limit)),
        }
    }
    bail!("its checker passes")
}

fn folder() -> PathBuf {
    shell::root().join("verify/bugs")
}

fn read(names: &[String]) -> Result<Vec<Defect>> {
    let mut defects = Vec::new();
    for entry in fs::read_dir(folder()).context("this checkout has no defects (verify/bugs/)")? {
        let path = entry?.path();
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let is_named = names.is_empty() || names.iter().any(|part| name.contains(part.as_str()));
        if is_named && path.extension().is_some_and(|end| end == "patch") {
            let text = fs::read_to_string(&path)?;
            defects.push(heading(&path, &text).with_context(|| format!("verify/bugs/{name}.patch"))?);
        }
    }
    Ok(defects)
}

/// Every patch applies, and what chooses tests is a name that stands in some file or is a file's.
/// (That it chooses one is known when the defect is tried: a run without tests passes.)
fn headings(defects: &[Defect]) -> Result<()> {
    let files = shell::files(&["*.rs"])?;
    let texts = files
        .iter()
        .map(|file| fs::read_to_string(shell::root().join(file)));
    let text: String = texts
        .map(Result::unwrap_or_default)
        .chain(files.clone())
        .collect();
    for Defect {
        name,
        change,
        checkers,
        ..
    } in defects
    {
        if let Change::Patch(patch) = change {
            let git = shell::command(&format!("git apply --check {}", patch.display()));
            shell::read(git).context("a defect's patch does not apply any more")?;
        }
        // Package, and `--lib` or `--test` with a program's name, stand before it.
        let args = checkers[0].args.iter().take_while(|word| *word != "--");
        let filter = args.last().map(String::as_str).unwrap_or_default();
        let exists = filter
            .split("::")
            .all(|part| text.contains(part.trim_start_matches("--")));
        ensure!(exists, "{name}: there is no test `{filter}`");
    }
    println!("{} defects apply, and name tests that exist", defects.len());
    Ok(())
}

/// Reads what stands above the patch.
fn heading(path: &Path, text: &str) -> Result<Defect> {
    let head = text.split("\n---").next().unwrap_or_default();
    let field = |field: &str| Some(head.lines().find_map(|line| line.strip_prefix(field))?.trim());
    let sentence = field("Defect:").context("has no line `Defect:`")?.to_owned();
    let words = field("Checker:").context("has no line `Checker:`")?;
    let (build, args) = words.split_once(' ').context("its checker has no arguments")?;
    let build = match build {
        "unit" => Build::Plain,
        "loom" => Build::Loom,
        "shuttle" => Build::Shuttle,
        other => bail!("its checker is {other}, not unit, loom or shuttle"),
    };
    let args = args.split_whitespace().map(str::to_owned).collect();
    let seconds = field("Seconds:").map_or(Ok(SECONDS_DEFAULT), str::parse);
    Ok(Defect {
        name: path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        sentence,
        change: Change::Patch(path.to_owned()),
        checkers: vec![Checker { build, args }],
        limit: Duration::from_secs(seconds.context("`Seconds:`")?),
    })
}

#[cfg(test)]
mod tests {
    //! Goal: the heading of a patch is read, and a bad one refused; the table of scenarios tells
    //! the truth; a commit draws the same ones each time, and a year's commits draw every defect
    //! there is. Method: by example; the table against the folder; 1,000 made-up commits.
    use super::*;

    #[test]
    fn a_heading_says_what_and_who() {
        let read_one = |text: &str| heading(Path::new("R31-x.patch"), text);
        let text = "Defect: forgets.\nChecker: loom -p memfold-mm --lib lru -- --exact\n\n--- a/x\n+++ b/x\n";
        let defect = read_one(text).unwrap();
        assert_eq!(
            (defect.checkers[0].build, defect.limit.as_secs()),
            (Build::Loom, 120)
        );
        for bad in [
            "",
            "Defect: x\n",
            "Defect: x\nChecker: eye x\n",
            "Defect: x\nChecker: unit\n",
        ] {
            assert!(read_one(bad).is_err(), "{bad:?}");
        }
        let mut known = read(&["R01-split".to_owned()]).unwrap();
        assert!(headings(&known).is_ok());
        let gone = ["nobody", "has", "this"].join("_");
        known[0].checkers[0].args = ["-p", "memfold-mm", "--lib", &gone].map(str::to_owned).to_vec();
        assert!(headings(&known).is_err(), "no test has that name");
    }

    #[test]
    fn the_table_and_the_folder_name_the_same_defects() {
        let quoted = |text: &str| -> BTreeSet<String> {
            text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        let readme = fs::read_to_string(folder().join("README.md")).unwrap();
        let names: BTreeSet<String> = read(&[]).unwrap().into_iter().map(|defect| defect.name).collect();
        assert_eq!(names.difference(&quoted(&readme)).count(), 0, "not in the table");
        let rows = readme.lines().filter(|line| line.starts_with("| R"));
        let cells = |row: &'_ str| {
            row.trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().to_owned())
                .collect()
        };
        let rows: Vec<Vec<String>> = rows.map(cells).collect();
        assert_eq!(rows.len(), 58);
        for (n, row) in (1..).zip(&rows) {
            assert_eq!((row.len(), &row[0]), (4, &format!("R{n:02}")));
            let of_row = quoted(&row[2]);
            assert!(
                of_row.is_empty() != row[3].is_empty(),
                "{row:?}: defects, or why there are none"
            );
            assert!(of_row.is_subset(&names), "{row:?}: there is no such patch");
        }
    }

    #[test]
    fn every_defect_comes_up() {
        let defects = read(&[]).unwrap();
        let mut seen = BTreeSet::new();
        for commit in 0..1000 {
            let commit = format!("{commit:040x}");
            let drawn = by_commit(&commit, &defects);
            assert_eq!(drawn, by_commit(&commit, &defects));
            assert_eq!(drawn.len(), 8, "{drawn:?}");
            let programs: BTreeSet<_> = drawn.iter().map(Defect::program).collect();
            assert!(programs.len() <= 8, "{programs:?}");
            seen.extend(drawn.into_iter().map(|defect| defect.name));
        }
        assert!(
            defects.iter().all(|defect| seen.contains(&defect.name)),
            "{seen:?}"
        );
    }
}
