//! Reclaim: which frames go to the store, and when.
//!
//! Two lists and a second chance, as in Linux: `age.rs` moves what was not used from the active to the inactive
//! list and asks whether frames were used; `evict.rs` moves the bytes of a batch of frames to the store. A frame
//! found busy counts as used. Reclaim takes no space lock and waits for no frame lock, so it may run in a
//! fault, with that fault's space locked or not, in the background, or from a test: in bounded steps.

mod age;
mod evict;

use crate::addr::{PageNo, Run, SpaceNo};
use crate::host::{Host, Store};
use crate::lru::{Isolated, List};
use crate::mm::{Mm, PAGE, SpaceError};
use crate::table::{Entry, FAN};

/// Frames worked on at a time: one change of protection or drop serves many.
pub(crate) const BATCH: usize = if cfg!(any(loom, shuttle)) { 2 } else { 32 };

/// A batch of frames taken off their list.
pub(crate) type Batch = [Option<Isolated>; BATCH];

/// Rounds without a page freed after which reclaim gives up, at the least; more when the lists are longer, so that
/// every frame is looked at twice: once to forget that it was used, once to go.
const FRUITLESS: u32 = 16;

impl<H: Host, S: Store> Mm<H, S> {
    /// Tries to move at least `pages` frames to the store; returns how many went. Bounded: ends after that many, or after
    /// as many rounds without success as it takes to look at every frame.
    pub fn reclaim(&self, pages: u32) -> u32 {
        let mut freed = 0;
        let mut fruitless = 0;
        let listed = self.lru.len(List::Active) + self.lru.len(List::Inactive);
        let patience = FRUITLESS.max(listed / BATCH as u32 * 3);
        while freed < pages && fruitless < patience {
            if self.lru.is_empty() {
                break;
            }
            if self.lru.len(List::Inactive) <= self.lru.len(List::Active) {
                self.shrink_active();
            }
            let now = self.shrink_inactive();
            freed += now;
            fruitless = if now == 0 { fruitless + 1 } else { 0 };
        }
        freed
    }

    /// Reclaim by a thread that found no room; true when it freed something.
    pub(crate) fn reclaim_for_fault(&self) -> bool {
        self.counters.direct_reclaims.one();
        self.reclaim_all() != 0
    }

    /// Frames, and page tables that hold none of them any more; how many went.
    fn reclaim_all(&self) -> u32 {
        let frames = self.reclaim(BATCH as u32);
        frames + self.shrink_windows(frames)
    }

    /// Whether the background reclaimer has work; a hint.
    #[must_use]
    pub fn wants_reclaim(&self) -> bool {
        self.budget.is_low()
    }

    /// One bounded step of the background reclaimer; true when it should go on.
    pub fn reclaim_in_background(&self) -> bool {
        !self.budget.is_high() && self.reclaim_all() != 0 && !self.budget.is_high()
    }

    /// Moves what the space maps in this range to the store now, shared frames too; returns how many went.
    /// Pinned and busy frames stay.
    ///
    /// # Errors
    /// [`SpaceError::NoSuchSpace`].
    pub fn evict(&self, space: SpaceNo, run: Run) -> Result<u64, SpaceError> {
        let evicted = self.each_batch(space, run, |batch| {
            u64::from(self.evict_batch(batch, evict::Why::Asked))
        })?;
        self.free_idle_tables(space, run);
        Ok(evicted)
    }

    /// Says that the pages of this range are not needed soon: they go first when room is needed.
    ///
    /// # Errors
    /// [`SpaceError::NoSuchSpace`].
    pub fn advise_cold(&self, space: SpaceNo, run: Run) -> Result<(), SpaceError> {
        self.each_batch(space, run, |batch| {
            for isolated in batch.iter_mut().filter_map(Option::take) {
                let _ = self.frame(isolated.0).test_and_clear_referenced();
                let no = self.lru.putback_tail(&self.frames, isolated, List::Inactive);
                self.put_frame(no);
            }
            0
        })
        .map(|_| ())
    }

    /// Isolates the frames that the space maps in a range, batch by batch, without the space lock during `step`.
    fn each_batch(
        &self,
        space: SpaceNo,
        run: Run,
        mut step: impl FnMut(&mut Batch) -> u64,
    ) -> Result<u64, SpaceError> {
        let mut page = run.first.0;
        let mut done = 0;
        let mut batch: Batch = [const { None }; BATCH];
        loop {
            let mut len = 0;
            {
                let st = self.lock_space(space)?;
                let end = run.end().0.min(st.len);
                while page < end && len < BATCH {
                    let found = self.lookup(&st, PageNo(page));
                    if let Entry::Frame(no) = found.entry {
                        batch[len] = self.lru.isolate(&self.frames, no);
                        len += usize::from(batch[len].is_some());
                    }
                    page = if found.leaf.is_some() {
                        page + 1
                    } else {
                        (page | (FAN as u32 - 1)) + 1
                    };
                }
                if page >= end && len == 0 {
                    return Ok(done);
                }
            }
            done += step(&mut batch);
        }
    }

    /// Bytes that a normal need could take now; a hint.
    #[must_use]
    pub fn free_pages(&self) -> u64 {
        self.budget.free() / PAGE
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
