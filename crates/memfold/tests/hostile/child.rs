//! Processes of tests' own: what a test does to its process, it does to a child.

use crate::common;
pub use crate::common::{End, is_one};
use crate::turns::Turn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// What a child may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs the test's body in a process of its own and demands that it ends well.
pub fn isolated(test: &str, body: impl FnOnce()) {
    if let Some((end, text)) = in_child(test, body) {
        assert_eq!(end, End::Code(0), "{text}");
    }
}

/// As [`common::in_child`], while no test changes the machine.
pub fn in_child(test: &str, body: impl FnOnce()) -> Option<(End, String)> {
    let _turn = Turn::together();
    common::in_child(test, LIMIT, body)
}

/// `fork(2)`: runs `body` in a copy of this process, as a program would that forks while it has
/// spaces, and says how the copy ended: 0 when `body` returned, 101 when it panicked, 14 (SIGALRM)
/// when it hung.
pub fn forked(body: impl FnOnce()) -> End {
    // SAFETY: the child runs Rust code on a copy of this thread, which is what is tested; it ends
    // by `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "{}", std::io::Error::last_os_error());
    if child == 0 {
        // SAFETY: an alarm of the child's own.
        unsafe { libc::alarm(20) };
        let outcome = catch_unwind(AssertUnwindSafe(body));
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(if outcome.is_ok() { 0 } else { 101 }) };
    }
    let mut status = 0;
    // SAFETY: waits for our own child.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    if libc::WIFSIGNALED(status) {
        End::Signal(libc::WTERMSIG(status))
    } else {
        End::Code(libc::WEXITSTATUS(status))
    }
}
