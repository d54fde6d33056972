//! Reclaim: which frames go to the store, and when.
//!
//! Which frames are next says a replacement policy (`policy.rs`): `two_lists.rs` or `s3_fifo.rs`,
//! made of queues (`queue.rs`), behind one lock (`replacer.rs`), one for each kind of content,
//! between which `balance.rs` decides. `age.rs` asks whether frames were used, and watches the
//! idle; `evict.rs` moves the bytes of a batch of frames to the store, `beside.rs` says near to
//! which bytes they are stored there, and frees those again that nobody needs; `cluster.rs` lets
//! pages go with the others of their leaf, `gather.rs` lets the pages of large families go with
//! their neighbours; `round.rs` says when it is enough. Here are the doors. A frame found busy
//! counts as used. Reclaim takes no space lock and waits for no frame lock, so it may run in a
//! fault, with that fault's space locked or not, in the background, or from a test: in bounded
//! steps.

mod age;
mod balance;
pub(crate) mod batch;
pub(crate) mod beside;
mod choice;
mod cluster;
mod evict;
mod gather;
mod lazy;
pub(crate) mod policy;
mod queue;
pub(crate) mod replacer;
mod room;
pub(crate) mod round;
mod s3_fifo;
pub(crate) mod state;
mod take;
mod two_lists;
mod victim;

pub(crate) use state::{Kind, Origin};

use crate::addr::{FrameNo, PageNo, Run, SpaceNo};
use crate::error::{SpaceError, Stop};
use crate::frame::Locked;
use crate::host::{Host, Store};
use crate::mm::Mm;
use crate::native::Natives;
use crate::stalled::Waiting;
use crate::window::Windows;
use batch::{BATCH, each_batch, settle};
use evict::{Why, evict_batch};
use policy::Finding;
use queue::Isolated;
use round::Reclaim;

impl<H: Host, S: Store> Mm<H, S> {
    /// Tries to move at least `pages` frames to the store; returns how many went. Bounded: ends
    /// after that many, or after as many rounds without success as it takes to look at every frame.
    pub fn reclaim(&self, pages: u32) -> u32 {
        Reclaim::new(self).run(pages)
    }

    /// Runs `step` until it is done, reclaiming when it finds no room. While another thread
    /// reclaims, what could go may all be in its hands: the end of its run is waited for.
    pub(crate) fn retry<R>(&self, mut step: impl FnMut() -> Result<R, Stop>) -> Result<R, Stop> {
        let (mut fruitless, mut waiting) = (0, Waiting::no_more());
        loop {
            match settled(&mut step) {
                Err(Stop::NoRoom) if waiting.goes_on(&self.reclaim.stalled) => (),
                Err(Stop::NoRoom) if fruitless < 3 => {
                    (fruitless, waiting) = match reclaim_for_fault(self) {
                        true => (0, Waiting::no_more()),
                        false => (fruitless + 1, self.reclaim.stalled.wait()),
                    };
                }
                other => return other,
            }
        }
    }

    /// Whether the background reclaimer has work; a hint.
    #[must_use]
    pub fn wants_reclaim(&self) -> bool {
        self.budget.is_low() && !self.reclaim.stalled.is_at(self.reclaim.stalled.now())
    }

    /// One bounded step of the background reclaimer; true when it should go on.
    pub fn reclaim_in_background(&self) -> bool {
        if self.budget.is_high() {
            return false;
        }
        let freed = Reclaim::in_background(self).free_some(BATCH as u32);
        if !freed && self.budget.is_low() {
            // Faults would call for it again and again.
            self.reclaim.room.rest();
        }
        freed && !self.budget.is_high()
    }

    /// Moves what the space maps in this range to the store, or back to its files, now, shared
    /// frames too; returns how many went. Pinned and busy frames stay, and so do pages that do not
    /// compress when all of the budget but the reserve is used. Native runs of its family end,
    /// since shared pages stay in their places as long as there are any.
    ///
    /// # Errors
    /// [`SpaceError::NoSuchSpace`].
    pub fn evict(&self, space: SpaceNo, run: Run) -> Result<u64, SpaceError> {
        // What still has one keeps its shared pages.
        let _ = self.retry(|| Natives::of(self).end_family(space));
        let mut evicted = 0;
        each_batch(self, space, run, |batch| {
            evicted += u64::from(evict_batch(self, batch, Why::Asked));
        })?;
        Windows::of(self).free_idle(space, run);
        Ok(evicted)
    }

    /// Says that the pages of this range are not needed soon: they go first when room is needed.
    ///
    /// # Errors
    /// [`SpaceError::NoSuchSpace`].
    pub fn advise_cold(&self, space: SpaceNo, run: Run) -> Result<(), SpaceError> {
        each_batch(self, space, run, |batch| {
            for isolated in batch {
                if let Some(Isolated { no, .. }) = isolated {
                    let _ = self.frames.at(*no).test_and_clear_referenced();
                }
                settle(self, isolated, Finding::Cold);
            }
        })
    }
}

/// Moves a page that is on loan to the store, if it can go; whether it went.
pub(crate) fn end_loan<H: Host, S: Store>(mm: &Mm<H, S>, space: SpaceNo, page: PageNo) -> bool {
    evict_loan(mm, space, page, Why::Loan)
}

/// The same; a page of one space alone that does not compress is given up.
pub(crate) fn call_in<H: Host, S: Store>(mm: &Mm<H, S>, space: SpaceNo, page: PageNo) -> bool {
    evict_loan(mm, space, page, Why::CallIn)
}

fn evict_loan<H: Host, S: Store>(mm: &Mm<H, S>, space: SpaceNo, page: PageNo, why: Why) -> bool {
    let mut went = 0;
    let ended = each_batch(mm, space, Run::one(page), |batch| {
        went += evict_batch(mm, batch, why);
    });
    // A space that is gone has nothing on loan.
    ended.is_ok() && went != 0
}

/// A frame, whose lock is held, is not needed soon: it goes first when room is needed.
pub(crate) fn goes_first<H, S>(mm: &Mm<H, S>, locked: &Locked<'_>) {
    let _ = locked.frame.test_and_clear_referenced();
    settle(
        mm,
        &mut mm.reclaim.replacer.isolate(&mm.frames, locked.no),
        Finding::Cold,
    );
}

/// Runs `step` until no other thread is in its way any more: one that is has made progress.
pub(crate) fn settled<R>(mut step: impl FnMut() -> Result<R, Stop>) -> Result<R, Stop> {
    loop {
        match step() {
            Err(Stop::Retry) => memfold_sync::thread::yield_now(),
            other => return other,
        }
    }
}

/// Reclaim by a thread that found no room; true when it freed something.
fn reclaim_for_fault<H: Host, S: Store>(mm: &Mm<H, S>) -> bool {
    mm.counters.direct_reclaims.one();
    Reclaim::new(mm).free_some(BATCH as u32)
}

/// A frame that goes to the store is mapped from now on, and may go when room is needed.
pub(crate) fn now_resident<H: Host, S: Store>(mm: &Mm<H, S>, no: FrameNo, origin: Origin) {
    if mm.reclaim.arrived(&mm.frames, no, Kind::Anonymous, origin) {
        mm.counters.refaults.one();
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
pub(crate) mod tests;
