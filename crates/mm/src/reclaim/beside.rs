//! What a victim is stored beside: the *base* of its place, and what both cost.
//!
//! The store keeps a page that resembles its base as a small difference. A base is luxury: its
//! memory is charged as new content is, never to the reserve, and it is kept only when it
//! compresses and, together with the page for whose sake it was put, holds less than the page did.
//! It is renewed by the page that turned out to be no difference to it, which costs nothing where
//! equal pages are stored once. What nothing is a difference to any more is a cache, which reclaim
//! empties in steps (Linux: a shrinker). Called by `evict.rs` with the victim's frame lock held,
//! the sweep by `reclaim` with none.

use super::victim::{Kept, Victim};
use crate::addr::{PageBytes, PageNo};
use crate::backing::BackingNo;
use crate::budget::{Need, StoreLedger};
use crate::error::Stop;
use crate::frame::{Locked, Residence};
use crate::host::{Cost, Domain, Host, HostError, PageRef, Store, Stored};
use crate::mm::{Mm, PAGE};
use crate::rmap::rmap_walk;
use crate::swap::{Bytes, Swap};

/// What a victim may cost in the store, all counted, so that its eviction lowers the total.
pub(super) const WORTH: u64 = PAGE - Swap::SLOT_BYTES;

/// A page that costs less by itself says nothing about its base, from which it may differ by being
/// almost empty.
const TELLING: u64 = PAGE / 8;

/// Where a victim's page lies, for the store.
#[derive(Clone, Copy)]
struct Near {
    /// The backing that the page has a place in.
    backing: Option<BackingNo>,
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

/// The storing of one victim: where its page lies, and who is charged.
pub(super) struct Beside<'m, 'l, H, S> {
    mm: &'m Mm<H, S>,
    near: Near,
    ledger: &'l StoreLedger<'l>,
}

impl<'m, 'l, H: Host, S: Store> Beside<'m, 'l, H, S> {
    /// Puts the victim's bytes, which are read unless they were taken, and perhaps a base beside
    /// them. `bytes` is room for a page.
    pub fn store(
        mm: &'m Mm<H, S>,
        v: &Victim<'_>,
        taken: Option<&PageBytes>,
        bytes: &mut PageBytes,
        ledger: &'l StoreLedger<'l>,
    ) -> Result<Kept, Stop> {
        let near = near(mm, v)?;
        let this = Self { mm, near, ledger };
        let base = this.base_for(v, bytes);
        let kept = match taken {
            Some(bytes) => this.put_near(bytes, base),
            None => match read(mm, v, bytes) {
                Ok(()) => this.put_near(bytes, base),
                Err(refused) => Err(refused.into()),
            },
        };
        match (&kept, base) {
            (Err(_), Base::Fresh(base, _)) => Bases(mm).free(base),
            (Err(_), Base::Kept(_)) => this.perhaps_idle(),
            _ => (),
        }
        kept
    }

    /// What the store may take this page as a difference to: the place's base, or else the version
    /// that stands at the place, if there is room for it outside of the reserve.
    fn base_for(&self, v: &Victim<'_>, bytes: &mut PageBytes) -> Base {
        let Some(backing) = self.near.backing else {
            return Base::None;
        };
        if let Some(base) = self.mm.backings.base(backing, self.near.page) {
            return Base::Kept(base);
        }
        let private = v.window().is_some();
        if !private
            || self.mm.backings.users(backing) < 2
            || !self.read_frame_at(backing, self.near.page, bytes)
        {
            return Base::None;
        }
        let luxury = self.mm.budget.ledger(Need::Normal);
        let Ok(base) = self.mm.store.put(self.near.domain, bytes, None, &luxury) else {
            return Base::None;
        };
        let cost = self.mm.store.cost(base);
        if cost.bytes >= WORTH {
            Bases(self.mm).free(base);
            return Base::None;
        }
        Base::Fresh(base, cost.adds())
    }

    /// Reads the version of a page that stands at its place in the backing, if it is there and
    /// nobody uses it.
    fn read_frame_at(&self, backing: BackingNo, page: PageNo, bytes: &mut PageBytes) -> bool {
        let Some(no) = self.mm.backings.frame_at(backing, page) else {
            return false;
        };
        let Some(locked) = self.mm.frames.try_lock(no) else {
            return false;
        };
        // The number may have been reused already, for another page, while its old place is still
        // being emptied.
        let stands_here = locked.residence == Residence::Backing(backing)
            && self
                .mm
                .tables
                .mappers(&locked)
                .next()
                .is_some_and(|at| self.mm.tables.page_of(at) == page)
            && self.mm.backings.frame_at(backing, page) == Some(no);
        stands_here
            && self
                .mm
                .host
                .pool_read(self.mm.backings.first(backing).plus(page.0), bytes)
                .is_ok()
    }

