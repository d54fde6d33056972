//! The door to a manager that others hold by handles: who may enter, and what the drop of a handle
//! does.
//!
//! A child of `fork(2)` inherits the handles, but windows, pool and descriptors are its parent's,
//! and the manager's locks may be held by threads that the child does not have. So whose the
//! manager is, is asked before any lock: to a child every operation is refused ([`Forked`]), and
//! its drops do nothing. That rule stands here once, for the library and for the simulator; the
//! machine says whose it is. No data and no lock. Called by every operation on a handle; faults do
//! not come this way: a child has no windows.

use crate::addr::{Run, SpaceNo};
use crate::error::SpaceError;
use crate::host::{Host, Store};
use crate::mm::Mm;
use std::ops::Deref;

/// This process is a child of `fork(2)`, and the manager is its parent's; nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this process is a child of fork(2), and the manager is its parent's")]
pub struct Forked;

/// What became of a space whose handle was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is gone.
    Now,
    /// It could not end yet, for this reason: it ends as soon as the machine lets it.
    Later(SpaceError),
    /// It is the parent's, which goes on using it.
    Inherited,
}

/// Whoever holds a manager for others.
pub trait Door {
    /// The manager's machine.
    type Host: Host;
    /// The manager's store.
    type Store: Store;
    /// Being inside, until it is dropped.
    type Entered<'a>: Deref<Target = Mm<Self::Host, Self::Store>>
    where
        Self: 'a;

    /// Whether another process made the manager, an ancestor of this one by `fork(2)`. Takes no
    /// lock.
    fn is_inherited(&self) -> bool;

    /// Enters, which may wait for a lock; for [`pass`](Self::pass), and for faults, which only the
    /// process has that made the manager.
    fn enter(&self) -> Self::Entered<'_>;

    /// Enters for one operation.
    ///
    /// # Errors
    /// [`Forked`] in a child of `fork(2)`, without having waited for anything.
    fn pass(&self) -> Result<Self::Entered<'_>, Forked> {
        if self.is_inherited() {
            return Err(Forked);
        }
        Ok(self.enter())
    }

    /// The handle of a space was dropped: it ends now, or as soon as the machine lets it. No thread
    /// is inside its window.
    fn end_space(&self, space: SpaceNo) -> Ended {
        let Ok(mm) = self.pass() else {
            return Ended::Inherited;
        };
        match mm.drop_space(space) {
            Ok(()) | Err(SpaceError::NoSuchSpace(_)) => Ended::Now,
            // The machine refused to move a page that forks still share: it is asked again later.
            Err(error) => {
                mm.doomed().add(space);
                Ended::Later(error)
            }
        }
    }

    /// The handle of a pin was dropped: the pages may move again.
    fn end_pin(&self, space: SpaceNo, run: Run) {
        if let Ok(mm) = self.pass() {
            mm.unpin(space, run);
        }
    }
}
