//! Eviction: the bytes of a batch of frames go to the store (Linux: `shrink_folio_list`).
//!
//! For each frame whose lock is free: protect, read, store, hide or free, and only then change
//! every entry that names it, all under its lock, so that a fault in the middle of it waits and
//! then finds the page swapped. Protecting and hiding is done for runs of neighbours, because each
//! call interrupts every other running thread. What cannot be stored stays as it is.
//!
//! An eviction lowers the total: a victim that costs a page or more in the store, with what was put
//! beside it (`beside.rs`), is undone. The batch goes in parts, so that the reserve exports it a
//! small part at a time ([`RISE_MOST`] of the least one).

use super::batch::{BATCH, put_back};
use super::beside::{Beside, WORTH};
use super::cluster;
use super::lazy::drop_given_up;
use super::queue::{Isolated, Kind};
use super::victim::{Kept, Victim};
use crate::addr::{FrameNo, PageBytes, Run};
use crate::budget::{Need, StoreLedger};
use crate::emptied::hear_of_emptied;
use crate::emptying::Emptying;
use crate::error::Stop;
use crate::files::evict_page;
use crate::frame::{Owner, Residence};
use crate::host::{Host, PUT_MOST, Store};
use crate::keep::is_kept;
use crate::mm::{Mm, put_frame};
use crate::peek::exposed;
use crate::rmap::free_overflow_page;
use crate::swap::{Bytes, Swap, SwapRef};
use crate::table::LeafEntry;
use std::cell::Cell;

/// Bytes charged for stored pages after which those pages go before more are stored, in the
/// smallest budget.
pub(super) const FLUSH: u64 = 32 << 10;

/// The part of the reserve that may be charged so in larger ones: long runs need long parts.
const FLUSH_PART: u64 = 8;

/// The most by which a thread that reclaims raises the total before it lowers it, in bytes of the
/// least reserve: stored pages up to the mark, the one that passes it, and room for more swap
/// slots. Bases are not in it: they are not charged to the reserve.
pub(super) const RISE_MOST: u64 = FLUSH + PUT_MOST + Swap::GROWTH_BYTES;

// Half of the least reserve is for this; the other half is for pages that come back.
const _: () = assert!(
    RISE_MOST <= 64 << 10,
    "reclaim needs more than its half of the reserve"
);

/// Why frames are evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The user asked for it: whatever the store makes of them, as long as there is room outside of
    /// the reserve.
    Asked,
    /// Room is needed: a frame that would hold as much in the store stays, and so does one whose
    /// page is on loan.
    Pressure,
    /// A loan is to end. As `Pressure` otherwise.
    Loan,
    /// A loan is to end whatever its page holds: what does not compress is given up.
    CallIn,
}

/// Evicts what it can of the batch and puts the rest back; returns how many went.
pub(super) fn evict_batch<H: Host, S: Store, const N: usize>(
    mm: &Mm<H, S>,
    batch: &mut [Option<Isolated>; N],
    why: Why,
) -> u32 {
    let gone = drop_given_up(mm, batch) + evict_files(mm, batch);
    gone + Eviction::new(mm, why, batch, &mut [const { None }; N]).run()
}

/// Pages of files go back to their files, not to the store: those of the batch that can do so now;
/// the others of them are put back. How many went.
fn evict_files<H: Host, S: Store>(mm: &Mm<H, S>, batch: &mut [Option<Isolated>]) -> u32 {
    let mut evicted = 0;
    for isolated in batch {
        let Some(Isolated { no, .. }) = *isolated else {
            continue;
        };
        // It is a file's or not for as long as we hold it, unless it is nobody's by now.
        if !matches!(mm.frames.at(no).word.load().owner, Owner::File(_)) {
            continue;
        }
        let locked = mm.frames.try_lock(no);
        if locked.is_some_and(|locked| evict_page(mm, locked)) {
            *isolated = None;
            put_frame(mm, no);
            evicted += 1;
        } else {
            mm.counters.evictions_failed.one();
            put_back(mm, isolated);
        }
    }
    evicted
}

/// One eviction: the frames that are to go, and those of them that are locked and can.
pub(super) struct Eviction<'m, 'b, H, S> {
    pub(super) mm: &'m Mm<H, S>,
    pub(super) why: Why,
    batch: &'b mut [Option<Isolated>],
    pub(super) victims: &'b mut [Option<Victim<'m>>],
    /// Victims whose bytes the store did not have.
    written: Cell<u32>,
}

