//! Running other programs: cargo with a configuration of its own, and commands whose failure ends a
//! step. Every command line is printed before it runs, so that a failed step can be repeated by
//! hand.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let root = Path::new(&xtask).parent();
    root.expect("xtask stands in the workspace").to_path_buf()
}

/// Where cargo builds by default: the caller's `CARGO_TARGET_DIR`, or `target`.
pub(crate) fn target() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// A compile-time configuration with a target directory of its own, so that changing between them
/// rebuilds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Build {
    /// As users build it.
    Plain,
    /// `--cfg loom`, in `target-loom`.
    Loom,
    /// `--cfg shuttle`, in `target-shuttle`.
    Shuttle,
}

impl Build {
    /// A cargo command in this configuration, at the root of the workspace.
    pub(crate) fn cargo(self, words: &str) -> Command {
        self.command(&format!("cargo {words}"))
    }

    /// A command that calls cargo at last, in this configuration.
    pub(crate) fn command(self, words: &str) -> Command {
        let mut command = command(words);
        if self != Build::Plain {
            let name = format!("{self:?}").to_lowercase();
            command.env("RUSTFLAGS", format!("--cfg {name}"));
            command.env("CARGO_TARGET_DIR", root().join(format!("target-{name}")));
        }
        // A model that sets no bound of its own gets this one; the caller may say otherwise.
        if self == Build::Loom && std::env::var_os("LOOM_MAX_PREEMPTIONS").is_none() {
            command.env("LOOM_MAX_PREEMPTIONS", "3");
        }
        command
    }
}

/// The command that such words are, at the root. What `cargo run` told xtask about xtask is
/// removed: a build script that reads it would be run again by every change between the two ways
/// of calling cargo.
pub(crate) fn command(words: &str) -> Command {
    let mut words = words.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).current_dir(root());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// A script of `xtask/sh/`, which says itself what it runs, and why it fails.
pub(crate) fn script(name: &str, words: &[String]) -> Result<()> {
    let mut bash = command(&format!("bash xtask/sh/{name}.sh"));
    let status = bash.args(words).status().context("cannot start bash")?;
    ensure!(status.success(), "{name}: {status}");
    Ok(())
}

/// Prints and runs a command; its failure is an error that names it.
pub(crate) fn run(mut command: Command) -> Result<()> {
    let line = describe(&command);
    println!("$ {line}");
    let status = command.status();
    let status = status.with_context(|| format!("cannot start: {line}"))?;
    ensure!(status.success(), "{line}: {status}");
    Ok(())
}

/// Runs a command quietly; its standard output.
pub(crate) fn read(mut command: Command) -> Result<String> {
    let line = describe(&command);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot start: {line}"))?;
    ensure!(output.status.success(), "{line}: {}", output.status);
    String::from_utf8(output.stdout).with_context(|| format!("{line}: its output is not text"))
}

/// Whether a command can be started and succeeds, with nothing printed.
pub(crate) fn succeeds(mut command: Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// The files of the checkout below these paths, those not yet committed included.
pub(crate) fn files(paths: &[&str]) -> Result<Vec<String>> {
    let mut git = command("git ls-files -z --cached --others --exclude-standard --deduplicate");
    git.args(paths);
    let names = read(git)?;
    Ok(names.split_terminator('\0').map(str::to_owned).collect())
}

/// The command as one would type it at the root of the workspace.
pub(crate) fn describe(command: &Command) -> String {
    let env = command.get_envs();
    let env = env.filter_map(|(name, value)| Some(format!("{}={:?}", name.display(), value?)));
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let words = words.map(|word| word.display().to_string());
    let line = env.chain(words).collect::<Vec<_>>().join(" ");
    line.replace(&format!("{}/", root().display()), "")
}
