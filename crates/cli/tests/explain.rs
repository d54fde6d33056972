//! `memfold explain` starts another program.
//!
//! Goal: what stands beside `memfold` is started with the same wishes, and its status is ours.
//! Method: a copy of the command beside a script that tells what it was given.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One test at a time: a program that is being written cannot be started, and a child that another
/// thread starts meanwhile has it open for writing.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder with a copy of the command; `script` stands beside it.
fn folder(name: &str, script: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("a folder");
    fs::copy(env!("CARGO_BIN_EXE_memfold"), folder.join("memfold")).expect("a copy");
    let program = folder.join("memfold-explain");
    fs::write(&program, script).expect("a script");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("our own");
    folder
}

fn run(folder: &Path, words: &[&str]) -> common::Done {
    let output = Command::new(folder.join("memfold")).args(words).output();
    common::Done::new(&output.expect("it starts"))
}

#[test]
fn the_program_beside_is_started() {
    let _alone = alone();
    let folder = folder("explain-beside", "#!/bin/sh\necho \"$@\"\nexit 1\n");
    let done = run(&folder, &["explain", "race", "--defect", "split-store", "--json"]);
    assert_eq!(
        (done.status, done.stdout.trim()),
        (1, "race --defect split-store --json")
    );
    run(&folder, &["explain", "race", "--all", "--list"]).refused(2, &["--all", "--list"]);
}

#[test]
fn a_program_that_cannot_start_is_one_sentence() {
    let _alone = alone();
    let folder = folder("explain-broken", "#!/no/such/interpreter\n");
    let done = run(&folder, &["explain", "race"]);
    done.refused(3, &["memfold-explain"]);
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
}
