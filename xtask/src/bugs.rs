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
//! built for each. The gate asks of all what is cheap ([`headings`]), and tries a dozen, others at
//! each commit, so that one which nobody notices any more is known within days.

use crate::copy::{Checker, Copy, Outcome};
use crate::shell::{self, Build};
use crate::{gate, table};
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const SECONDS_DEFAULT: u64 = 120;
/// A checker that passes explores all there is, which takes longer than to fail.
const CLEAN: u32 = 5;
/// So many defects are tried at the same time.
const LANES: u32 = 2;
/// How many of each build the short form tries, by what a try costs: one that the manager's own
/// tests catch takes seconds, one that a model catches needs another build of everything.
const SHARES: [(Build, usize); 3] = [(Build::Plain, 8), (Build::Loom, 3), (Build::Shuttle, 1)];

/// What the command line says.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Step: whether every patch applies and names tests that exist; of all, only a dozen are
    /// tried, drawn by the commit
    #[arg(long)]
    short: bool,
    /// End after so many seconds, and say how many were not tried
    #[arg(long)]
    seconds: Option<u64>,
    /// Only defects whose file name contains one of these
    names: Vec<String>,
}

/// One patch, its heading read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Defect {
    name: String,
    sentence: String,
    checker: Checker,
    limit: Duration,
}

/// Tries every defect whose name contains one of the words (all, when there are none).
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.short {
        return gate::one("bugs --short", &[]);
    }
    let defects = read(&options.names)?;
    ensure!(!defects.is_empty(), "no defect of that name in verify/bugs/");
    let seconds = options.seconds.map(Duration::from_secs);
    let end = seconds.map(|seconds| Instant::now() + seconds);
    lanes(defects, true, end)
}

/// The short form, for the gate: all headings, and a dozen defects tried, drawn by the commit. That
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

/// The defects to try at a commit: each has a number by the commit's name and its own, and those
/// with the least are tried; so a defect's chances do not depend on what others there are.
fn by_commit(commit: &str, defects: &[Defect]) -> Vec<Defect> {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let drawn = |&(build, share): &(Build, usize)| {
        let mut of_build: Vec<&Defect> = defects.iter().filter(|d| d.checker.build == build).collect();
        of_build.sort_by_key(|defect| hasher.hash_one((commit, &defect.name)));
        of_build.into_iter().take(share).cloned().collect::<Vec<_>>()
    };
    SHARES.iter().flat_map(drawn).collect()
}

