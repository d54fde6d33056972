//! Reclaim: which frames go to the store, and when.
//!
//! Which frames are next says a replacement policy (`policy.rs`): `two_lists.rs` or `s3_fifo.rs`, made of queues (`queue.rs`),
//! behind one lock (`replacer.rs`). `age.rs` asks whether frames were used, and watches the idle; `evict.rs` moves the bytes of a batch of frames to the store, `beside.rs` says
//! near to which bytes they are stored there, and frees those again that nobody needs; `gather.rs` lets the pages of large
//! families go with their neighbours. Where many frames in a row seem to be used, the signs that are weak count no more
//! ([`Look`]), so that the search ends. A frame found busy counts as used. Reclaim takes no space lock and waits for no frame lock, so it may run in a
//! fault, with that fault's space locked or not, in the background, or from a test: in bounded steps.

mod age;
mod beside;
mod evict;
mod gather;
pub(crate) mod policy;
mod queue;
pub(crate) mod replacer;
mod s3_fifo;
mod two_lists;

pub use policy::Replacement;
pub(crate) use replacer::{Origin, Replacer};

use crate::addr::{FrameNo, PageNo, Run, SpaceNo};
use crate::host::{Host, PUT_MOST, Store};
use crate::mm::{Mm, PAGE, SpaceError};
use crate::swap::Swap;
use crate::table::{Entry, FAN};
use policy::Finding;
use queue::Isolated;

/// Frames worked on at a time: one change of protection or drop serves many.
pub(crate) const BATCH: usize = if cfg!(any(loom, shuttle)) { 2 } else { 32 };

/// A batch of frames taken off their queues.
pub(crate) type Batch = [Option<Isolated>; BATCH];

/// Bytes charged for stored pages after which those pages go before more are stored, in the smallest budget.
const FLUSH: u64 = 32 << 10;

/// The part of the reserve that may be charged so in larger ones.
const FLUSH_PART: u64 = 8;

/// The most by which a thread that reclaims raises the total before it lowers it, in bytes of the least reserve: stored pages up to
/// the mark, the one that passes it, and room for more swap slots. Bases are not in it: they are not charged to the reserve.
pub(crate) const RISE_MOST: u64 = FLUSH + PUT_MOST + Swap::GROWTH_BYTES;

// Half of the least reserve is for this; the other half is for pages that come back.
const _: () = assert!(
    RISE_MOST <= 64 << 10,
    "reclaim needs more than its half of the reserve"
);

/// Batches that a round ages, at the most, until the policy knows of enough frames whether they are used: long runs are found there.
const AGED: usize = if cfg!(any(loom, shuttle)) { 1 } else { 8 };

/// Rounds without a page freed after which reclaim gives up, at the least; more when there are more frames, so that
/// every frame is looked at twice: once to forget that it was used, once to go.
const FRUITLESS: u32 = 16;

/// The most rounds without a page freed after which only certain signs of use count.
const THOROUGH_MOST: u32 = 32;

/// How closely it is looked whether a frame was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Windows are asked as well, and one that still shows the frame excuses it.
    Thorough,
    /// Only use that is known for certain counts.
    Hasty,
}

impl<H: Host, S: Store> Mm<H, S> {
    /// Tries to move at least `pages` frames to the store; returns how many went. Bounded: ends after that many, or after
    /// as many rounds without success as it takes to look at every frame.
    pub fn reclaim(&self, pages: u32) -> u32 {
        self.reclaim_counted(pages).0
    }

    /// The same; how many frames went, and how many bases that nobody needed: each round looks at some of them too.
    fn reclaim_counted(&self, pages: u32) -> (u32, u64) {
        let (mut freed, mut bases) = (0, 0);
        let mut fruitless = 0;
        let rounds = self.replacer.census().total() / BATCH as u32;
        let thorough = rounds.clamp(FRUITLESS, THOROUGH_MOST);
        let patience = thorough + FRUITLESS.max(rounds * 3);
        let mut look = Look::Thorough;
        while freed < pages && fruitless < patience {
            if self.replacer.census().total() == 0 {
                break;
            }
            // Ends: a few batches at the most.
            for _ in 0..AGED {
                if self.age(look) == 0 {
                    break;
                }
            }
            let now = self.evict_next(look);
            freed += now;
            bases += self.shrink_bases().0;
            fruitless = if now == 0 { fruitless + 1 } else { 0 };
            if fruitless == thorough {
                look = Look::Hasty;
            }
        }
        (freed, bases)
    }

    /// Reclaim by a thread that found no room; true when it freed something.
    pub(crate) fn reclaim_for_fault(&self) -> bool {
        self.counters.direct_reclaims.one();
        self.reclaim_batch()
    }

    /// Frees a batch of frames and page tables that hold none any more, or when none can go the bases that nobody needs; true
    /// when something went. Where
    /// nothing could go and nothing has changed since, it is not tried again.
    fn reclaim_batch(&self) -> bool {
        let now = self.stalled.now();
        if self.stalled.is_at(now) {
            return false;
        }
        let (frames, bases) = self.reclaim_counted(BATCH as u32);
        let tables = self.shrink_windows(frames);
        let freed = frames + tables != 0
            || bases != 0
            || self.shrink_all_bases()
            // Tables have a second chance, too.
            || (0..2).any(|_| self.shrink_windows(0) != 0);
        if !freed {
            self.stalled.stall(now);
        }
        freed
    }

    /// Whether the background reclaimer has work; a hint.
    #[must_use]
    pub fn wants_reclaim(&self) -> bool {
        self.budget.is_low() && !self.stalled.is_at(self.stalled.now())
    }

    /// One bounded step of the background reclaimer; true when it should go on.
    pub fn reclaim_in_background(&self) -> bool {
        !self.budget.is_high() && self.reclaim_batch() && !self.budget.is_high()
    }

    /// Moves what the space maps in this range to the store now, shared frames too; returns how many went.
    /// Pinned and busy frames stay, and so do pages that do not compress when all of the budget but the reserve is used.
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
            for isolated in batch {
                if let Some(Isolated { no, .. }) = isolated {
                    let _ = self.frame(*no).test_and_clear_referenced();
                }
                self.settle_frame(isolated, Finding::Cold);
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
                        batch[len] = self.replacer.isolate(&self.frames, no);
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

    /// Bytes charged for stored pages after which those pages go before more are stored: long runs need long parts.
    fn flush_bytes(&self) -> u64 {
        FLUSH.max(self.budget.reserve() / FLUSH_PART)
    }

    /// A frame is mapped from now on, and may go when room is needed.
    pub(crate) fn now_resident(&self, no: FrameNo, origin: Origin) {
        if self.replacer.add(&self.frames, no, origin) {
            self.counters.refaults.one();
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
