//! [`Manager`]: the manager, which many threads are inside of, and one alone at moments when nobody
//! else is.
//!
//! The arrays of the manager can only shrink while no operation is under way, since an operation
//! may remember the number of an item that was given back meanwhile. So everything that enters
//! holds a shared lock for as long as it is inside, and who wants the manager for itself only
//! tries, when nobody is inside, and never waits: a fault that comes from within an operation on
//! the same thread enters without fear. Waiting for the one alone is short: it frees a bounded
//! number of chunks.

use memfold_linux::LinuxHost;
use memfold_mm::{Giving, Mm, give_back_tables, has_spare_tables};
use memfold_stores::CompressedStore;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Manager(RwLock<Mm<LinuxHost, CompressedStore>>);

/// Being inside.
pub(crate) type Entered<'a> = RwLockReadGuard<'a, Mm<LinuxHost, CompressedStore>>;

impl Manager {
    pub fn new(mm: Mm<LinuxHost, CompressedStore>) -> Self {
        Self(RwLock::new(mm))
    }

    /// The manager, for one operation. Allocates nothing; for signal handlers as well, since faults
    /// are synchronous.
    pub fn enter(&self) -> Entered<'_> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same without waiting, for a child of `fork(2)`, in which nobody may be there to let it
    /// in.
    pub fn try_enter(&self) -> Option<Entered<'_>> {
        self.0.try_read().ok()
    }

    /// Frees tables that are not in use, if nobody is inside: when the budget is low all of them,
    /// else what is more than a few. A part at a time, so that nobody waits long; true when there
    /// are more. Not for signal handlers.
    pub fn give_back(&self) -> bool {
        let giving = {
            let mm = self.enter();
            let giving = if mm.wants_reclaim() {
                Giving::All
            } else {
                Giving::Spare
            };
            has_spare_tables(&mm, giving).then_some(giving)
        };
        let Some(giving) = giving else { return false };
        if let Ok(mut alone) = self.0.try_write() {
            give_back_tables(&mut alone, giving);
        }
        has_spare_tables(&self.enter(), giving)
    }
}
