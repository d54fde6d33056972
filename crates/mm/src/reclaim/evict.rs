//! Eviction: the bytes of a batch of frames go to the store (Linux: `shrink_folio_list`).
//!
//! For each frame whose lock is free: protect, read, store, hide or free, and only then change every
//! entry that names it, all under its lock, so that a fault in the middle of it waits
//! and then finds the page swapped. Protecting and hiding is done for runs of neighbours, because
//! each call interrupts every other running thread. What cannot be stored stays as it is.
//!
//! An eviction lowers the total: a victim that costs a page or more in the store, with what was put beside it (`beside.rs`),
//! is undone. The batch goes in parts, so that the reserve lends it a small part at a time ([`RISE_MOST`](super::RISE_MOST) of the
//! least one).

use super::beside::{Kept, WORTH};
use super::queue::Isolated;
use super::{BATCH, Batch};
use crate::addr::{PageNo, PoolPage, Run, SpaceNo};
use crate::budget::{Class, Need, StoreLedger};
use crate::frame::{Locked, Owner, Residence};
use crate::home::HomeNo;
use crate::host::{Host, Store};
use crate::mm::{Mm, PAGE, Stop};
use crate::swap::SwapRef;
use crate::table::Entry;

/// Why frames are evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The user asked for it: whatever the store makes of them, as long as there is room outside of the reserve.
    Asked,
    /// Room is needed: a frame that would hold as much in the store stays.
    Pressure,
}

/// Where a victim's bytes are, in an order that makes neighbours stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Private(SpaceNo, PageNo),
    Home(u32, PageNo),
    Loose(u64),
}

impl Place {
    fn follows(self, before: Self) -> bool {
        match (before, self) {
            (Self::Private(a, p), Self::Private(b, q)) => a == b && p.plus(1) == q,
            (Self::Home(a, p), Self::Home(b, q)) => a == b && p.plus(1) == q,
            _ => false,
        }
    }
}

pub(super) struct Victim<'a> {
    pub place: Place,
    pub page: PageNo,
    pub locked: Locked<'a>,
    /// The slot that will stand in the entries, once the bytes are safe.
    slot: Option<SwapRef>,
    /// New bytes for that slot; `None` when it has them already.
    kept: Option<Kept>,
}

impl<H: Host, S: Store> Mm<H, S> {
    /// Evicts what it can of the batch and puts the rest back; returns how many went.
    pub(crate) fn evict_batch(&self, batch: &mut Batch, why: Why) -> u32 {
        let mut victims = [const { None }; BATCH];
        self.evict_isolated(batch, &mut victims, why)
    }

    /// The same for as many frames as there is room for victims.
    pub(super) fn evict_isolated<'s>(
        &'s self,
        batch: &mut [Option<Isolated>],
        victims: &mut [Option<Victim<'s>>],
        why: Why,
    ) -> u32 {
        let mut len = 0;
        for isolated in batch.iter_mut() {
            let Some(Isolated { no, .. }) = *isolated else {
                continue;
            };
            match self.victim(Locked::attempt(no, self.frame(no)), why) {
                Some(victim) => {
                    victims[len] = Some(victim);
                    len += 1;
                }
                None => {
                    self.counters.evictions_failed.one();
                    self.put_back(isolated);
                }
            }
        }
        let victims = &mut victims[..len];
        victims.sort_unstable_by_key(|v| v.as_ref().map(|v| v.place));
        let evicted = self.evict_victims(victims, why);
        victims.iter_mut().for_each(|v| *v = None);
        for isolated in batch.iter_mut() {
            let Some(Isolated { no, .. }) = *isolated else {
                continue;
            };
            if self.frame(no).word.load().owner == Owner::Nobody {
                *isolated = None;
                self.put_frame(no);
            } else {
                self.put_back(isolated);
            }
        }
        evicted
    }

    fn victim<'s>(&'s self, locked: Option<Locked<'s>>, why: Why) -> Option<Victim<'s>> {
        let locked = locked?;
        let (Owner::Exclusive(at) | Owner::Shared(at)) = locked.frame.word.load().owner else {
            return None;
        };
        if locked.frame.count.load().pins != 0 {
            return None;
        }
        if self.exposed(&locked).is_some() {
            // Something took its protection: it is not stored as everybody's.
            return None;
        }
        if why == Why::Pressure && locked.frame.is_incompressible() {
            return None;
        }
        let page = self.page_of(at);
        let place = match locked.residence {
            Residence::Private(space) => Place::Private(space, page),
            Residence::Home(home) => Place::Home(home.0, page),
            Residence::Loose(at) => Place::Loose(at.0),
            Residence::Nowhere => return None,
        };
        Some(Victim {
            place,
            page,
            locked,
            slot: None,
            kept: None,
        })
    }

