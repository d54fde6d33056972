//! What a victim is stored beside: the *base* of its place, and what both cost.
//!
//! The store keeps a page that resembles its base as a small difference. A base is luxury: its memory is
//! charged as new content is, never to the reserve, and it is kept only when it compresses and, together with
//! the page for whose sake it was put, holds less than the page did. It is renewed by the page that turned out to
//! be no difference to it, which costs nothing where equal pages are stored once. What nothing is a difference to any
//! more is a cache, which reclaim empties in steps (Linux: a shrinker). Called by `evict.rs` with the victim's
//! frame lock held, the sweep by `reclaim` with none.

use super::evict::{Place, Victim};
use crate::addr::{PageBytes, PageNo, PoolPage};
use crate::budget::{Class, Need, StoreLedger};
use crate::frame::{Locked, Residence};
use crate::home::HomeNo;
use crate::host::{Cost, Domain, Host, Store, Stored};
use crate::mm::{Mm, PAGE, Stop};
use crate::swap::Swap;

/// What a victim may cost in the store, all counted, so that its eviction lowers the total.
pub(super) const WORTH: u64 = PAGE - Swap::SLOT_BYTES;

/// A page that costs less by itself says nothing about its base, from which it may differ by being almost empty.
const TELLING: u64 = PAGE / 8;

/// A victim's bytes in the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub stored: Stored,
    /// What they cost there, with what was put beside them.
    pub cost: u64,
}

/// Where a victim's page lies, for the store.
#[derive(Clone, Copy)]
struct Near {
    /// The home that the page has a place in.
    home: Option<HomeNo>,
    page: PageNo,
    domain: Domain,
}

/// What a page is put near to.
#[derive(Clone, Copy)]
enum Base {
    None,
    /// The place's base.
    Kept(Stored),
    /// One that was just put, is not recorded yet, and adds so much.
    Fresh(Stored, u64),
}

impl Base {
    fn name(self) -> Option<Stored> {
        match self {
            Self::None => None,
            Self::Kept(base) | Self::Fresh(base, _) => Some(base),
        }
    }
}

impl<H: Host, S: Store> Mm<H, S> {
    /// Puts the victim's bytes, and perhaps a base beside them.
    pub(super) fn store_bytes(
        &self,
        v: &Victim<'_>,
        bytes: &mut PageBytes,
        ledger: &StoreLedger<'_>,
    ) -> Result<Kept, Stop> {
        let near = self.near(v)?;
        let base = self.base_for(&near, v, bytes);
        let read = match v.place {
            Place::Private(space, page) => self.host.read_private(space, page, bytes),
            Place::Home(home, page) => {
                let first = self.homes.first(HomeNo(home));
                self.host.pool_read(first.plus(page.0), bytes)
            }
            Place::Loose(at) => self.host.pool_read(PoolPage(at), bytes),
        };
        let kept = match read {
            Ok(()) => self.put_near(&near, bytes, base, ledger),
            Err(refused) => Err(refused.into()),
        };
        if let (Err(_), Base::Fresh(base, _)) = (&kept, base) {
            self.free_base(base);
        }
        kept
    }

