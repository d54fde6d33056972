//! `cargo xtask weaken`: each ordering of the core that is not relaxed is made weaker, and a race
//! model must fail.
//!
//! An ordering is found by a scan of tokens (`tidy/atomics.rs`). `Acquire` and `Release` become
//! `Relaxed`; `AcqRel` becomes that and each of its halves, for a half that nobody needs is an
//! ordering too strong. The models of the module run first, then all. What no model notices needs a
//! line beside it: `// No model: why`; and such a line where a model does notice is as red. Fences
//! are left alone: without one the code would have to be another. It happens in a copy of the
//! checkout (`copy.rs`).

use crate::copy::{Checker, Copy, Outcome};
use crate::shell::{self, Build};
use crate::table;
use crate::tidy::atomics::{self, Strong};
use crate::tidy::scan::Source;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

/// Where orderings are the core's.
const ROOMS: [&str; 2] = ["crates/mm/src/", "crates/sync/src/"];
/// What all models together may take.
const LIMIT: Duration = Duration::from_secs(900);

/// One ordering, made weaker.
#[derive(Clone, Debug)]
struct Weakening {
    file: String,
    at: Strong,
    to: &'static str,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// By this model.
    Caught(String),
    /// No model sees it, and the code says why.
    Written(String),
    Red(String),
}

/// How the orderings of a run went.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Such as a model sees.
    pub(crate) caught: u64,
    /// Such as the code says that none sees.
    pub(crate) written: u64,
    /// Such as were not tried, because the time was up.
    pub(crate) left: u64,
    /// The others.
    pub(crate) red: Vec<String>,
}

/// Weakens the orderings of the files whose path contains one of `files` (all, when there are
/// none).
pub(crate) fn run(files: &[String]) -> Result<()> {
    let tally = until(files, None)?;
    println!("{} caught, {} with a written reason", tally.caught, tally.written);
    ensure!(
        tally.red.is_empty(),
        "{} orderings that nothing tests",
        tally.red.len()
    );
    Ok(())
}

