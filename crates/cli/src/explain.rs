//! `memfold explain race`: starts `memfold-explain`, a program of its own, in the place of this one.
//!
//! It runs the manager's sources under a model checker, which the product does not link. It is taken from where `memfold` itself stands; in
//! a checkout it is built when it is asked for, from the sources that are there.

use crate::args::RaceOptions;
use crate::error::{Error, Exit};
use crate::output;
use std::convert::Infallible;
use std::env;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const NAME: &str = "memfold-explain";

/// Becomes `memfold-explain`: terminal, signals and exit status are its own.
pub(crate) fn race(options: &RaceOptions) -> Result<Exit, Error> {
    let program = match beside() {
        Some(program) => program,
        None => build(checkout().ok_or(Error::NoExplain)?)?,
    };
    become_it(&program, options).map(|never| match never {})
}

/// The program next to this one, where both were installed.
fn beside() -> Option<PathBuf> {
    let program = env::current_exe().ok()?.with_file_name(NAME);
    program.is_file().then_some(program)
}

/// The root of the sources that this program was built from, if they are still there.
fn checkout() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.parent()?;
    root.join("crates/explain/Cargo.toml")
        .is_file()
        .then(|| root.to_owned())
}

/// Builds it, or sees that it is built; cargo says on stderr what it does.
fn build(root: PathBuf) -> Result<PathBuf, Error> {
    let target = root.join("target-loom");
    let program = target.join("release").join(NAME);
    if !program.is_file() {
        output::complain(&"building memfold-explain, which takes about a minute, once");
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--release", "--package", NAME])
        .args(["--features", "explored", "--target-dir"])
        .arg(&target)
        .env("RUSTFLAGS", "--cfg loom")
        .current_dir(&root)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    match cargo.status() {
        Ok(status) if status.success() => Ok(program),
        Ok(status) => Err(Error::ExplainBuild(status.to_string())),
        Err(error) => Err(Error::ExplainBuild(format!("cargo cannot be started: {error}"))),
    }
}

fn become_it(program: &Path, options: &RaceOptions) -> Result<Infallible, Error> {
    let source = Command::new(program).args(words(options)).exec();
    Err(Error::system("to start memfold-explain", source))
}

/// The options as words again.
fn words(options: &RaceOptions) -> Vec<&str> {
    let flags = [
        (options.all, "--all"),
        (options.list, "--list"),
        (options.json, "--json"),
    ];
    let defect = options.defect.as_deref();
    let mut words = vec!["race"];
    words.extend(defect.into_iter().flat_map(|name| ["--defect", name]));
    words.extend(flags.iter().filter(|(on, _)| *on).map(|(_, word)| word));
    words
}

#[cfg(test)]
mod tests {
    //! Goal: what was asked for is passed on. Method: options by hand.
    use super::*;

    #[test]
    fn options_are_words_again() {
        let mut options = RaceOptions {
            defect: Some("x".to_owned()),
            all: false,
            list: false,
            json: true,
        };
        assert_eq!(words(&options), ["race", "--defect", "x", "--json"]);
        options.defect = None;
        options.all = true;
        assert_eq!(words(&options), ["race", "--all", "--json"]);
        options = RaceOptions {
            list: true,
            all: false,
            json: false,
            ..options
        };
        assert_eq!(words(&options), ["race", "--list"]);
    }

    #[test]
    fn these_sources_are_found() {
        assert!(checkout().is_some_and(|root| root.join("Cargo.lock").is_file()));
    }
}
