//! Pages that a program has emptied behind the manager's back, found when the host reads them
//! (`HostError::Emptied`).
//!
//! Their bytes are lost, and everybody who maps the frame must hear of it. Whoever finds out holds
//! the frame's lock, may hold some space's or none, and waits for no space: so it leaves a note
//! with each space (an atomic, `SpaceSlot`), which becomes the space's failure at its next fault,
//! fork or question. The page stays empty: who touches it gets no zeros but a failure. Only when
//! its space ends, so that the frame must move, it moves as zeros.

use crate::addr::{FrameNo, PAGE_SIZE, PageNo, SpaceNo};
use crate::error::Stop;
use crate::frame::{Locked, Residence};
use crate::host::{Host, HostError, Protection, Store};
use crate::mm::Mm;
use crate::rmap::rmap_walk;

/// If that is why the host could not read this private page, tells all who map the frame.
pub(crate) fn hear_of_emptied<H: Host, S: Store>(
    mm: &Mm<H, S>,
    locked: &Locked<'_>,
    page: PageNo,
    error: HostError,
) {
    if error != HostError::Emptied {
        return;
    }
    // Reclaim does not try it again.
    locked.frame.mark_incompressible(true);
    rmap_walk(mm, locked, usize::MAX, &mut |mapper| {
        mm.spaces.get(mapper.space.0).note_emptied(page);
    });
}

/// A page of a space that is ending could not be moved away, since it is empty: all who map it have
/// been told, so it is given zeros, and can be moved.
pub(crate) fn move_as_zeros<H: Host, S: Store>(
    mm: &Mm<H, S>,
    owner: SpaceNo,
    page: PageNo,
    frame: FrameNo,
) -> Stop {
    let locked = mm.frames.lock(frame);
    if locked.residence != Residence::Private(owner) {
        return Stop::Retry;
    }
    match mm.host.fill(owner, page, &[0; PAGE_SIZE], Protection::Protected) {
        Ok(()) => Stop::Retry,
        Err(refused) => Stop::Host(refused),
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
