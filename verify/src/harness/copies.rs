//! Forked processes: between two operations a program calls `fork(2)`, and the child does what it
//! can with what it inherits.
//!
//! It has a copy of every handle, and goes through the door that the library goes through
//! (`memfold_mm::Door`); to it that must be shut. Where a child enters all the same, or the machine
//! is asked for anything, this panics at once; and what the manager, the machine and the store are
//! afterwards is what they were. The value that holds the manager itself is not here: that a child
//! does not drop it is the business of `memfold_linux::Own`, and of tests of real processes.

use super::Harness;
use crate::stores::Built;
use memfold_mm::{Digest, Door, Ended, Forked, Mm, Stats, Usage};
use memfold_sim::{Memory, SimHost};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Operations between two such children.
pub(super) const EVERY: u64 = 64;

/// All that a child could change: the manager's state, the machine's memory, its windows (by the
/// trace of all calls).
#[derive(Debug, PartialEq)]
struct Everything {
    digest: Digest,
    usage: Usage,
    stats: Stats,
    stored_pages: u64,
    doomed: usize,
    memory: Memory,
    windows: usize,
    trace: u64,
}

/// A child's copies of all handles: of pins and of spaces.
struct Handles<'a, S: Built>(&'a Harness<S>);

impl<S: Built> Drop for Handles<'_, S> {
    fn drop(&mut self) {
        for live in &self.0.live {
            live.pins.iter().for_each(|&run| self.0.end_pin(live.no, run));
            assert_eq!(
                self.0.end_space(live.no),
                Ended::Inherited,
                "a child of fork(2) ended its parent's space {}",
                live.no
            );
        }
    }
}

impl<S: Built> Door for Harness<S> {
    type Host = SimHost;
    type Store = S;
    type Entered<'a>
        = &'a Mm<SimHost, S>
    where
        S: 'a;

    fn is_inherited(&self) -> bool {
        self.mm.host().is_inherited()
    }

    fn enter(&self) -> &Mm<SimHost, S> {
        assert!(
            !self.is_inherited(),
            "a child of fork(2) enters its parent's manager"
        );
        &self.mm
    }
}

impl<S: Built> Harness<S> {
    /// A child lives and dies: it tries to work, drops all that it has, and drops it once more by
    /// unwinding.
    pub(super) fn fork_process(&mut self) {
        let before = self.everything();
        self.mm.host().as_copy(|| {
            // Whatever the operation, it begins so.
            assert_eq!(
                self.pass().err(),
                Some(Forked),
                "an operation of a child of fork(2)"
            );
            drop(Handles(self));
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                let _inherited = Handles(self);
                // Not `panic!`: nothing is to be said of it.
                resume_unwind(Box::new(Forked));
            }));
            assert!(unwound.is_err());
        });
        assert_eq!(
            self.everything(),
            before,
            "a child of fork(2) changed its parent's memory"
        );
        self.tally.copies += 1;
    }

    fn everything(&self) -> Everything {
        let host = self.mm.host();
        Everything {
            digest: crate::audit::digest(&self.mm),
            usage: self.mm.usage(),
            stats: self.mm.stats(),
            stored_pages: self.mm.store().stats().pages,
            doomed: self.mm.doomed().count(),
            memory: host.memory(),
            windows: host.open_windows(),
            trace: host.trace_hash(),
        }
    }
}
