//! Reading a page as its space sees it, without bringing it in.
//!
//! Called under the space's lock, by freezing, by standby pages and for checks. Frame locks are
//! waited for, and nothing is changed; an answer that another thread has overtaken is
//! `Stop::Retry`.

use crate::addr::{FrameNo, PAGE_SIZE, PageBytes, PageNo, Run, SpaceNo};
use crate::backing::areas::BackedBy;
use crate::emptied::hear_of_emptied;
use crate::error::Stop;
use crate::files::read_page;
use crate::frame::{Locked, Residence};
use crate::host::{Host, HostError, PageRef, Store};
use crate::mm::{Mm, put_slot};
use crate::space::SpaceGuard;
use crate::table::{LeafEntry, TableNo};

/// Where the bytes are that a space sees at a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nowhere but in what backs the page: no table says anything of it.
    Backed,
    /// In this space's own window.
    Here,
    /// In the pool, the store, or another window.
    Elsewhere,
}

/// The bytes that the space sees at a page, without bringing it in; not those in its own window, to
/// which its threads may be storing.
pub(crate) fn see<H: Host, S: Store>(
    mm: &Mm<H, S>,
    space: &SpaceGuard<'_>,
    page: PageNo,
    out: &mut PageBytes,
) -> Result<Seen, Stop> {
    let found = mm.tables.lookup(&space.tree, page);
    match found.entry() {
        LeafEntry::Absent => {
            match space.areas.of(page) {
                BackedBy::Zeros => *out = [0; PAGE_SIZE],
                BackedBy::File(at) => read_page(mm, at.file, at.page, out)?,
            }
            Ok(Seen::Backed)
        }
        LeafEntry::Swapped(slot) => {
            // A reference of our own: another sharer may bring the page in meanwhile.
            let Some(seen) = mm.swap.look(slot).filter(|_| mm.swap.dup(slot)) else {
                return Err(Stop::Retry);
            };
            let got = seen.bytes.get(&mm.store, out);
            put_slot(mm, slot, space.backing, page);
            got?;
            Ok(Seen::Elsewhere)
        }
        LeafEntry::Frame(frame) => {
            let locked = found.leaf().and_then(|leaf| lock_entry(mm, leaf, page, frame));
            let locked = locked.ok_or(Stop::Retry)?;
            if locked.residence == Residence::Private(space.no) {
                return Ok(Seen::Here);
            }
            read_frame(mm, space.no, &locked, page, out)?;
            Ok(Seen::Elsewhere)
        }
    }
}

/// The lock of a space that lives and has such a page.
pub(crate) fn lock_page<H: Host, S: Store>(
    mm: &Mm<H, S>,
    no: SpaceNo,
    page: PageNo,
) -> Result<SpaceGuard<'_>, Stop> {
    let space = mm.lock_space(no)?;
    space.demand_page(page)?;
    Ok(space)
}

/// The bytes of a frame, wherever they are, for this space. Those of a writable private page may be
/// changing.
pub(crate) fn read_frame<H: Host, S: Store>(
    mm: &Mm<H, S>,
    reader: SpaceNo,
    locked: &Locked<'_>,
    page: PageNo,
    out: &mut PageBytes,
) -> Result<(), HostError> {
    match locked.residence.page_ref(&mm.backings, page) {
        PageRef::Private(owner) => read_window(mm, reader, owner, locked, page, out),
        PageRef::Pool(at) => mm.host.pool_read(at, out),
    }
}

/// The same; false when the page is what backs it.
pub(crate) fn peek_page<H: Host, S: Store>(
    mm: &Mm<H, S>,
    space: &SpaceGuard<'_>,
    page: PageNo,
    out: &mut PageBytes,
) -> Result<bool, Stop> {
    match see(mm, space, page, out)? {
        Seen::Backed => Ok(false),
        Seen::Elsewhere => Ok(true),
        Seen::Here => read_here(mm, space, page, out),
    }
}

/// The bytes of a page that lie in the space's own window.
fn read_here<H: Host, S: Store>(
    mm: &Mm<H, S>,
    space: &SpaceGuard<'_>,
    page: PageNo,
    out: &mut PageBytes,
) -> Result<bool, Stop> {
    let found = mm.tables.lookup(&space.tree, page);
    let (frame, leaf) = found.frame().ok_or(Stop::Retry)?;
    let locked = lock_entry(mm, leaf, page, frame).ok_or(Stop::Retry)?;
    read_frame(mm, space.no, &locked, page, out)?;
    Ok(true)
}

/// The exporter and the page of an exported frame, if the exporter can store to it without a fault.
pub(crate) fn exposed<H: Host, S: Store>(mm: &Mm<H, S>, locked: &Locked<'_>) -> Option<(SpaceNo, PageNo)> {
    let at = locked.frame.word.load().owner.shared_head()?;
    let Residence::Private(exporter) = locked.residence else {
        return None;
    };
    if locked.frame.count.load().pins != 0 {
        // A fork is about to give the child its copy of a pinned page, which stays the
        // exporter's.
        return None;
    }
    let page = mm.tables.page_of(at);
    is_writable(mm, locked).then_some((exporter, page))
}

/// Whether a program can store to the frame's private page without a fault.
pub(crate) fn is_writable<H: Host, S>(mm: &Mm<H, S>, locked: &Locked<'_>) -> bool {
    let Some(at) = locked.frame.word.load().owner.head() else {
        return false;
    };
    let Residence::Private(space) = locked.residence else {
        return false;
    };
    mm.host.writable(space, Run::one(mm.tables.page_of(at))) != 0
}

/// Whether the next store to the private page that the frame's bytes are is a fault for certain.
pub(crate) fn is_protected<H: Host, S>(mm: &Mm<H, S>, locked: &Locked<'_>) -> bool {
    locked.protected && mm.host.protections_hold()
}

/// Reads the frame's bytes for `reader` out of the window of `owner`, which may have exported it.
pub(crate) fn read_window<H: Host, S: Store>(
    mm: &Mm<H, S>,
    reader: SpaceNo,
    owner: SpaceNo,
    locked: &Locked<'_>,
    page: PageNo,
    out: &mut PageBytes,
) -> Result<(), HostError> {
    // What a space stored itself is right for itself.
    if reader != owner && exposed(mm, locked).is_some() {
        return Err(HostError::Unprotected);
    }
    let read = mm.host.read_private(owner, page, out);
    read.inspect_err(|&error| hear_of_emptied(mm, locked, page, error))
}

/// Waits for the frame's lock; `None` when the page's entry says something else by then.
pub(crate) fn lock_entry<H, S>(
    mm: &Mm<H, S>,
    leaf: TableNo,
    page: PageNo,
    frame: FrameNo,
) -> Option<Locked<'_>> {
    let locked = mm.frames.lock(frame);
    let same = mm.tables.entry(leaf, page) == LeafEntry::Frame(frame);
    same.then_some(locked)
}
