//! The system calls about signals, and calling another's handler.
//!
//! An [`Action`] is the kernel's `sigaction` as a value. Everything here may be used inside a
//! signal handler: no lock, no allocation. Called by `sigbus.rs`, `chain.rs` and `thread.rs`.

use std::mem::MaybeUninit;

use libc::{c_int, c_void, siginfo_t};

use super::{Errno, checked};

/// What a process does about a signal.
#[derive(Clone, Copy)]
pub(crate) struct Action(libc::sigaction);

/// What an [`Action`] comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `SIG_DFL`.
    Default,
    /// `SIG_IGN`.
    Ignore,
    /// A function of the signal's number.
    Handler,
    /// A function of number, information and machine state (`SA_SIGINFO`).
    FullHandler,
}

/// A handler of the full kind.
pub(crate) type Full = unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

impl std::fmt::Debug for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Action({:?}, flags {:#x})", self.kind(), self.0.sa_flags)
    }
}

impl Action {
    /// Calls `handler` on the ordinary stack, with every signal blocked but those that instructions
    /// cause, this one included, and interrupted calls restarted.
    pub(crate) fn new(handler: Full) -> Self {
        let mut action = Self::default_action();
        action.0.sa_mask = all_but_own();
        action.0.sa_sigaction = handler as usize;
        action.0.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER | libc::SA_RESTART;
        action
    }

    /// `SIG_DFL`.
    pub(crate) fn default_action() -> Self {
        // SAFETY: all zeros are a valid action: SIG_DFL, an empty mask, no flags.
        Self(unsafe { MaybeUninit::zeroed().assume_init() })
    }

    /// Whether this calls `handler`.
    pub(crate) fn calls(&self, handler: Full) -> bool {
        self.kind() == Kind::FullHandler && self.0.sa_sigaction == handler as usize
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.0.sa_sigaction {
            libc::SIG_DFL => Kind::Default,
            libc::SIG_IGN => Kind::Ignore,
            _ if self.has(libc::SA_SIGINFO) => Kind::FullHandler,
            _ => Kind::Handler,
        }
    }

    pub(crate) fn has(&self, flag: c_int) -> bool {
        self.0.sa_flags & flag != 0
    }

    /// Calls the handler as the kernel would: with its signals blocked meanwhile. (The kernel would
    /// also change to the alternate stack if asked to; that cannot be done here.)
    ///
    /// # Safety
    /// `info` and `context` are those of the signal handler that is running; the action is a
    /// handler's.
    pub(crate) unsafe fn call(&self, signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
        let mut mask = self.0.sa_mask;
        if !self.has(libc::SA_NODEFER) {
            // SAFETY: adds a valid signal to a set of ours.
            unsafe { libc::sigaddset(&raw mut mask, signal) };
        }
        let old = change_mask(libc::SIG_BLOCK, &mask);
        match self.kind() {
            Kind::FullHandler => {
                // SAFETY: SA_SIGINFO says that the address is a function of this type.
                let handler = unsafe { std::mem::transmute::<usize, Full>(self.0.sa_sigaction) };
                // SAFETY: the caller vouches for the arguments.
                unsafe { handler(signal, info, context) };
            }
            Kind::Handler => {
                // SAFETY: neither SIG_DFL nor SIG_IGN nor SA_SIGINFO: a function of this type.
                let handler =
                    unsafe { std::mem::transmute::<usize, extern "C" fn(c_int)>(self.0.sa_sigaction) };
                handler(signal);
            }
            Kind::Default | Kind::Ignore => unreachable!("the action is a handler's"),
        }
        change_mask(libc::SIG_SETMASK, &old);
    }
}

/// Changes the thread's mask, and returns the old one. Only a filter of system calls refuses that;
/// then nothing changes, no signal counts as blocked, and the thread does its work with signals
/// coming in.
fn change_mask(how: c_int, mask: &libc::sigset_t) -> libc::sigset_t {
    let mut old = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: both sets are live; the thread's own mask changes.
    let _refused = unsafe { libc::pthread_sigmask(how, mask, old.as_mut_ptr()) };
    // SAFETY: zeroed, which is the empty set, and filled by the call when it is not refused.
    unsafe { old.assume_init() }
}

/// While this lives, the thread blocks every signal; a thread that it starts begins so.
#[derive(Debug)]
pub(crate) struct Blocked(libc::sigset_t);

impl Blocked {
    /// Blocks them.
    pub(crate) fn all() -> Self {
        let mut mask = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: fills a set of ours.
        let mask = unsafe {
            libc::sigfillset(mask.as_mut_ptr());
            mask.assume_init()
        };
        Self(change_mask(libc::SIG_SETMASK, &mask))
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        change_mask(libc::SIG_SETMASK, &self.0);
    }
}

/// Every signal but those that a thread's own instructions cause.
fn all_but_own() -> libc::sigset_t {
    let mut mask = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: fills a set of ours, then takes valid signals out of it.
    unsafe {
        libc::sigfillset(mask.as_mut_ptr());
        for signal in [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGILL,
            libc::SIGFPE,
            libc::SIGTRAP,
            libc::SIGABRT,
        ] {
            libc::sigdelset(mask.as_mut_ptr(), signal);
        }
        mask.assume_init()
    }
}

/// Blocks every signal of this thread but those that its own instructions cause.
pub(crate) fn block_all() {
    change_mask(libc::SIG_SETMASK, &all_but_own());
}

/// Whether this thread has the signal blocked.
pub(crate) fn is_blocked(signal: c_int) -> bool {
    let mut none = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: empties a set of ours.
    let none = unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        none.assume_init()
    };
    let now = change_mask(libc::SIG_BLOCK, &none);
    // SAFETY: asks a set of ours for a valid signal.
    unsafe { libc::sigismember(&raw const now, signal) == 1 }
}

/// Blocks again what the code that a signal interrupted has blocked, and nothing else: for handlers
/// of others, which may never return to us.
///
/// # Safety
/// `machine_state` is the third argument of a signal handler that is running.
pub(crate) unsafe fn restore_mask(machine_state: *mut c_void) {
    // SAFETY: the kernel passes a `ucontext_t`, by the caller's word; only its set is looked at.
    let mask = unsafe { &(*machine_state.cast::<libc::ucontext_t>()).uc_sigmask };
    change_mask(libc::SIG_SETMASK, mask);
}

/// What the process does about the signal now.
pub(crate) fn action(signal: c_int) -> Result<Action, Errno> {
    let mut action = Action::default_action();
    // SAFETY: asks only; fills a structure of ours.
    checked(i64::from(unsafe {
        libc::sigaction(signal, std::ptr::null(), &raw mut action.0)
    }))?;
    Ok(action)
}

/// Changes what the process does about the signal.
pub(crate) fn set_action(signal: c_int, action: &Action) -> Result<(), Errno> {
    // SAFETY: the action is the default, one the kernel gave us, or our own handler, which keeps
    // to what a handler may do.
    checked(i64::from(unsafe {
        libc::sigaction(signal, &raw const action.0, std::ptr::null_mut())
    }))
    .map(drop)
}

/// Sends the signal to this thread.
pub(crate) fn raise(signal: c_int) {
    // SAFETY: a signal to ourselves; its action is whatever is set.
    unsafe { libc::raise(signal) };
}

/// Runs `body` and leaves the thread's error code as it was.
pub(crate) fn keeping_errno<R>(body: impl FnOnce() -> R) -> R {
    // SAFETY: the address of this thread's own error code is always valid.
    let before = unsafe { *libc::__errno_location() };
    let result = body();
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = before };
    result
}