impl<'m, 'b, H: Host, S: Store> Eviction<'m, 'b, H, S> {
    /// Of as many frames as there is room for victims.
    pub fn new(
        mm: &'m Mm<H, S>,
        why: Why,
        batch: &'b mut [Option<Isolated>],
        victims: &'b mut [Option<Victim<'m>>],
    ) -> Self {
        Self {
            mm,
            why,
            batch,
            victims,
            written: Cell::new(0),
        }
    }

    /// Evicts what it can and puts the rest back; returns how many went.
    pub fn run(mut self) -> u32 {
        let len = self.choose();
        let key = |v: &Option<Victim<'_>>| v.as_ref().map(|v| (!v.is_own, v.place()));
        self.victims[..len].sort_unstable_by_key(key);
        let (taken, mut evicted) = self.take_own(len);
        cluster::protect(self.mm, &mut self.victims[taken..len]);
        evicted += self.move_bytes(taken, len);
        self.victims[..len].iter_mut().for_each(|v| *v = None);
        self.mm.reclaim.wrote(Kind::Anonymous, self.written.get());
        self.put_back();
        evicted
    }

    /// Locks those that can go, and puts the others back; how many they are.
    fn choose(&mut self) -> usize {
        let mut len = 0;
        for isolated in self.batch.iter_mut() {
            let Some(Isolated { no, .. }) = *isolated else {
                continue;
            };
            match Self::victim(self.mm, self.why, no) {
                Some(victim) => {
                    self.victims[len] = Some(victim);
                    len += 1;
                }
                None => {
                    self.mm.counters.evictions_failed.one();
                    put_back(self.mm, isolated);
                }
            }
        }
        len
    }

    /// The frame as a victim, if its lock is free and it can go.
    fn victim(mm: &'m Mm<H, S>, why: Why, no: FrameNo) -> Option<Victim<'m>> {
        let locked = mm.frames.try_lock(no)?;
        let at = locked.frame.word.load().owner.head()?;
        if locked.frame.count.load().pins != 0 || is_kept(mm, &locked) {
            return None;
        }
        if exposed(mm, &locked).is_some() {
            // Something took its protection: it is not stored as everybody's.
            return None;
        }
        if matches!(why, Why::Pressure | Why::Loan) && locked.frame.is_incompressible() {
            return None;
        }
        if why == Why::Pressure && locked.frame.on_loan().is_some() {
            return None;
        }
        let page = mm.tables.page_of(at);
        match locked.residence {
            Residence::Nowhere => return None,
            // The machine shows it by itself.
            Residence::Backing(backing) if mm.serves(backing) => {
                return None;
            }
            _ => (),
        }
        let alone = matches!(locked.residence, Residence::Private(_)) && locked.cached.is_none();
        let is_own = alone && !locked.frame.is_shared();
        Some(Victim {
            residence: locked.residence,
            page,
            is_own,
            locked,
            slot: None,
            kept: None,
        })
    }

    /// Part by part, as far as each may raise the total: the bytes go to the store, the pages out
    /// of sight, the entries over to the slots. How many went.
    fn move_bytes(&mut self, mut start: usize, len: usize) -> u32 {
        let mm = self.mm;
        let mut evicted = 0;
        // Ends: each turn looks at one victim at the least.
        while start < len {
            let end = start + self.store_some(start, len);
            let left = start + pack(&mut self.victims[start..end]);
            let mut private = Emptying::new(&mm.host);
            each_run(&self.victims[start..left], |run| hide(mm, run, &mut private));
            private.finish();
            for n in start..left {
                if let Some(mut gone) = self.victims[n].take() {
                    // Whoever waits for the frame goes on here.
                    self.commit(&mut gone);
                }
            }
            evicted += (left - start) as u32;
            start = end;
        }
        evicted
    }

    /// Stores victims until they have raised the total as far as they may before some of them go;
    /// how many were looked at.
    fn store_some(&mut self, start: usize, end: usize) -> usize {
        let ledger = self.mm.budget.ledger(Need::Reclaim);
        let most = FLUSH.max(self.mm.budget.reserve() / FLUSH_PART);
        for n in start..end {
            let Some(v) = &mut self.victims[n] else { continue };
            if store_victim(self.mm, self.why, v, None, &ledger).is_err() {
                self.mm.counters.evictions_failed.one();
                self.victims[n] = None;
            } else if ledger.raised() >= most {
                return n + 1 - start;
            }
        }
        end - start
    }

    /// Every entry that names the frame names the slot. Cannot fail.
    pub(super) fn commit(&self, v: &mut Victim<'_>) {
        let slot = v.slot.expect("the bytes are safe");
        let maps = v.locked.frame.count.load().maps;
        let clock = self.mm.reclaim.replacer.evicted();
        match v.kept.take() {
            Some(Kept { bytes, cost }) => {
                self.written.set(self.written.get() + 1);
                assert!(
                    self.why == Why::Asked || cost < WORTH,
                    "the eviction of frame {} holds {cost} bytes for a page",
                    v.locked.no
                );
                // What others have too may one day be this page's alone.
                let whole = cost >= WORTH || cost == 0 && bytes.cost(&self.mm.store).bytes >= WORTH;
                self.mm.swap.fill(slot, bytes, maps, clock, whole);
            }
            None => {
                v.locked.cached = None;
                self.mm.swap.uncache(slot, maps, clock);
            }
        }
        match v.residence {
            Residence::Private(space) => {
                if v.locked.frame.is_shared() {
                    self.mm.spaces.get(space.0).unexport();
                }
            }
            Residence::Backing(backing) => self.mm.backings.remove(backing, v.page, v.locked.no),
            Residence::Overflow(_) | Residence::Nowhere | Residence::File(..) => (),
        }
        self.mm.budget.refund_page(v.locked.charge.take());
        let replaced = self
            .mm
            .tables
            .replace_all(&mut v.locked, LeafEntry::Swapped(slot));
        assert_eq!(replaced, maps, "frame {}'s chain and count disagree", v.locked.no);
        self.mm.counters.evictions.one();
    }

    /// Who is nobody's frame any more is freed, the others go back to their queues.
    fn put_back(&mut self) {
        for isolated in self.batch.iter_mut() {
            let Some(Isolated { no, .. }) = *isolated else {
                continue;
            };
            if self.mm.frames.at(no).word.load().owner == Owner::Nobody {
                *isolated = None;
                put_frame(self.mm, no);
            } else {
                put_back(self.mm, isolated);
            }
        }
    }
}