    fn evict_victims(&self, victims: &mut [Option<Victim<'_>>], why: Why) -> u32 {
        self.each_run(victims, |run| {
            if let Some(Victim {
                place: Place::Private(space, first),
                ..
            }) = &run[0]
            {
                // A frame that cannot be protected is not read below.
                return self
                    .host
                    .protect(
                        *space,
                        Run {
                            first: *first,
                            len: run.len() as u32,
                        },
                    )
                    .is_ok();
            }
            true
        });
        let (mut rest, mut evicted) = (victims, 0);
        // Ends: each turn looks at one victim at the least.
        while !rest.is_empty() {
            let stored = self.store_some(rest, why);
            let (part, later) = rest.split_at_mut(stored);
            let len = pack(part);
            self.each_run(&mut part[..len], |run| {
                self.hide(run);
                true
            });
            for victim in &mut part[..len] {
                if let Some(mut gone) = victim.take() {
                    // Whoever waits for the frame goes on here.
                    self.commit(&mut gone, why);
                }
            }
            evicted += len as u32;
            rest = later;
        }
        evicted
    }

    /// Stores victims until they have raised the total as far as they may before some of them go; how many were looked at.
    fn store_some(&self, victims: &mut [Option<Victim<'_>>], why: Why) -> usize {
        let (ledger, most) = (self.budget.ledger(Need::Reclaim), self.flush_bytes());
        for (n, victim) in victims.iter_mut().enumerate() {
            let Some(v) = victim else { continue };
            if self.store_victim(v, why, &ledger).is_err() {
                self.counters.evictions_failed.one();
                *victim = None;
            } else if ledger.raised() >= most {
                return n + 1;
            }
        }
        victims.len()
    }

    /// Calls `step` with each run of neighbours; those of a run for which it says no are let go.
    fn each_run<'v>(&self, victims: &mut [Option<Victim<'v>>], step: impl Fn(&[Option<Victim<'v>>]) -> bool) {
        let mut start = 0;
        while start < victims.len() {
            let place = |n: usize| victims[n].as_ref().map(|v| v.place);
            let mut end = start + 1;
            while end < victims.len()
                && place(end)
                    .zip(place(end - 1))
                    .is_some_and(|(now, before)| now.follows(before))
            {
                end += 1;
            }
            if victims[start].is_some() && !step(&victims[start..end]) {
                victims[start..end].iter_mut().for_each(|v| *v = None);
            }
            start = end;
        }
    }

    /// Finds or makes the slot that holds the frame's bytes. Changes nothing else.
    fn store_victim(&self, v: &mut Victim<'_>, why: Why, ledger: &StoreLedger<'_>) -> Result<(), Stop> {
        if let Some(slot) = v.locked.cached {
            v.slot = Some(slot);
            self.counters.evictions_clean.one();
            return Ok(());
        }
        let slot = self.swap.alloc(&self.budget).ok_or(Stop::NoRoom)?;
        match self.with_scratch(|bytes| self.store_bytes(v, bytes, ledger)) {
            Ok(kept) if kept.cost >= WORTH && !self.may_cost(why) => {
                self.store.free(kept.stored, ledger);
                self.swap.cancel(slot);
                v.locked.frame.mark_incompressible(true);
                self.counters.incompressible.one();
                Err(Stop::NoRoom)
            }
            Ok(kept) => {
                v.slot = Some(slot);
                v.kept = Some(kept);
                Ok(())
            }
            Err(stop) => {
                self.swap.cancel(slot);
                if let Stop::Host(error) = stop {
                    self.hear_of_emptied(&v.locked, v.page, error);
                }
                Err(stop)
            }
        }
    }

    /// Whether an eviction may cost as much as it saves: not from the reserve, in which others' pages come back.
    fn may_cost(&self, why: Why) -> bool {
        why == Why::Asked && self.budget.free() != 0
    }

    /// The bytes are safe: nobody sees the pages of this run any more.
    fn hide(&self, run: &[Option<Victim<'_>>]) {
        let len = run.len() as u32;
        match run[0].as_ref().map(|v| v.place) {
            Some(Place::Private(space, first)) => self.host.drop_pages(space, Run { first, len }),
            Some(Place::Home(home, first)) => {
                self.host
                    .pool_free(self.homes.first(HomeNo(home)).plus(first.0), len);
            }
            Some(Place::Loose(at)) => self.free_loose(PoolPage(at)),
            None => (),
        }
    }

    /// Every entry that names the frame names the slot. Cannot fail.
    fn commit(&self, v: &mut Victim<'_>, why: Why) {
        let slot = v.slot.expect("the bytes are safe");
        let maps = v.locked.frame.count.load().maps;
        let clock = self.replacer.evicted();
        match v.kept.take() {
            Some(Kept { stored, cost }) => {
                assert!(
                    why == Why::Asked || cost < WORTH,
                    "the eviction of frame {} holds {cost} bytes for a page",
                    v.locked.no
                );
                self.swap.fill(slot, stored, maps, clock);
            }
            None => {
                v.locked.cached = None;
                self.swap.uncache(slot, maps, clock);
            }
        }
        match v.place {
            Place::Private(space, _) => {
                if matches!(v.locked.frame.word.load().owner, Owner::Shared(_)) {
                    self.spaces.get(space.0).unlend();
                }
                self.budget.refund(Class::Private, PAGE);
            }
            Place::Home(home, page) => {
                self.homes.vacate(HomeNo(home), page, v.locked.no);
                self.budget.refund(Class::Pool, PAGE);
            }
            Place::Loose(_) => (),
        }
        let replaced = self.replace_all(&mut v.locked, Entry::Swapped(slot));
        assert_eq!(replaced, maps, "frame {}'s chain and count disagree", v.locked.no);
        self.counters.evictions.one();
    }
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
