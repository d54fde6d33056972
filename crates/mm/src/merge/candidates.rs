//! Which pages of a window are equal to another: guesses, made without stopping anybody.
//!
//! A page is read while its program may be storing to it, so everything here is a hint that
//! `prove.rs` proves or drops. First the same place: when a frame stands at the page's place of the
//! backing, it is that one or none; on demand a few words are compared here, and all bytes in the
//! proof. When none stands there, a 128-bit hash finds an earlier sibling's page in this window of
//! this round. A [`MergeWindow`] holds the lock of the space that is visited; frame locks are only
//! tried for, and who holds one has the page in use.

use super::commit::Commit;
use super::prove::{Candidate, Plan, Proof};
use super::reach::Reach;
use super::scanner::{Buffers, ScanTarget, Scanner, Seen, Version, WINDOW};
use crate::addr::{FrameNo, PageBytes, PageNo, SpaceNo};
use crate::backing::View;
use crate::backing::areas::BackedBy;
use crate::frame::history::Since;
use crate::frame::{Locked, Residence};
use crate::host::{Host, PageRef, Store};
use crate::mm::Mm;
use crate::space::{Merging, SpaceGuard};
use crate::table::{AtLeaf, FANOUT, LeafEntry, Lookup, TableNo, Trees};
use twox_hash::XxHash3_128;

/// Sharers of a frame that are asked whether they take part.
const ASKED: usize = 16;

/// How hard a step tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// In the background: pages that are new or that keep changing wait.
    Steady,
    /// Now: every page.
    Everything,
}

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct MergeStep {
    /// Pages looked at.
    pub scanned: u64,
    /// Pages that became one with another.
    pub merged: u64,
    /// Pages of zeros that hold no memory any more.
    pub zeroed: u64,
    /// Whether every space was visited since the round began; the next step begins another.
    pub round_over: bool,
}

/// By what it is guessed that pages are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guess {
    /// By a few words of the page, first.
    Words,
    /// By all bytes.
    Bytes,
}

/// What a few words of a page say.
enum ByWords<'m> {
    /// This can become of it.
    Plan(Plan<'m>),
    /// Nothing now: it is remembered for later siblings.
    Remembered,
    /// All its bytes are needed.
    Unclear,
}

/// Where a page was found.
struct Found {
    page: PageNo,
    leaf: TableNo,
    /// Whether another space shares the leaf.
    shared: bool,
}

/// A visit to a space that takes part: its lock, and what the round remembers.
pub(super) struct MergeWindow<'m, 'r, H, S> {
    mm: &'m Mm<H, S>,
    space: SpaceGuard<'m>,
    seen: &'r mut Seen,
    buffers: &'r mut Buffers,
    view: View,
    effort: Effort,
    guess: Guess,
    reach: Reach,
}

impl<'m, 'r, H: Host, S: Store> MergeWindow<'m, 'r, H, S> {
    /// Locks the target; `None` when it is not who it was, or takes part no more.
    pub fn open(
        mm: &'m Mm<H, S>,
        scanner: &'r mut Scanner,
        target: ScanTarget,
        effort: Effort,
    ) -> Option<Self> {
        let space = mm.lock_space(target.space).ok()?;
        if space.backing != target.backing() || space.slot.merging() != Merging::On {
            return None;
        }
        let reach = Reach::of(mm, &space);
        Some(Self {
            mm,
            view: mm.backings.view(space.backing),
            space,
            reach,
            seen: &mut scanner.seen,
            buffers: &mut scanner.buffers,
            effort,
            guess: match effort {
                Effort::Steady => Guess::Bytes,
                Effort::Everything => Guess::Words,
            },
        })
    }

    /// The first page from `from` on for which a leaf table stands that has to be looked at.
    pub fn next_leaf(&self, from: PageNo) -> Option<PageNo> {
        let (root, levels) = (self.space.tree.root?, self.space.tree.levels);
        let found = self.reach.next_leaf(&self.mm.tables, (root, levels - 1), from)?;
        (found.0 < self.space.len).then_some(found)
    }

    /// Merges what it can of the window from `first` on.
    pub fn run(mut self, first: PageNo) -> MergeStep {
        let mut step = MergeStep::default();
        let mut candidates = Vec::with_capacity(WINDOW as usize);
        for leaf_first in (first.0..(first.0 + WINDOW).min(self.space.len)).step_by(FANOUT) {
            let Lookup::Leaf(AtLeaf { leaf, shared, .. }) =
                self.mm.tables.lookup(&self.space.tree, PageNo(leaf_first))
            else {
                continue;
            };
            if !self.reach.has(self.mm.tables.at(leaf)) {
                continue;
            }
            for page in (leaf_first..(leaf_first + FANOUT as u32).min(self.space.len)).map(PageNo) {
                let at = Found { page, leaf, shared };
                if let LeafEntry::Frame(frame) = self.mm.tables.entry(leaf, page)
                    && self.reach.may_have(self.mm.frames.at(frame))
                {
                    step.scanned += 1;
                    candidates.extend(self.candidate(&at));
                }
            }
        }
        let different = self.merge(candidates, &mut step);
        if self.guess == Guess::Words && !different.is_empty() {
            self.guess = Guess::Bytes;
            self.view = self.mm.backings.view(self.space.backing);
            let candidates = different.into_iter().filter_map(|page| self.candidate_at(page));
            let candidates = candidates.collect();
            self.merge(candidates, &mut step);
        }
        self.space.slot.note_merged(step.merged + step.zeroed);
        step
    }

