//! The SIGBUS handler: faults of windows, in the thread that has them.
//!
//! Installed with the first host and never removed; again where somebody has replaced it when a
//! host is built. It runs on the thread's *ordinary* stack: the manager needs more than the 8 KiB
//! that std's alternate stacks have, and a thread that touches a window is not out of stack.
//! (Called on an alternate stack all the same, it works on one of ours: `stack.rs`.) All signals
//! are blocked meanwhile but those of instructions, SIGBUS among these: a program's handler on top
//! of ours might touch a window while we hold locks. The error code is kept. It is entered by an
//! instruction that touched a window, so the interrupted code holds no lock of ours, and it takes
//! what locks it needs like any other caller. The window is found without a lock (`table.rs`); a
//! signal that is not ours goes to the previous handler (`chain.rs`). A fault of the host's own
//! access to a window ends that access (`guard.rs`).
//!
//! A fault that failed: of guest code, it goes on to the SIGSEGV handler, whose runtime makes a
//! trap of it. Of other code (a runtime's own `memory.copy`), which nobody could stop in the
//! middle, the sink says what becomes of it: a signal, the end of the process, or something that it
//! has put in the page's place. With thread delivery the faults themselves do not come here, only
//! failed ones, by way of a poisoned page: the sink is asked once more, and what failed again is
//! dealt with here, because only here it is known whose instruction it was.

use libc::{c_int, c_void, siginfo_t};

use crate::again;
use crate::chain;
use crate::context::{Interrupted, interrupted};
use crate::fault::ask;
use crate::guard;
use crate::guest;
use crate::stack;
use crate::sys::signal::{self, Action};
use crate::sys::{self, Errno};
use crate::table::{self, Inside};
use memfold_host::{FaultReply, FaultSink, LostReply};

/// `si_code`: a fault that somebody else should have resolved.
const BUS_ADRERR: c_int = 2;
/// `si_code`: the page is poisoned, by us or by a memory error.
const BUS_MCEERR_AR: c_int = 4;

/// Installs the handler, if it is not there: the first time, or because somebody has replaced it.
pub(crate) fn install() -> Result<(), Errno> {
    let now = signal::action(libc::SIGBUS)?;
    if now.calls(on_sigbus) {
        return Ok(());
    }
    chain::remember_previous(now)?;
    set_again()
}

/// Installs the handler once more, when what was there is known.
pub(crate) fn set_again() -> Result<(), Errno> {
    signal::set_action(libc::SIGBUS, &Action::new(on_sigbus))
}

/// Whether the handler is the one that the kernel calls.
pub(crate) fn is_installed() -> bool {
    signal::action(libc::SIGBUS).is_ok_and(|now| now.calls(on_sigbus))
}

/// # Safety
/// Called by the kernel, or by a handler that it called, with the arguments of a signal handler
/// with information (`SA_SIGINFO`).
unsafe extern "C" fn on_sigbus(_: c_int, info: *mut siginfo_t, context: *mut c_void) {
    signal::keeping_errno(|| {
        // SAFETY: the kernel calls this with a signal's information and machine state.
        let (code, addr, machine) =
            unsafe { ((*info).si_code, (*info).si_addr() as usize, interrupted(context)) };
        // SAFETY: the machine state of this handler.
        if unsafe { ends_access(code, addr, context) } {
            return;
        }
        let mut verdict = Verdict::NotOurs;
        let mut work = || verdict = decide(code, addr, machine);
        // SAFETY: the machine state of this handler.
        if unsafe { stack::is_alternate(context) } {
            stack::run(&mut work);
        } else {
            work();
        }
        if verdict == Verdict::Repeat {
            return;
        }
        // Whoever is next may jump out of the signal: without our mask.
        // SAFETY: the machine state of this handler.
        unsafe { signal::restore_mask(context) };
        match verdict {
            // SAFETY: the arguments of this handler.
            Verdict::Trap if unsafe { chain::as_segv(info, context) } => {}
            // SAFETY: the arguments of this handler.
            _ => unsafe { chain::previous(info, context) },
        }
    });
}

/// Ends the host's own access to a window, if the fault is one of that.
///
/// # Safety
/// The machine state is that of the handler that is running.
unsafe fn ends_access(code: c_int, addr: usize, context: *mut c_void) -> bool {
    if !guard::is_inside() {
        return false;
    }
    let ours = |inside: Inside| code == BUS_ADRERR || is_poison(code, &inside);
    let ends = table::enter(addr).is_some_and(ours);
    if ends {
        // SAFETY: the caller's word; this thread's access has faulted.
        unsafe { guard::end(context) };
    }
    ends
}

/// Whether a fault is one of a page that we have poisoned; otherwise the machine itself may have
/// lost it.
fn is_poison(code: c_int, inside: &Inside) -> bool {
    code == BUS_MCEERR_AR && inside.site().pages.poison_used()
}

/// What becomes of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The instruction is repeated.
    Repeat,
    /// The guest's runtime is told.
    Trap,
    /// Somebody else is told.
    NotOurs,
}

/// Leaves the window before it returns: other handlers may jump out of the signal.
fn decide(code: c_int, addr: usize, machine: Interrupted) -> Verdict {
    if code != BUS_ADRERR && code != BUS_MCEERR_AR {
        return Verdict::NotOurs;
    }
    // Declared first, so dropped last (see `Site::sink`).
    let sink;
    let Some(inside) = table::enter(addr) else {
        return Verdict::NotOurs;
    };
    sink = inside.site().sink();
    if code == BUS_MCEERR_AR && !is_poison(code, &inside) {
        // The machine itself has lost the page.
        return Verdict::NotOurs;
    }
    let (page, _) = inside.page(addr);
    match ask(sink.as_deref(), &inside, addr, machine.told) {
        FaultReply::Resolved if again::is_stuck(addr) => {
            if let Some(sink) = sink.as_deref() {
                sink.stuck(inside.space(), page);
            }
            failed(sink.as_deref(), &inside, addr, machine)
        }
        FaultReply::Resolved => Verdict::Repeat,
        FaultReply::Failed => failed(sink.as_deref(), &inside, addr, machine),
    }
}

/// The page cannot be had: a trap for guest code, what the sink says for other code.
fn failed(sink: Option<&dyn FaultSink>, inside: &Inside, addr: usize, machine: Interrupted) -> Verdict {
    if guest::contains(machine.pc) {
        return Verdict::Trap;
    }
    let (page, _) = inside.page(addr);
    match sink.map_or(LostReply::Signal, |sink| sink.lost(inside.space(), page)) {
        LostReply::Repeat => Verdict::Repeat,
        LostReply::Signal => Verdict::NotOurs,
        LostReply::Abort => sys::abort(
            "memfold: a page of a memory image cannot be had, and host code needs it now; the process ends, as it was told to\n",
        ),
    }
}
