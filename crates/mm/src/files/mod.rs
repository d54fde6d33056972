//! Pages of files in memory: how they come in, go out, and are written (Linux: `filemap.c`).
//!
//! A file's backing is the index: whoever asks for a page finds the frame there and waits for its
//! lock, or puts a locked frame of its own there and reads the source into its place of the pool,
//! so that a page is read once, however many ask. An entry changes under its frame's lock only: who
//! has the lock, and finds the frame in the entry still, has the page. Nothing is ever known of
//! these pages in a space's tables. `source.rs` has where their bytes are otherwise, `write_out.rs`
//! what becomes of dirty pages, `write_back.rs` when that is, `door.rs` what is done with whole
//! files. Called under a space's lock by faults, without one by the rest.

mod door;
mod source;
mod write_back;
mod write_out;

pub use door::{FileDoor, FileError, FileStats, OpenFile};
pub(crate) use source::{forget_stored, is_worth_reading, will_change};
pub(crate) use write_back::balance_dirty;
pub(crate) use write_out::{drop_range, evict_page, take_apart};

use crate::addr::{FrameNo, PageBytes, PageNo, PoolPage};
use crate::backing::Insertion;
use crate::backing::file::{FileNo, FileView};
use crate::budget::{Charge, Class, Need};
use crate::error::Stop;
use crate::frame::{Locked, Owner, Put, Residence};
use crate::host::{Host, Store};
use crate::mm::{Mm, PAGE, alloc_frame, free_frame};
use crate::reclaim::state::{Kind, Origin};

/// A page of a file that is in memory: its frame, locked.
#[derive(Debug)]
pub(crate) struct InMemory<'m> {
    pub locked: Locked<'m>,
    /// Which page of the file it is.
    pub page: PageNo,
    /// Where its bytes are.
    pub at: PoolPage,
    /// The file as it was when the page was found.
    pub file: FileView,
}

/// Why a page of a file is brought in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// It is needed.
    Now,
    /// It is expected to be.
    Ahead,
}

/// Where pages of a file go when room is needed.
pub(crate) fn kind_of(file: &FileView) -> Kind {
    match file.source.is_memory() {
        true => Kind::Anonymous,
        false => Kind::File,
    }
}

/// Brings a page of a file in, if it is not in memory.
///
/// # Errors
/// [`Stop::NoRoom`]; [`Stop::BeyondEnd`]; what the file or the machine refuses. Nothing is left
/// behind.
pub(crate) fn load_page<H: Host, S: Store>(
    mm: &Mm<H, S>,
    no: FileNo,
    page: PageNo,
    wanted: Wanted,
) -> Result<InMemory<'_>, Stop> {
    // Ends: each turn means that another thread brought the page in, or took it out.
    loop {
        let file = mm.files.view(no);
        if file.bytes_of(page) == 0 {
            return Err(Stop::BeyondEnd);
        }
        let found = match mm.backings.frame_at(file.backing, page) {
            Some(frame) => lock_page(mm, &file, page, frame),
            None => bring_in(mm, no, &file, page, wanted)?,
        };
        let Some(locked) = found else { continue };
        // The file may have become shorter since: who made it so passes each page once, and may
        // have done before this one was in the index.
        let file = mm.files.view(no);
        if file.bytes_of(page) == 0 {
            let_go(mm, locked, &file, page);
            return Err(Stop::BeyondEnd);
        }
        let at = mm.backings.first(file.backing).plus(page.0);
        return Ok(InMemory {
            locked,
            page,
            at,
            file,
        });
    }
}

/// The same, if it is in memory and nobody is at work on it.
pub(crate) fn find_page<'m, H: Host, S: Store>(
    mm: &'m Mm<H, S>,
    file: &FileView,
    page: PageNo,
) -> Option<Locked<'m>> {
    let frame = mm.backings.frame_at(file.backing, page)?;
    let locked = mm.frames.try_lock(frame)?;
    (mm.backings.frame_at(file.backing, page) == Some(frame)).then_some(locked)
}

/// Waits for the lock of a frame that was found in a file's index; `None` when it stands there no
/// more.
fn lock_page<'m, H: Host, S: Store>(
    mm: &'m Mm<H, S>,
    file: &FileView,
    page: PageNo,
    frame: FrameNo,
) -> Option<Locked<'m>> {
    let locked = mm.frames.lock(frame);
    (mm.backings.frame_at(file.backing, page) == Some(frame)).then_some(locked)
}

