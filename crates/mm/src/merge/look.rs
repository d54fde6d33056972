//! Which pages of a window have a twin: guesses, made without stopping anybody.
//!
//! A page is read while its program may be storing to it, so everything here is a hint that `join.rs` proves or drops.
//! First the same place: when a frame stands at the page's place of the home, it is that one or none. When none stands
//! there, a 128-bit hash finds an earlier sibling's page in this window of this round. All under the space lock of the
//! space that is visited; frame locks are only tried for, and who holds one has the page in use.

use super::join::{Candidate, From, Plan};
use super::memo::Since;
use super::scan::{Member, Scanner, WINDOW};
use super::{Effort, MergeStep, Merging};
use crate::addr::{FrameNo, PAGE_SIZE, PageBytes, PageNo, SpaceNo};
use crate::frame::{Locked, Owner, Residence};
use crate::home::HomeNo;
use crate::host::{Domain, Host, Store};
use crate::mm::Mm;
use crate::space::SpaceState;
use crate::table::{Entry, TableNo};
use twox_hash::XxHash3_128;

/// Versions of one page that are remembered.
const VERSIONS: usize = 16;
/// Sharers of a frame that are asked whether they take part.
const ASKED: usize = 16;

/// Two page buffers.
#[derive(Debug)]
pub(super) struct Buffers {
    pub one: Box<PageBytes>,
    pub other: Box<PageBytes>,
}

impl Buffers {
    pub const BYTES: u64 = 2 * PAGE_SIZE as u64;

    pub fn new() -> Self {
        let page = || Box::new([0; PAGE_SIZE]);
        Self {
            one: page(),
            other: page(),
        }
    }
}

/// A page that was seen, for siblings visited later.
#[derive(Clone, Copy, Debug)]
struct Version {
    hash: u128,
    space: SpaceNo,
    frame: FrameNo,
    /// Which use of the frame it was: a frame that was reused since is not what was seen.
    generation: u32,
}

/// The pages of a window that stand at no place yet.
#[derive(Debug)]
pub(super) struct Seen(Box<[Vec<Version>]>);

impl Seen {
    pub const BYTES: u64 = (WINDOW as usize * (VERSIONS * size_of::<Version>() + 24)) as u64;

    pub fn new() -> Self {
        Self((0..WINDOW).map(|_| Vec::with_capacity(VERSIONS)).collect())
    }

    pub fn clear(&mut self) {
        self.0.iter_mut().for_each(Vec::clear);
    }

    fn of(&mut self, page: PageNo) -> &mut Vec<Version> {
        &mut self.0[(page.0 % WINDOW) as usize]
    }
}

/// The space that is visited.
struct Visited {
    no: SpaceNo,
    home: HomeNo,
    domain: Domain,
    effort: Effort,
}

/// Where a page was found.
struct Found {
    page: PageNo,
    leaf: TableNo,
    /// Whether another space shares the leaf.
    shared: bool,
}

impl<H: Host, S: Store> Mm<H, S> {
    /// Merges what it can of one window of one space, whose lock is held.
    pub(super) fn merge_window(
        &self,
        scanner: &mut Scanner,
        member: Member,
        st: &mut SpaceState,
        first: PageNo,
        effort: Effort,
    ) -> MergeStep {
        let visited = Visited {
            no: member.space,
            home: st.home,
            domain: st.domain,
            effort,
        };
        let mut step = MergeStep::default();
        let mut candidates = Vec::with_capacity(WINDOW as usize);
        for page in (first.0..(first.0 + WINDOW).min(st.len)).map(PageNo) {
            let found = self.lookup(st, page);
            let (Some(leaf), Entry::Frame(frame)) = (found.leaf, found.entry) else {
                continue;
            };
            step.scanned += 1;
            let at = Found {
                page,
                leaf,
                shared: found.shared,
            };
            candidates.extend(self.look(scanner, &visited, &at, frame));
        }
        let (merged, zeroed) = self.join_all(visited.home, candidates, &mut scanner.buffers);
        step.merged = merged;
        step.zeroed = zeroed;
        let slot = self.spaces.get(visited.no.0);
        slot.note_merged(merged + zeroed);
        step
    }

