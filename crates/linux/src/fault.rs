//! How a fault reaches the manager: the [`Site`] holds everything of a host that a fault handler
//! needs, its [`FaultSink`] among it.
//!
//! A site is made with its host, outlives all its windows and is read without a lock. The sink is
//! set once. Called by `sigbus.rs` (the faulting thread itself) and `thread.rs` (the handler
//! thread).

use std::sync::{Arc, OnceLock, Weak};

use memfold_host::addr::Access;
use memfold_host::{FaultReply, FaultSink};

use crate::pages::Pages;
use crate::present;
use crate::table::Inside;

/// How faults arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Delivery {
    /// The faulting thread runs the sink itself, in a signal handler (SIGBUS). Fast, and needs no
    /// privilege. A system call on a page that is not accessible gets `EFAULT`.
    #[default]
    InThread,
    /// A handler thread runs the sink while the faulting thread waits in the kernel. Slower; system
    /// calls and virtual machines work on windows like on any memory. Needs
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

    /// The sink, kept alive by the caller. When this turns out to be the last to hold it, the host
    /// itself goes with it: so it is let go *after* the window has been left.
    pub(crate) fn sink(&self) -> Option<Arc<dyn FaultSink>> {
        self.sink.get().and_then(|attached| attached.0.upgrade())
    }
}

/// A fault, as the machine tells it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    /// What the program wanted.
    pub(crate) access: Access,
    /// Whether the page was there when the access was refused.
    pub(crate) present: bool,
}

/// Asks the sink about an address of a window; without one, the fault has failed.
pub(crate) fn ask(sink: Option<&dyn FaultSink>, inside: &Inside, addr: usize, told: Told) -> FaultReply {
    let (page, memory) = inside.page(addr);
    sink.map_or(FaultReply::Failed, |sink| {
        present::answering(memory, told.present, || {
            sink.fault(inside.space(), page, told.access)
        })
    })
}
