//! The order of a round: siblings side by side.
//!
//! A round visits the spaces that take part, home by home; of each home the same window of pages in all siblings, then the next
//! window. So what has to be remembered of pages seen is one window's hashes, and twins are found while the
//! first of them is still in the processor's cache. Spaces are named by number and looked at again under their locks: one that
//! was dropped, or reused for another family, is passed over (R45). Nothing here depends on time or chance.

use super::look::{Buffers, Seen};
use super::{Effort, MergeStep, Merging};
use crate::addr::{PageNo, SpaceNo};
use crate::budget::{Class, Need};
use crate::home::HomeNo;
use crate::host::{Host, Store};
use crate::mm::Mm;
use crate::space::SpaceState;
use crate::table::{Entry, FAN, TableNo, first_of, slot_of};

/// Pages of a space that are looked at together: one change of protection serves up to as many.
pub(super) const WINDOW: u32 = if cfg!(any(loom, shuttle)) { 2 } else { 128 };

/// A space that takes part, as it was when the round began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Member {
    home: u32,
    pub space: SpaceNo,
}

impl Member {
    pub fn home(self) -> HomeNo {
        HomeNo(self.home)
    }
}

/// A round under way.
#[derive(Debug)]
pub(crate) struct Scanner {
    /// Those that are to be visited, home by home.
    members: Vec<Member>,
    /// The one to visit next,
    next: usize,
    /// and where its family begins.
    family: usize,
    /// The first page of the window that is looked at in all of the family.
    first: PageNo,
    /// The first page beyond that window that any of them has a table for.
    beyond: Option<PageNo>,
    pub(super) seen: Seen,
    pub(super) buffers: Buffers,
    bytes: u64,
}

/// What a visit found.
pub(super) struct Visit {
    /// What was done.
    pub step: MergeStep,
    /// The first page from the next window on for which there is a table.
    pub beyond: Option<PageNo>,
}

impl<H: Host, S: Store> Mm<H, S> {
    /// A round over all who take part, or over those of one home; `None` when the budget has no room for it.
    pub(super) fn new_scanner(&self, home: Option<HomeNo>) -> Option<Scanner> {
        let takes_part = |&no: &u32| {
            let slot = self.spaces.get(no);
            slot.merging() == Merging::On && home.is_none_or(|home| slot.home() == home)
        };
        let numbers = self.spaces.numbers();
        let count = numbers.clone().filter(takes_part).count() as u64;
        let bytes = count * size_of::<Member>() as u64 + Seen::BYTES + Buffers::BYTES;
        if !self.budget.charge(Class::Tables, bytes, Need::Normal) {
            return None;
        }
        let member = |no| Member {
            home: self.spaces.get(no).home().0,
            space: SpaceNo(no),
        };
        let mut members = Vec::with_capacity(count as usize);
        // Others may join meanwhile: the next round is early enough for them.
        members.extend(numbers.filter(takes_part).take(count as usize).map(member));
        members.sort_unstable();
        Some(Scanner {
            members,
            next: 0,
            family: 0,
            first: PageNo(0),
            beyond: None,
            seen: Seen::new(),
            buffers: Buffers::new(),
            bytes,
        })
    }

    /// The round is over, or given up.
    pub(super) fn end_scanner(&self, scanner: &Scanner) {
        self.budget.refund(Class::Tables, scanner.bytes);
    }

    /// Goes on for about so many pages, or to the end of the round.
    pub(super) fn scan(&self, scanner: &mut Scanner, budget_pages: u64, effort: Effort) -> MergeStep {
        let mut done = MergeStep::default();
        let mut left = budget_pages;
        while left != 0 {
            let Some(&member) = scanner.members.get(scanner.next) else {
                done.round_over = true;
                break;
            };
            let visit = self.visit(scanner, member, effort);
            done.scanned += visit.step.scanned;
            done.merged += visit.step.merged;
            done.zeroed += visit.step.zeroed;
            // A visit that finds nothing costs something as well.
            left = left.saturating_sub(visit.step.scanned.max(1));
            scanner.advance(visit.beyond);
        }
        self.counters.merge_scanned.add(done.scanned);
        done
    }

    /// One window of one member, if it is still who it was.
    fn visit(&self, scanner: &mut Scanner, member: Member, effort: Effort) -> Visit {
        let nothing = Visit {
            step: MergeStep::default(),
            beyond: None,
        };
        let Ok(mut st) = self.lock_space(member.space) else {
            return nothing;
        };
        let slot = self.spaces.get(member.space.0);
        if st.home != member.home() || slot.merging() != Merging::On {
            return nothing;
        }
        let first = scanner.first;
        let beyond = self.next_leaf(&st, first.plus(WINDOW));
        let step = self.merge_window(scanner, member, &mut st, first, effort);
        Visit { step, beyond }
    }

    /// The first page from `from` on that a leaf table stands for.
    fn next_leaf(&self, st: &SpaceState, from: PageNo) -> Option<PageNo> {
        let found = self.next_leaf_below(st.root?, st.levels - 1, from)?;
        (found.0 < st.len).then_some(found)
    }

    /// Ends: one level down each time.
    fn next_leaf_below(&self, table: TableNo, level: u8, from: PageNo) -> Option<PageNo> {
        if first_of(from, level) != self.table(table).first_page() {
            return None;
        }
        if level == 0 {
            return Some(from);
        }
        (slot_of(from, level)..FAN as u8).find_map(|n| {
            let Entry::Table(child) = self.table(table).slot(n).entry.load() else {
                return None;
            };
            let child_first = self.table(child).first_page();
            self.next_leaf_below(child, level - 1, PageNo(from.0.max(child_first.0)))
        })
    }
}

impl Scanner {
    /// The numbers of frames that are remembered may mean others from now on.
    pub fn forget_pages(&mut self) {
        self.seen.clear();
    }

    /// What the round holds.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// On to the next sibling; after the last one to the next window; after the last of these to the next family.
    fn advance(&mut self, beyond: Option<PageNo>) {
        self.beyond = match (self.beyond, beyond) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let home = self.members[self.next].home;
        self.next += 1;
        if self.members.get(self.next).is_some_and(|m| m.home == home) {
            return;
        }
        self.seen.clear();
        match self.beyond.take() {
            Some(page) => {
                self.first = PageNo(page.0 - page.0 % WINDOW);
                self.next = self.family;
            }
            None => {
                self.first = PageNo(0);
                self.family = self.next;
            }
        }
    }
}
