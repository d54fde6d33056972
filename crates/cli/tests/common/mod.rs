//! What the tests of the command share: running it, modules as text, the real programs.

#![allow(dead_code, reason = "each test uses a part of this")]

use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// What a run of the command left.
pub struct Done {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    pub fn new(output: &Output) -> Self {
        Done {
            status: output.status.code().expect("it ended by itself"),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The report of a run with `--json`.
    #[track_caller]
    pub fn report(&self) -> Value {
        match serde_json::from_str(&self.stdout) {
            Ok(report) => report,
            Err(error) => panic!("{error}: {}\n{}", self.stdout, self.stderr),
        }
    }

    /// The same when all went well.
    #[track_caller]
    pub fn fine(&self) -> Value {
        assert_eq!(self.status, 0, "{}\n{}", self.stdout, self.stderr);
        self.report()
    }

    /// It printed all of these.
    #[track_caller]
    pub fn shows(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.stdout.contains(part), "{part}: {}", self.stdout);
        }
    }

    /// It refused with this status, and said these words.
    #[track_caller]
    pub fn refused(&self, status: i32, words: &[&str]) {
        assert_eq!(self.status, status, "{}\n{}", self.stdout, self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in {}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }
}

/// The command with these words.
pub fn memfold(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_memfold"));
    command.args(words.split_whitespace()).stdin(Stdio::null());
    // The tests' own, and not that of whoever runs them.
    command.env("XDG_CACHE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"));
    command
}

pub fn done(words: &str) -> Done {
    Done::new(&memfold(words).output().expect("the command was built"))
}

/// Runs `memfold run MODULE` with these words.
pub fn run(module: &str, words: &str) -> Done {
    done(&format!("run {module} {words}"))
}

/// Writes a file of its own for this test, and says where.
pub fn file(bytes: &[u8]) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Relaxed: only the number counts.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("cli-{}-{number}.wasm", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, bytes).expect("the folder is writable");
    path.display().to_string()
}

pub fn module(text: &str) -> String {
    file(&wat::parse_str(text).expect("the text is a module"))
}

/// One of the programs that the gate builds.
pub fn program(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/programs")
        .join(format!("{name}.wasm"));
    assert!(
        path.exists(),
        "{name}.wasm is missing: build it with `cargo xtask programs`"
    );
    path.display().to_string()
}

/// A small program with good and bad exports. `run` answers by its arguments and all calls before.
pub const SMALL: &str = r#"(module
  (memory (export "memory") 4)
  (global $calls (mut i32) (i32.const 0))
  (func (export "warm") (i32.store (i32.const 65536) (i32.const 7)))
  (func (export "run") (param $clone i32) (param $call i32) (result i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (i32.store (i32.const 65536)
      (i32.add
        (i32.mul (i32.load (i32.const 65536)) (i32.const 31))
        (i32.add (local.get $clone) (local.get $call))))
    (i32.add (i32.load (i32.const 65536)) (global.get $calls)))
  (func (export "one") (param $clone i32) (result i64) (i64.extend_i32_s (local.get $clone)))
  (func (export "nothing"))
  (func (export "trap_in_3") (param $clone i32) (param $call i32) (result i32)
    (if (i32.and (i32.eq (local.get $clone) (i32.const 3)) (i32.eq (local.get $call) (i32.const 1)))
      (then unreachable))
    (local.get $clone))
  (func $always (export "always") unreachable)
  (func (export "float") (param f32))
  (func (export "three") (param i32 i32 i32))
  (func (export "decimal") (result f64) (f64.const 1)))"#;
