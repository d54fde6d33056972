//! The kernel's own merging (KSM) is kept out of windows.
//!
//! A kernel that merges a page forgets that we protected it: stores to a page that its space has
//! exported would go through, and reach every relative. A process opts in as a whole
//! (`PR_SET_MEMORY_MERGE`, which a service manager may have set before `exec`), at any time, and
//! then all its memory is merged that does not say otherwise. So it is asked whenever a window is
//! opened (a fork opens one before it protects pages), and now and then besides: while the answer
//! is yes, windows say otherwise. When it turns to yes while windows are open, the kernel may have
//! been there already: the host is *suspicious*, once, and its manager looks at what it protected.
//! What nobody has looked at is caught in time all the same: bytes leave an exported page by
//! `copy_to_pool` only, which looks for itself. Three flags; no lock.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys;

/// What is known about the process's choice.
#[derive(Debug, Default)]
pub(crate) struct Ksm {
    // Atomic, each by itself:
    opted_in: AtomicBool,
    /// Whether it was ever so.
    was_opted_in: AtomicBool,
    suspicious: AtomicBool,
}

/// What the process has chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The kernel leaves its memory alone.
    Out,
    /// The kernel merges its memory, as it did when this was last asked.
    In,
    /// It does so since this was last asked.
    NewlyIn,
}

impl Ksm {
    /// Asks; a system call.
    pub(crate) fn ask(&self) -> Choice {
        let now = sys::merges_all();
        if now {
            // Relaxed: as below.
            self.was_opted_in.store(true, Ordering::Relaxed);
        }
        // Relaxed: a hint; who acts on it asks the kernel.
        match (self.opted_in.swap(now, Ordering::Relaxed), now) {
            (_, false) => Choice::Out,
            (true, true) => Choice::In,
            (false, true) => Choice::NewlyIn,
        }
    }

    /// What the last answer was.
    pub(crate) fn opted_in(&self) -> bool {
        // Relaxed: as above.
        self.opted_in.load(Ordering::Relaxed)
    }

    /// Whether any answer so far was yes.
    pub(crate) fn was_opted_in(&self) -> bool {
        // Relaxed: as above.
        self.was_opted_in.load(Ordering::Relaxed)
    }

    /// Protections may have been lost.
    pub(crate) fn suspect(&self) {
        // Release: what was done to the windows is done.
        self.suspicious.store(true, Ordering::Release);
    }

    /// Whether they may have been, since this was last asked.
    pub(crate) fn take_suspicion(&self) -> bool {
        // Relaxed: only to spare the swap; who must not miss it asks again.
        self.suspicious.load(Ordering::Relaxed)
            // Acquire: pairs with `suspect`.
            && self.suspicious.swap(false, Ordering::Acquire)
    }
}
