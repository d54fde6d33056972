//! Running other programs: cargo with a configuration of its own, and commands
//! whose failure ends a step. Every command line is printed before it runs, so
//! that a failed step can be repeated by hand.

use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What [`within`] answers when the time was up,
pub(crate) const TIMED_OUT: i32 = 124;
/// and when the command had to be killed.
pub(crate) const KILLED: i32 = 137;

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    PathBuf::from(xtask)
        .parent()
        .expect("xtask stands in the workspace")
        .to_path_buf()
}

/// Where cargo builds by default: the caller's `CARGO_TARGET_DIR`, or `target`.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
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
    pub(crate) fn cargo(self, args: &[&str]) -> Command {
        let mut cargo = clean(Command::new(
            std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
        ));
        cargo.args(args);
        if let Some(name) = self.cfg() {
            cargo.env("RUSTFLAGS", format!("--cfg {name}"));
            cargo.env("CARGO_TARGET_DIR", root().join(format!("target-{name}")));
        }
        cargo
    }

    fn cfg(self) -> Option<&'static str> {
        match self {
            Build::Plain => None,
            Build::Loom => Some("loom"),
            Build::Shuttle => Some("shuttle"),
        }
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

/// Prints and runs a command; its failure is an error that names it.
pub(crate) fn run(mut command: Command) -> Result<()> {
    let line = describe(&command);
    println!("$ {line}");
    let status = command
        .status()
        .with_context(|| format!("cannot start: {line}"))?;
    if !status.success() {
        bail!("{line}: {status}");
    }
    Ok(())
}

/// Runs a command quietly; its standard output.
pub(crate) fn read(mut command: Command) -> Result<String> {
    let line = describe(&command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start: {line}"))?;
    if !output.status.success() {
        bail!("{line}: {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("{line}: its output is not text"))
}

/// Runs a command; whether it succeeded, and all that it said.
pub(crate) fn keep(command: &mut Command) -> Result<(bool, String)> {
    let output = command.stdin(Stdio::null()).output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    ))
}

/// Whether a command can be started and succeeds, with nothing printed.
pub(crate) fn succeeds(mut command: Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The command under `timeout`, which ends what the command started, too: a test that hangs is a
/// child of cargo.
pub(crate) fn within(command: &Command, limit: Duration) -> Command {
    let mut timeout = Command::new("timeout");
    timeout.args(["--kill-after=5", &limit.as_secs().max(1).to_string()]);
    timeout.arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        timeout.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => timeout.env(name, value),
            None => timeout.env_remove(name),
        };
    }
    timeout
}

/// The command as one would type it at the root of the workspace.
pub(crate) fn describe(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!(
                "{}={}",
                name.to_string_lossy(),
                quote(&value.to_string_lossy())
            ));
        }
    }
    let program = PathBuf::from(command.get_program());
    let program = program
        .file_name()
        .unwrap_or(command.get_program())
        .to_string_lossy()
        .into_owned();
    words.push(quote(&program));
    words.extend(command.get_args().map(|word| quote(&word.to_string_lossy())));
    words.join(" ").replace(&format!("{}/", root().display()), "")
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
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
        let mut command = Build::Loom.cargo(&["test", "--", "it's"]);
        command.env("LOOM_LOG", "");
        let line = describe(&command);
        assert!(line.contains("RUSTFLAGS='--cfg loom'"), "{line}");
        assert!(line.contains("CARGO_TARGET_DIR=target-loom"), "{line}");
        assert!(line.contains("LOOM_LOG=''"), "{line}");
        assert!(line.ends_with(r"test -- 'it'\''s'"), "{line}");
    }
}
