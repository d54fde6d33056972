//! Pages that leave their windows together: each call of the machine interrupts every other running
//! thread.
//!
//! A list of runs on the stack of who empties them, handed to the machine when it is full and at
//! the end. Neighbours that come one after the other are one run. Used by `reclaim/evict.rs` and
//! `reset.rs`, under the locks that keep the pages from coming back.

use crate::addr::{PageNo, Run, SpaceNo};
use crate::host::Host;

/// The list.
pub(crate) struct Emptying<'m, H, const RUNS: usize> {
    host: &'m H,
    runs: [(SpaceNo, Run); RUNS],
    len: usize,
}

impl<'m, H: Host, const RUNS: usize> Emptying<'m, H, RUNS> {
    pub fn new(host: &'m H) -> Self {
        Self {
            host,
            runs: [(SpaceNo(0), Run::one(PageNo(0))); RUNS],
            len: 0,
        }
    }

    /// These pages are empty at the latest when the list is [finished](Self::finish).
    pub fn add(&mut self, space: SpaceNo, run: Run) {
        if let Some((before, last)) = self.runs[..self.len].last_mut()
            && *before == space
            && last.end() == run.first
        {
            last.len += run.len;
            return;
        }
        if self.len == RUNS {
            self.finish();
        }
        self.runs[self.len] = (space, run);
        self.len += 1;
    }

    /// Empties what was added.
    pub fn finish(&mut self) {
        match std::mem::take(&mut self.len) {
            0 => (),
            len => self.host.drop_many(&self.runs[..len]),
        }
    }

    /// Whether nothing waits to be emptied.
    pub fn is_finished(&self) -> bool {
        self.len == 0
    }
}
