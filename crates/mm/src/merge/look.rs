//! Which pages of a window have a twin: guesses, made without stopping anybody.
//!
//! A page is read while its program may be storing to it, so everything here is a hint that `join.rs` proves or drops.
//! First the same place: when a frame stands at the page's place of the home, it is that one or none; on demand a few
//! words are compared here, and all bytes in the proof. When none stands there, a 128-bit hash finds an earlier sibling's page in this window of this round. All under the space lock of the
//! space that is visited; frame locks are only tried for, and who holds one has the page in use.

use super::join::{Candidate, From, Plan};
use super::memo::Since;
use super::scan::{Member, Scanner, WINDOW};
use super::{Effort, MergeStep, Merging};
use crate::addr::{FrameNo, PAGE_SIZE, PageBytes, PageNo, SpaceNo};
use crate::frame::{Locked, Owner, Residence};
use crate::home::{HomeNo, View};
use crate::host::{Domain, Host, PageRef, Store};
use crate::mm::Mm;
use crate::space::SpaceState;
use crate::table::{Entry, FAN, TableNo};
use twox_hash::XxHash3_128;

/// Versions of one page that are remembered.
const VERSIONS: usize = 8;
/// Sharers of a frame that are asked whether they take part.
const ASKED: usize = 16;

/// Room for the page at hand, and for one beside it.
#[derive(Debug)]
pub(super) struct Buffers {
    pub one: Box<PageBytes>,
    other: Box<PageBytes>,
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
    /// Not known until another version turns up that has to be told from it.
    hash: Option<u128>,
    space: SpaceNo,
    frame: FrameNo,
    /// Which use of the frame it was: a frame that was reused since is not what was seen.
    generation: u32,
}

impl Version {
    fn new(space: SpaceNo, locked: &Locked<'_>, hash: Option<u128>) -> Self {
        Self {
            hash,
            space,
            frame: locked.no,
            generation: locked.frame.word.load().generation,
        }
    }
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
    view: View,
    domain: Domain,
    effort: Effort,
    guess: Guess,
}