    /// Looks at one page. What comes back has its frames locked.
    fn look(
        &self,
        scanner: &mut Scanner,
        visited: &Visited,
        at: &Found,
        frame: FrameNo,
    ) -> Option<Candidate<'_>> {
        let Some(locked) = Locked::attempt(frame, self.frame(frame)) else {
            self.counters.merge_busy.one();
            return None;
        };
        if self.entry(at.leaf, at.page) != Entry::Frame(frame) {
            return None;
        }
        let from = match locked.residence {
            Residence::Private(space) if space == visited.no => From::Window(space),
            Residence::Loose(pool) => From::Loose(pool),
            // It stands at its place already, or is lent by a sibling, who is visited himself.
            _ => return None,
        };
        if locked.frame.count.load().pins != 0 {
            self.counters.merge_pinned.one();
            return None;
        }
        if visited.effort == Effort::Steady && locked.frame.memo.rests() {
            self.counters.merge_resting.one();
            return None;
        }
        let bytes = &mut *scanner.buffers.one;
        match from {
            From::Window(space) => self.host.glance(space, at.page, bytes),
            From::Loose(pool) => self.host.pool_read(pool, bytes),
        }
        .ok()?;
        let hash = XxHash3_128::oneshot(bytes);
        let since = locked.frame.memo.note(hash);
        if visited.effort == Effort::Steady && since != Since::Same {
            self.counters.merge_resting.one();
            return None;
        }
        let plan = self.plan(scanner, visited, at, &locked, hash)?;
        Some(Candidate::new(at.page, locked, from, plan))
    }

    /// What can become of a page whose bytes are in the first buffer.
    fn plan(
        &self,
        scanner: &mut Scanner,
        visited: &Visited,
        at: &Found,
        locked: &Locked<'_>,
        hash: u128,
    ) -> Option<Plan<'_>> {
        let exclusive = matches!(locked.frame.word.load().owner, Owner::Exclusive(_));
        if exclusive && !at.shared && is_zero(&scanner.buffers.one) {
            return Some(Plan::Zero);
        }
        if let Some(keeper) = self.homes.occupant(visited.home, at.page) {
            return self.plan_join(scanner, visited, at.page, keeper);
        }
        if locked.residence != Residence::Private(visited.no) {
            return None;
        }
        let versions = scanner.seen.of(at.page);
        let known = versions.iter().position(|version| version.hash == hash);
        let paired = known.and_then(|n| self.plan_pair(visited, at.page, versions[n]));
        if paired.is_some() {
            return paired;
        }
        let version = Version {
            hash,
            space: visited.no,
            frame: locked.no,
            generation: locked.frame.word.load().generation,
        };
        match known {
            // What was remembered is not there any more.
            Some(n) => versions[n] = version,
            None if versions.len() < VERSIONS => versions.push(version),
            None => (),
        }
        None
    }

    /// A frame stands at the page's place: does it have these bytes, and is it anybody's who takes part?
    fn plan_join(
        &self,
        scanner: &mut Scanner,
        visited: &Visited,
        page: PageNo,
        keeper: FrameNo,
    ) -> Option<Plan<'_>> {
        let Some(keeper) = Locked::attempt(keeper, self.frame(keeper)) else {
            self.counters.merge_busy.one();
            return None;
        };
        let stands = keeper.residence == Residence::Home(visited.home)
            && self.homes.occupant(visited.home, page) == Some(keeper.no);
        if !stands {
            return None;
        }
        let place = self.homes.first(visited.home).plus(page.0);
        self.host.pool_read(place, &mut scanner.buffers.other).ok()?;
        if scanner.buffers.one != scanner.buffers.other {
            self.counters.merge_differ.one();
            return None;
        }
        let mut takes_part = false;
        self.rmap_walk(&keeper, ASKED, &mut |space| {
            takes_part |= self.takes_part(space, visited);
        });
        takes_part.then_some(Plan::Join(keeper))
    }

    /// An earlier sibling had these bytes: is it still so, as far as can be seen?
    fn plan_pair(&self, visited: &Visited, page: PageNo, version: Version) -> Option<Plan<'_>> {
        if version.space == visited.no {
            return None;
        }
        let Some(keeper) = Locked::attempt(version.frame, self.frame(version.frame)) else {
            self.counters.merge_busy.one();
            return None;
        };
        let snapshot = keeper.frame.word.load();
        let (Owner::Exclusive(at) | Owner::Shared(at)) = snapshot.owner else {
            return None;
        };
        let same = snapshot.generation == version.generation
            && keeper.residence == Residence::Private(version.space)
            && self.page_of(at) == page
            && self.takes_part(version.space, visited)
            && keeper.frame.count.load().pins == 0;
        same.then_some(Plan::Pair {
            keeper,
            lender: version.space,
        })
    }

    /// Whether a space that maps a locked frame takes part with the visited one.
    fn takes_part(&self, space: SpaceNo, visited: &Visited) -> bool {
        let slot = self.spaces.get(space.0);
        slot.merging() == Merging::On && slot.home() == visited.home && slot.domain() == visited.domain
    }
}

pub(super) fn is_zero(bytes: &PageBytes) -> bool {
    static ZEROS: PageBytes = [0; PAGE_SIZE];
    *bytes == ZEROS
}
