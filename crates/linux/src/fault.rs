//! How a fault reaches the manager: the [`FaultSink`] it gives, and the [`Site`] that holds
//! everything of a host that a fault handler needs.
//!
//! A site is made with its host, outlives all its windows and is read without a lock. The sink is set once.
//! Called by `sigbus.rs` (the faulting thread itself) and `thread.rs` (the handler thread).

use std::sync::{Arc, OnceLock, Weak};

use memfold_mm::addr::{Access, PageNo, SpaceNo};

use crate::pages::Pages;

/// Who decides a fault: in the end, the manager.
///
/// Called on any thread, from inside a signal handler with in-thread delivery, on that thread's ordinary
/// stack. The interrupted code was touching a window, so it holds none of the manager's locks; the sink
/// must not touch a window itself.
pub trait FaultSink: Send + Sync {
    /// Makes the page of the space accessible for `access`, by the methods of the host; several threads may
    /// ask for one page at once. A page that is accessible already is [`FaultReply::Resolved`] too: the
    /// access is repeated.
    fn fault(&self, space: SpaceNo, page: PageNo, access: Access) -> FaultReply;

    /// A fault of this page has failed, and the access is host code's (a `memory.copy` of a runtime, an embedder's loop), which
    /// nobody can stop in the middle: says what becomes of it. Called in the thread that made the access.
    fn lost(&self, _space: SpaceNo, _page: PageNo) -> LostReply {
        LostReply::Signal
    }

    /// A fault of this page has failed, with a handler thread: the page is about to be taken away, so that the thread that
    /// waits gets a signal. Moves what it holds for others elsewhere; false when it holds bytes that are nowhere else.
    fn vacate(&self, _space: SpaceNo, _page: PageNo) -> bool {
        false
    }

    /// The fault of this page was resolved again and again and comes all the same: somebody else has emptied the page, and its bytes
    /// are lost. The sink notes that; the host goes on as if the fault had failed.
    fn stuck(&self, _space: SpaceNo, _page: PageNo) {}
}

/// What came of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum FaultReply {
    /// The access can be repeated.
    Resolved,
    /// The page cannot be had. The sink has noted that; guest code is trapped (see
    /// [`register_guest_code`](crate::register_guest_code)), for other code the sink says what becomes of it.
    Failed,
}

/// What becomes of an access of host code that cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum LostReply {
    /// The sink has put something in its place: the access can be repeated.
    Repeat,
    /// The thread gets SIGBUS, as for a page that the kernel has lost: the handler before ours is called, and without one
    /// the process ends.
    Signal,
    /// The process ends, with a message.
    Abort,
}

/// How faults arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Delivery {
    /// The faulting thread runs the sink itself, in a signal handler (SIGBUS). Fast, and needs no privilege.
    /// A system call on a page that is not accessible gets `EFAULT`.
    #[default]
    InThread,
    /// A handler thread runs the sink while the faulting thread waits in the kernel. Slower; system calls
    /// and virtual machines work on windows like on any memory. Needs
    /// [`UserMode::Full`](crate::UserMode::Full).
    Thread,
}

/// What a fault handler needs of a host.
#[derive(Debug)]
pub(crate) struct Site {
    // Immutable after build:
    pub(crate) pages: Pages,
    pub(crate) delivery: Delivery,
    // Written once:
    sink: OnceLock<Attached>,
}

struct Attached(Weak<dyn FaultSink>);

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Attached")
    }
}

impl Site {
    pub(crate) fn new(pages: Pages, delivery: Delivery) -> Self {
        Self {
            pages,
            delivery,
            sink: OnceLock::new(),
        }
    }

    /// Says whom to ask; once.
    pub(crate) fn attach(&self, sink: Weak<dyn FaultSink>) {
        let first = self.sink.set(Attached(sink)).is_ok();
        assert!(first, "a host has one fault sink");
    }

    /// The sink, kept alive by the caller. When this turns out to be the last to hold it, the host itself
    /// goes with it: so it is let go *after* the window has been left.
    pub(crate) fn sink(&self) -> Option<Arc<dyn FaultSink>> {
        self.sink.get().and_then(|attached| attached.0.upgrade())
    }
}

/// Asks the sink; without one, the fault has failed.
pub(crate) fn ask(sink: Option<&dyn FaultSink>, space: SpaceNo, page: PageNo, access: Access) -> FaultReply {
    sink.map_or(FaultReply::Failed, |sink| sink.fault(space, page, access))
}
