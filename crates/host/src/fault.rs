//! How a page fault reaches the manager: a host asks its [`FaultSink`]; a program of the simulator
//! asks [`Resolve`].
//!
//! Traits and plain answers; nothing here is shared.

use crate::Host;
use crate::addr::{Access, PageNo, SpaceNo};

/// A manager on a machine, as programs of that machine see it: it makes pages accessible.
pub trait Resolve {
    /// The machine.
    type Host: Host;
    /// Why a page could not be made accessible.
    type Error: std::fmt::Debug;

    /// The machine on which it works.
    fn host(&self) -> &Self::Host;

    /// Makes the page accessible for `access`, as a page fault asks. It may have been taken again
    /// before the access is repeated.
    ///
    /// # Errors
    /// When the page cannot be had; the space's state is as it was but for the failure that is
    /// noted.
    fn resolve(&self, space: SpaceNo, page: PageNo, access: Access) -> Result<(), Self::Error>;
}

/// Who decides a fault: in the end, the manager.
///
/// Called on any thread, from inside a signal handler with in-thread delivery, on that thread's
/// ordinary stack. The interrupted code was touching a window, so it holds none of the manager's
/// locks; the sink must not touch a window itself.
pub trait FaultSink: Send + Sync {
    /// Makes the page of the space accessible for `access`, by the methods of the host; several
    /// threads may ask for one page at once. A page that is accessible already is
    /// [`FaultReply::Resolved`] too: the access is repeated.
    fn fault(&self, space: SpaceNo, page: PageNo, access: Access) -> FaultReply;

    /// A fault of this page has failed, and the access is host code's (a `memory.copy` of a
    /// runtime, an embedder's loop), which nobody can stop in the middle: says what becomes of it.
    /// Called in the thread that made the access.
    fn lost(&self, _space: SpaceNo, _page: PageNo) -> LostReply {
        LostReply::Signal
    }

    /// A fault of this page has failed, with a handler thread: the page is about to be taken away,
    /// so that the thread that waits gets a signal. Moves what it holds for others elsewhere.
    fn vacate(&self, _space: SpaceNo, _page: PageNo) -> VacateReply {
        VacateReply::Kept
    }

    /// The fault of this page was resolved again and again and comes all the same: somebody else
    /// has emptied the page, and its bytes are lost. The sink notes that; the host goes on as if
    /// the fault had failed.
    fn stuck(&self, _space: SpaceNo, _page: PageNo) {}
}

/// What came of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum FaultReply {
    /// The access can be repeated.
    Resolved,
    /// The page cannot be had. The sink has noted that; guest code is trapped (see
    /// `register_guest_code` of the host), for other code the sink says what becomes of it.
    Failed,
}

/// Whether a page can be taken away whose fault has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum VacateReply {
    /// It holds nothing there that is nowhere else: it can.
    Vacated,
    /// It is the space's own, and stores to it go through now: the access can be repeated.
    Open,
    /// Neither.
    Kept,
}

/// What becomes of an access of host code that cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum LostReply {
    /// The sink has put something in its place: the access can be repeated.
    Repeat,
    /// The thread gets SIGBUS, as for a page that the kernel has lost: the handler before ours is
    /// called, and without one the process ends.
    Signal,
    /// The process ends, with a message.
    Abort,
}