/// Reads a page that is not in memory into a frame; `None` when another thread does.
fn bring_in<'m, H: Host, S: Store>(
    mm: &'m Mm<H, S>,
    no: FileNo,
    file: &FileView,
    page: PageNo,
    wanted: Wanted,
) -> Result<Option<Locked<'m>>, Stop> {
    let need = source::need(mm, file, page);
    let mut charge = Charge::take(&mm.budget, Class::Pool, PAGE, need).ok_or(Stop::NoRoom)?;
    let frame = alloc_frame(mm, need)?;
    let mut locked = mm.frames.lock(frame);
    let tables = mm.budget.tables(Need::Normal);
    let read = match mm.backings.insert(file.backing, page, frame, tables) {
        Insertion::Done => read_in(mm, file, page, frame).map(|()| true),
        Insertion::Occupied => Ok(false),
        Insertion::NoRoom => Err(Stop::NoRoom),
    };
    if read != Ok(true) {
        drop(locked);
        mm.frames.free(frame.0);
        return read.map(|_| None);
    }
    locked.residence = Residence::File(no, page);
    locked.charge = Some(charge.page());
    (locked.protected, locked.dirty) = (false, false);
    locked.frame.begin();
    locked.frame.history.forget();
    locked.frame.shown.begin();
    // The index is the one that names it.
    locked.frame.count.begin();
    locked.set_owner(Owner::File(no));
    let stamp = mm.backings.stamp(file.backing, page, None);
    let origin = match wanted {
        Wanted::Now => mm.reclaim.origin(stamp),
        Wanted::Ahead => Origin::New,
    };
    if mm.reclaim.arrived(&mm.frames, frame, kind_of(file), origin) {
        mm.counters.file_refaults.one();
    }
    mm.files.count_resident(1);
    mm.counters.file_reads.one();
    Ok(Some(locked))
}

/// Reads a page to its place, which its frame has taken; gives the place back when that fails.
fn read_in<H: Host, S: Store>(
    mm: &Mm<H, S>,
    file: &FileView,
    page: PageNo,
    frame: FrameNo,
) -> Result<(), Stop> {
    let at = mm.backings.first(file.backing).plus(page.0);
    let read = mm.scratch.with(|bytes| -> Result<(), Stop> {
        source::read(mm, file, page, bytes)?;
        Ok(mm.host.pool_write(at, bytes)?)
    });
    read.inspect_err(|_| {
        mm.host.pool_free(at, 1);
        mm.backings.remove(file.backing, page, frame);
    })
}

/// The page is in memory no more, whoever shows it; what was stored to it and not written out is
/// gone. Whoever has a reference frees the frame.
fn take_out<H: Host, S: Store>(mm: &Mm<H, S>, locked: &mut Locked<'_>, file: &FileView, page: PageNo) {
    mm.host.pool_free(mm.backings.first(file.backing).plus(page.0), 1);
    mm.backings.remove(file.backing, page, locked.no);
    mm.budget.refund_page(locked.charge.take());
    if std::mem::take(&mut locked.dirty)
        && let Residence::File(no, _) = locked.residence
    {
        mm.files.now_clean(no);
    }
    locked.retire();
    mm.files.count_resident(-1);
}

/// The same, where the index had the last reference but for who isolated the frame.
fn let_go<H: Host, S: Store>(mm: &Mm<H, S>, mut locked: Locked<'_>, file: &FileView, page: PageNo) {
    take_out(mm, &mut locked, file, page);
    let (put, no) = (locked.frame.count.unmap(), locked.no);
    drop(locked);
    if put == Put::Last {
        free_frame(mm, no);
    }
}

/// Reads a page of a file without bringing it in.
///
/// # Errors
/// [`Stop::BeyondEnd`], or what the file or the machine refuses.
pub(crate) fn read_page<H: Host, S: Store>(
    mm: &Mm<H, S>,
    no: FileNo,
    page: PageNo,
    out: &mut PageBytes,
) -> Result<(), Stop> {
    let file = mm.files.view(no);
    if file.bytes_of(page) == 0 {
        return Err(Stop::BeyondEnd);
    }
    let Some(frame) = mm.backings.frame_at(file.backing, page) else {
        return source::read(mm, &file, page, out);
    };
    let locked = lock_page(mm, &file, page, frame).ok_or(Stop::Retry)?;
    // The frame stays while it is read.
    let read = mm
        .host
        .pool_read(mm.backings.first(file.backing).plus(page.0), out);
    drop(locked);
    Ok(read?)
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
