//! `memfold explain race`: starts `memfold-explain`, a program of its own, in the place of this
//! one.
//!
//! It runs the manager's sources under a model checker, which the product does not link. It is
//! taken from where `memfold` itself stands; in a checkout it is built when it is asked for, from
//! the sources that are there.

use crate::error::{Error, Exit};
use crate::output;
use memfold_explain::options::RaceOptions;
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
    let source = Command::new(program).args(options.words()).exec();
    Err(Error::system("to start memfold-explain", source))
}

#[cfg(test)]
mod tests {
    //! Goal: it can be built where this was built. Method: these very sources.
    use super::*;

    #[test]
    fn these_sources_are_found() {
        assert!(checkout().is_some_and(|root| root.join("Cargo.lock").is_file()));
    }
}
