//! Settings of the machine, changed for a test and put back after it. All of it happens in the
//! parent of a test's process: a child ends without a word, and finds everything changed already.

use crate::child;
use crate::turns::Turn;
use std::fs;
use std::path::PathBuf;

/// A setting that was changed; the old value comes back when this is dropped, by a panic too.
#[must_use]
pub struct Setting {
    file: PathBuf,
    /// `None`: somebody else puts it back.
    before: Option<String>,
    /// Nobody else runs while it is changed. Dropped after the value is back.
    _turn: Turn,
}

impl Setting {
    /// Changes a file below `/sys` or `/proc`; `None` where that is not allowed, or there is no
    /// such setting.
    pub fn change(file: &str, to: &str) -> Option<Self> {
        let turn = Turn::alone();
        if child::is_one() {
            return Some(Self {
                file: file.into(),
                before: None,
                _turn: turn,
            });
        }
        let before = fs::read_to_string(file).ok()?;
        // The chosen word of a list stands in brackets.
        let chosen = before.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        let before = chosen.map_or(before.trim(), |(word, _)| word).to_owned();
        if let Err(error) = fs::write(file, to) {
            println!("{file} cannot be changed here: {error}");
            return None;
        }
        Some(Self {
            file: file.into(),
            before: Some(before),
            _turn: turn,
        })
    }

    /// The kernel merges equal pages, fast; nothing where it cannot be told.
    pub fn ksmd() -> Option<[Self; 3]> {
        let at = |name: &str, to| Self::change(&format!("/sys/kernel/mm/ksm/{name}"), to);
        Some([
            at("pages_to_scan", "10000")?,
            at("sleep_millisecs", "5")?,
            at("run", "1")?,
        ])
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let Some(before) = &self.before else { return };
        if let Err(error) = fs::write(&self.file, before) {
            println!("{} is not {before} again: {error}", self.file.display());
        }
    }
}

/// A swap file, used by the machine while this lives.
#[must_use]
pub struct Swap {
    file: PathBuf,
    _turn: Turn,
}

impl Swap {
    /// `None` where there can be none.
    pub fn file(bytes: usize) -> Option<Self> {
        let swap = Self {
            file: std::env::temp_dir().join(format!("memfold-swap-{}", std::process::id())),
            _turn: Turn::alone(),
        };
        if child::is_one() {
            return Some(swap);
        }
        fs::write(&swap.file, vec![0; bytes]).ok()?;
        let run = |tool: &str| std::process::Command::new(tool).arg(&swap.file).output();
        for tool in ["mkswap", "swapon"] {
            let output = run(tool).ok()?;
            if !output.status.success() {
                println!("{tool}: {}", String::from_utf8_lossy(&output.stderr));
                return None;
            }
        }
        Some(swap)
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        if child::is_one() {
            return;
        }
        // Both fail where nothing was done.
        let _ = std::process::Command::new("swapoff").arg(&self.file).output();
        let _ = fs::remove_file(&self.file);
    }
}

/// A control group with a limit, for the children of this process.
#[must_use]
pub struct Group(PathBuf);

impl Group {
    /// `None` where none can be made.
    pub fn of(bytes: u64) -> Option<Self> {
        if child::is_one() {
            return Some(Self(PathBuf::new()));
        }
        let (place, file) = Self::place(std::process::id());
        let group = Self(place);
        fs::create_dir(&group.0).ok()?;
        fs::write(group.0.join(file), bytes.to_string()).ok()?;
        Some(group)
    }

    /// In the child: joins its parent's group.
    pub fn enter() {
        let (place, _) = Self::place(std::os::unix::process::parent_id());
        let number = std::process::id().to_string();
        fs::write(place.join("cgroup.procs"), number).expect("the group was made");
    }

    fn place(owner: u32) -> (PathBuf, &'static str) {
        let first = PathBuf::from("/sys/fs/cgroup/memory");
        let (root, file) = match first.is_dir() {
            true => (first, "memory.limit_in_bytes"),
            false => ("/sys/fs/cgroup".into(), "memory.max"),
        };
        (root.join(format!("memfold-test-{owner}")), file)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Nobody is inside any more; in the child there is nothing.
        let _ = fs::remove_dir(&self.0);
    }
}