/// Tries defects in two lanes, side by side: those that tests catch, and those that models catch.
/// Whether the checkers pass without them is asked before, where `clean` is said.
fn lanes(mut defects: Vec<Defect>, clean: bool, end: Option<Instant>) -> Result<()> {
    let begin = Instant::now();
    // Those of one package and build together.
    defects.sort_by(|a, b| (&a.checker, &a.name).cmp(&(&b.checker, &b.name)));
    let all = defects.len();
    let of_tests = |defect: &Defect| defect.checker.build == Build::Plain;
    let (tests, models): (Vec<Defect>, Vec<Defect>) = defects.into_iter().partition(of_tests);
    let (mut red, left) = std::thread::scope(|scope| {
        let models = scope.spawn(|| lane(&models, clean, end));
        let (mut red, left) = lane(&tests, clean, end)?;
        let models = models
            .join()
            .unwrap_or_else(|_| Err(anyhow!("the lane of models panicked")))?;
        red.extend(models.0);
        Ok::<_, anyhow::Error>((red, left + models.1))
    })?;
    let caught = all - red.len() - left;
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
    for of_build in defects.chunk_by(|a, b| a.checker.build == b.checker.build) {
        let copy = Copy::new(of_build[0].checker.build)?;
        // All checkers first: so each build is made once.
        let mut broken = BTreeMap::new();
        for defect in of_build.iter().filter(|_| clean) {
            if !late() && !broken.contains_key(&defect.checker) {
                broken.insert(&defect.checker, without(&copy, defect).err());
            }
        }
        for (n, defect) in (1..).zip(of_build) {
            if late() {
                left += 1;
                continue;
            }
            let begin = Instant::now();
            let verdict = match broken.get(&defect.checker) {
                Some(Some(why)) => Err(anyhow!("{why:#}")),
                _ => check(&copy, defect),
            };
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
fn without(copy: &Copy, defect: &Defect) -> Result<()> {
    copy.build(&defect.checker)?;
    let outcome = copy.test(&defect.checker, defect.limit * patience() * CLEAN)?;
    let Checker { build, args } = &defect.checker;
    println!("without defects: {build:?} {}: {outcome:?}", args.join(" "));
    ensure!(
        outcome == Outcome::Passed,
        "without the defect, its checker: {outcome:?}"
    );
    Ok(())
}

/// One defect.
fn check(copy: &Copy, defect: &Defect) -> Result<()> {
    copy.refresh()?;
    copy.patch(&patch(defect))?;
    copy.build(&defect.checker)?;
    let limit = defect.limit * patience();
    match copy.test(&defect.checker, limit)? {
        Outcome::Failed(_) => Ok(()),
        Outcome::Passed => bail!("its checker passes"),
        Outcome::TimedOut => bail!("its checker did not end within {}", table::time(limit)),
    }
}

fn folder() -> PathBuf {
    shell::root().join("verify/bugs")
}

fn patch(defect: &Defect) -> PathBuf {
    folder().join(format!("{}.patch", defect.name))
}

fn read(names: &[String]) -> Result<Vec<Defect>> {
    let mut defects = Vec::new();
    for entry in fs::read_dir(folder()).context("this checkout has no defects (verify/bugs/)")? {
        let file = entry?.file_name().to_string_lossy().into_owned();
        let Some(name) = file.strip_suffix(".patch") else {
            continue;
        };
        if names.is_empty() || names.iter().any(|part| name.contains(part.as_str())) {
            let text = fs::read_to_string(folder().join(&file))?;
            defects.push(heading(name, &text).with_context(|| format!("verify/bugs/{file}"))?);
        }
    }
    Ok(defects)
}

/// Every patch applies; and what chooses tests, module by module, is found where those tests are.
/// (That it chooses one is known when the defect is tried: a run without tests passes.)
fn headings(defects: &[Defect]) -> Result<()> {
    for defect in defects {
        let mut git = shell::command("git apply --check");
        git.arg(patch(defect));
        shell::read(git).context("a defect's patch does not apply any more")?;
        let (place, filter) = place_and_filter(&defect.checker);
        let files = shell::files(&[&place, &format!("{place}.rs")])?;
        let texts = files
            .iter()
            .filter_map(|file| fs::read_to_string(shell::root().join(file)).ok());
        let text: String = texts.chain(files.clone()).collect();
        let exists = !text.is_empty() && filter.split("::").all(|name| text.contains(name));
        ensure!(exists, "{}: there is no test `{filter}` in {place}", defect.name);
    }
    println!("{} defects apply, and name tests that exist", defects.len());
    Ok(())
}

/// Where a checker's tests are, and the word that chooses among them.
fn place_and_filter(checker: &Checker) -> (String, String) {
    let words: Vec<&str> = checker.split().0.iter().map(String::as_str).collect();
    let folder = |package: &str| match package.trim_start_matches("memfold-") {
        "verify" => "verify".to_owned(),
        name => format!("crates/{name}"),
    };
    let (place, rest) = match words[..] {
        ["-p", package, "--test", program, ref rest @ ..] => {
            (format!("{}/tests/{program}", folder(package)), rest)
        }
        ["-p", package, "--lib", ref rest @ ..] => (format!("{}/src", folder(package)), rest),
        _ => Default::default(),
    };
    (place, rest.first().copied().unwrap_or_default().to_owned())
}

/// Reads what stands above the patch.
fn heading(name: &str, text: &str) -> Result<Defect> {
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
    //! the truth; a commit draws the same dozen each time, and a month's commits draw every defect
    //! there is. Method: by example; the table against the folder; 200 made-up commits.
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_heading_says_what_and_who() {
        let text = "Defect: forgets.\nChecker: loom -p memfold-mm --lib lru -- --exact\n\n--- a/x\n+++ b/x\n";
        let defect = heading("R31-x", text).unwrap();
        assert_eq!((defect.checker.build, defect.limit.as_secs()), (Build::Loom, 120));
        let (place, filter) = place_and_filter(&defect.checker);
        assert_eq!((place.as_str(), filter.as_str()), ("crates/mm/src", "lru"));
        for bad in [
            "",
            "Defect: x\n",
            "Defect: x\nChecker: eye x\n",
            "Defect: x\nChecker: unit\n",
        ] {
            assert!(heading("x", bad).is_err(), "{bad:?}");
        }
        let gone = Checker {
            args: ["-p", "memfold-mm", "--lib", "lru::nobody_has_this"]
                .map(str::to_owned)
                .to_vec(),
            ..defect.checker
        };
        let mut known = read(&["R01-split".to_owned()]).unwrap();
        assert!(headings(&known).is_ok());
        known[0].checker = gone;
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
        let rows: Vec<Vec<&str>> = rows
            .map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
            .collect();
        assert_eq!(rows.len(), 58);
        for (n, row) in (1..).zip(&rows) {
            assert_eq!((row.len(), row[0]), (4, format!("R{n:02}").as_str()));
            let of_row = quoted(row[2]);
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
        for commit in 0..200 {
            let commit = format!("{commit:040x}");
            let drawn = by_commit(&commit, &defects);
            assert_eq!(drawn, by_commit(&commit, &defects));
            assert!((11..=12).contains(&drawn.len()), "{drawn:?}");
            seen.extend(drawn.into_iter().map(|defect| defect.name));
        }
        let missing: Vec<_> = defects
            .iter()
            .filter(|defect| !seen.contains(&defect.name))
            .collect();
        assert!(missing.is_empty(), "never drawn: {missing:?}");
    }
}
