//! Neighbours in a window whose frames are locked, and that are protected in one call: each call
//! interrupts every other running thread. Used under the space's lock by who moves pages and by who
//! gives them up.

use crate::addr::{PageNo, Run, SpaceNo};
use crate::frame::Locked;
use crate::host::{Host, HostError};
use crate::table::FANOUT;

/// The neighbours, at most those of one leaf.
pub(super) struct LockedRun<'m> {
    first: PageNo,
    len: usize,
    frames: [Option<Locked<'m>>; FANOUT],
}

impl<'m> LockedRun<'m> {
    pub fn new() -> Self {
        Self {
            first: PageNo(0),
            len: 0,
            frames: [const { None }; FANOUT],
        }
    }

    /// Whether the page goes on where the run ends.
    pub fn follows(&self, page: PageNo) -> bool {
        self.len != 0 && self.first.plus(self.len as u32) == page
    }

    /// One page more, which follows, or is the first.
    pub fn add(&mut self, page: PageNo, locked: Locked<'m>) {
        if self.len == 0 {
            self.first = page;
        }
        self.frames[self.len] = Some(locked);
        self.len += 1;
    }

    /// Stores to the pages are faults from now on; then each is let go, after a step. The run is
    /// empty afterwards.
    ///
    /// # Errors
    /// What the machine refuses: no step was made.
    pub fn protect<H: Host>(
        &mut self,
        host: &H,
        space: SpaceNo,
        mut step: impl FnMut(&mut Locked<'m>),
    ) -> Result<(), HostError> {
        let (first, len) = (self.first, std::mem::take(&mut self.len) as u32);
        if len == 0 {
            return Ok(());
        }
        let protected = host.protect(space, Run { first, len });
        for mut locked in self.frames.iter_mut().filter_map(Option::take) {
            if protected.is_ok() {
                locked.protected = true;
                step(&mut locked);
            }
        }
        protected
    }
}