/// A run of pages whose bytes are safe goes out of sight: private ones when the list is finished,
/// at the latest, others now.
fn hide<H: Host, S: Store>(mm: &Mm<H, S>, run: &[Option<Victim<'_>>], private: &mut Emptying<'_, H, BATCH>) {
    let len = run.len() as u32;
    match run[0].as_ref().map(Victim::place) {
        Some((Residence::Private(space), first)) => private.add(space, Run { first, len }),
        Some((Residence::Backing(backing), first)) => {
            mm.host.pool_free(mm.backings.first(backing).plus(first.0), len);
        }
        Some((Residence::Overflow(at), _)) => free_overflow_page(mm, at),
        Some((Residence::Nowhere | Residence::File(..), _)) | None => (),
    }
}

/// Calls `step` with each run of neighbours.
fn each_run<'v>(victims: &[Option<Victim<'v>>], mut step: impl FnMut(&[Option<Victim<'v>>])) {
    let follows = |before: &Option<Victim<'v>>, now: &Option<Victim<'v>>| {
        now.as_ref()
            .zip(before.as_ref())
            .is_some_and(|(now, before)| now.follows(before))
    };
    victims
        .chunk_by(follows)
        .filter(|run| run[0].is_some())
        .for_each(&mut step);
}

/// Finds or makes the slot that holds the frame's bytes. Changes nothing else.
pub(super) fn store_victim<H: Host, S: Store>(
    mm: &Mm<H, S>,
    why: Why,
    v: &mut Victim<'_>,
    taken: Option<&PageBytes>,
    ledger: &StoreLedger<'_>,
) -> Result<(), Stop> {
    if let Some(slot) = v.locked.cached {
        v.slot = Some(slot);
        mm.counters.evictions_clean.one();
        return Ok(());
    }
    let slot = mm.swap.alloc(&mm.budget).ok_or(Stop::NoRoom)?;
    match mm
        .scratch
        .with(|bytes| Beside::store(mm, v, taken, bytes, ledger))
    {
        Ok(kept) if kept.cost >= WORTH && !may_cost(mm, why) => {
            kept.bytes.free(&mm.store, ledger);
            if why == Why::CallIn && v.is_own {
                give_up(mm, v, slot);
                return Ok(());
            }
            mm.swap.cancel(slot);
            v.locked.frame.mark_incompressible(true);
            mm.counters.incompressible.one();
            Err(Stop::NoRoom)
        }
        Ok(kept) => {
            v.slot = Some(slot);
            v.kept = Some(kept);
            Ok(())
        }
        Err(stop) => {
            mm.swap.cancel(slot);
            if let Stop::Host(error) = stop {
                hear_of_emptied(mm, &v.locked, v.page, error);
            }
            Err(stop)
        }
    }
}

/// Nothing is kept of the victim's bytes, which stand nowhere else: its space finds the page lost.
fn give_up<H: Host, S: Store>(mm: &Mm<H, S>, v: &mut Victim<'_>, slot: SwapRef) {
    v.slot = Some(slot);
    v.kept = Some(Kept {
        bytes: Bytes::CalledIn,
        cost: 0,
    });
    mm.counters.called_in.one();
}

/// Whether an eviction may cost as much as it saves: not from the reserve, in which others' pages
/// come back.
fn may_cost<H: Host, S: Store>(mm: &Mm<H, S>, why: Why) -> bool {
    why == Why::Asked && mm.budget.free() != 0
}

/// Moves the victims that are left to the front, in order; returns how many they are.
fn pack(victims: &mut [Option<Victim<'_>>]) -> usize {
    let mut len = 0;
    for n in 0..victims.len() {
        if victims[n].is_some() {
            victims.swap(len, n);
            len += 1;
        }
    }
    len
}
