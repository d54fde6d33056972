//! Eviction: the bytes of a batch of frames go to the store (Linux: `shrink_folio_list`).
//!
//! For each frame whose lock is free: protect, read, store, hide or free, and only then change every
//! entry that names it, all under its lock, so that a fault in the middle of it waits
//! and then finds the page swapped. Protecting and hiding is done for runs of neighbours, because
//! each call interrupts every other running thread. What cannot be stored stays as it is.

use super::{BATCH, Batch};
use crate::addr::{PageNo, PoolPage, Run, SpaceNo};
use crate::budget::{Class, Need};
use crate::frame::{Locked, Owner, Residence};
use crate::home::HomeNo;
use crate::host::{Domain, Host, Store, Stored};
use crate::lru::{Isolated, List};
use crate::mm::{Mm, PAGE, Stop};
use crate::swap::SwapRef;
use crate::table::Entry;
use memfold_sync::atomic::Ordering;

/// Why frames are evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The user asked for it: whatever the store makes of them.
    Asked,
    /// Room is needed: a frame that would hold as much in the store stays.
    Pressure,
}

/// Where a victim's bytes are, in an order that makes neighbours stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
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

struct Victim<'a> {
    place: Place,
    page: PageNo,
    locked: Locked<'a>,
    /// The slot that will stand in the entries, once the bytes are safe.
    slot: Option<SwapRef>,
    /// New bytes for that slot; `None` when it has them already.
    stored: Option<Stored>,
}

type Victims<'a> = [Option<Victim<'a>>; BATCH];

impl<H: Host, S: Store> Mm<H, S> {
    /// Evicts what it can of the batch and puts the rest back; returns how many went.
    pub(crate) fn evict_batch(&self, batch: &mut Batch, why: Why) -> u32 {
        let mut victims: Victims<'_> = [const { None }; BATCH];
        let mut len = 0;
        for isolated in batch.iter_mut() {
            let Some(Isolated(no)) = *isolated else { continue };
            match self.victim(Locked::attempt(no, self.frame(no)), why) {
                Some(victim) => {
                    victims[len] = Some(victim);
                    len += 1;
                }
                None => {
                    self.counters.evictions_failed.one();
                    self.put_on(isolated, List::Active);
                }
            }
        }
        let victims = &mut victims[..len];
        victims.sort_unstable_by_key(|v| v.as_ref().map(|v| v.place));
        let evicted = self.evict_victims(victims, why);
        victims.iter_mut().for_each(|v| *v = None);
        for isolated in batch.iter_mut() {
            let Some(Isolated(no)) = *isolated else { continue };
            if self.frame(no).word.load().owner == Owner::Nobody {
                *isolated = None;
                self.put_frame(no);
            } else {
                // It could not go now: not at the tail again at once.
                self.put_on(isolated, List::Active);
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
            stored: None,
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
        for victim in victims.iter_mut() {
            let Some(v) = victim else { continue };
            if self.store_victim(v, why).is_err() {
                self.counters.evictions_failed.one();
                *victim = None;
            }
        }
        let len = pack(victims);
        self.each_run(&mut victims[..len], |run| {
            self.hide(run);
            true
        });
        for victim in victims[..len].iter_mut().flatten() {
            self.commit(victim);
        }
        len as u32
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
    fn store_victim(&self, v: &mut Victim<'_>, why: Why) -> Result<(), Stop> {
        if let Some(slot) = v.locked.cached {
            v.slot = Some(slot);
            self.counters.evictions_clean.one();
            return Ok(());
        }
        let slot = self.swap.alloc(&self.budget).ok_or(Stop::NoRoom)?;
        match self.with_scratch(|bytes| self.store_bytes(v, bytes)) {
            Ok(stored) if why == Why::Pressure && self.store.saves_nothing(stored) => {
                self.store.free(stored, &self.budget);
                self.swap.cancel(slot);
                v.locked.frame.mark_incompressible(true);
                self.counters.incompressible.one();
                Err(Stop::NoRoom)
            }
            Ok(stored) => {
                v.slot = Some(slot);
                v.stored = Some(stored);
                Ok(())
            }
            Err(stop) => {
                self.swap.cancel(slot);
                Err(stop)
            }
        }
    }

    fn store_bytes(&self, v: &Victim<'_>, bytes: &mut crate::addr::PageBytes) -> Result<Stored, Stop> {
        let (home, domain) = match v.place {
            Place::Private(space, page) => {
                let space_slot = self.spaces.get(space.0);
                let near = (space_slot.home(), space_slot.domain());
                let base = self.base_for(near.0, near.1, page, bytes);
                self.host.read_private(space, page, bytes)?;
                let stored = self.store.put(near.1, bytes, base, &self.budget)?;
                if base.is_none() && self.homes.users(near.0) > 1 {
                    self.offer_base(near.0, near.1, page, bytes);
                }
                return Ok(stored);
            }
            Place::Home(home, page) => {
                let home = HomeNo(home);
                self.host.pool_read(self.homes.first(home).plus(page.0), bytes)?;
                (Some(home), self.domain_of(v)?)
            }
            Place::Loose(at) => {
                self.host.pool_read(PoolPage(at), bytes)?;
                (None, self.domain_of(v)?)
            }
        };
        let near = home.and_then(|home| self.homes.base(home, v.page));
        Ok(self.store.put(domain, bytes, near, &self.budget)?)
    }

    /// The domain of whoever maps the frame. A climb may meet no space while all of them are leaving a shared
    /// table: then the frame stays, for its bytes must not get into another domain.
    fn domain_of(&self, v: &Victim<'_>) -> Result<Domain, Stop> {
        let mut domain = None;
        self.rmap_walk(&v.locked, 1, &mut |space| {
            domain = Some(self.spaces.get(space.0).domain())
        });
        domain.ok_or(Stop::Again)
    }

    /// What the store may take this page as a difference to: the version that stands at its place, or another
    /// space's version that went to the store before.
    fn base_for(
        &self,
        home: HomeNo,
        domain: Domain,
        page: PageNo,
        bytes: &mut crate::addr::PageBytes,
    ) -> Option<Stored> {
        if let Some(base) = self.homes.base(home, page) {
            return Some(base);
        }
        let no = self.homes.occupant(home, page)?;
        let locked = Locked::attempt(no, self.frame(no))?;
        // The number may have been reused already, for another page, while its old place is still being emptied.
        let stands_here = locked.residence == Residence::Home(home)
            && self
                .mappers(&locked)
                .next()
                .is_some_and(|at| self.page_of(at) == page)
            && self.homes.occupant(home, page) == Some(no);
        if !stands_here {
            return None;
        }
        self.host
            .pool_read(self.homes.first(home).plus(page.0), bytes)
            .ok()?;
        self.offer_base(home, domain, page, bytes);
        self.homes.base(home, page)
    }

    fn offer_base(&self, home: HomeNo, domain: Domain, page: PageNo, bytes: &crate::addr::PageBytes) {
        let Ok(base) = self.store.put(domain, bytes, None, &self.budget) else {
            return;
        };
        let tables = |bytes| self.budget.charge(Class::Tables, bytes, Need::Reclaim);
        if !self.homes.set_base(home, page, base, tables) {
            self.store.free(base, &self.budget);
        }
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
    fn commit(&self, v: &mut Victim<'_>) {
        let slot = v.slot.expect("the bytes are safe");
        let maps = v.locked.frame.count.load().maps;
        // Relaxed: policy only.
        let clock = self.clock.fetch_add(1, Ordering::Relaxed);
        match v.stored.take() {
            Some(stored) => self.swap.fill(slot, stored, maps, clock),
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
