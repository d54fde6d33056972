//! Where the bytes of a file's page are while it is not in memory: in its source, or, of memory
//! that spaces share, in the store.
//!
//! The stored version of a page of memory is named by the page's entry in the backing; none: zeros.
//! A clean page in memory has the bytes that the store has, so that it can go at once; when it is
//! stored to, the stored version is freed. It is changed under the lock of the frame that stands at
//! the page, or when the file becomes shorter, and read under the backing's lock, so that it is not
//! freed meanwhile. A page that would hold as much in the store stays in memory until it changes.

use super::InMemory;
use crate::addr::{PAGE_SIZE, PageBytes, PageNo};
use crate::backing::file::{FileNo, FileView, Source};
use crate::budget::Need;
use crate::error::Stop;
use crate::frame::Locked;
use crate::host::{Domain, Host, SourceError, Store, Stored};
use crate::keep::may_compress;
use crate::mm::{Mm, PAGE};

/// How far down the budget a page may reach that comes in.
pub(super) fn need<H: Host, S: Store>(mm: &Mm<H, S>, file: &FileView, page: PageNo) -> Need {
    let stored = file.source.is_memory() && mm.backings.base(file.backing, page).is_some();
    if stored { Need::Refault } else { Need::Normal }
}

/// Reads a page that is not in memory.
///
/// # Errors
/// What the source or the store says.
pub(super) fn read<H: Host, S: Store>(
    mm: &Mm<H, S>,
    file: &FileView,
    page: PageNo,
    out: &mut PageBytes,
) -> Result<(), Stop> {
    match &*file.source {
        Source::Outside(source) => match source.read(page.0.into(), out) {
            // Others have made it shorter.
            Err(SourceError::Ended) => Err(Stop::BeyondEnd),
            read => Ok(read?),
        },
        Source::Store(_) => {
            let get = |stored| mm.store.get(stored, out);
            match mm.backings.with_version(file.backing, page, get) {
                Some(got) => Ok(got?),
                None => {
                    *out = [0; PAGE_SIZE];
                    Ok(())
                }
            }
        }
    }
}

/// Writes a page, whose frame is locked, to where it is when it is not in memory.
///
/// # Errors
/// What the source or the store says; of memory, [`Stop::NoRoom`] when that would save nothing.
pub(super) fn write<H: Host, S: Store>(
    mm: &Mm<H, S>,
    locked: &Locked<'_>,
    file: &FileView,
    page: PageNo,
    bytes: &PageBytes,
    len: usize,
) -> Result<(), Stop> {
    match &*file.source {
        Source::Outside(source) => Ok(source.write(page.0.into(), bytes, len)?),
        Source::Store(domain) => put(mm, locked, file, page, bytes, *domain),
    }
}

fn put<H: Host, S: Store>(
    mm: &Mm<H, S>,
    locked: &Locked<'_>,
    file: &FileView,
    page: PageNo,
    bytes: &PageBytes,
    domain: Domain,
) -> Result<(), Stop> {
    if locked.frame.is_incompressible() {
        return Err(Stop::NoRoom);
    }
    let ledger = mm.budget.ledger(Need::Reclaim);
    let stored = mm.store.put(domain, bytes, None, &ledger)?;
    if mm.store.cost(stored).bytes >= PAGE {
        mm.store.free(stored, &ledger);
        locked.frame.mark_incompressible(true);
        mm.counters.incompressible.one();
        return Err(Stop::NoRoom);
    }
    // The entry is there, since the frame stands in it.
    let named = mm.backings.set_base(file.backing, page, None, stored, |_| false);
    assert!(named, "page {page} was stored to, and the store had it still");
    Ok(())
}

fn free<H: Host, S: Store>(mm: &Mm<H, S>, stored: Stored) {
    mm.store.free(stored, &mm.budget.ledger(Need::Reclaim));
}

/// Whether a page that is not in memory has bytes that take time to come. Memory that nobody has
/// stored to is zeros.
pub(crate) fn is_worth_reading<H: Host, S: Store>(mm: &Mm<H, S>, no: FileNo, page: PageNo) -> bool {
    let file = mm.files.view(no);
    !file.source.is_memory() || mm.backings.base(file.backing, page).is_some()
}

/// The page is about to be stored to: the store does not have its bytes any more, unless it was
/// stored to before.
pub(crate) fn will_change<H: Host, S: Store>(mm: &Mm<H, S>, page: &InMemory<'_>, was_dirty: bool) {
    let InMemory {
        locked, file, page, ..
    } = page;
    if !file.source.is_memory() {
        return;
    }
    may_compress(mm, locked);
    if was_dirty {
        return;
    }
    if let Some(stored) = mm.backings.base(file.backing, *page)
        && mm.backings.take_base(file.backing, *page, stored)
    {
        free(mm, stored);
    }
}

/// The file ends before `end`: what the store has of memory behind that goes.
pub(crate) fn forget_stored<H: Host, S: Store>(mm: &Mm<H, S>, file: &FileView, end: PageNo) {
    if file.source.is_memory() {
        mm.backings
            .take_versions(file.backing, end, |stored| free(mm, stored));
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
