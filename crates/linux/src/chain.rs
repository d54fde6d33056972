//! Signals that are not ours go on to whoever handled them before.
//!
//! The action that our SIGBUS handler replaced is written once, before ours is installed, and read by the
//! handler without a lock. It is obeyed as the kernel would: default, ignore, plain or full handler, its
//! mask, one-shot (`SA_RESETHAND`). Only its wish for an alternate stack cannot be met. Also forwards a
//! failed fault of guest code to the process's *current* SIGSEGV handler, which is asked for at that
//! moment.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{c_int, c_void, siginfo_t};

use crate::sys::Errno;
use crate::sys::signal::{self, Action, Kind};

static PREVIOUS: OnceLock<Action> = OnceLock::new();
/// Whether a one-shot previous handler has had its shot.
static SPENT: AtomicBool = AtomicBool::new(false);

/// Remembers the action for SIGBUS that is to be replaced.
pub(crate) fn remember_previous() -> Result<(), Errno> {
    let action = signal::action(libc::SIGBUS)?;
    let first = PREVIOUS.set(action).is_ok();
    assert!(first, "the handler is installed once");
    Ok(())
}

/// Whether a signal was caused by an instruction of this thread, which comes again if we return.
fn synchronous(code: c_int) -> bool {
    code > 0
}

/// Hands a SIGBUS to the previous action.
///
/// # Safety
/// The arguments are those of the SIGBUS handler that is running.
pub(crate) unsafe fn previous(info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the caller's word.
    let code = unsafe { (*info).si_code };
    let action = PREVIOUS.get().copied().unwrap_or_else(Action::default_action);
    let one_shot = action.has(libc::SA_RESETHAND);
    // Relaxed: only the flag itself matters.
    let spent = one_shot && SPENT.swap(true, Ordering::Relaxed);
    match action.kind() {
        Kind::Handler | Kind::FullHandler if !spent => {
            // SAFETY: the caller's word, and the action is a handler's.
            unsafe { action.call(libc::SIGBUS, info, context) }
        }
        // The kernel does not let a fault of an instruction be ignored.
        Kind::Ignore if !synchronous(code) => {}
        _ => die(code),
    }
}

/// The default action: the process ends, with the state of the faulting instruction.
fn die(code: c_int) {
    let reset = signal::set_action(libc::SIGBUS, &Action::default_action());
    assert!(reset.is_ok(), "the default action is never refused");
    if !synchronous(code) {
        signal::raise(libc::SIGBUS);
    }
    // Otherwise we return, the instruction faults again, and nobody is in the way.
}

/// Hands a failed fault of guest code to the SIGSEGV handler. False when there is none.
///
/// # Safety
/// The arguments are those of the SIGBUS handler that is running.
pub(crate) unsafe fn as_segv(info: *mut siginfo_t, context: *mut c_void) -> bool {
    let Ok(action) = signal::action(libc::SIGSEGV) else {
        return false;
    };
    match action.kind() {
        Kind::Default | Kind::Ignore => false,
        Kind::Handler | Kind::FullHandler => {
            // SAFETY: the caller's word, and the action is a handler's.
            unsafe { action.call(libc::SIGSEGV, info, context) };
            true
        }
    }
}
