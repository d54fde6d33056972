//! The proof that two pages are one, and the step that makes them so.
//!
//! For a window's candidates together, all under their frames' locks:
//!
//! ```text
//!   protect   no store goes through any more; a page that is let go later takes its next store as a fault
//!   freeze    the counts are exactly the mappings: no isolation, no pin, nobody else; for every state of the entry
//!   compare   all bytes, only now
//!   place     the first of a pair is copied to its place in the pool
//!   hide      windows show the private pages no more: who touches one waits for the frame's lock
//!   convert   every leaf that named the frame names the one that stands; cannot fail
//! ```
//! Whatever does not hold on the way drops the candidate, and nothing has changed but the protection.

use super::look::{Buffers, is_zero};
use crate::addr::{PageNo, PoolPage, Run, SpaceNo};
use crate::budget::{Class, Need};
use crate::frame::{Counts, Locked, Owner, Residence};
use crate::home::{Claim, HomeNo, View};
use crate::host::{Host, PageRef, Store};
use crate::mm::{Mm, PAGE};
use crate::table::Entry;

/// Where the bytes of the frame that goes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// A private page of the visited space.
    Window(SpaceNo),
    /// A pool page in the loose range, which nobody shows.
    Loose(PoolPage),
}

/// What is to become of a candidate.
#[derive(Debug)]
pub(super) enum Plan<'a> {
    /// Zeros: it needs no memory.
    Zero,
    /// It becomes one with the frame that stands at its place.
    Join(Locked<'a>),
    /// It becomes one with an earlier sibling's private page, which moves to the place.
    Pair {
        /// The sibling's frame.
        keeper: Locked<'a>,
        /// The sibling.
        lender: SpaceNo,
    },
}

/// A page that may be merged.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    page: PageNo,
    locked: Locked<'a>,
    from: From,
    plan: Plan<'a>,
    /// The counts that the frames are frozen at: its own, the sibling's.
    frozen: Option<(Counts, Option<Counts>)>,
}

impl<'a> Candidate<'a> {
    pub fn new(page: PageNo, locked: Locked<'a>, from: From, plan: Plan<'a>) -> Self {
        Self {
            page,
            locked,
            from,
            plan,
            frozen: None,
        }
    }

    /// The private pages that it concerns.
    fn windows(&self) -> impl Iterator<Item = (SpaceNo, PageNo)> + use<> {
        let own = match self.from {
            From::Window(space) => Some(space),
            From::Loose(_) => None,
        };
        let page = self.page;
        own.into_iter()
            .chain(self.lender())
            .map(move |space| (space, page))
    }

    fn lender(&self) -> Option<SpaceNo> {
        match self.plan {
            Plan::Pair { lender, .. } => Some(lender),
            Plan::Zero | Plan::Join(_) => None,
        }
    }

    /// Lets go of what was frozen; nothing has changed.
    fn give_up(self) {
        let Some((own, sibling)) = self.frozen else { return };
        self.locked.frame.count.thaw(own);
        if let (Plan::Pair { keeper, .. }, Some(counts)) = (&self.plan, sibling) {
            keeper.frame.count.thaw(counts);
        }
    }
}

impl<H: Host, S: Store> Mm<H, S> {
    /// Proves and merges; returns how many pages became one with another, how many were zeros, and which were different
    /// from the sibling's that they seemed to be equal to.
    pub(super) fn join_all(
        &self,
        home: HomeNo,
        view: &View,
        mut candidates: Vec<Candidate<'_>>,
        buffers: &mut Buffers,
    ) -> (u64, u64, Vec<PageNo>) {
        self.protect_all(&mut candidates);
        candidates.retain_mut(|candidate| self.prove_counts(candidate));
        let mut proven = Vec::with_capacity(candidates.len());
        let mut different = Vec::new();
        for candidate in candidates {
            if self.is_equal(view, &candidate, buffers) {
                proven.push(candidate);
            } else {
                different.push(candidate);
            }
        }
        let different = self.release_all(different);
        let proven = self.place_all(home, proven);
        for (space, run) in runs(proven.iter().flat_map(Candidate::windows).collect()) {
            self.host.drop_pages(space, run);
        }
        let (mut merged, mut zeroed) = (0, 0);
        for candidate in proven {
            match self.convert(home, candidate) {
                Entry::Absent => zeroed += 1,
                _ => merged += 1,
            }
        }
        self.counters.merged.add(merged);
        self.counters.merge_zeroed.add(zeroed);
        (merged, zeroed, different)
    }

