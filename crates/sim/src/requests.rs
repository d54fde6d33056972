//! What the machine was asked, for tests that say which calls an operation makes. Under the host's
//! lock.

use crate::host::SimHost;
use memfold_host::addr::{PageNo, PoolPage, Run, SpaceNo};

/// A call that a test may ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Stores become faults.
    Protect(SpaceNo, Run),
    /// Stores go through again.
    Unprotect(SpaceNo, Run),
    /// Pool pages are shown.
    Show(SpaceNo, Run),
    /// Stores to pool pages are let through.
    ShowWritable(SpaceNo, Run),
    /// Zeros are shown.
    ShowZero(SpaceNo, Run),
    /// Pages are emptied.
    Drop(SpaceNo, Run),
    /// A page is taken out of its window.
    Take(SpaceNo, PageNo),
    /// So many pool pages are freed.
    Free(PoolPage, u32),
    /// Which pages were shown?
    AskYoung(SpaceNo, Run),
    /// A window closes.
    Close(SpaceNo),
    /// A page table goes.
    FreeTable(SpaceNo, Run),
}

/// The requests since a test last asked, once one has said that it will.
#[derive(Debug, Default)]
pub(crate) struct Log(Option<Vec<Request>>);

impl Log {
    pub fn add(&mut self, request: Request) {
        if let Some(requests) = &mut self.0 {
            requests.push(request);
        }
    }
}

impl SimHost {
    /// From now on requests are kept.
    pub fn keep_requests(&self) {
        self.lock().log.0.get_or_insert_default();
    }

    /// The requests since this was last asked; none, unless they are [kept](Self::keep_requests).
    pub fn requests(&self) -> Vec<Request> {
        self.lock().log.0.as_mut().map(std::mem::take).unwrap_or_default()
    }
}