/// By what twins are guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guess {
    /// By a few words of the page, first.
    Words,
    /// By all bytes.
    Bytes,
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
        let mut visited = Visited {
            no: member.space,
            home: st.home,
            view: self.homes.view(st.home),
            domain: st.domain,
            effort,
            guess: match effort {
                Effort::Steady => Guess::Bytes,
                Effort::Everything => Guess::Words,
            },
        };
        let mut step = MergeStep::default();
        let mut candidates = Vec::with_capacity(WINDOW as usize);
        for leaf_first in (first.0..(first.0 + WINDOW).min(st.len)).step_by(FAN) {
            let found = self.lookup(st, PageNo(leaf_first));
            let Some(leaf) = found.leaf else { continue };
            for page in (leaf_first..(leaf_first + FAN as u32).min(st.len)).map(PageNo) {
                let at = Found {
                    page,
                    leaf,
                    shared: found.shared,
                };
                step.scanned += u64::from(matches!(self.entry(leaf, page), Entry::Frame(_)));
                candidates.extend(self.look(scanner, &visited, &at));
            }
        }
        let (merged, zeroed, different) =
            self.join_all(visited.home, &visited.view, candidates, &mut scanner.buffers);
        step.merged = merged;
        step.zeroed = zeroed;
        if visited.guess == Guess::Words && !different.is_empty() {
            visited.guess = Guess::Bytes;
            visited.view = self.homes.view(st.home);
            let looked = different.into_iter().filter_map(|page| {
                let found = self.lookup(st, page);
                let at = Found {
                    page,
                    leaf: found.leaf?,
                    shared: found.shared,
                };
                self.look(scanner, &visited, &at)
            });
            let candidates = looked.collect();
            let (merged, zeroed, _) =
                self.join_all(visited.home, &visited.view, candidates, &mut scanner.buffers);
            step.merged += merged;
            step.zeroed += zeroed;
        }
        let slot = self.spaces.get(visited.no.0);
        slot.note_merged(step.merged + step.zeroed);
        step
    }

    /// Looks at one page. What comes back has its frames locked.
    fn look(&self, scanner: &mut Scanner, visited: &Visited, at: &Found) -> Option<Candidate<'_>> {
        let Entry::Frame(frame) = self.entry(at.leaf, at.page) else {
            return None;
        };
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
        if let (Guess::Words, From::Window(_)) = (visited.guess, from)
            && let Some(quick) = self.plan_by_words(scanner, visited, at.page, &locked)
        {
            return quick.map(|plan| Candidate::new(at.page, locked, from, plan));
        }
        let bytes = &mut *scanner.buffers.one;
        match from {
            From::Window(space) => self.host.read_racy(space, at.page, bytes),
            From::Loose(pool) => self.host.pool_read(pool, bytes),
        }
        .ok()?;
        if visited.effort == Effort::Steady && note(&locked, bytes) != Since::Same {
            self.counters.merge_resting.one();
            return None;
        }
        let plan = self.plan(scanner, visited, at, &locked)?;
        Some(Candidate::new(at.page, locked, from, plan))
    }

    /// What can become of a page, by a few words of it: `Some(None)` when it is remembered for later siblings, `None` when all
    /// its bytes are needed.
    fn plan_by_words(
        &self,
        scanner: &mut Scanner,
        visited: &Visited,
        page: PageNo,
        locked: &Locked<'_>,
    ) -> Option<Option<Plan<'_>>> {
        let no = visited.no;
        if let Some(keeper) = visited.view.occupant(page) {
            let place = PageRef::Pool(visited.view.place(page));
            let keeper = self.standing(visited, page, keeper)?;
            let alike = self.host.sample_equal(no, page, place);
            return alike.then_some(Some(Plan::Join(keeper)));
        }
        if self.host.sample_is_zero(no, page) {
            return None;
        }
        let versions = scanner.seen.of(page);
        match versions.first() {
            None => {
                versions.push(Version::new(no, locked, None));
                Some(None)
            }
            Some(&version) => {
                let plan = self.plan_pair(visited, page, version)?;
                let alike = self.host.sample_equal(no, page, PageRef::Private(version.space));
                alike.then_some(Some(plan))
            }
        }
    }

    /// What can become of a page whose bytes are in the buffer.
    fn plan(
        &self,
        scanner: &mut Scanner,
        visited: &Visited,
        at: &Found,
        locked: &Locked<'_>,
    ) -> Option<Plan<'_>> {
        let exclusive = matches!(locked.frame.word.load().owner, Owner::Exclusive(_));
        if exclusive && !at.shared && is_zero(&scanner.buffers.one) {
            return Some(Plan::Zero);
        }
        if let Some(keeper) = visited.view.occupant(at.page) {
            return self.plan_join(&scanner.buffers.one, visited, at.page, keeper);
        }
        if locked.residence != Residence::Private(visited.no) {
            return None;
        }
        let hash = XxHash3_128::oneshot(&*scanner.buffers.one);
        self.hash_first(scanner, visited, at.page);
        let versions = scanner.seen.of(at.page);
        let known = versions.iter().position(|version| version.hash == Some(hash));
        let paired = known.and_then(|n| self.plan_pair(visited, at.page, versions[n]));
        if paired.is_some() {
            return paired;
        }
        let version = Version::new(visited.no, locked, Some(hash));
        match known {
            // What was remembered is not there any more.
            Some(n) => versions[n] = version,
            None if versions.len() < VERSIONS => versions.push(version),
            None => (),
        }
        None
    }

    /// The first version was remembered without its hash: now it is needed.
    fn hash_first(&self, scanner: &mut Scanner, visited: &Visited, page: PageNo) {
        let versions = scanner.seen.of(page);
        let Some(first) = versions.first_mut().filter(|v| v.hash.is_none()) else {
            return;
        };
        let Some(Plan::Pair { keeper, lender }) = self.plan_pair(visited, page, *first) else {
            versions.remove(0);
            return;
        };
        let bytes = &mut *scanner.buffers.other;
        match self.host.read_racy(lender, page, bytes) {
            Ok(()) => first.hash = Some(XxHash3_128::oneshot(bytes)),
            Err(_) => drop(versions.remove(0)),
        }
        drop(keeper);
    }

    /// The frame that stands at the page's place, if it may be joined.
    fn standing(&self, visited: &Visited, page: PageNo, keeper: FrameNo) -> Option<Locked<'_>> {
        let Some(keeper) = Locked::attempt(keeper, self.frame(keeper)) else {
            self.counters.merge_busy.one();
            return None;
        };
        let (Owner::Exclusive(at) | Owner::Shared(at)) = keeper.frame.word.load().owner else {
            return None;
        };
        // The number may have been reused already, for another page, while its old place is still being emptied.
        let stands = keeper.residence == Residence::Home(visited.home)
            && self.page_of(at) == page
            && visited.view.occupant(page) == Some(keeper.no);
        (stands && self.has_participant(&keeper, visited)).then_some(keeper)
    }

    /// A frame stands at the page's place: does it have these bytes?
    fn plan_join(
        &self,
        bytes: &PageBytes,
        visited: &Visited,
        page: PageNo,
        keeper: FrameNo,
    ) -> Option<Plan<'_>> {
        let keeper = self.standing(visited, page, keeper)?;
        if self.host.pool_equals(visited.view.place(page), bytes).ok()? {
            return Some(Plan::Join(keeper));
        }
        self.counters.merge_differ.one();
        None
    }

    /// Whether one of the first sharers of a frame takes part.
    fn has_participant(&self, keeper: &Locked<'_>, visited: &Visited) -> bool {
        let (mut left, mut found) = (ASKED, false);
        for at in self.mappers(keeper) {
            self.spaces_of(at.leaf, &mut |space| {
                found = self.takes_part(space, visited);
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

/// Compares a page with what the frame's memo says, and remembers it.
fn note(locked: &Locked<'_>, bytes: &PageBytes) -> Since {
    locked.frame.memo.note(XxHash3_128::oneshot(bytes))
}

pub(super) fn is_zero(bytes: &PageBytes) -> bool {
    static ZEROS: PageBytes = [0; PAGE_SIZE];
    *bytes == ZEROS
}
