//! What the gate asks of every defect: its patch applies, and its heading names tests that exist.
//!
//! A package that is built by itself has other features of its libraries than in the gate's build
//! of all, and cargo would compile it again; so the gate's programs are asked which tests there
//! are, and not cargo.

use super::{Defect, SHARES, patch};
use crate::copy::Checker;
use crate::gate;
use crate::shell::{self, Build};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;

/// Every patch applies, every heading chooses tests that exist.
pub(super) fn check(defects: &[Defect]) -> Result<()> {
    let mut tests: BTreeMap<(Build, String), Vec<String>> = BTreeMap::new();
    for (build, _) in SHARES {
        let of_build = || defects.iter().filter(|defect| defect.checker.build == build);
        for (words, program) in programs(build)? {
            if of_build().any(|defect| program_and_filter(&defect.checker).0 == words) {
                let list = shell::command(&program);
                tests.insert((build, words), shell::tests(list)?);
            }
        }
    }
    for defect in defects {
        let mut git = shell::command("git apply --check");
        git.arg(patch(defect));
        shell::read(git).context("a defect's patch does not apply any more")?;
        let (program, filter) = program_and_filter(&defect.checker);
        let names = tests.get(&(defect.checker.build, program.clone()));
        let exists = names.is_some_and(|names| names.iter().any(|name| name.contains(&filter)));
        ensure!(
            exists,
            "{}: there is no test `{filter}` in `{program}`",
            defect.name
        );
    }
    println!("{} defects apply, and name tests that exist", defects.len());
    Ok(())
}

/// The words that choose a test program, and the one that chooses tests in it.
pub(super) fn program_and_filter(checker: &Checker) -> (String, String) {
    let words = checker.split().0;
    let program = if words.get(2).is_some_and(|word| word == "--test") {
        4
    } else {
        3
    };
    let (program, rest) = words.split_at(program.min(words.len()));
    (program.join(" "), rest.first().cloned().unwrap_or_default())
}

/// The test programs of a build, as the gate makes them, each with the words that choose it.
fn programs(build: Build) -> Result<Vec<(String, String)>> {
    let mut cargo = gate::tests(build, &[]);
    cargo.args(["--no-run", "--message-format=json"]);
    Ok(shell::read(cargo)?.lines().filter_map(program).collect())
}

/// One line of what cargo tells machines: a test program, or something else.
fn program(line: &str) -> Option<(String, String)> {
    let message: Value = serde_json::from_str(line).ok()?;
    // The name stands before the version, or is the folder's where it is the same.
    let (folder, rest) = message["package_id"].as_str()?.split_once('#')?;
    let package = rest
        .split_once('@')
        .map_or(folder.rsplit('/').next(), |(name, _)| Some(name))?;
    let target = &message["target"];
    let words = match target["kind"][0].as_str()? {
        "test" => format!("-p {package} --test {}", target["name"].as_str()?),
        kind => format!("-p {package} --{kind}"),
    };
    Some((words, message["executable"].as_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    //! Goal: what cargo says is understood. Method: by example.
    use super::*;

    #[test]
    fn a_message_names_a_program() {
        let line = r#"{"package_id":"path+file:///x/crates/mm#memfold-mm@0.1.0","target":{"kind":["lib"],"name":"memfold_mm"},"executable":"/x"}"#;
        assert_eq!(
            program(line),
            Some(("-p memfold-mm --lib".to_owned(), "/x".to_owned()))
        );
        let line = r#"{"package_id":"path+file:///x/memfold#0.1.0","target":{"kind":["test"],"name":"a"},"executable":"/x"}"#;
        assert_eq!(program(line).unwrap().0, "-p memfold --test a");
        let built = r#"{"package_id":"path+file:///x/verify#0.1.0","executable":null}"#;
        assert!(program(built).is_none(), "a library is no program");
    }
}
