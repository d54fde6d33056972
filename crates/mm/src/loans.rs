//! Loans: the last room for stores to pages that were evicted.
//!
//! What was evicted can always come back, one page at a time at the least, whatever others do. A
//! load has the standby pages (`standby.rs`); a store needs a page that stays. The part of the
//! reserve that is for returning pages is used by whoever comes first, and who fills its returned
//! pages with noise has it for good: others, all of whose pages are in the store, would find
//! nothing to reclaim and no room. So a part of the reserve is lent, [`EACH`] pages at a time to a
//! space, as many as one instruction can store to: a space that needs one more has its oldest
//! evicted first, and one whose lent pages do not compress any more has failed by itself. Where
//! others have all that can be lent, theirs are called in, oldest first: they are evicted, and what
//! does not compress any more is given up, so that its space finds the page lost. It has taken more
//! than it gave, where the other one only wants back what it had. A page on loan is its space's
//! alone, or giving it up would reach others: it is not merged, and a fork, for which there must be
//! room outside of the reserve, pays its parent's loans back.
//!
//! A page on loan is no victim of reclaim's, or two pages that one instruction stores to would push
//! each other out for ever. Which pages are on loan is a hint kept in one ring (`loans/ring.rs`): a
//! loan whose page went, was copied or was dropped is noticed when the space asks again, when it
//! ends, or when the ring is full. Called by faults of stores and by pins for which reclaim found
//! no room (`fault/on_loan.rs`).

pub(crate) mod ring;

use crate::addr::{PageNo, SpaceNo};
use crate::host::{Host, Store};
use crate::keep::may_go;
use crate::mm::Mm;
use crate::space::SpaceGuard;
use crate::table::LeafEntry;
use memfold_sync::atomic::Ordering;
use ring::Loan;
use std::num::NonZero;

/// Pages that a space may have on loan: a store can lie on the border of two.
pub(crate) const EACH: usize = 2;

/// The loans at work.
pub(crate) struct Loans<'m, H, S> {
    mm: &'m Mm<H, S>,
}

impl<'m, H: Host, S: Store> Loans<'m, H, S> {
    /// Those of this manager.
    pub fn of(mm: &'m Mm<H, S>) -> Self {
        Self { mm }
    }

    /// How many pages the space has on loan; its lock is held. Others that it had are so no more.
    pub fn own(&self, space: &SpaceGuard<'_>) -> usize {
        let mut own = 0;
        self.keep(|loan| {
            let entry = self.mm.tables.lookup(&space.tree, loan.page).entry();
            let other = loan.space != space.no;
            let keeps = other || entry == LeafEntry::Frame(loan.frame);
            own += usize::from(!other && keeps);
            keeps
        });
        own
    }

    /// The page of the space, whose lock is held, is on loan from now on.
    pub fn lend(&self, space: &SpaceGuard<'_>, page: PageNo) {
        let Some((frame, _)) = self.mm.tables.lookup(&space.tree, page).frame() else {
            return;
        };
        let mut loans = self.mm.loans.loans.lock();
        if loans.len() >= self.mm.loans.most() {
            // More than there is room for: some of them are not so any more.
            loans.pop_front().iter().for_each(|loan| self.end(loan));
        }
        // Numbers that wrap around meet none of the few that are there.
        let last = loans.back().map_or(NonZero::<u16>::MAX, |loan| loan.number);
        let number = last.checked_add(1).unwrap_or(NonZero::<u16>::MIN);
        let locked = self.mm.frames.lock(frame);
        locked.frame.set_on_loan(Some(number));
        self.mm.reclaim.set_aside(&self.mm.frames, frame);
        loans.push_back(Loan {
            number,
            space: space.no,
            page,
            frame,
        });
        self.count(loans.len());
    }

    /// The pages of the space that are on loan, oldest first.
    pub fn pages(&self, no: SpaceNo) -> [Option<PageNo>; EACH] {
        let mut pages = [None; EACH];
        let loans = self.mm.loans.loans.lock();
        let own = loans.iter().filter(|loan| loan.space == no);
        for (to, loan) in pages.iter_mut().zip(own) {
            *to = Some(loan.page);
        }
        pages
    }

    /// The page that has been on loan for longest but for so many others, and its space.
    pub fn nth(&self, nth: usize) -> Option<(SpaceNo, PageNo)> {
        let loans = self.mm.loans.loans.lock();
        loans.get(nth).map(|loan| (loan.space, loan.page))
    }

    /// The space has ended.
    pub fn forget(&self, no: SpaceNo) {
        self.keep(|loan| loan.space != no);
    }

    /// Ends the loans for which `keeps` says no.
    fn keep(&self, mut keeps: impl FnMut(&Loan) -> bool) {
        // Relaxed: loans of a space are made under its lock, which who asks for them holds.
        if self.mm.loans.used.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut loans = self.mm.loans.loans.lock();
        loans.retain(|loan| {
            let keeps = keeps(loan);
            if !keeps {
                self.end(loan);
            }
            keeps
        });
        self.count(loans.len());
    }

    fn count(&self, loans: usize) {
        // Relaxed: as in `keep`.
        self.mm.loans.used.store(loans as u32, Ordering::Relaxed);
    }

    /// The frame, if it still is the one that was on loan, is a victim as others are.
    fn end(&self, loan: &Loan) {
        if self.mm.frames.peek(loan.frame.0).is_none() {
            // Freed, and the chunk of the array with it.
            return;
        }
        let locked = self.mm.frames.lock(loan.frame);
        if locked.frame.on_loan() == Some(loan.number) {
            locked.frame.set_on_loan(None);
            may_go(self.mm, &locked);
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
