//! Which tests there are, by the programs that the gate has built: nothing is built anew for a look
//! at a heading.
//!
//! A package that is built by itself has other features of its libraries than in the gate's build
//! of all, and cargo would compile it again; so the programs are asked, and not cargo.

use crate::copy::Checker;
use crate::gate;
use crate::shell::{self, Build};
use anyhow::Result;
use serde_json::Value;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::process::Command;

/// One test program.
#[derive(Debug)]
struct Program {
    /// The package's name.
    package: String,
    /// `lib`, `bin` or `test`.
    kind: String,
    /// The target's name.
    target: String,
    path: PathBuf,
}

/// The test programs of each build, as far as they were asked for, and the tests in them.
#[derive(Debug, Default)]
pub(super) struct Programs {
    built: BTreeMap<Build, Vec<Program>>,
    tests: BTreeMap<PathBuf, Vec<String>>,
}

impl Programs {
    /// The tests that these words for cargo choose: `-p PACKAGE`, with `--lib` or `--test TARGET`.
    pub(super) fn tests(&mut self, cargo: &Checker) -> Result<Vec<String>> {
        if let Entry::Vacant(place) = self.built.entry(cargo.build) {
            place.insert(programs(cargo.build)?);
        }
        let mut all = Vec::new();
        for program in self.built[&cargo.build]
            .iter()
            .filter(|program| is_chosen(program, &cargo.args))
        {
            let names = match self.tests.entry(program.path.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => place.insert(listed(program)?),
            };
            all.extend(names.iter().cloned());
        }
        Ok(all)
    }
}

/// The tests in a program.
fn listed(program: &Program) -> Result<Vec<String>> {
    let mut list = shell::clean(Command::new(&program.path));
    list.arg("--list");
    let text = shell::read(list)?;
    let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(names.map(str::to_owned).collect())
}

fn is_chosen(program: &Program, args: &[String]) -> bool {
    let has = |option: &str, value: &str| args.windows(2).any(|two| two[0] == option && two[1] == value);
    let by_kind = args.iter().any(|word| word == "--lib" || word == "--test");
    has("-p", &program.package)
        && (!by_kind
            || program.kind == "lib" && args.iter().any(|word| word == "--lib")
            || program.kind == "test" && has("--test", &program.target))
}

/// The test programs of a build, as the gate makes them.
fn programs(build: Build) -> Result<Vec<Program>> {
    let mut cargo = match build {
        Build::Plain => gate::unit(&[]),
        Build::Loom => gate::loom(&[]),
        Build::Shuttle => gate::shuttle(&[]),
    };
    cargo.args(["--no-run", "--message-format=json"]);
    let text = shell::read(cargo)?;
    Ok(text.lines().filter_map(program).collect())
}

/// One line of what cargo tells machines: a test program, or something else.
fn program(line: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(line).ok()?;
    let target = &message["target"];
    Some(Program {
        path: PathBuf::from(message["executable"].as_str()?),
        package: package(message["package_id"].as_str()?)?,
        kind: target["kind"][0].as_str()?.to_owned(),
        target: target["name"].as_str()?.to_owned(),
    })
}

/// The name in a package's identification: before the version, or the folder's where it is the
/// same.
fn package(id: &str) -> Option<String> {
    let (folder, rest) = id.split_once('#')?;
    let name = match rest.split_once('@') {
        Some((name, _)) => name,
        None => folder.rsplit('/').next()?,
    };
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    //! Goal: what cargo says is understood. Method: by example.
    use super::*;

    #[test]
    fn a_message_names_a_program() {
        let line = r#"{"reason":"compiler-artifact","package_id":"path+file:///x/crates/mm#memfold-mm@0.1.0","target":{"kind":["lib"],"name":"memfold_mm"},"executable":"/x/t/memfold_mm-1"}"#;
        let found = program(line).expect("a program");
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(is_chosen(&found, &words("-p memfold-mm --lib")));
        assert!(is_chosen(&found, &words("-p memfold-mm")));
        assert!(!is_chosen(&found, &words("-p memfold-mm --test x")));
        assert!(!is_chosen(&found, &words("-p memfold --lib")));
        let built = r#"{"package_id":"path+file:///x/verify#0.1.0","executable":null}"#;
        assert!(program(built).is_none(), "a library is no program");
        assert_eq!(package("path+file:///x/xtask#0.1.0").as_deref(), Some("xtask"));
    }
}
