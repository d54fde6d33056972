//! The step that makes proven pages one.
//!
//! For a window's proven candidates together, all under their frames' locks, with their counts
//! frozen:
//!
//! ```text
//!   place     the first of a pair is copied to its place in the pool
//!   hide      windows show the private pages no more: who touches one waits for the frame's lock
//!   convert   every leaf that named the frame names the one that stands; cannot fail
//! ```
//! A pair for which there is no place or no room is dropped before anything is hidden: its place is
//! given back ([`Claimed`]), and its counts thaw.

use super::prove::{Candidate, Frozen, Plan, runs};
use crate::addr::{PageNo, SpaceNo};
use crate::backing::BackingNo;
use crate::budget::{Charge, Class, Need, PageCharge};
use crate::frame::{Locked, Owner};
use crate::host::{Host, PageRef, Store};
use crate::mm::{Mm, PAGE, free_frame};
use crate::residency::NewPlace;
use crate::rmap::{free_overflow_page, retire};
use crate::table::LeafEntry;

/// A place of the backing and the room for the page there; dropped, both are given back, the place
/// first.
struct Claimed<'m, H: Host, S: Store> {
    place: NewPlace<'m, H, S>,
    charge: Charge<'m>,
}

impl<'m, H: Host, S: Store> Claimed<'m, H, S> {
    /// `None` when another frame stands there, or when the budget has no room.
    fn take(mm: &'m Mm<H, S>, backing: BackingNo, page: PageNo, locked: &Locked<'_>) -> Option<Self> {
        let charge = Charge::take(&mm.budget, Class::Pool, PAGE, Need::Normal)?;
        let place = NewPlace::own(mm, backing, page, locked, Need::Normal).ok()??;
        Some(Self { place, charge })
    }

    /// The frame stands there from now on; what it was charged as before is returned.
    fn stand(mut self, locked: &mut Locked<'_>) -> Option<PageCharge> {
        self.place.keep(locked);
        locked.charge.replace(self.charge.page())
    }
}

/// A proven candidate, with the place that the first of a pair moves to.
struct Placed<'m, H: Host, S: Store> {
    // The place goes back before the counts thaw: fields are dropped in this order.
    claimed: Option<Claimed<'m, H, S>>,
    frozen: Frozen<'m>,
}

impl<H: Host, S: Store> Placed<'_, H, S> {
    /// The private page that moves to the place.
    fn moves(&self) -> Option<(SpaceNo, PageNo)> {
        let candidate = &self.frozen.candidate;
        Some((candidate.exporter()?, candidate.page))
    }
}

/// What a page is after its frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Now {
    /// One with another.
    Joined,
    /// What backs it.
    Backed,
}

/// The commit of the proven candidates of a window.
pub(super) struct Commit<'m, H, S> {
    mm: &'m Mm<H, S>,
    backing: BackingNo,
}

impl<'m, H: Host, S: Store> Commit<'m, H, S> {
    pub fn new(mm: &'m Mm<H, S>, backing: BackingNo) -> Self {
        Self { mm, backing }
    }

    /// Merges; returns how many pages became one with another, and how many were zeros.
    pub fn run(self, proven: Vec<Frozen<'m>>) -> (u64, u64) {
        let placed = self.place_all(proven);
        let windows = placed.iter().flat_map(|p| p.frozen.candidate.windows());
        for (space, run) in runs(windows.collect()) {
            self.mm.host.drop_pages(space, run);
        }
        let (mut merged, mut zeroed) = (0, 0);
        for placed in placed {
            match self.convert(placed) {
                Now::Backed => zeroed += 1,
                Now::Joined => merged += 1,
            }
        }
        self.mm.counters.merged.add(merged);
        self.mm.counters.merge_zeroed.add(zeroed);
        (merged, zeroed)
    }