    /// Stops the stores to all private pages; drops the candidates for which the machine refuses.
    fn protect_all(&self, candidates: &mut Vec<Candidate<'_>>) {
        let keeper =
            |plan: &Plan<'_>| matches!(plan, Plan::Pair { keeper, .. } if self.exposed(keeper).is_some());
        candidates.retain(|c| self.exposed(&c.locked).is_none() && !keeper(&c.plan));
        for (space, run) in runs(candidates.iter().flat_map(Candidate::windows).collect()) {
            if self.host.protect(space, run).is_ok() {
                continue;
            }
            let inside = |(s, page): (SpaceNo, PageNo)| s == space && run.pages().any(|p| p == page);
            candidates.retain(|candidate| !candidate.windows().any(inside));
            self.counters.merge_refused.one();
        }
    }

    /// Proves that nobody holds the frame but its mappers, whatever state its entries are in; the same for a sibling's.
    fn prove_counts(&self, candidate: &mut Candidate<'_>) -> bool {
        let exactly = |locked: &Locked<'_>| {
            let maps = self.mappers(locked).count() as u32;
            Counts {
                refs: maps,
                maps,
                pins: 0,
            }
        };
        let own = exactly(&candidate.locked);
        let frozen = candidate.locked.frame.count.freeze(own);
        let sibling = match &candidate.plan {
            Plan::Pair { keeper, .. } if frozen => {
                let counts = exactly(keeper);
                if !keeper.frame.count.freeze(counts) {
                    candidate.locked.frame.count.thaw(own);
                    self.counters.merge_held.one();
                    return false;
                }
                Some(counts)
            }
            _ => None,
        };
        if frozen {
            candidate.frozen = Some((own, sibling));
        } else {
            self.counters.merge_held.one();
        }
        frozen
    }

    /// Compares all bytes. No store goes through meanwhile.
    fn is_equal(&self, view: &View, candidate: &Candidate<'_>, buffers: &mut Buffers) -> bool {
        assert!(
            candidate.frozen.is_some(),
            "a page is compared before it is proven"
        );
        let page = candidate.page;
        let twin = match candidate.plan {
            Plan::Zero => None,
            Plan::Join(_) => Some(PageRef::Pool(view.place(page))),
            Plan::Pair { lender, .. } => Some(PageRef::Private(lender)),
        };
        let equal = match (candidate.from, twin) {
            (From::Window(space), Some(twin)) => self.host.pages_equal(space, page, twin),
            (From::Window(space), None) => self
                .host
                .read_private(space, page, &mut buffers.one)
                .map(|()| is_zero(&buffers.one)),
            (From::Loose(at), Some(PageRef::Pool(place))) => self
                .host
                .pool_read(at, &mut buffers.one)
                .and_then(|()| self.host.pool_equals(place, &buffers.one)),
            (From::Loose(_), _) => panic!("a pool page is paired"),
        };
        equal == Ok(true)
    }

    /// Lets go of pages that are not equal after all, and lets the visited space store to those that are its own: its
    /// lock is held, so no fork is under way that has protected them. A sibling's page stays protected: the next store to it
    /// takes a fault.
    fn release_all(&self, different: Vec<Candidate<'_>>) -> Vec<PageNo> {
        let own = |c: &Candidate<'_>| match (c.from, c.locked.frame.word.load().owner) {
            (From::Window(space), Owner::Exclusive(_)) => Some((space, c.page)),
            _ => None,
        };
        for (space, run) in runs(different.iter().filter_map(own).collect()) {
            // Refused: the next store takes a fault.
            let _ = self.host.unprotect(space, run);
        }
        let mut unpaired = Vec::new();
        for candidate in different {
            match candidate.plan {
                Plan::Join(_) => self.counters.merge_differ.one(),
                Plan::Zero => self.counters.merge_changed.one(),
                Plan::Pair { .. } => {
                    self.counters.merge_changed.one();
                    unpaired.push(candidate.page);
                }
            }
            candidate.give_up();
        }
        unpaired
    }

    /// Copies the siblings' pages to their places, in runs; drops the candidates for which there is no room.
    fn place_all<'a>(&self, home: HomeNo, candidates: Vec<Candidate<'a>>) -> Vec<Candidate<'a>> {
        let mut placed = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            match &candidate.plan {
                Plan::Pair { keeper, .. } if !self.claim(home, candidate.page, keeper) => {
                    self.counters.merge_refused.one();
                    candidate.give_up();
                }
                _ => placed.push(candidate),
            }
        }
        let lenders = |c: &Candidate<'_>| c.lender().map(|space| (space, c.page));
        for (space, run) in runs(placed.iter().filter_map(lenders).collect()) {
            let to = self.homes.first(home).plus(run.first.0);
            if self.host.copy_to_pool(space, run, to).is_ok() {
                continue;
            }
            self.host.pool_free(to, run.len);
            self.counters.merge_refused.one();
            let refused =
                |c: &mut Candidate<'_>| c.lender() == Some(space) && run.pages().any(|page| page == c.page);
            for candidate in placed.extract_if(.., refused) {
                self.unclaim_pair(home, &candidate);
                candidate.give_up();
            }
        }
        placed
    }

    /// A place and a pool page for the first of a pair.
    fn claim(&self, home: HomeNo, page: PageNo, keeper: &Locked<'_>) -> bool {
        let tables = |bytes| self.budget.charge(Class::Tables, bytes, Need::Normal);
        if !self.budget.charge(Class::Pool, PAGE, Need::Normal) {
            return false;
        }
        let claimed = self.homes.claim(home, page, keeper.no, tables) == Claim::Taken;
        if !claimed {
            self.budget.refund(Class::Pool, PAGE);
        }
        claimed
    }

    fn unclaim_pair(&self, home: HomeNo, candidate: &Candidate<'_>) {
        if let Plan::Pair { keeper, .. } = &candidate.plan {
            self.homes.vacate(home, candidate.page, keeper.no);
            self.budget.refund(Class::Pool, PAGE);
        }
    }

    /// The frame goes, and what named it names the one that stands, or nothing. Cannot fail. Returns what is named now.
    fn convert(&self, home: HomeNo, mut candidate: Candidate<'_>) -> Entry {
        let (_, sibling) = candidate.frozen.expect("only what is proven is converted");
        let keeper = match candidate.plan {
            Plan::Zero => None,
            Plan::Join(keeper) => Some(keeper),
            Plan::Pair { mut keeper, lender } => {
                self.settle_pair(home, &mut keeper, lender);
                keeper
                    .frame
                    .count
                    .thaw(sibling.expect("both of a pair are frozen"));
                Some(keeper)
            }
        };
        let to = keeper.as_ref().map_or(Entry::Absent, |k| Entry::Frame(k.no));
        self.move_mappers(&candidate.locked, keeper.as_ref());
        match candidate.from {
            From::Window(space) => {
                if matches!(candidate.locked.frame.word.load().owner, Owner::Shared(_)) {
                    self.spaces.get(space.0).unlend();
                }
                self.budget.refund(Class::Private, PAGE);
            }
            From::Loose(at) => self.free_loose(at),
        }
        self.retire(&mut candidate.locked);
        candidate.locked.frame.count.thaw(Counts {
            refs: 0,
            maps: 0,
            pins: 0,
        });
        let no = candidate.locked.no;
        drop(candidate.locked);
        self.bury(no);
        to
    }

    /// The first of a pair stands at its place from now on, shared, never written again.
    fn settle_pair(&self, home: HomeNo, keeper: &mut Locked<'_>, lender: SpaceNo) {
        match keeper.frame.word.load().owner {
            Owner::Exclusive(at) => keeper.frame.word.set(Owner::Shared(at)),
            Owner::Shared(_) => self.spaces.get(lender.0).unlend(),
            Owner::Nobody => panic!("frame {} is mapped by nobody", keeper.no),
        }
        keeper.residence = Residence::Home(home);
        self.budget.refund(Class::Private, PAGE);
        self.counters.promoted.one();
    }

    /// Every leaf leaves the chain of the frame before it enters the keeper's, and only then says so.
    fn move_mappers(&self, locked: &Locked<'_>, keeper: Option<&Locked<'_>>) {
        while let Owner::Exclusive(at) | Owner::Shared(at) = locked.frame.word.load().owner {
            let last = self.unchain(locked, at);
            let to = match keeper {
                Some(keeper) => {
                    self.map_also(keeper, at.leaf, at.slot);
                    Entry::Frame(keeper.no)
                }
                None => Entry::Absent,
            };
            self.table(at.leaf).slot(at.slot).entry.store(to);
            if last {
                return;
            }
        }
    }
}

/// Neighbouring pages of one window together, in order.
fn runs(mut pages: Vec<(SpaceNo, PageNo)>) -> Vec<(SpaceNo, Run)> {
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
