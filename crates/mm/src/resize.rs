//! A file becomes longer or shorter (Linux: `truncate`), or is read again.
//!
//! Shorter: first faults are told, then the source is cut, and only then what stood behind the end
//! leaves memory, and every window with it; a fault that was on its way finds out under its frame's
//! lock (`files/mod.rs`). Private copies of such pages go as well, space by space, also those of
//! forks that were made meanwhile. No lock is held between the steps.

use crate::addr::{PageNo, Run, SpaceNo};
use crate::backing::areas::AreaKind;
use crate::backing::file::{FileNo, Source};
use crate::error::{SpaceError, Stop};
use crate::files::{FileDoor, FileError, OpenFile, drop_range, forget_stored};
use crate::host::{Host, Piece, Store};
use crate::mm::{Mm, PAGE};
use crate::reset::Reset;
use std::collections::BTreeSet;

impl<H: Host, S: Store> FileDoor<'_, H, S> {
    /// Makes the file so many bytes long, memory so many whole pages. What is new is zeros; what
    /// lay behind the end is gone, private copies included, and accesses there fail
    /// ([`FaultError::BeyondEnd`](crate::FaultError::BeyondEnd)).
    ///
    /// # Errors
    /// [`FileError::TooLong`] beyond the pages that the file had when it was opened;
    /// [`FileError::Source`] when the file refuses: then it is as it was, unless its last page
    /// could not be written out. [`FileError::Pinned`] when a private copy is pinned, and
    /// [`FileError::NoRoom`] or [`FileError::Host`] when one cannot go: then such copies are left.
    pub fn resize(&self, file: &OpenFile, bytes: u64) -> Result<(), FileError> {
        let (mm, no) = (self.mm, file.no);
        let view = mm.files.view(no);
        let bytes = match view.source.is_memory() {
            true => bytes.next_multiple_of(PAGE),
            false => bytes,
        };
        let (pages, most) = (bytes.div_ceil(PAGE), u64::from(view.pages));
        if pages > most {
            return Err(FileError::TooLong { pages, most });
        }
        if bytes > view.bytes {
            // What was stored behind the end of the last page is not the file's.
            let last = page_of(view.bytes);
            drop_range(mm, no, last, last.plus(1)).map_err(refused)?;
            view.source.resize(bytes)?;
            mm.files.set_bytes(no, bytes);
            return Ok(());
        }
        mm.files.set_bytes(no, bytes);
        if let Err(error) = view.source.resize(bytes) {
            mm.files.set_bytes(no, view.bytes);
            return Err(FileError::Source(error));
        }
        drop_range(mm, no, page_of(bytes), PageNo(view.pages)).map_err(refused)?;
        forget_stored(mm, &view, page_of(bytes));
        drop_copies(mm, no, PageNo(pages as u32))
    }

    /// Forgets what is in memory of the file, so that it is read again, and asks it how long it is:
    /// others may have changed it. What was stored to through shared areas and not written out is
    /// written out before. When the file is shorter, what lay behind its end is gone, as after
    /// [`resize`](Self::resize); it becomes no longer than it was when it was opened. Of memory,
    /// nothing.
    ///
    /// # Errors
    /// [`FileError::Source`] when the file does not say how long it is, or refuses a write; and as
    /// [`resize`](Self::resize). Pages may be in memory as they were.
    pub fn reload(&self, file: &OpenFile) -> Result<(), FileError> {
        let (mm, no) = (self.mm, file.no);
        let view = mm.files.view(no);
        let Source::Outside(source) = &*view.source else {
            return Ok(());
        };
        let bytes = source.bytes()?.min(u64::from(view.pages) * PAGE);
        mm.files.set_bytes(no, bytes);
        drop_range(mm, no, PageNo(0), PageNo(view.pages)).map_err(refused)?;
        drop_copies(mm, no, PageNo(bytes.div_ceil(PAGE) as u32))
    }
}

/// The page in which, or before which, so many bytes end.
fn page_of(bytes: u64) -> PageNo {
    PageNo((bytes / PAGE) as u32)
}

fn refused(stop: Stop) -> FileError {
    match stop {
        Stop::Source(error) => FileError::Source(error),
        Stop::Host(refused) => FileError::Host(refused),
        _ => FileError::NoRoom,
    }
}

/// The private copies of the file's pages from `end` on go.
fn drop_copies<H: Host, S: Store>(mm: &Mm<H, S>, no: FileNo, end: PageNo) -> Result<(), FileError> {
    let mut done = BTreeSet::new();
    // Ends: each turn takes the spaces that were forked during the one before; they inherit copies
    // only from such as had not had their turn.
    loop {
        let all = mm.files.lock(no).mappings.all();
        let private = all.iter().filter(|m| m.kind == Piece::Private);
        let left = private.filter(|m| m.first.plus(m.run.len) > end && !done.contains(&m.space));
        let left: BTreeSet<SpaceNo> = left.map(|m| m.space).collect();
        if left.is_empty() {
            return Ok(());
        }
        for space in left {
            done.insert(space);
            match drop_copies_of(mm, space, no, end) {
                Ok(()) | Err(SpaceError::NoSuchSpace(_)) => (),
                Err(SpaceError::Pinned(space)) => return Err(FileError::Pinned(space)),
                Err(SpaceError::Host(refused)) => return Err(FileError::Host(refused)),
                Err(_) => return Err(FileError::NoRoom),
            }
        }
    }
}

/// Those of one space.
fn drop_copies_of<H: Host, S: Store>(
    mm: &Mm<H, S>,
    space: SpaceNo,
    no: FileNo,
    end: PageNo,
) -> Result<(), SpaceError> {
    let done = mm.retry(|| {
        let mut reset = Reset::lock(mm, space)?;
        let areas: Vec<_> = reset.space.areas.iter().copied().collect();
        for area in areas {
            let AreaKind::File { file, first, .. } = area.kind else {
                continue;
            };
            let kept = end.0.saturating_sub(first.0);
            if file != no || kept >= area.run.len {
                continue;
            }
            let run = Run {
                first: area.run.first.plus(kept),
                len: area.run.len - kept,
            };
            if reset.space.has_pins(run) {
                return Ok(Err(SpaceError::Pinned(space)));
            }
            let mut next = run.first;
            reset.discard_piece(&mut next, run.end())?;
        }
        Ok(Ok(()))
    });
    done.unwrap_or_else(|stop| Err(stop.of_space(&mm.budget, space, PageNo(0))))
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
