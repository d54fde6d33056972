//! Pages whose bytes are not needed any more, and that may be used again (Linux: `MADV_FREE`).
//!
//! A page of the space's own that is in memory is protected and marked: from then on it goes, when
//! room is needed, without being stored (`reclaim/lazy.rs`), unless a store comes before. What the
//! store has of the run goes at once. Pages that others share, or that are locked, pinned or on
//! loan, stay what they are. Piece by piece, under the space's lock; frame locks are waited for
//! while no other is held.

use super::AreaMap;
use super::locked_run::LockedRun;
use crate::addr::{PageNo, Run};
use crate::error::{SpaceError, Stop};
use crate::frame::{Locked, Residence};
use crate::host::{Host, HostError, Store};
use crate::keep::may_go;
use crate::mm::Mm;
use crate::reclaim::goes_first;
use crate::reset::Reset;
use crate::space::{PIECE, SpaceGuard};
use crate::table::{FANOUT, LeafEntry, Lookup, TableNo, after_leaf, first_of};

impl<H: Host, S: Store> AreaMap<'_, H, S> {
    /// Says that the bytes of the run are not needed any more. Until a page is stored to, it may
    /// become at any moment what backs it: zeros, or a file's page; which it is nobody knows before
    /// it is looked at. After a store the page has what it had before or what backs it, with the
    /// store, and stays. In time in proportion to the pages of the run that the space has.
    ///
    /// Costs less than [`discard`](Mm::discard) where room is not needed and the pages are stored
    /// to again: no page leaves the window then. Pages that forks share, of shared areas, locked,
    /// or pinned are passed over, and all are on a machine that may lose protections
    /// ([`Host::protections_hold`]).
    ///
    /// # Errors
    /// [`SpaceError::BadRun`], [`SpaceError::NoSuchSpace`]; [`SpaceError::Host`] when the machine
    /// refuses to protect a page: pages before it are given up.
    pub fn free(&self, run: Run) -> Result<(), SpaceError> {
        let (mm, no) = (self.mm, self.space);
        let mut next = run.first;
        let done = mm.retry(|| {
            // Ends: each turn takes a piece off the run.
            loop {
                let mut reset = Reset::lock(mm, no)?;
                let end = u64::from(run.first.0) + u64::from(run.len);
                if run.len == 0 || end > reset.space.len.into() {
                    let (first, len) = (run.first, run.len);
                    return Ok(Err(SpaceError::BadRun { first, len }));
                }
                let stop = PageNo(next.0.saturating_add(PIECE)).min(run.end());
                free_piece(mm, &mut reset, &mut next, stop)?;
                let slot = reset.space.slot;
                drop(reset);
                if next >= run.end() {
                    return Ok(Ok(()));
                }
                slot.let_others();
            }
        });
        done.unwrap_or_else(|stop| Err(stop.of_space(&mm.budget, no, next)))?;
        mm.reclaim.something_changed();
        Ok(())
    }
}

/// Gives up the pages from `next` on, before `end`, leaf by leaf; `next` is where it stopped.
fn free_piece<H: Host, S: Store>(
    mm: &Mm<H, S>,
    reset: &mut Reset<'_, H, S>,
    next: &mut PageNo,
    end: PageNo,
) -> Result<(), Stop> {
    while *next < end {
        let page = *next;
        let stop = PageNo(first_of(page, 0).0 + FANOUT as u32).min(end);
        match mm.tables.lookup(&reset.space.tree, page) {
            Lookup::NoLeaf => *next = PageNo(after_leaf(page.0)).min(end),
            // Others see these pages as well.
            Lookup::Leaf(found) if found.shared => *next = stop,
            Lookup::Leaf(found) => {
                free_leaf(mm, reset, found.leaf, (page, stop))?;
                *next = stop;
            }
        }
    }
    Ok(())
}

/// The same for pages of a leaf that is the space's own.
fn free_leaf<H: Host, S: Store>(
    mm: &Mm<H, S>,
    reset: &mut Reset<'_, H, S>,
    leaf: TableNo,
    (first, end): (PageNo, PageNo),
) -> Result<(), Stop> {
    let mut run = LockedRun::new();
    for page in (first.0..end.0).map(PageNo) {
        if reset.space.areas.is_locked(page) || reset.space.has_pins(Run::one(page)) {
            continue;
        }
        match mm.tables.entry(leaf, page) {
            LeafEntry::Frame(no) => {
                let same = || mm.tables.entry(leaf, page) == LeafEntry::Frame(no);
                let locked = match run.follows(page).then(|| mm.frames.try_lock(no)).flatten() {
                    Some(locked) => locked,
                    None => {
                        give_up(mm, &reset.space, &mut run)?;
                        mm.frames.lock(no)
                    }
                };
                if same() && can_be_given_up(mm, &reset.space, &locked) {
                    run.add(page, locked);
                }
            }
            LeafEntry::Swapped(_) => {
                give_up(mm, &reset.space, &mut run)?;
                let mut next = page;
                reset.discard_piece(&mut next, page.plus(1))?;
            }
            LeafEntry::Absent => (),
        }
    }
    Ok(give_up(mm, &reset.space, &mut run)?)
}

/// Whether the frame's bytes are the space's alone, and may go.
fn can_be_given_up<H: Host, S: Store>(mm: &Mm<H, S>, space: &SpaceGuard<'_>, locked: &Locked<'_>) -> bool {
    locked.frame.is_exclusive()
        && locked.residence == Residence::Private(space.no)
        && locked.frame.count.load().pins == 0
        && locked.frame.on_loan().is_none()
        && mm.host.protections_hold()
}

/// Stores to the pages of a run are faults from now on, and until one comes they may go.
fn give_up<H: Host, S: Store>(
    mm: &Mm<H, S>,
    space: &SpaceGuard<'_>,
    run: &mut LockedRun<'_>,
) -> Result<(), HostError> {
    mm.reclaim.now_given_up();
    run.protect(&mm.host, space.no, |locked| {
        locked.given_up = true;
        mm.counters.given_up.one();
        // Whether they compress is not asked any more.
        locked.frame.mark_incompressible(false);
        may_go(mm, locked);
        goes_first(mm, locked);
    })
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