    fn near(&self, v: &Victim<'_>) -> Result<Near, Stop> {
        let (home, domain) = match v.place {
            Place::Private(space, _) => {
                let slot = self.spaces.get(space.0);
                (Some(slot.home()), slot.domain())
            }
            Place::Home(home, _) => (Some(HomeNo(home)), self.domain_of(v)?),
            Place::Loose(_) => (None, self.domain_of(v)?),
        };
        let page = v.page;
        Ok(Near { home, page, domain })
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

    /// What the store may take this page as a difference to: the place's base, or else the version that stands at
    /// the place, if there is room for it outside of the reserve.
    fn base_for(&self, near: &Near, v: &Victim<'_>, bytes: &mut PageBytes) -> Base {
        let Some(home) = near.home else { return Base::None };
        if let Some(base) = self.homes.base(home, near.page) {
            return Base::Kept(base);
        }
        let private = matches!(v.place, Place::Private(..));
        if !private || self.homes.users(home) < 2 || !self.read_occupant(home, near.page, bytes) {
            return Base::None;
        }
        let luxury = self.budget.ledger(Need::Normal);
        let Ok(base) = self.store.put(near.domain, bytes, None, &luxury) else {
            return Base::None;
        };
        let cost = self.store.cost(base);
        if cost.bytes >= WORTH {
            self.free_base(base);
            return Base::None;
        }
        Base::Fresh(base, cost.adds())
    }

    /// Reads the version of a page that stands at its place in the home, if it is there and nobody uses it.
    fn read_occupant(&self, home: HomeNo, page: PageNo, bytes: &mut PageBytes) -> bool {
        let Some(no) = self.homes.occupant(home, page) else {
            return false;
        };
        let Some(locked) = Locked::attempt(no, self.frame(no)) else {
            return false;
        };
        // The number may have been reused already, for another page, while its old place is still being emptied.
        let stands_here = locked.residence == Residence::Home(home)
            && self
                .mappers(&locked)
                .next()
                .is_some_and(|at| self.page_of(at) == page)
            && self.homes.occupant(home, page) == Some(no);
        stands_here
            && self
                .host
                .pool_read(self.homes.first(home).plus(page.0), bytes)
                .is_ok()
    }

    /// Puts the page as a difference to the base, if it is one, and settles what becomes of the base. A fresh one is
    /// freed here only when this succeeds.
    fn put_near(
        &self,
        near: &Near,
        bytes: &PageBytes,
        base: Base,
        ledger: &StoreLedger<'_>,
    ) -> Result<Kept, Stop> {
        let mut stored = self.store.put(near.domain, bytes, base.name(), ledger)?;
        let mut cost = self.store.cost(stored);
        let (mut beside, mut old) = (0, None);
        match base {
            Base::None => (),
            Base::Kept(base) => old = Some(base),
            Base::Fresh(base, adds) if cost.delta && cost.adds() + adds < WORTH => {
                beside = adds;
                self.record(near, None, base);
                old = Some(base);
            }
            Base::Fresh(base, _) => {
                if cost.delta {
                    // Both together hold too much; the page by itself may not.
                    self.store.free(stored, ledger);
                    stored = self.store.put(near.domain, bytes, None, ledger)?;
                    cost = self.store.cost(stored);
                }
                self.free_base(base);
            }
        }
        let stale = !cost.delta && !cost.shared && cost.bytes >= TELLING;
        if old.is_none() || stale {
            beside += self.offer(near, bytes, old, &cost);
        }
        let cost = cost.adds() + beside;
        Ok(Kept { stored, cost })
    }

    /// The page that was just put becomes the base of its place, for its siblings. What that adds.
    fn offer(&self, near: &Near, bytes: &PageBytes, old: Option<Stored>, page: &Cost) -> u64 {
        let family = near.home.is_some_and(|home| self.homes.users(home) > 1);
        if !family || page.bytes == 0 || page.bytes >= WORTH {
            return 0;
        }
        let luxury = self.budget.ledger(Need::Normal);
        let Ok(base) = self.store.put(near.domain, bytes, None, &luxury) else {
            return 0;
        };
        let cost = self.store.cost(base);
        if cost.bytes >= WORTH || page.adds() + cost.adds() >= WORTH {
            self.free_base(base);
            return 0;
        }
        if self.record(near, old, base) {
            cost.adds()
        } else {
            0
        }
    }

    /// Records a base in place of `old`, and frees which of the two is not needed any more.
    fn record(&self, near: &Near, old: Option<Stored>, base: Stored) -> bool {
        let tables = |bytes| self.budget.charge(Class::Tables, bytes, Need::Normal);
        let recorded = near
            .home
            .is_some_and(|home| self.homes.set_base(home, near.page, old, base, tables));
        if recorded {
            old.into_iter().for_each(|old| self.free_base(old));
        } else {
            self.free_base(base);
        }
        recorded
    }

    fn free_base(&self, base: Stored) {
        self.store.free(base, &self.budget.ledger(Need::Normal));
    }

    /// One bounded step of the sweep that frees bases which nothing in the store is a difference to; how many went, and
    /// whether the round is over.
    pub(super) fn shrink_bases(&self) -> (u64, bool) {
        let mut freed = 0;
        let idle = |base| !self.store.cost(base).shared;
        let over = self.homes.sweep_bases(idle, |base| {
            self.free_base(base);
            freed += 1;
        });
        self.counters.bases_freed.add(freed);
        (freed, over)
    }

    /// Reclaim's last resort: sweeps until there is room for a page more, or all bases were looked at; whether any went.
    pub(super) fn shrink_all_bases(&self) -> bool {
        let (before, mut any) = (self.budget.free(), false);
        // The first round may have begun in the middle.
        let mut rounds = 0;
        while rounds < 2 && self.budget.free() < before.saturating_add(PAGE) {
            let (freed, over) = self.shrink_bases();
            any |= freed != 0;
            rounds += u32::from(over);
        }
        any
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
