//! Faults on purpose: makes chosen system calls of this crate fail, so that tests can show
//! that every failure is survived.
//!
//! One plan for the whole process, in four atomics, written by [`arm`] and consulted by every
//! function of `sys.rs` through `refuse`. Tests that arm it must not run at the same time as
//! others in the same process. In a build without debug assertions `refuse` is
//! an empty function, so the hook costs nothing there; `arm` then says so by returning false.

use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use crate::sys::Errno;

/// A system call of the host; one for each function of `sys.rs` that may fail in earnest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs, reason = "each is the name of its system call or request")]
pub enum Call {
    Memfd = 1,
    Truncate,
    PoolWrite,
    PoolRead,
    Punch,
    MapArena,
    MapWindow,
    MapDirect,
    Seal,
    Allow,
    DontFork,
    DontNeed,
    PopulateWrite,
    Userfaultfd,
    Register,
    Continue,
    ZeroPage,
    Copy,
    WriteProtect,
    Poison,
    Scan,
    Splice,
    PipeRead,
    MapPiece,
    FileRead,
    FileWrite,
    FileSync,
}

// Relaxed: a test's own plan, no other data hangs on it.
const PLAN: Ordering = Ordering::Relaxed;

// Atomic, each by itself:
static CALL: AtomicU32 = AtomicU32::new(0);
static PASS: AtomicU64 = AtomicU64::new(0);
static LEFT: AtomicU64 = AtomicU64::new(0);
static ERRNO: AtomicI32 = AtomicI32::new(0);

/// From now on, lets `pass` uses of `call` through, then makes the next `times` of them fail
/// with `errno`. Replaces an earlier plan. Returns whether this build has the hook.
pub fn arm(call: Call, pass: u64, times: u64, errno: i32) -> bool {
    disarm();
    PASS.store(pass, PLAN);
    LEFT.store(times, PLAN);
    ERRNO.store(errno, PLAN);
    CALL.store(call as u32, PLAN);
    cfg!(debug_assertions)
}

/// Ends the plan; returns how many failures of it are still outstanding.
pub fn disarm() -> u64 {
    CALL.store(0, PLAN);
    LEFT.swap(0, PLAN)
}

/// Asked by `sys.rs` before each call: `Err` when the plan wants this one to fail.
#[inline]
pub(crate) fn refuse(call: Call) -> Result<(), Errno> {
    if !cfg!(debug_assertions) || CALL.load(PLAN) != call as u32 {
        return Ok(());
    }
    let one_less = |n: u64| n.checked_sub(1);
    if PASS.fetch_update(PLAN, PLAN, one_less).is_ok() {
        return Ok(());
    }
    match LEFT.fetch_update(PLAN, PLAN, one_less) {
        Ok(_) => Err(Errno(ERRNO.load(PLAN))),
        Err(_) => Ok(()),
    }
}
