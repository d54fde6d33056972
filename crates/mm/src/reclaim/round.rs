//! Rounds of reclaim: some frames are aged, a batch goes, some bases go; and when it is time to
//! give up.
//!
//! Where many frames in a row seem to be used, the signs that are weak count no more ([`Look`]), so
//! that the search ends. Called by the doors of the room (`mod.rs`), with no lock held or with a
//! space's.

use super::age::{Aging, Look};
use super::batch::{BATCH, WIDE};
use super::beside::Bases;
use super::cluster;
use super::evict::{Why, evict_batch};
use super::gather::Neighbours;
use crate::host::{Host, Store};
use crate::mm::{Mm, PAGE};
use crate::native::Natives;
use crate::window::Windows;

/// Batches that a round ages, at the most, until the policy knows of enough frames whether they are
/// used: long runs are found there.
const AGED: usize = if cfg!(any(loom, shuttle)) { 1 } else { 8 };

/// Rounds without a page freed after which reclaim gives up, at the least; more when there are more
/// frames, so that every frame is looked at twice: once to forget that it was used, once to go.
/// Few: in a budget full of what cannot go, each fault has such a run.
const FRUITLESS: u32 = 4;

/// Frames that did not compress and were stored to since which a run tries, while others go.
const DOUBTED: u32 = BATCH as u32 / 4;

/// The most rounds without a page freed after which only certain signs of use count.
pub(super) const THOROUGH_MOST: u32 = 32;

/// A run of reclaim by one thread.
pub(crate) struct Reclaim<'m, H, S> {
    mm: &'m Mm<H, S>,
    look: Look,
    /// Whether batches are wide.
    wide: bool,
    /// Frames that went so far.
    frames: u32,
    /// Bases that nobody needed, of which each round looks at some.
    bases: u64,
}

impl<'m, H: Host, S: Store> Reclaim<'m, H, S> {
    pub fn new(mm: &'m Mm<H, S>) -> Self {
        Self {
            mm,
            look: Look::Thorough,
            wide: false,
            frames: 0,
            bases: 0,
        }
    }

    /// By a thread of its own beside those that it is done for. Batches are wide where the budget
    /// is so large that one does not go far beyond what is asked for.
    pub fn in_background(mm: &'m Mm<H, S>) -> Self {
        let wide = mm.budget.reserve() / PAGE >= 2 * WIDE as u64;
        Self {
            wide,
            ..Self::new(mm)
        }
    }

    /// Tries to move at least `pages` frames to the store; returns how many went. Bounded: ends
    /// after that many, or after as many rounds without success as it takes to look at every frame.
    pub fn run(&mut self, pages: u32) -> u32 {
        let (mut fruitless, replacer) = (0, &self.mm.reclaim.replacer);
        let rounds = (replacer.census().total() + replacer.doubted()) / BATCH as u32;
        let thorough = rounds.clamp(FRUITLESS, THOROUGH_MOST);
        let patience = thorough + FRUITLESS.max(rounds * 3);
        let tries = |most| replacer.try_doubted(&self.mm.frames, most);
        tries(DOUBTED);
        while self.frames < pages && fruitless < patience {
            if replacer.census().total() == 0 && tries(BATCH as u32) == 0 {
                break;
            }
            // Ends: a few batches at the most.
            for _ in 0..AGED {
                if self.aging().next_batch() == 0 {
                    break;
                }
            }
            let now = self.evict_next();
            self.frames += now;
            self.bases += Bases(self.mm).shrink().0;
            fruitless = if now == 0 { fruitless + 1 } else { 0 };
            if now == 0 {
                tries(BATCH as u32);
            }
            if fruitless == thorough {
                self.look = Look::Hasty;
            }
        }
        self.frames
    }

    fn aging(&self) -> Aging<'m, H, S> {
        let (mm, look) = (self.mm, self.look);
        Aging { mm, look }
    }

    /// Evicts one batch of those that the policy wants to go, but for the used ones; returns how
    /// many went.
    pub fn evict_next(&self) -> u32 {
        if self.wide {
            self.evict_some::<WIDE>()
        } else {
            self.evict_some::<BATCH>()
        }
    }

    fn evict_some<const N: usize>(&self) -> u32 {
        let mut batch = [const { None }; N];
        let taken = cluster::isolate(self.mm, &mut batch);
        self.mm.counters.scanned.add(taken as u64);
        let neighbours = Neighbours::gather(self.mm, &mut batch);
        self.aging().keep_used(&mut batch);
        let went = evict_batch(self.mm, &mut batch, Why::Pressure);
        went + neighbours.map_or(0, |found| found.evict(self.look))
    }

    /// Frees so many frames and page tables that hold none any more, or when none can go the bases
    /// that nobody needs; true when something went. Where nothing could go and nothing has changed
    /// since, it is not tried again.
    pub fn free_some(mut self, pages: u32) -> bool {
        let mm = self.mm;
        if Windows::of(mm).free_kept() {
            return true;
        }
        if mm.natives.len() != 0 && Natives::of(mm).give_way() != 0 {
            return true;
        }
        let now = mm.reclaim.stalled.now();
        if mm.reclaim.stalled.is_at(now) {
            return false;
        }
        let _under_way = mm.reclaim.stalled.begin();
        let frames = self.run(pages);
        let tables = Windows::of(mm).shrink(frames);
        let freed = frames + tables != 0
            || self.bases != 0
            || Bases(mm).shrink_all()
            // Tables have a second chance, too.
            || (0..2).any(|_| Windows::of(mm).shrink(0) != 0);
        if !freed && mm.reclaim.stalled.under_way() == 1 {
            mm.reclaim.stalled.stall(now);
        }
        freed
    }
}