/// The same, as far as the time goes.
pub(crate) fn until(files: &[String], end: Option<Instant>) -> Result<Tally> {
    let all = weakenings(files)?;
    ensure!(!all.is_empty(), "no ordering to weaken in such a file");
    let copy = Copy::new(Build::Loom)?;
    let models = models("", &all[0].file);
    copy.build(&models)?;
    ensure!(
        copy.test(&models, LIMIT)? == Outcome::Passed,
        "the models fail as it is"
    );
    let mut tally = Tally::default();
    let mut rows = vec![
        ["ordering", "made", "verdict", "time"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (n, weakening) in all.iter().enumerate() {
        if end.is_some_and(|end| Instant::now() >= end) {
            tally.left = (all.len() - n) as u64;
            break;
        }
        let begin = Instant::now();
        let verdict = try_one(&copy, weakening)?;
        let place = format!(
            "{}:{} {}",
            weakening.file,
            weakening.at.line + 1,
            weakening.at.ordering
        );
        let text = match &verdict {
            Verdict::Caught(model) => format!("caught by {model}"),
            Verdict::Written(why) => format!("no model: {why}"),
            Verdict::Red(why) => format!("RED: {why}"),
        };
        let time = table::time(begin.elapsed());
        println!(
            "{:>3}/{}  {place} -> {}: {text}, {time}",
            n + 1,
            all.len(),
            weakening.to
        );
        match verdict {
            Verdict::Caught(_) => tally.caught += 1,
            Verdict::Written(_) => tally.written += 1,
            Verdict::Red(_) => tally.red.push(format!("{place} -> {}: {text}", weakening.to)),
        }
        rows.push(vec![place, weakening.to.to_owned(), text, time]);
    }
    copy.refresh()?;
    print!("\n{}", table::render(&rows));
    Ok(tally)
}

fn weakenings(files: &[String]) -> Result<Vec<Weakening>> {
    let mut git = shell::clean(Command::new("git"));
    git.args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .args(ROOMS);
    let mut all = Vec::new();
    for file in shell::read(git)?.lines().filter(|file| file.ends_with(".rs")) {
        if !files.is_empty() && !files.iter().any(|part| file.contains(part.as_str())) {
            continue;
        }
        let source = Source::new(file, &fs::read_to_string(shell::root().join(file))?);
        if !source.is_test() {
            all.extend(of_file(&source));
        }
    }
    Ok(all)
}

fn of_file(source: &Source) -> Vec<Weakening> {
    let mut all = Vec::new();
    for at in atomics::strong(source) {
        let to: &[&str] = match at.ordering.as_str() {
            "AcqRel" => &["Relaxed", "Acquire", "Release"],
            "SeqCst" => &[],
            _ => &["Relaxed"],
        };
        all.extend(to.iter().map(|&to| Weakening {
            file: source.file.clone(),
            at: at.clone(),
            to,
        }));
    }
    all
}

fn try_one(copy: &Copy, weakening: &Weakening) -> Result<Verdict> {
    let text = fs::read_to_string(shell::root().join(&weakening.file))?;
    copy.refresh()?;
    copy.write(&weakening.file, &weakened(&text, weakening)?)?;
    let own = models(&module(&weakening.file), &weakening.file);
    copy.build(&own)?;
    let mut outcome = copy.test(&own, LIMIT)?;
    if outcome == Outcome::Passed {
        outcome = copy.test(&models("", &weakening.file), LIMIT)?;
    }
    Ok(judge(outcome, weakening.at.no_model.clone()))
}

fn judge(outcome: Outcome, no_model: Option<String>) -> Verdict {
    match (outcome, no_model) {
        (Outcome::Failed(model), None) => Verdict::Caught(model),
        (Outcome::Passed, Some(why)) => Verdict::Written(why),
        (Outcome::Passed, None) => Verdict::Red("no model sees it".to_owned()),
        (Outcome::Failed(model), Some(_)) => {
            Verdict::Red(format!("`No model:` stands there, but {model} sees it"))
        }
        (Outcome::TimedOut, _) => Verdict::Red(format!("no end within {}", table::time(LIMIT))),
    }
}

/// The text with the one ordering replaced.
fn weakened(text: &str, weakening: &Weakening) -> Result<String> {
    let Weakening { at, to, .. } = weakening;
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let line = lines.get_mut(at.line).context("the line is gone")?;
    let begin = line.char_indices().nth(at.column).map_or(line.len(), |(n, _)| n);
    match line[begin..].strip_prefix(&at.ordering) {
        Some(rest) => *line = format!("{}{to}{rest}", &line[..begin]),
        None => bail!("`{}` does not stand where it was found", at.ordering),
    }
    Ok(lines.join("\n"))
}

/// The path of a file's module: what its models' names begin with.
fn module(file: &str) -> String {
    let path = file.split_once("/src/").map_or(file, |(_, path)| path);
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    match path {
        "lib" => String::new(),
        _ => format!("{}::", path.replace('/', "::")),
    }
}

/// The models of a module: of the file's package and of the one that stands on it.
fn models(module: &str, file: &str) -> Checker {
    let mut args = vec!["-p".to_owned(), "memfold-mm".to_owned(), "--lib".to_owned()];
    if file.starts_with("crates/sync/") {
        args.extend(["-p".to_owned(), "memfold-sync".to_owned()]);
    }
    if !module.is_empty() {
        args.push(module.to_owned());
    }
    Checker {
        build: Build::Loom,
        args,
    }
}

#[cfg(test)]
mod tests {
    //! Goal: one ordering is changed and no other; nothing passes that nothing tests. Method: by
    //! example.
    use super::*;

    const TEXT: &str = "/// é.\na.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed); // x\na.load(Ordering::Acquire); // y\n";

    #[test]
    fn each_ordering_is_weakened_alone() {
        let all = of_file(&Source::new("crates/mm/src/a.rs", TEXT));
        let texts: Vec<String> = all.iter().map(|one| weakened(TEXT, one).unwrap()).collect();
        let made: Vec<_> = all.iter().map(|one| (one.at.line, one.to)).collect();
        assert_eq!(
            made,
            [(1, "Relaxed"), (1, "Acquire"), (1, "Release"), (2, "Relaxed")]
        );
        assert!(texts[0].contains("Ordering::Relaxed, Ordering::Relaxed") && texts[0].contains("Acquire"));
        assert!(texts[3].contains("AcqRel") && !texts[3].contains("Acquire"));
    }

    #[test]
    fn what_nothing_tests_is_red_and_so_is_a_reason_that_is_none() {
        let why = Some("a lock does it".to_owned());
        assert!(matches!(judge(Outcome::Passed, None), Verdict::Red(_)));
        assert!(matches!(
            judge(Outcome::Failed("m".into()), why.clone()),
            Verdict::Red(_)
        ));
        assert!(matches!(judge(Outcome::TimedOut, why.clone()), Verdict::Red(_)));
        assert_eq!(
            judge(Outcome::Passed, why),
            Verdict::Written("a lock does it".into())
        );
        assert_eq!(
            judge(Outcome::Failed("m".into()), None),
            Verdict::Caught("m".into())
        );
    }

    #[test]
    fn a_file_names_its_models() {
        assert_eq!(module("crates/mm/src/frame/count.rs"), "frame::count::");
        assert_eq!(module("crates/mm/src/table/mod.rs"), "table::");
    }
}
