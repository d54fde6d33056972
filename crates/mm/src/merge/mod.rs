//! Same-page merging: siblings that grew up apart come together again (Linux: KSM).
//!
//! Spaces of one family have one backing, and a window of any of them can show the pool page at the
//! same offset. So equal private pages of siblings at the same page become one frame that stands at
//! that place: the place is the stable node of KSM, found by its number and not by a tree. Opt-in
//! per space; only pages of one domain are compared.
//!
//! ```text
//!   scanner.rs      what a round remembers: whom it visits, where it is, what it has seen
//!   prove.rs        protect, freeze, compare: the proof that two pages are one
//!   commit.rs       place, hide, convert: the step that makes them one and cannot fail
//!   candidates.rs   which pages of a window may be equal to another, by hash or by their place
//!   reach.rs        where in a space pages can be that may go
//!   scan.rs         which windows of which spaces, in rounds; siblings side by side
//!   sharing.rs      what it saves
//! ```
//! A merged frame is shared like any other at its place: never written in place, evicted and
//! swapped for all its mappers, and broken apart by one write fault. Spaces of different backings
//! are never merged in memory, for no window could show the page in both; their equal pages are
//! stored once when they go to the store. What the scanner remembers of a frame between two rounds
//! stands in the frame (`frame/history.rs`).

mod candidates;
mod commit;
mod prove;
mod reach;
mod scan;
pub(crate) mod scanner;
mod sharing;

pub use candidates::{Effort, MergeStep};
pub use sharing::Sharing;

use crate::addr::{Access, PageNo, Run, SpaceNo};
use crate::backing::areas::BackedBy;
use crate::error::{SpaceError, Stop};
use crate::fault::Fault;
use crate::host::{Host, Store};
use crate::mm::Mm;
use crate::native::{lock_settled, lock_to_change};
use crate::space::Merging;
use crate::space::ahead::Stores;
use crate::table::LeafEntry;
use scanner::Scanner;

impl<H: Host, S: Store> Mm<H, S> {
    /// Says whether the space takes part in merging from now on; its later forks inherit it. What
    /// is merged stays so.
    ///
    /// # Errors
    /// [`SpaceError::NoSuchSpace`].
    pub fn set_merging(&self, space: SpaceNo, merging: Merging) -> Result<(), SpaceError> {
        drop(self.lock_space(space)?);
        // Who looks for equal pages asks the tables what there is.
        let settled = self.retry(|| {
            lock_settled(self, space)?.slot.set_merging(merging);
            Ok(())
        });
        settled.map_err(|stop| stop.of_space(&self.budget, space, PageNo(0)))
    }

    /// Whether the space takes part.
    ///
    /// # Errors
    /// [`SpaceError::NoSuchSpace`].
    pub fn merging(&self, space: SpaceNo) -> Result<Merging, SpaceError> {
        Ok(self.lock_space(space)?.slot.merging())
    }

    /// Goes on where the last step ended, for about `budget_pages` pages or to the end of the
    /// round.
    pub fn merge(&self, budget_pages: u64, effort: Effort) -> MergeStep {
        let kept = self.merge_round.take();
        let Some(mut scanner) = kept.or_else(|| Scanner::begin(self, None)) else {
            return MergeStep {
                round_over: true,
                ..MergeStep::default()
            };
        };
        let step = scanner.run(self, budget_pages, effort);
        let over = if step.round_over {
            Some(scanner)
        } else {
            // Another thread's, which began a round of its own meanwhile.
            self.merge_round.keep(scanner)
        };
        over.into_iter().for_each(|scanner| scanner.end(self));
        step
    }

    /// One round over all spaces, or over a space and its siblings, now.
    ///
    /// # Errors
    /// [`SpaceError::NoSuchSpace`]; [`SpaceError::OverBudget`] when there is no room for the list
    /// of spaces.
    pub fn merge_round(&self, space: Option<SpaceNo>) -> Result<MergeStep, SpaceError> {
        let backing = match space {
            Some(no) => Some(self.lock_space(no)?.backing),
            None => None,
        };
        let made = self.retry(|| Scanner::begin(self, backing).ok_or(Stop::NoRoom));
        let mut scanner = made.map_err(|_| SpaceError::over(&self.budget))?;
        let step = scanner.run(self, u64::MAX, Effort::Everything);
        scanner.end(self);
        Ok(step)
    }

    /// Gives the space its own copy of every page of the run that it shares, be it by merging or
    /// since a fork (a page that was in the store meanwhile does not know which); returns how many.
    /// Afterwards none of them is shared.
    ///
    /// # Errors
    /// [`SpaceError`]; pages before the failing one have their copies.
    pub fn unmerge(&self, space: SpaceNo, run: Run) -> Result<u64, SpaceError> {
        let mut copied = 0;
        for page in run.pages() {
            match self.retry(|| unmerge_page(self, space, page)) {
                Ok(own) => copied += u64::from(own),
                Err(stop) => return Err(stop.of_space(&self.budget, space, page)),
            }
        }
        self.counters.unmerged.add(copied);
        Ok(copied)
    }
}

/// Whether the page was shared, and is the space's own now.
fn unmerge_page<H: Host, S: Store>(mm: &Mm<H, S>, no: SpaceNo, page: PageNo) -> Result<bool, Stop> {
    let mut st = lock_to_change(mm, no)?;
    if page.0 >= st.len {
        return Ok(false);
    }
    let found = mm.tables.lookup(&st.tree, page);
    let shared = found.is_shared();
    let shares = match found.entry() {
        LeafEntry::Absent => match st.areas.of(page) {
            BackedBy::Zeros | BackedBy::File(_) => false,
        },
        // A hint is enough: what is exclusive now was not shared with anybody who could know.
        LeafEntry::Frame(frame) => shared || !mm.frames.at(frame).is_exclusive(),
        LeafEntry::Swapped(slot) => {
            let Some(seen) = mm.swap.look(slot) else {
                return Err(Stop::Retry);
            };
            shared || seen.count > 1 || seen.frame.is_some()
        }
    };
    if shares {
        // One page at a time: what lies behind the run was not asked for.
        st.stores = Stores::default();
        Fault::resolve(mm, &mut st, page, Access::Write)?;
    }
    Ok(shares)
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
