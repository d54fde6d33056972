//! Signals that are not ours go on to whoever handled them before.
//!
//! An action that our SIGBUS handler replaces is written down before ours is installed (again: each
//! time that a host is built and finds another handler there), and read by the handler without a
//! lock. The newest is obeyed first, as the kernel would: default, ignore, plain or full handler,
//! its mask, one-shot (`SA_RESETHAND`); when it passes the signal on to us, the one before it is
//! next. Only its wish for an alternate stack cannot be met. Also forwards a failed fault of guest
//! code to the process's *current* SIGSEGV handler, which is asked for at that moment.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use libc::{c_int, c_void, siginfo_t};

use crate::sys::Errno;
use crate::sys::signal::{self, Action, Kind};

/// How often another handler can be found in the place of ours.
const MOST: usize = 8;

/// An action that ours replaced. What it points to is never freed.
struct Before {
    action: AtomicPtr<Action>,
    /// Whether it has become the default since: a one-shot handler has had its shot, or a handler
    /// reset itself.
    spent: AtomicBool,
}

/// From the first on; null from `KNOWN` on.
static BEFORE: [Before; MOST] = [const {
    Before {
        action: AtomicPtr::new(std::ptr::null_mut()),
        spent: AtomicBool::new(false),
    }
}; MOST];
static KNOWN: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// How many of the previous actions this thread is inside: a handler that replaced ours and
    /// passes signals on calls ours, which must not call it again.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Remembers an action for SIGBUS that is to be replaced. An error when that was so too often.
pub(crate) fn remember_previous(action: Action) -> Result<(), Errno> {
    let kept = Box::into_raw(Box::new(action));
    for (place, before) in BEFORE.iter().enumerate() {
        let none = std::ptr::null_mut();
        // Release: publishes the action. Relaxed: the place is taken.
        let placed = (before.action).compare_exchange(none, kept, Ordering::Release, Ordering::Relaxed);
        if placed.is_ok() {
            // Release: as above; the handler reads as many.
            KNOWN.fetch_max(place + 1, Ordering::Release);
            return Ok(());
        }
    }
    // SAFETY: made above, and placed nowhere.
    drop(unsafe { Box::from_raw(kept) });
    Err(Errno(libc::EAGAIN))
}

/// The action that is next, now that this thread is inside `depth` of them.
fn next_previous(depth: usize) -> Option<&'static Before> {
    // Acquire: pairs with `remember_previous`.
    let place = KNOWN.load(Ordering::Acquire).checked_sub(depth + 1)?;
    BEFORE.get(place)
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
    let depth = DEPTH.get();
    let Some(before) = next_previous(depth) else {
        return die(code);
    };
    // Acquire: pairs with `remember_previous`.
    // SAFETY: published before it was counted, and never freed.
    let action = unsafe { *before.action.load(Ordering::Acquire) };
    // Relaxed: only the flag itself matters.
    let spent = match action.has(libc::SA_RESETHAND) {
        true => before.spent.swap(true, Ordering::Relaxed),
        false => before.spent.load(Ordering::Relaxed), // Relaxed: as above.
    };
    match action.kind() {
        Kind::Handler | Kind::FullHandler if !spent => {
            DEPTH.set(depth + 1);
            // SAFETY: the caller's word, and the action is a handler's.
            unsafe { action.call(libc::SIGBUS, info, context) };
            DEPTH.set(depth);
            take_back(before);
        }
        // The kernel does not let a fault of an instruction be ignored.
        Kind::Ignore if !synchronous(code) => {}
        _ => die(code),
    }
}

/// A handler that has returned may have reset the signal to its default (std's does, for a signal
/// that is none of its own): it means its own place in the chain, for the next signal that is not
/// ours. Ours stays.
fn take_back(before: &Before) {
    if signal::action(libc::SIGBUS).is_ok_and(|now| now.kind() == Kind::Default) {
        // Relaxed: as in `previous`.
        before.spent.store(true, Ordering::Relaxed);
        let again = crate::sigbus::set_again();
        assert!(
            again.is_ok(),
            "a handler is not refused that was set before: {again:?}"
        );
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