    /// Copies the siblings' pages to their places, in runs; drops the candidates for which there is
    /// no room.
    fn place_all(&self, proven: Vec<Frozen<'m>>) -> Vec<Placed<'m, H, S>> {
        let mut placed = Vec::with_capacity(proven.len());
        for frozen in proven {
            let claimed = match &frozen.candidate.plan {
                Plan::Backed(_) | Plan::Join(_) => None,
                Plan::Pair { keeper, .. } => {
                    let claimed = Claimed::take(self.mm, self.backing, frozen.candidate.page, keeper);
                    if claimed.is_none() {
                        self.mm.counters.merge_refused.one();
                        continue;
                    }
                    claimed
                }
            };
            placed.push(Placed { claimed, frozen });
        }
        for (space, run) in runs(placed.iter().filter_map(Placed::moves).collect()) {
            let to = self.mm.backings.first(self.backing).plus(run.first.0);
            if self.mm.host.copy_to_pool(space, run, to).is_ok() {
                continue;
            }
            self.mm.counters.merge_refused.one();
            let refused = |(s, page): (SpaceNo, PageNo)| s == space && run.has(page);
            placed.retain(|candidate| !candidate.moves().is_some_and(refused));
        }
        placed
    }

    /// The frame goes, and what named it names the one that stands, or leaves the page to its
    /// backing. Cannot fail.
    fn convert(&self, placed: Placed<'m, H, S>) -> Now {
        let Placed { claimed, frozen } = placed;
        let Frozen {
            own,
            sibling,
            candidate,
        } = frozen;
        let Candidate {
            mut locked,
            source,
            plan,
            ..
        } = candidate;
        let keeper = match plan {
            Plan::Backed(_) => None,
            Plan::Join(keeper) => Some(keeper),
            Plan::Pair { mut keeper, exporter } => {
                self.move_to_place(&mut keeper, exporter, claimed.expect("a pair has its place"));
                drop(sibling);
                Some(keeper)
            }
        };
        let now = keeper.as_ref().map_or(Now::Backed, |_| Now::Joined);
        self.move_mappers(&locked, keeper.as_ref());
        match source {
            PageRef::Private(space) => {
                if locked.frame.is_shared() {
                    self.mm.spaces.get(space.0).unexport();
                }
            }
            PageRef::Pool(at) => free_overflow_page(self.mm, at),
        }
        self.mm.budget.refund_page(locked.charge.take());
        retire(self.mm, &mut locked);
        own.thaw_unmapped();
        let no = locked.no;
        drop(locked);
        free_frame(self.mm, no);
        now
    }

    /// The first of a pair stands at its place from now on, shared, never written again.
    fn move_to_place(&self, keeper: &mut Locked<'_>, exporter: SpaceNo, to: Claimed<'_, H, S>) {
        match keeper.frame.word.load().owner {
            Owner::Exclusive(at) => keeper.set_owner(Owner::Shared(at)),
            Owner::Shared(_) | Owner::Merged(_) => self.mm.spaces.get(exporter.0).unexport(),
            Owner::Nobody | Owner::File(_) => panic!("frame {} is named by no leaf", keeper.no),
        }
        self.mm.budget.refund_page(to.stand(keeper));
        self.mm.counters.promoted.one();
    }

    /// Every leaf leaves the chain of the frame before it enters the keeper's, and only then says
    /// so.
    fn move_mappers(&self, locked: &Locked<'_>, keeper: Option<&Locked<'_>>) {
        let mm = self.mm;
        if let Some(keeper) = keeper
            && let Some(head) = keeper.frame.word.load().owner.head()
        {
            keeper.set_owner(Owner::Merged(head));
        }
        while let Some(at) = locked.frame.word.load().owner.head() {
            let last = mm.tables.unchain(locked, at);
            let to = match keeper {
                Some(keeper) => {
                    mm.tables.map_also(keeper, at.leaf, at.slot);
                    LeafEntry::Frame(keeper.no)
                }
                None => LeafEntry::Absent,
            };
            mm.tables.set_entry(at, to);
            if last {
                return;
            }
        }
    }
}
