//! `cargo xtask weaken`: each ordering of the core that is not relaxed is made weaker, and a race
//! model must fail.
//!
//! An ordering is found by the words of the code (`tidy/atomics.rs`). `Acquire` and `Release`
//! become `Relaxed`; `AcqRel` becomes that and each of its halves, for a half that nobody needs is
//! an ordering too strong. The models of the module run first, then all. What no model notices
//! needs a line beside it: `// No model: why`; and such a line where a model does notice is as red.
//! Fences are left alone: without one the code would have to be another. It happens in a copy of
//! the checkout (`copy.rs`).

use crate::copy::{Checker, Copy, Outcome};
use crate::shell::{self, Build};
use crate::table;
use crate::tidy::atomics::{self, Strong};
use crate::tidy::source::Source;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::time::{Duration, Instant};

/// Where orderings are the core's.
const ROOMS: [&str; 2] = ["crates/mm/src/", "crates/sync/src/"];
/// What all models together may take.
const LIMIT: Duration = Duration::from_secs(900);

/// What the command line says.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// End after so many seconds, and say how many were not tried
    #[arg(long)]
    seconds: Option<u64>,
    /// Only files whose path contains one of these (default: all)
    files: Vec<String>,
}

/// One ordering, made weaker.
#[derive(Clone, Debug)]
struct Weakening {
    file: String,
    at: Strong,
    to: &'static str,
}

/// Weakens the orderings, one after the other.
pub(crate) fn run(options: &Options) -> Result<()> {
    let all = weakenings(&options.files)?;
    ensure!(!all.is_empty(), "no ordering to weaken in such a file");
    let end = options
        .seconds
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let copy = Copy::new(Build::Loom)?;
    let models = models("", &all[0].file);
    copy.build(&models)?;
    ensure!(
        copy.test(&models, LIMIT)? == Outcome::Passed,
        "the models fail as it is"
    );
    let (mut red, mut left) = (0, 0);
    for (n, weakening) in (1..).zip(&all) {
        if end.is_some_and(|end| Instant::now() >= end) {
            left += 1;
            continue;
        }
        let begin = Instant::now();
        let Weakening { file, at, to } = weakening;
        let verdict = judge(try_one(&copy, weakening)?, at.no_model.as_deref());
        red += usize::from(verdict.starts_with("RED"));
        let place = format!("{file}:{} {} -> {to}", at.line + 1, at.ordering);
        println!(
            "{n:>3}/{}  {place}: {verdict}, {}",
            all.len(),
            table::time(begin.elapsed())
        );
    }
    copy.refresh()?;
    if left > 0 {
        println!("campaign: not_tried={left}");
    }
    ensure!(red == 0, "{red} orderings that nothing tests");
    Ok(())
}

fn weakenings(files: &[String]) -> Result<Vec<Weakening>> {
    let mut all = Vec::new();
    for file in shell::files(&ROOMS)? {
        let is_named = files.is_empty() || files.iter().any(|part| file.contains(part.as_str()));
        if is_named && file.ends_with(".rs") {
            let source = Source::new(&file, &fs::read_to_string(shell::root().join(&file))?);
            all.extend(
                Some(source)
                    .filter(|source| !source.is_test())
                    .iter()
                    .flat_map(of_file),
            );
        }
    }
    Ok(all)
}

fn of_file(source: &Source) -> Vec<Weakening> {
    let mut found = Vec::new();
    for at in atomics::strong(source) {
        let weaker: &[_] = match at.ordering.as_str() {
            "AcqRel" => &["Relaxed", "Acquire", "Release"],
            "SeqCst" => &[],
            _ => &["Relaxed"],
        };
        for to in weaker {
            let (file, at) = (source.file.clone(), at.clone());
            found.push(Weakening { file, at, to });
        }
    }
    found
}

fn try_one(copy: &Copy, weakening: &Weakening) -> Result<Outcome> {
    let text = fs::read_to_string(shell::root().join(&weakening.file))?;
    copy.refresh()?;
    copy.write(&weakening.file, &weakened(&text, weakening)?)?;
    let own = models(&module(&weakening.file), &weakening.file);
    copy.build(&own)?;
    match copy.test(&own, LIMIT)? {
        Outcome::Passed => copy.test(&models("", &weakening.file), LIMIT),
        outcome => Ok(outcome),
    }
}

/// What is said of an ordering, whose line may say why no model sees it.
fn judge(outcome: Outcome, no_model: Option<&str>) -> String {
    match (outcome, no_model) {
        (Outcome::Failed(model), None) => format!("caught by {model}"),
        (Outcome::Passed, Some(why)) => format!("no model: {why}"),
        (Outcome::Passed, None) => "RED: no model sees it".to_owned(),
        (Outcome::Failed(model), Some(_)) => format!("RED: `No model:` stands there, but {model} sees it"),
        (Outcome::TimedOut, _) => format!("RED: no end within {}", table::time(LIMIT)),
    }
}

/// The text with the one ordering replaced.
fn weakened(text: &str, weakening: &Weakening) -> Result<String> {
    let Weakening { at, to, .. } = weakening;
    let begin = text
        .split_inclusive('\n')
        .take(at.line)
        .map(str::len)
        .sum::<usize>()
        + at.column;
    let rest = text.get(begin..).and_then(|rest| rest.strip_prefix(&at.ordering));
    let rest = rest.with_context(|| format!("`{}` does not stand where it was found", at.ordering))?;
    Ok([&text[..begin], *to, rest].concat())
}

/// The path of a file's module: what its models' names begin with.
fn module(file: &str) -> String {
    let path = file.split_once("/src/").map_or(file, |(_, path)| path);
    match path.trim_end_matches(".rs").trim_end_matches("/mod") {
        "lib" => String::new(),
        path => format!("{}::", path.replace('/', "::")),
    }
}

/// The models of a module: of the file's package and of the one that stands on it.
fn models(module: &str, file: &str) -> Checker {
    let mut args = vec!["-p", "memfold-mm", "--lib"];
    if file.starts_with("crates/sync/") {
        args.extend(["-p", "memfold-sync"]);
    }
    args.extend(Some(module).filter(|module| !module.is_empty()));
    let args = args.into_iter().map(str::to_owned).collect();
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

    const TEXT: &str = "/// é.\né(\"é\"); a.swap(1, Ordering::AcqRel, Ordering::Relaxed); // x\na.load(Ordering::Acquire); // y\n";

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
        let (why, failed) = (Some("a lock does it"), || Outcome::Failed("m".into()));
        for (outcome, why, verdict) in [
            (Outcome::Passed, None, "RED"),
            (failed(), why, "RED"),
            (Outcome::TimedOut, why, "RED"),
            (Outcome::Passed, why, "no model: a lock does it"),
            (failed(), None, "caught by m"),
        ] {
            assert!(judge(outcome, why).starts_with(verdict), "{verdict}");
        }
    }

    #[test]
    fn a_file_names_its_models() {
        assert_eq!(module("crates/mm/src/frame/count.rs"), "frame::count::");
        assert_eq!(module("crates/mm/src/table/mod.rs"), "table::");
    }
}
