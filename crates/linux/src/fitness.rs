//! Whether the calling thread can use windows: [`check_thread`].
//!
//! With in-thread delivery a fault is a signal to the thread. A thread that has it blocked, or a
//! library that replaced our handler, ends the process without a word at the next fault. Only
//! looks; changes nothing.

use libc::SIGBUS;

use crate::sigbus;
use crate::sys::{open, signal};

/// Bytes of stack that a fault needs at the most, the signal's own frame and some room for the
/// program's included.
pub const FAULT_STACK_BYTES: usize = 32 << 10;

/// Why a thread must not touch a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ThreadError {
    /// The signal by which faults arrive is blocked.
    #[error(
        "SIGBUS is blocked in this thread, so the first fault of a space ends the process: unblock it (pthread_sigmask)"
    )]
    Blocked,
    /// Somebody has installed another handler since.
    #[error(
        "the handler of SIGBUS was replaced, so faults may not reach memfold: build a Memory after the library that did \
         it was initialized, or let it pass on signals that are not its own"
    )]
    Replaced,
    /// A fault would overflow the stack.
    #[error(
        "{left} bytes of stack are left in this thread, and a fault needs {needed}: give the thread a larger one"
    )]
    LittleStack {
        /// Bytes below this function's caller.
        left: usize,
        /// Bytes that should be there.
        needed: usize,
    },
}

/// Whether the calling thread can use windows whose faults arrive in it. A few system calls; more
/// in the main thread.
///
/// # Errors
/// The first obstacle, with what mends it.
pub fn check_thread() -> Result<(), ThreadError> {
    if signal::is_blocked(SIGBUS) {
        return Err(ThreadError::Blocked);
    }
    if !sigbus::is_installed() {
        return Err(ThreadError::Replaced);
    }
    match open::stack_left() {
        Some(left) if left < FAULT_STACK_BYTES => Err(ThreadError::LittleStack {
            left,
            needed: FAULT_STACK_BYTES,
        }),
        _ => Ok(()),
    }
}
