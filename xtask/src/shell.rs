//! Running other programs: cargo with a configuration of its own, and commands
//! whose failure ends a step. Every command line is printed before it runs, so
//! that a failed step can be repeated by hand.

use anyhow::{Context, Result, ensure};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What [`within`] answers when the time was up,
pub(crate) const TIMED_OUT: i32 = 124;
/// and when the command had to be killed.
pub(crate) const KILLED: i32 = 137;

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&xtask)
        .parent()
        .expect("xtask stands in the workspace")
        .to_path_buf()
}

/// Where cargo builds by default: the caller's `CARGO_TARGET_DIR`, or `target`.
pub(crate) fn target() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// A compile-time configuration with a target directory of its own, so that
/// changing between them rebuilds nothing.
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
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut cargo = clean(Command::new(cargo));
        cargo.args(words.split(' '));
        if self != Build::Plain {
            let name = format!("{self:?}").to_lowercase();
            cargo.env("RUSTFLAGS", format!("--cfg {name}"));
            cargo.env("CARGO_TARGET_DIR", root().join(format!("target-{name}")));
        }
        // A model that sets no bound of its own gets this one; the caller may say otherwise.
        if self == Build::Loom && std::env::var_os("LOOM_MAX_PREEMPTIONS").is_none() {
            cargo.env("LOOM_MAX_PREEMPTIONS", "3");
        }
        cargo
    }
}

/// Removes what `cargo run` told xtask about xtask (a build script that reads
/// these would otherwise be run again by every change between the two ways of
/// calling cargo), and starts at the root.
pub(crate) fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command.current_dir(root());
    command
}

/// The command that such words are, at the root.
pub(crate) fn command(words: &str) -> Command {
    let mut words = words.split(' ');
    let mut command = clean(Command::new(words.next().unwrap_or_default()));
    command.args(words);
    command
}

/// A script of `xtask/sh/`, which says itself what it runs.
pub(crate) fn script_command(name: &str, words: &[String]) -> Command {
    let mut bash = command(&format!("bash xtask/sh/{name}.sh"));
    bash.args(words);
    bash
}

/// Runs a script; it has said why, where it fails.
pub(crate) fn script(name: &str, words: &[String]) -> Result<()> {
    let status = script_command(name, words)
        .status()
        .context("cannot start bash")?;
    ensure!(status.success(), "{name}: {status}");
    Ok(())
}

/// Prints and runs a command; its failure is an error that names it.
pub(crate) fn run(mut command: Command) -> Result<()> {
    let line = describe(&command);
    println!("$ {line}");
    let status = command
        .status()
        .with_context(|| format!("cannot start: {line}"))?;
    ensure!(status.success(), "{line}: {status}");
    Ok(())
}

/// Runs a command quietly; its standard output.
pub(crate) fn read(mut command: Command) -> Result<String> {
    let line = describe(&command);
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot start: {line}"))?;
    ensure!(output.status.success(), "{line}: {}", output.status);
    String::from_utf8(output.stdout).with_context(|| format!("{line}: its output is not text"))
}

/// Whether a command can be started and succeeds, with nothing printed.
pub(crate) fn succeeds(mut command: Command) -> bool {
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The files of the checkout below these paths, those not yet committed included.
pub(crate) fn files(paths: &[&str]) -> Result<Vec<String>> {
    let mut git = command("git ls-files -z --cached --others --exclude-standard --deduplicate");
    git.args(paths);
    let names = read(git)?;
    Ok(names.split_terminator('\0').map(str::to_owned).collect())
}

/// The tests of a test program, or of those that cargo would run.
pub(crate) fn tests(mut command: Command) -> Result<Vec<String>> {
    command.arg("--list");
    let text = read(command)?;
    Ok(text
        .lines()
        .filter_map(|line| Some(line.strip_suffix(": test")?.to_owned()))
        .collect())
}

/// The command under `timeout`, which ends what the command started, too: a test that hangs is a
/// child of cargo.
pub(crate) fn within(command: &Command, limit: Duration) -> Command {
    let seconds = limit.as_secs().max(1);
    let mut timeout = self::command(&format!("timeout --kill-after=5 {seconds}"));
    timeout.arg(command.get_program()).args(command.get_args());
    timeout.current_dir(command.get_current_dir().unwrap_or(&root()));
    timeout.envs(
        command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    timeout
}

/// The command as one would type it at the root of the workspace.
pub(crate) fn describe(command: &Command) -> String {
    let quote = |word: &OsStr| {
        let word = word.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
        match !word.is_empty() && word.chars().all(plain) {
            true => word.into_owned(),
            false => format!("'{}'", word.replace('\'', r"'\''")),
        }
    };
    let env = command
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_string_lossy(), value?)));
    let env = env.map(|(name, value)| format!("{name}={}", quote(value)));
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    let words = [program].into_iter().chain(command.get_args()).map(quote);
    let line = env.chain(words).collect::<Vec<_>>().join(" ");
    line.replace(&format!("{}/", root().display()), "")
}

#[cfg(test)]
mod tests {
    //! Goal: a printed command line can be pasted. Method: describe one with awkward words.
    use super::*;

    /// Goal: nothing runs on after its time. Method: a command whose child would.
    #[test]
    fn what_hangs_is_ended_with_its_children() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60; true"]);
        let begin = std::time::Instant::now();
        let status = within(&command, Duration::from_secs(1)).status().unwrap();
        assert_eq!(status.code(), Some(TIMED_OUT));
        assert!(begin.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_printed_command_can_be_typed_again() {
        let mut command = Build::Loom.cargo("test -- it's");
        command.env("LOOM_LOG", "");
        let line = describe(&command);
        assert!(line.contains("RUSTFLAGS='--cfg loom'"), "{line}");
        assert!(line.contains("CARGO_TARGET_DIR=target-loom"), "{line}");
        assert!(line.contains("LOOM_LOG=''"), "{line}");
        assert!(line.ends_with(r"test -- 'it'\''s'"), "{line}");
    }
}
