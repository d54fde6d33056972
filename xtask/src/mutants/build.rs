//! The copy of the workspace with all mutants in it, and how it is built.
//!
//! The compiler finds mutants that are not viable: an error inside a mutant's text takes that mutant out, and the rest
//! is built again, until there is none.

use super::list::Mutant;
use super::trial::Trial;
use super::weave::{self, Woven};
use crate::shell::{self, Build};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Says which mutant is on. It becomes a file of the copy, and of nothing else.
const SWITCH: &str = r#"//! Which mutant is on.

/// Whether mutant `no` is.
#[inline]
pub(crate) fn on(no: u32) -> bool {
    static ON: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    no == *ON.get_or_init(|| std::env::var("MEMFOLD_MUTANT").map_or(0, |no| no.parse().expect("a number")))
}
"#;

/// Which test programs are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Programs {
    /// Unit tests of the manager.
    Unit,
    /// The same, and the tests of `verify`.
    Tests,
    /// The race models of the manager.
    Models,
}

/// The test programs of `verify`.
const SUITES: [&str; 6] = [
    "merging",
    "corruption",
    "faults",
    "properties",
    "coverage",
    "simulation",
];

/// The longest test of `merging`: the last thing to be tried but one.
const HISTORIES: &str = "histories_with_merging";

/// A build, and what it left out.
#[derive(Debug, Default)]
pub(crate) struct Built {
    pub trials: Vec<Trial>,
    pub unviable: BTreeSet<usize>,
    pub alone: BTreeSet<usize>,
}

/// The copy.
pub(crate) struct Tree<'a> {
    root: PathBuf,
    mutants: &'a [Mutant],
}

