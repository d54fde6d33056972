//! The proof that two pages are one.
//!
//! For a window's candidates together, all under their frames' locks, with the lock of the visited
//! space held:
//!
//! ```text
//!   protect   no store goes through any more; a page let go later takes its next store as a fault
//!   freeze    the counts are exactly the mappings: no isolation, no pin, nobody else
//!   compare   all bytes, only now
//! ```
//! Whatever does not hold on the way drops the candidate, and nothing has changed but the
//! protection. What is proven is [`Frozen`], which thaws when it is dropped; `commit.rs` goes on
//! with it.

use super::scanner::Buffers;
use crate::addr::{Access, PageNo, Run, SpaceNo};
use crate::backing::View;
use crate::backing::areas::{Areas, BackedBy};
use crate::frame::{Count, Counts, Locked, Owner};
use crate::host::{Host, PageRef, Store};
use crate::mm::Mm;
use crate::peek::exposed;

/// The counts of a frame that nothing names.
const NONE: Counts = Counts {
    refs: 0,
    maps: 0,
    pins: 0,
};

/// What is to become of a candidate.
#[derive(Debug)]
pub(super) enum Plan<'m> {
    /// It has the bytes of what backs the page, and needs no memory.
    Backed(BackedBy),
    /// It becomes one with the frame that stands at its place.
    Join(Locked<'m>),
    /// It becomes one with an earlier sibling's private page, which moves to the place.
    Pair {
        /// The sibling's frame.
        keeper: Locked<'m>,
        /// The sibling.
        exporter: SpaceNo,
    },
}

/// A page that may be merged.
#[derive(Debug)]
pub(super) struct Candidate<'m> {
    pub page: PageNo,
    pub locked: Locked<'m>,
    /// Where the bytes of the frame that goes are: a private page of the visited space, or a page
    /// of the overflow range, which nobody shows.
    pub source: PageRef,
    pub plan: Plan<'m>,
}

impl<'m> Candidate<'m> {
    pub fn new(page: PageNo, locked: Locked<'m>, source: PageRef, plan: Plan<'m>) -> Self {
        Self {
            page,
            locked,
            source,
            plan,
        }
    }

    /// The private pages that it concerns.
    pub fn windows(&self) -> impl Iterator<Item = (SpaceNo, PageNo)> + use<> {
        let own = match self.source {
            PageRef::Private(space) => Some(space),
            PageRef::Pool(_) => None,
        };
        let page = self.page;
        own.into_iter()
            .chain(self.exporter())
            .map(move |space| (space, page))
    }

    /// The sibling whose private page moves to the place.
    pub fn exporter(&self) -> Option<SpaceNo> {
        match self.plan {
            Plan::Pair { exporter, .. } => Some(exporter),
            Plan::Backed(_) | Plan::Join(_) => None,
        }
    }
}

/// The counts of a locked frame, frozen; they thaw as they were when this is dropped.
#[derive(Debug)]
pub(super) struct FrozenCount<'m> {
    count: &'m Count,
    thaws_as: Counts,
}

impl<'m> FrozenCount<'m> {
    /// Proves that nobody holds the frame but its mappers.
    fn freeze<H: Host, S: Store>(mm: &Mm<H, S>, locked: &Locked<'m>) -> Option<Self> {
        let maps = mm.tables.mappers(locked).count() as u32;
        let counts = Counts {
            refs: maps,
            maps,
            pins: 0,
        };
        let count = &locked.frame.count;
        // Not with `then_some`: a value made for nothing would thaw what is not frozen.
        count.freeze(counts).then(|| Self {
            count,
            thaws_as: counts,
        })
    }

    /// The frame has lost its mappers: it thaws as one that nothing names.
    pub fn thaw_unmapped(mut self) {
        self.thaws_as = NONE;
    }
}

impl Drop for FrozenCount<'_> {
    fn drop(&mut self) {
        self.count.thaw(self.thaws_as);
    }
}

/// A candidate whose frames nobody holds but their mappers. Dropped, it lets go of them, and
/// nothing has changed.
#[derive(Debug)]
pub(super) struct Frozen<'m> {
    // The counts thaw before the frames' locks are let go: fields are dropped in this order.
    pub own: FrozenCount<'m>,
    /// The count of the sibling's frame, of a pair.
    pub sibling: Option<FrozenCount<'m>>,
    pub candidate: Candidate<'m>,
}

/// What the proof came to.
pub(super) struct Proven<'m> {
    /// To be merged.
    pub equal: Vec<Frozen<'m>>,
    /// Pages that are different from the sibling's that they seemed to be equal to.
    pub different: Vec<PageNo>,
}

/// The proof for the candidates of a window.
pub(super) struct Proof<'m, 'r, H, S> {
    mm: &'m Mm<H, S>,
    view: &'r View,
    /// Of the visited space, whose lock is held.
    areas: &'r Areas,
    buffers: &'r mut Buffers,
}

impl<'m, 'r, H: Host, S: Store> Proof<'m, 'r, H, S> {
    pub fn new(mm: &'m Mm<H, S>, view: &'r View, areas: &'r Areas, buffers: &'r mut Buffers) -> Self {
        Self {
            mm,
            view,
            areas,
            buffers,
        }
    }

