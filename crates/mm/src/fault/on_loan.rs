//! A store to a page that was evicted, when reclaim found no room: it comes back with room on loan
//! (`loans.rs`).
//!
//! For programs that fault, and for the host's own stores, which pin the page that they are made to
//! (`pin.rs`). The space's lock is taken here.

use super::Fault;
use crate::addr::{Access, PageNo, SpaceNo};
use crate::budget::Need;
use crate::error::Stop;
use crate::host::{Host, Store};
use crate::loans::{EACH, Loans};
use crate::mm::Mm;
use crate::peek::lock_page;
use crate::reclaim::{call_in, end_loan, settled};
use crate::space::SpaceGuard;
use crate::table::LeafEntry;

/// Resolves the store, if the page was evicted; and runs `then` before the space's lock is let go.
/// The space's older loans end as far as need be, and then those of others, oldest first; of these
/// what does not compress is given up, when nothing else is left. Reclaim has found nothing just
/// now, so it is asked again only when all else has failed.
pub(crate) fn store<H: Host, S: Store>(
    mm: &Mm<H, S>,
    no: SpaceNo,
    page: PageNo,
    then: impl Fn(&mut SpaceGuard<'_>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let attempt = || try_store(mm, no, page, &then);
    // Each turn but the last ends a loan.
    for _ in 0..EACH {
        match settled(attempt) {
            Err(Stop::NoRoom) if end_oldest(mm, no)? => (),
            Err(Stop::NoRoom) => break,
            done => return done,
        }
    }
    for end in [end_loan, call_in] {
        if !may_borrow(mm, no, page)? {
            break;
        }
        // Ends: there are so many loans at the most, and each turn passes over one.
        for nth in 0..mm.loans.most() {
            let Some((other, at)) = Loans::of(mm).nth(nth) else {
                break;
            };
            if other == no || !end(mm, other, at) {
                continue;
            }
            match settled(attempt) {
                Err(Stop::NoRoom) => (),
                done => return done,
            }
        }
    }
    mm.retry(attempt)
}

/// Whether the page could come back with room on loan, if there were some.
fn may_borrow<H: Host, S: Store>(mm: &Mm<H, S>, no: SpaceNo, page: PageNo) -> Result<bool, Stop> {
    let mut space = lock_page(mm, no, page)?;
    let entry = mm.tables.lookup(&space.tree, page).entry();
    let is_evicted = matches!(entry, LeafEntry::Swapped(_));
    Ok(is_evicted && space.failure().is_none() && Loans::of(mm).own(&space) < EACH)
}

/// The same with the loans that the space may still have.
fn try_store<H: Host, S: Store>(
    mm: &Mm<H, S>,
    no: SpaceNo,
    page: PageNo,
    then: impl Fn(&mut SpaceGuard<'_>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut space = lock_page(mm, no, page)?;
    let loans = Loans::of(mm);
    let found = mm.tables.lookup(&space.tree, page).entry();
    let on_loan = matches!(found, LeafEntry::Swapped(_)) && loans.own(&space) < EACH;
    let returning = if on_loan { Need::Loan } else { Need::Refault };
    Fault::resolve_returning(mm, &mut space, page, Access::Write, returning)?;
    if on_loan {
        // It is no victim: nothing more can go than before.
        loans.lend(&space, page);
    } else {
        mm.reclaim.something_changed();
    }
    then(&mut space)
}

/// Evicts the space's oldest page on loan that can go; false when it has none.
fn end_oldest<H: Host, S: Store>(mm: &Mm<H, S>, no: SpaceNo) -> Result<bool, Stop> {
    for page in Loans::of(mm).pages(no).into_iter().flatten() {
        // One that went before is noticed below, too.
        end_loan(mm, no, page);
        if Loans::of(mm).own(&mm.lock_space(no)?) < EACH {
            return Ok(true);
        }
    }
    Ok(false)
}
