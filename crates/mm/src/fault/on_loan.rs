//! A store to a page that was evicted, when reclaim found no room: it comes back with room on loan
//! (`loans.rs`).

use super::Fault;
use crate::addr::{Access, PageNo, SpaceNo};
use crate::budget::Need;
use crate::error::Stop;
use crate::host::{Host, Store};
use crate::loans::{EACH, Loans};
use crate::mm::Mm;
use crate::peek::lock_page;
use crate::reclaim::end_loan;
use crate::table::LeafEntry;

/// Resolves the store, if the page was evicted; the space's older loans end as far as need be.
pub(super) fn store<H: Host, S: Store>(mm: &Mm<H, S>, no: SpaceNo, page: PageNo) -> Result<(), Stop> {
    // Each turn but the last ends a loan.
    for _ in 0..EACH {
        match mm.retry(|| try_store(mm, no, page)) {
            Err(Stop::NoRoom) if end_oldest(mm, no)? => (),
            done => return done,
        }
    }
    mm.retry(|| try_store(mm, no, page))
}

/// The same with the loans that the space may still have.
fn try_store<H: Host, S: Store>(mm: &Mm<H, S>, no: SpaceNo, page: PageNo) -> Result<(), Stop> {
    let mut space = lock_page(mm, no, page)?;
    let loans = Loans::of(mm);
    let found = mm.tables.lookup(&space.tree, page).entry();
    let on_loan = matches!(found, LeafEntry::Swapped(_)) && loans.own(&space) < EACH;
    let returning = if on_loan { Need::Loan } else { Need::Refault };
    Fault::resolve_returning(mm, &mut space, page, Access::Write, returning)?;
    if on_loan {
        loans.lend(&space, page);
    }
    Ok(())
}

/// Evicts the space's oldest page on loan that can go; false when it has none.
fn end_oldest<H: Host, S: Store>(mm: &Mm<H, S>, no: SpaceNo) -> Result<bool, Stop> {
    for page in Loans::of(mm).pages(no).into_iter().flatten() {
        // A space that is gone is noticed below.
        let _ = end_loan(mm, no, page);
        if Loans::of(mm).own(&mm.lock_space(no)?) < EACH {
            return Ok(true);
        }
    }
    Ok(false)
}