    /// Protects, freezes, compares.
    pub fn prove(mut self, mut candidates: Vec<Candidate<'m>>) -> Proven<'m> {
        self.protect_all(&mut candidates);
        let mut equal = Vec::with_capacity(candidates.len());
        let mut different = Vec::new();
        for candidate in candidates {
            let Some(frozen) = self.freeze(candidate) else {
                continue;
            };
            if self.is_equal(&frozen) {
                equal.push(frozen);
            } else {
                different.push(frozen);
            }
        }
        Proven {
            equal,
            different: self.release_all(different),
        }
    }

    /// Stops the stores to all private pages; drops the candidates for which the machine refuses.
    fn protect_all(&self, candidates: &mut Vec<Candidate<'m>>) {
        let exposed = |locked: &Locked<'_>| exposed(self.mm, locked).is_some();
        let keeper = |plan: &Plan<'_>| matches!(plan, Plan::Pair { keeper, .. } if exposed(keeper));
        candidates.retain(|c| !exposed(&c.locked) && !keeper(&c.plan));
        for (space, run) in runs(candidates.iter().flat_map(Candidate::windows).collect()) {
            if self.mm.host.protect(space, run).is_ok() {
                continue;
            }
            let inside = |(s, page): (SpaceNo, PageNo)| s == space && run.has(page);
            candidates.retain(|candidate| !candidate.windows().any(inside));
            self.mm.counters.merge_refused.one();
        }
    }

    /// Proves that nobody holds the frame but its mappers, whatever state its entries are in; the
    /// same for a sibling's.
    fn freeze(&self, candidate: Candidate<'m>) -> Option<Frozen<'m>> {
        let frozen = FrozenCount::freeze(self.mm, &candidate.locked).and_then(|own| {
            let sibling = match &candidate.plan {
                Plan::Pair { keeper, .. } => Some(FrozenCount::freeze(self.mm, keeper)?),
                Plan::Backed(_) | Plan::Join(_) => None,
            };
            Some((own, sibling))
        });
        let Some((own, sibling)) = frozen else {
            self.mm.counters.merge_held.one();
            return None;
        };
        Some(Frozen {
            own,
            sibling,
            candidate,
        })
    }

    /// Compares all bytes. No store goes through meanwhile.
    fn is_equal(&mut self, frozen: &Frozen<'_>) -> bool {
        let Candidate {
            page, source, plan, ..
        } = &frozen.candidate;
        let host = &self.mm.host;
        let bytes = &mut *self.buffers.one;
        let other = match plan {
            Plan::Backed(backed_by) => Err(*backed_by),
            Plan::Join(_) => Ok(PageRef::Pool(self.view.pool_page(*page))),
            Plan::Pair { exporter, .. } => Ok(PageRef::Private(*exporter)),
        };
        let equal = match (*source, other) {
            (PageRef::Private(space), Ok(other)) => host.pages_equal(space, *page, other),
            (PageRef::Private(space), Err(backed_by)) => host
                .read_private(space, *page, bytes)
                .map(|()| backed_by.is(bytes)),
            (PageRef::Pool(at), Ok(PageRef::Pool(place))) => host
                .pool_read(at, bytes)
                .and_then(|()| host.pool_equals(place, bytes)),
            (PageRef::Pool(_), _) => panic!("a pool page is paired"),
        };
        equal == Ok(true)
    }

    /// Lets go of pages that are not equal after all, and lets the visited space store to those
    /// that are its own, where its areas allow stores: its lock is held, so no fork is under way
    /// that has protected them. A sibling's page stays protected: the next store to it takes a
    /// fault. Returns the pages of pairs.
    fn release_all(&self, mut different: Vec<Frozen<'_>>) -> Vec<PageNo> {
        let own =
            |Frozen { candidate: c, .. }: &Frozen<'_>| match (c.source, c.locked.frame.word.load().owner) {
                (PageRef::Private(space), Owner::Exclusive(_))
                    if self.areas.rights(c.page).allow(Access::Write) =>
                {
                    Some((space, c.page))
                }
                _ => None,
            };
        for frozen in different.iter_mut().filter(|frozen| own(frozen).is_some()) {
            frozen.candidate.locked.let_stores_through();
        }
        for (space, run) in runs(different.iter().filter_map(own).collect()) {
            // Refused: the next store takes a fault.
            let _ = self.mm.host.unprotect(space, run);
        }
        let mut unpaired = Vec::new();
        for Frozen { candidate, .. } in &different {
            match candidate.plan {
                Plan::Join(_) => self.mm.counters.merge_differ.one(),
                Plan::Backed(_) => self.mm.counters.merge_changed.one(),
                Plan::Pair { .. } => {
                    self.mm.counters.merge_changed.one();
                    unpaired.push(candidate.page);
                }
            }
        }
        unpaired
    }
}

/// Neighbouring pages of one window together, in order.
pub(super) fn runs(mut pages: Vec<(SpaceNo, PageNo)>) -> Vec<(SpaceNo, Run)> {
    pages.sort_unstable();
    let mut runs: Vec<(SpaceNo, Run)> = Vec::new();
    for (space, page) in pages {
        match runs.last_mut() {
            Some((s, run)) if *s == space && run.end() == page => run.len += 1,
            _ => runs.push((space, Run::one(page))),
        }
    }
    runs
}
