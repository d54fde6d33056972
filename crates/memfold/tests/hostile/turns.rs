//! Whose turn it is: a test that changes the machine runs alone, all others run together.
//!
//! One lock file of this user orders the tests of every process on the machine, so that two suites
//! that run at once do not judge each other's settings. Parents take turns; their children run
//! within their parents' turns.

use crate::child;
use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::rc::{Rc, Weak};

/// A turn; it ends when the last value that a thread holds of it is dropped.
#[must_use]
pub struct Turn {
    _lock: Option<Rc<File>>,
}

thread_local! {
    /// This thread's turn: a test that changes several settings, then starts a child, has one for
    /// all of it.
    static MINE: RefCell<Weak<File>> = const { RefCell::new(Weak::new()) };
}

impl Turn {
    /// Waits until no other test runs.
    pub fn alone() -> Self {
        Self::take(|file| file.lock())
    }

    /// Waits until nobody changes the machine.
    pub fn together() -> Self {
        Self::take(|file| file.lock_shared())
    }

    fn take(lock: impl FnOnce(&File) -> std::io::Result<()>) -> Self {
        if child::is_one() {
            return Self { _lock: None };
        }
        let mine = MINE.with_borrow(Weak::upgrade).unwrap_or_else(|| {
            let file = Rc::new(open());
            lock(&file).expect("a lock on a file of our own");
            MINE.set(Rc::downgrade(&file));
            file
        });
        Self { _lock: Some(mine) }
    }
}

fn open() -> File {
    // SAFETY: asks who we are.
    let user = unsafe { libc::getuid() };
    let path = std::env::temp_dir().join(format!("memfold-hostile-tests-{user}.lock"));
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    options.custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW);
    options
        .open(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