impl<'a> Tree<'a> {
    /// Copies the files that git knows or would take, as they are now.
    pub(crate) fn copy(mutants: &'a [Mutant]) -> Result<Self> {
        let root = super::folder().join("tree");
        let mut git = Command::new("git");
        git.args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]);
        git.current_dir(shell::root());
        let listed = shell::read(git)?;
        let names: BTreeSet<&str> = listed.split_terminator('\0').collect();
        forget_others(&root, &root, &names)?;
        for name in names {
            let (from, to) = (shell::root().join(name), root.join(name));
            let woven = mutants.iter().any(|mutant| mutant.file == name);
            if from.is_file() && !woven {
                let mut bytes = std::fs::read(&from).with_context(|| name.to_owned())?;
                if name == "crates/mm/src/lib.rs" {
                    bytes.extend(b"mod mutant;\n");
                }
                write(&to, &bytes)?;
            }
        }
        Ok(Self { root, mutants })
    }

    /// Weaves and builds until all mutants that are left compile, without those that are known to be not viable.
    pub(crate) fn build(&self, programs: Programs, unviable: BTreeSet<usize>) -> Result<Built> {
        let mut built = Built {
            unviable,
            ..Built::default()
        };
        loop {
            let woven = self.weave(&mut built)?;
            let (compiled, messages) = self.compile(programs)?;
            if compiled {
                built.trials = self.trials(programs, &messages)?;
                return Ok(built);
            }
            let bad: BTreeSet<usize> = messages.iter().filter_map(|m| blame(m, &woven)).collect();
            if bad.is_empty() {
                let errors = messages.iter().filter_map(|m| m["message"]["rendered"].as_str());
                bail!("no mutant is to blame:\n{}", errors.collect::<String>());
            }
            println!("{} mutants are not viable", bad.len());
            built.unviable.extend(bad);
        }
    }

    /// Builds with this mutant in place of the text that it changes, without the others of its file; `None` when no
    /// compiler takes it.
    pub(crate) fn build_alone(&self, no: usize, programs: Programs) -> Result<Option<Vec<Trial>>> {
        let mutant = &self.mutants[no - 1];
        let source = std::fs::read_to_string(shell::root().join(&mutant.file))?;
        let text = weave::replace(&source, mutant);
        write(&self.root.join(&mutant.file), text.as_bytes())?;
        let (compiled, messages) = self.compile(programs)?;
        compiled.then(|| self.trials(programs, &messages)).transpose()
    }

    /// Runs the compiler; whether it was content, and what it said.
    fn compile(&self, programs: Programs) -> Result<(bool, Vec<Value>)> {
        let mut cargo = self.cargo(programs);
        println!("$ {}", shell::describe(&cargo));
        let output = cargo.stderr(Stdio::null()).stdin(Stdio::null()).output()?;
        let messages = String::from_utf8(output.stdout)?
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        Ok((output.status.success(), messages))
    }

    /// Writes the sources with all mutants that may still be viable.
    fn weave(&self, built: &mut Built) -> Result<BTreeMap<String, Woven>> {
        let mut files: BTreeMap<&str, Vec<(usize, &Mutant)>> = BTreeMap::new();
        for (n, mutant) in self.mutants.iter().enumerate() {
            let of_file = files.entry(&mutant.file).or_default();
            if !built.unviable.contains(&(n + 1)) {
                of_file.push((n + 1, mutant));
            }
        }
        let mut all = BTreeMap::new();
        for (file, mutants) in files {
            let source = std::fs::read_to_string(shell::root().join(file))?;
            let woven = weave::weave(&source, &mutants).with_context(|| file.to_owned())?;
            built.unviable.extend(&woven.unviable);
            built.alone.extend(&woven.alone);
            write(&self.root.join(file), woven.text.as_bytes())?;
            all.insert(file.to_owned(), woven);
        }
        write(&self.root.join("crates/mm/src/mutant.rs"), SWITCH.as_bytes())?;
        Ok(all)
    }

    fn cargo(&self, programs: Programs) -> Command {
        let (build, profile) = match programs {
            Programs::Unit | Programs::Tests => (Build::Plain, "mutants"),
            Programs::Models => (Build::Loom, "release"),
        };
        let mut cargo = build.cargo(&["test", "--no-run", "--message-format=json", "--profile", profile]);
        cargo.args(["--package", "memfold-mm", "--lib"]);
        if programs == Programs::Tests {
            cargo.args(["--package", "memfold-verify"]);
            cargo.args(SUITES.iter().flat_map(|suite| ["--test", suite]));
        }
        let target = match programs {
            Programs::Unit | Programs::Tests => "tests",
            Programs::Models => "models",
        };
        cargo.env("CARGO_TARGET_DIR", super::folder().join(target));
        cargo.current_dir(&self.root);
        cargo
    }

    /// The test programs that cargo says it built.
    fn trials(&self, programs: Programs, messages: &[Value]) -> Result<Vec<Trial>> {
        let find = |package: &str, target: &str| -> Result<Trial> {
            let is_it = |m: &&Value| {
                let manifest = m["manifest_path"].as_str().unwrap_or_default();
                m["target"]["name"] == target && m["profile"]["test"] == true && manifest.contains(package)
            };
            let program = messages.iter().find(is_it).and_then(|m| m["executable"].as_str());
            Ok(Trial {
                name: target.to_owned(),
                program: program
                    .with_context(|| format!("cargo built no {target}"))?
                    .into(),
                dir: self.root.join(package),
                args: Vec::new(),
                env: Vec::new(),
            })
        };
        let mut trials = vec![find("crates/mm", "memfold_mm")?];
        match programs {
            Programs::Unit => (),
            Programs::Tests => {
                for suite in SUITES {
                    trials.push(find("verify", suite)?);
                }
                trials[1].args = vec!["--skip", HISTORIES];
                let mut last = find("verify", "merging")?;
                last.args = vec![HISTORIES];
                trials.insert(trials.len() - 1, last);
            }
            Programs::Models => {
                trials[0].name = "loom".to_owned();
                trials[0].env = vec![("LOOM_MAX_PREEMPTIONS", "2")];
            }
        }
        ensure!(!trials.is_empty(), "there is not one test");
        Ok(trials)
    }
}

/// The mutant in whose text this error stands.
fn blame(message: &Value, woven: &BTreeMap<String, Woven>) -> Option<usize> {
    let message = &message["message"];
    if message["level"] != "error" {
        return None;
    }
    let spans = message["spans"].as_array()?;
    let inside = |primary: bool| {
        spans
            .iter()
            .filter(move |span| span["is_primary"] == primary)
            .find_map(|span| {
                let (_, woven) = woven
                    .iter()
                    .find(|(file, _)| span["file_name"] == file.as_str())?;
                let (start, end) = (
                    span["byte_start"].as_u64()? as usize,
                    span["byte_end"].as_u64()? as usize,
                );
                let holds =
                    |place: &&(usize, std::ops::Range<usize>)| place.1.start <= start && end <= place.1.end;
                woven.places.iter().find(holds).map(|&(no, _)| no)
            })
    };
    inside(true).or_else(|| inside(false))
}

/// Removes what an earlier copy has and the workspace has not any more.
fn forget_others(root: &Path, folder: &Path, names: &BTreeSet<&str>) -> Result<()> {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry?.path();
        let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
        if path.is_dir() {
            forget_others(root, &path, names)?;
        } else if !names.contains(name.as_str()) {
            std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

/// Writes a file, unless it is so already: what has not changed is not built again.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    std::fs::create_dir_all(path.parent().context("a file has a folder")?)?;
    std::fs::write(path, bytes).with_context(|| path.display().to_string())
}
