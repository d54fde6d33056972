//! Pages of files that were stored to: how they are written out, evicted, and given up.
//!
//! A page is *dirty* from before the first store is let through until its bytes are about to be
//! written: first no window lets stores through (Linux: `page_mkclean`), then the page is clean,
//! then it is read and written. All of it under the frame's lock, so that a store meanwhile is a
//! fault that waits, and makes the page dirty again. A write that fails leaves the page dirty, and
//! whoever syncs next is told. Reclaim only tries the lock.

use super::{kind_of, let_go, lock_page, source, take_out};
use crate::addr::{PageNo, Run};
use crate::backing::file::{FileNo, FileView, Unreferenced};
use crate::create::leave_backing;
use crate::error::Stop;
use crate::frame::{Locked, Put, Residence};
use crate::host::{Host, HostError, Store};
use crate::keep::is_kept;
use crate::mm::Mm;
use crate::rmap::{By, rmap_walk};
use std::convert::Infallible;

/// No window lets stores to the page through any more. It leaves them: to protect a page that a
/// window does not show would take a page table there that nobody was charged for.
fn make_clean<H: Host, S: Store>(mm: &Mm<H, S>, locked: &Locked<'_>) {
    rmap_walk(mm, locked, usize::MAX, &mut |mapper| {
        if mapper.by == By::Shared {
            mm.host.drop_pages(mapper.space, Run::one(mapper.page));
        }
    });
}

/// Writes a dirty page out.
///
/// # Errors
/// What the file or the machine refuses; the page is dirty then.
pub(super) fn write_out<H: Host, S: Store>(
    mm: &Mm<H, S>,
    locked: &mut Locked<'_>,
    no: FileNo,
    file: &FileView,
    page: PageNo,
) -> Result<(), Stop> {
    let len = file.bytes_of(page);
    if len == 0 {
        // Whoever made the file shorter is about to take the page out, or failed, and it is longer
        // again.
        return Err(Stop::BeyondEnd);
    }
    make_clean(mm, locked);
    let at = mm.backings.first(file.backing).plus(page.0);
    locked.dirty = false;
    let written = mm.scratch.with(|bytes| -> Result<(), Stop> {
        mm.host.pool_read(at, bytes)?;
        source::write(mm, locked, file, page, bytes, len)
    });
    match written {
        Ok(()) => {
            mm.files.now_clean(no);
            mm.counters.file_writes.one();
        }
        Err(stop) => {
            locked.dirty = true;
            if let Stop::Source(error) = stop {
                mm.counters.file_write_errors.one();
                mm.files.failed(no, error);
            }
        }
    }
    written
}

/// Takes a step with each page before `end`, from `first` on, that is in memory now, locked, until
/// one fails.
fn each_page<H: Host, S: Store, E>(
    mm: &Mm<H, S>,
    file: &FileView,
    (first, end): (PageNo, PageNo),
    mut step: impl FnMut(PageNo, Locked<'_>) -> Result<(), E>,
) -> Result<(), E> {
    for (page, frame) in mm.backings.view(file.backing).standing(first, end) {
        if let Some(locked) = lock_page(mm, file, page, frame) {
            step(page, locked)?;
        }
    }
    Ok(())
}

/// Writes out the dirty pages before `end`, from `first` on, each if it is dirty when it is looked
/// at. A file that refuses is left to who asks for its failures.
///
/// # Errors
/// What the machine refused; pages may be dirty still.
pub(super) fn write_all<H: Host, S: Store>(
    mm: &Mm<H, S>,
    no: FileNo,
    first: PageNo,
    end: PageNo,
) -> Result<(), HostError> {
    let file = mm.files.view(no);
    each_page(mm, &file, (first, end), |page, mut locked| {
        if locked.dirty
            && let Err(Stop::Host(refused)) = write_out(mm, &mut locked, no, &file, page)
        {
            return Err(refused);
        }
        Ok(())
    })
}

/// Writes out dirty pages from `first` on, `left` at the most, which is counted down, and none
/// after one that is refused; where to go on, if there may be more.
pub(super) fn write_most<H: Host, S: Store>(
    mm: &Mm<H, S>,
    no: FileNo,
    first: PageNo,
    left: &mut u32,
) -> Option<PageNo> {
    let file = mm.files.view(no);
    let all = (first, PageNo(u32::MAX));
    let ended = each_page(mm, &file, all, |page, mut locked| {
        if !locked.dirty {
            return Ok(());
        }
        let written = write_out(mm, &mut locked, no, &file, page);
        *left -= 1;
        match written {
            Ok(()) if *left != 0 => Ok(()),
            Ok(()) => Err(Some(page.plus(1))),
            Err(_) => Err(None),
        }
    });
    ended.err().flatten()
}

/// Evicts a page of a file whose frame whoever asks holds a reference to: a dirty one is written
/// out before. False when it cannot go; the reference is the caller's in either case.
pub(crate) fn evict_page<H: Host, S: Store>(mm: &Mm<H, S>, mut locked: Locked<'_>) -> bool {
    let Residence::File(no, page) = locked.residence else {
        return false;
    };
    if is_kept(mm, &locked) {
        return false;
    }
    let file = mm.files.view(no);
    if locked.dirty {
        if write_out(mm, &mut locked, no, &file, page).is_err() {
            return false;
        }
        mm.reclaim.wrote(kind_of(&file), 1);
    }
    mm.backings.stamp(file.backing, page, Some(mm.reclaim.stamp()));
    take_out(mm, &mut locked, &file, page);
    let put = locked.frame.count.unmap();
    assert_eq!(put, Put::Held, "the evicting thread holds a reference");
    mm.counters.file_evictions.one();
    true
}

/// The pages before `end`, from `first` on, are in memory no more: those that the file still has
/// are written out before.
///
/// # Errors
/// What the file or the machine refuses: pages from that one on may be in memory.
pub(crate) fn drop_range<H: Host, S: Store>(
    mm: &Mm<H, S>,
    no: FileNo,
    first: PageNo,
    end: PageNo,
) -> Result<(), Stop> {
    let file = mm.files.view(no);
    each_page(mm, &file, (first, end), |page, mut locked| {
        if locked.dirty && file.bytes_of(page) != 0 {
            write_out(mm, &mut locked, no, &file, page)?;
        }
        let_go(mm, locked, &file, page);
        Ok(())
    })
}

/// Nobody refers to the file any more: its pages are written out, as far as it lets them, and go.
pub(crate) fn take_apart<H: Host, S: Store>(mm: &Mm<H, S>, gone: Unreferenced) {
    let file = gone.view.clone();
    let all = (PageNo(0), PageNo(u32::MAX));
    let Ok(()) = each_page(mm, &file, all, |page, mut locked| {
        let written = !locked.dirty || file.source.is_memory();
        if !written && write_out(mm, &mut locked, gone.no, &file, page).is_err() {
            mm.counters.file_pages_lost.one();
        }
        let_go(mm, locked, &file, page);
        Ok::<(), Infallible>(())
    });
    leave_backing(mm, file.backing);
    mm.files.free(gone);
    mm.reclaim.something_changed();
}