    /// Puts the page as a difference to the base, if it is one, and settles what becomes of the
    /// base. A fresh one is freed here only when this succeeds.
    fn put_near(&self, bytes: &PageBytes, base: Base) -> Result<Kept, Stop> {
        let mut stored = self
            .mm
            .store
            .put(self.near.domain, bytes, base.name(), self.ledger)?;
        let mut cost = self.mm.store.cost(stored);
        let (mut beside, mut old) = (0, None);
        match base {
            Base::None => (),
            Base::Kept(base) => {
                if !cost.delta {
                    self.perhaps_idle();
                }
                old = Some(base);
            }
            Base::Fresh(base, adds) if cost.delta && cost.adds() + adds < WORTH => {
                beside = adds;
                self.record(None, base);
                old = Some(base);
            }
            Base::Fresh(base, _) => {
                if cost.delta {
                    // Both together hold too much; the page by itself may not.
                    self.mm.store.free(stored, self.ledger);
                    stored = self.mm.store.put(self.near.domain, bytes, None, self.ledger)?;
                    cost = self.mm.store.cost(stored);
                }
                Bases(self.mm).free(base);
            }
        }
        let stale = !cost.delta && !cost.shared && cost.bytes >= TELLING;
        if old.is_none() || stale {
            beside += self.offer(bytes, old, &cost);
        }
        let cost = cost.adds() + beside;
        let bytes = Bytes::Stored(stored);
        Ok(Kept { bytes, cost })
    }

    /// The page that was just put becomes the base of its place, for its siblings. What that adds.
    fn offer(&self, bytes: &PageBytes, old: Option<Stored>, page: &Cost) -> u64 {
        let family = self
            .near
            .backing
            .is_some_and(|backing| self.mm.backings.users(backing) > 1);
        if !family || page.bytes == 0 || page.bytes >= WORTH {
            return 0;
        }
        let luxury = self.mm.budget.ledger(Need::Normal);
        let Ok(base) = self.mm.store.put(self.near.domain, bytes, None, &luxury) else {
            return 0;
        };
        let cost = self.mm.store.cost(base);
        if cost.bytes >= WORTH || page.adds() + cost.adds() >= WORTH {
            Bases(self.mm).free(base);
            return 0;
        }
        if self.record(old, base) { cost.adds() } else { 0 }
    }

    /// The page is no difference to the base of its place. A sweep that came by while the store
    /// looked at that took it for one that is needed.
    fn perhaps_idle(&self) {
        if let Some(backing) = self.near.backing {
            self.mm.backings.perhaps_idle(backing, self.near.page);
        }
    }

    /// Records a base in place of `old`, and frees which of the two is not needed any more.
    fn record(&self, old: Option<Stored>, base: Stored) -> bool {
        let tables = self.mm.budget.tables(Need::Normal);
        let recorded = self.near.backing.is_some_and(|backing| {
            self.mm
                .backings
                .set_base(backing, self.near.page, old, base, tables)
        });
        if recorded {
            old.into_iter().for_each(|old| Bases(self.mm).free(old));
        } else {
            Bases(self.mm).free(base);
        }
        recorded
    }
}

/// The bases, which nothing may be a difference to any more.
pub(super) struct Bases<'m, H, S>(pub &'m Mm<H, S>);

impl<H: Host, S: Store> Bases<'_, H, S> {
    fn free(&self, base: Stored) {
        self.0.store.free(base, &self.0.budget.ledger(Need::Normal));
    }

    /// One bounded step of the sweep that frees bases which nothing in the store is a difference
    /// to; how many went, and whether the round is over.
    pub fn shrink(&self) -> (u64, bool) {
        let mut freed = 0;
        let idle = |base| !self.0.store.cost(base).shared;
        let over = self.0.backings.sweep_bases(idle, |base| {
            self.free(base);
            freed += 1;
        });
        self.0.counters.bases_freed.add(freed);
        (freed, over)
    }

    /// Reclaim's last resort: sweeps until there is room for a page more, or all bases were looked
    /// at; whether any went.
    pub fn shrink_all(&self) -> bool {
        let (before, mut any) = (self.0.budget.free(), false);
        // The first round may have begun in the middle.
        let mut rounds = 0;
        while rounds < 2 && self.0.budget.free() < before.saturating_add(PAGE) {
            let (freed, over) = self.shrink();
            any |= freed != 0;
            rounds += u32::from(over);
        }
        any
    }
}

/// Reads a victim, which is protected or immutable.
fn read<H: Host, S: Store>(mm: &Mm<H, S>, v: &Victim<'_>, bytes: &mut PageBytes) -> Result<(), HostError> {
    match v.residence.page_ref(&mm.backings, v.page) {
        PageRef::Private(space) => mm.host.read_private(space, v.page, bytes),
        PageRef::Pool(at) => mm.host.pool_read(at, bytes),
    }
}

fn near<H: Host, S: Store>(mm: &Mm<H, S>, v: &Victim<'_>) -> Result<Near, Stop> {
    let (backing, domain) = match v.residence {
        Residence::Private(space) => {
            let slot = mm.spaces.get(space.0);
            (Some(slot.backing()), slot.domain())
        }
        Residence::Backing(backing) => (Some(backing), domain_of(mm, &v.locked)?),
        Residence::Overflow(_) | Residence::Nowhere | Residence::File(..) => {
            (None, domain_of(mm, &v.locked)?)
        }
    };
    let page = v.page;
    Ok(Near {
        backing,
        page,
        domain,
    })
}

/// The domain of whoever maps the frame. A climb may meet no space while all of them are leaving a
/// shared table: then the frame stays, for its bytes must not get into another domain.
pub(crate) fn domain_of<H: Host, S: Store>(mm: &Mm<H, S>, locked: &Locked<'_>) -> Result<Domain, Stop> {
    let mut domain = None;
    rmap_walk(mm, locked, 1, &mut |mapper| {
        domain = Some(mm.spaces.get(mapper.space.0).domain())
    });
    domain.ok_or(Stop::Retry)
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