    /// Proves and merges; returns the pages that were different from the sibling's that they seemed
    /// to be equal to.
    fn merge(&mut self, candidates: Vec<Candidate<'m>>, step: &mut MergeStep) -> Vec<PageNo> {
        let proven = Proof::new(self.mm, &self.view, &self.space.areas, self.buffers).prove(candidates);
        let (merged, zeroed) = Commit::new(self.mm, self.space.backing).run(proven.equal);
        step.merged += merged;
        step.zeroed += zeroed;
        proven.different
    }

    fn candidate_at(&mut self, page: PageNo) -> Option<Candidate<'m>> {
        match self.mm.tables.lookup(&self.space.tree, page) {
            Lookup::Leaf(AtLeaf { leaf, shared, .. }) => self.candidate(&Found { page, leaf, shared }),
            Lookup::NoLeaf => None,
        }
    }

    /// Looks at one page. What comes back has its frames locked.
    fn candidate(&mut self, at: &Found) -> Option<Candidate<'m>> {
        let mm = self.mm;
        let LeafEntry::Frame(frame) = mm.tables.entry(at.leaf, at.page) else {
            return None;
        };
        let Some(locked) = mm.frames.try_lock(frame) else {
            mm.counters.merge_busy.one();
            return None;
        };
        if mm.tables.entry(at.leaf, at.page) != LeafEntry::Frame(frame) {
            return None;
        }
        let source = match locked.residence {
            Residence::Private(space) if space == self.space.no => PageRef::Private(space),
            Residence::Overflow(pool) => PageRef::Pool(pool),
            // It stands at its place already, or is exported by a sibling, who is visited himself.
            _ => return None,
        };
        if is_held(&locked) {
            mm.counters.merge_pinned.one();
            return None;
        }
        if self.effort == Effort::Steady && locked.frame.history.rests() {
            mm.counters.merge_resting.one();
            return None;
        }
        if self.space.areas.is_file(at.page) {
            // The window could not show what it became.
            return None;
        }
        if let (Guess::Words, PageRef::Private(_)) = (self.guess, source) {
            match self.plan_by_words(at.page, &locked) {
                ByWords::Plan(plan) => return Some(Candidate::new(at.page, locked, source, plan)),
                ByWords::Remembered => return None,
                ByWords::Unclear => (),
            }
        }
        let bytes = &mut *self.buffers.one;
        match source {
            PageRef::Private(space) => mm.host.read_racy(space, at.page, bytes),
            PageRef::Pool(pool) => mm.host.pool_read(pool, bytes),
        }
        .ok()?;
        if self.effort == Effort::Steady && note(&locked, bytes) != Since::Same {
            mm.counters.merge_resting.one();
            return None;
        }
        let plan = self.plan(at, &locked)?;
        Some(Candidate::new(at.page, locked, source, plan))
    }

    /// What can become of a private page, by a few words of it.
    fn plan_by_words(&mut self, page: PageNo, locked: &Locked<'_>) -> ByWords<'m> {
        let host = &self.mm.host;
        let plan = if let Some(keeper) = self.view.frame_at(page) {
            let place = PageRef::Pool(self.view.pool_page(page));
            let keeper = self.standing(page, keeper);
            keeper
                .filter(|_| host.sample_equal(self.space.no, page, place))
                .map(Plan::Join)
        } else if self.seems_backed(page) {
            None
        } else if let Some(&version) = self.seen.of(page).first() {
            let of = PageRef::Private(version.space);
            self.pair(page, version)
                .filter(|_| host.sample_equal(self.space.no, page, of))
        } else {
            self.seen
                .remember(page, Version::new(self.space.no, locked, None));
            return ByWords::Remembered;
        };
        plan.map_or(ByWords::Unclear, ByWords::Plan)
    }

    /// Whether a few words of a private page are those of what backs it.
    fn seems_backed(&self, page: PageNo) -> bool {
        match self.space.areas.of(page) {
            BackedBy::Zeros => self.mm.host.sample_is_zero(self.space.no, page),
            BackedBy::File(_) => false,
        }
    }

    /// What can become of a page whose bytes are in the buffer.
    fn plan(&mut self, at: &Found, locked: &Locked<'_>) -> Option<Plan<'m>> {
        let exclusive = locked.frame.is_exclusive();
        let backed_by = self.space.areas.of(at.page);
        if exclusive && !at.shared && backed_by.is(&self.buffers.one) {
            return Some(Plan::Backed(backed_by));
        }
        if let Some(keeper) = self.view.frame_at(at.page) {
            return self.plan_join(at.page, keeper);
        }
        if locked.residence != Residence::Private(self.space.no) {
            return None;
        }
        let hash = XxHash3_128::oneshot(&*self.buffers.one);
        self.hash_first(at.page);
        let versions = self.seen.of(at.page);
        let known = versions.iter().position(|version| version.hash == Some(hash));
        let version = known.map(|n| versions[n]);
        if let Some(pair) = version.and_then(|version| self.pair(at.page, version)) {
            return Some(pair);
        }
        let version = Version::new(self.space.no, locked, Some(hash));
        match known {
            // What was remembered is not there any more.
            Some(n) => self.seen.of(at.page)[n] = version,
            None => self.seen.remember(at.page, version),
        }
        None
    }

    /// The first version was remembered without its hash: now it is needed.
    fn hash_first(&mut self, page: PageNo) {
        let Some(&first) = self.seen.of(page).first().filter(|v| v.hash.is_none()) else {
            return;
        };
        // The frame's lock is held while its page is read.
        let pair = self.pair(page, first);
        let hash = pair.and_then(|_pair| {
            let bytes = &mut *self.buffers.other;
            self.mm.host.read_racy(first.space, page, bytes).ok()?;
            Some(XxHash3_128::oneshot(bytes))
        });
        let versions = self.seen.of(page);
        match hash {
            Some(_) => versions[0].hash = hash,
            None => drop(versions.remove(0)),
        }
    }

    /// The frame that stands at the page's place, if it may be joined.
    fn standing(&self, page: PageNo, keeper: FrameNo) -> Option<Locked<'m>> {
        let Some(keeper) = self.mm.frames.try_lock(keeper) else {
            self.mm.counters.merge_busy.one();
            return None;
        };
        let at = keeper.frame.word.load().owner.head()?;
        // The number may have been reused already, for another page, while its old place is still
        // being emptied.
        let stands = keeper.residence == Residence::Backing(self.space.backing)
            && self.mm.tables.page_of(at) == page
            && self.view.frame_at(page) == Some(keeper.no);
        (stands && self.has_participant(&keeper)).then_some(keeper)
    }

    /// A frame stands at the page's place: does it have the bytes in the buffer?
    fn plan_join(&self, page: PageNo, keeper: FrameNo) -> Option<Plan<'m>> {
        let keeper = self.standing(page, keeper)?;
        let place = self.view.pool_page(page);
        if self.mm.host.pool_equals(place, &self.buffers.one).ok()? {
            return Some(Plan::Join(keeper));
        }
        self.mm.counters.merge_differ.one();
        None
    }

    /// Whether one of the first sharers of a frame takes part.
    fn has_participant(&self, keeper: &Locked<'_>) -> bool {
        let (mut left, mut found) = (ASKED, false);
        for at in self.mm.tables.mappers(keeper) {
            Trees::new(&self.mm.tables, &self.mm.spaces).spaces_of(at.leaf, &mut |space| {
                found = self.takes_part(space);
                left -= 1;
                !found && left != 0
            });
            if found || left == 0 {
                break;
            }
        }
        found
    }

    /// An earlier sibling had these bytes: is it still so, as far as can be seen?
    fn pair(&self, page: PageNo, version: Version) -> Option<Plan<'m>> {
        if version.space == self.space.no {
            return None;
        }
        let Some(keeper) = self.mm.frames.try_lock(version.frame) else {
            self.mm.counters.merge_busy.one();
            return None;
        };
        let snapshot = keeper.frame.word.load();
        let at = snapshot.owner.head()?;
        let same = snapshot.generation == version.generation
            && keeper.residence == Residence::Private(version.space)
            && self.mm.tables.page_of(at) == page
            && self.takes_part(version.space)
            && !is_held(&keeper);
        same.then_some(Plan::Pair {
            keeper,
            exporter: version.space,
        })
    }

    /// Whether a space that maps a locked frame takes part with the visited one.
    fn takes_part(&self, space: SpaceNo) -> bool {
        let slot = self.mm.spaces.get(space.0);
        slot.merging() == Merging::On
            && slot.backing() == self.space.backing
            && slot.domain() == self.space.domain
    }
}

/// Compares a page with what is remembered of the frame, and remembers it.
fn note(locked: &Locked<'_>, bytes: &PageBytes) -> Since {
    locked.frame.history.note(XxHash3_128::oneshot(bytes))
}

/// Whether somebody counts on the frame as it is: what is pinned or locked stays, and a page on
/// loan must be its space's alone for as long as it is one.
fn is_held(locked: &Locked<'_>) -> bool {
    let frame = locked.frame;
    frame.count.load().pins != 0 || locked.keepers != 0 || frame.on_loan().is_some()
}
