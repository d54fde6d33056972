//! Stores to a page that is its space's own are let through.
//!
//! Such a page was only protected to learn whether it is used, so letting a store through needs no
//! room. Under the space's lock, which whoever calls this holds, and the frame's. Called by faults,
//! by pins and by the sinks of a condemned space.

use crate::addr::{Access, FrameNo, PageNo, Run, SpaceNo};
use crate::error::Stop;
use crate::frame::{Locked, Residence};
use crate::host::{Host, HostError, Store};
use crate::keep::may_compress;
use crate::mm::Mm;
use crate::peek::lock_entry;
use crate::space::SpaceGuard;
use crate::table::TableNo;

/// Lets stores through to the page's frame, if that is the space's own; false when it is not, or
/// when the entry says something else by now.
pub(crate) fn unprotect<H: Host, S: Store>(
    mm: &Mm<H, S>,
    space: &SpaceGuard<'_>,
    leaf: TableNo,
    page: PageNo,
    frame: FrameNo,
) -> Result<bool, Stop> {
    let Some(mut locked) = lock_entry(mm, leaf, page, frame) else {
        return Ok(false);
    };
    if !locked.frame.is_exclusive() {
        return Ok(false);
    }
    assert_eq!(
        locked.residence,
        Residence::Private(space.no),
        "an exclusive frame lies in another space"
    );
    if locked.protected {
        mm.reclaim.stored();
    }
    let_stores_through(mm, space.no, page, &mut locked)?;
    locked.frame.mark_referenced();
    may_compress(mm, &locked);
    mm.counters.unprotected.one();
    Ok(true)
}

/// The same for a page of which only its number is known; false when it is no such page, or its
/// area allows no stores.
pub(crate) fn let_through<H: Host, S: Store>(
    mm: &Mm<H, S>,
    space: &SpaceGuard<'_>,
    page: PageNo,
) -> Result<bool, Stop> {
    if !space.areas.rights(page).allow(Access::Write) {
        return Ok(false);
    }
    let found = mm.tables.lookup(&space.tree, page);
    match found.frame().filter(|_| !found.is_shared()) {
        Some((frame, leaf)) => unprotect(mm, space, leaf, page, frame),
        None => Ok(false),
    }
}

/// Stores to the frame's private page are no faults any more.
pub(crate) fn let_stores_through<H: Host, S>(
    mm: &Mm<H, S>,
    space: SpaceNo,
    page: PageNo,
    locked: &mut Locked<'_>,
) -> Result<(), HostError> {
    // Before: a call that is refused may have done it.
    if locked.given_up {
        mm.counters.given_up_kept.one();
    }
    locked.let_stores_through();
    mm.host.unprotect(space, Run::one(page))
}
