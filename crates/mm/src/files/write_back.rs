//! When pages of files that were stored to are written out, though nobody syncs and no room is
//! needed (Linux: the flusher threads).
//!
//! Whoever embeds the manager has a clock, and calls a pass now and then, as long as one says that
//! pages are left. A file whose pages wait is noted by one pass and written by the next, all that
//! is dirty of it, so that a page waits for one to two intervals; where more than a tenth of the
//! budget waits, nothing is left for later. A file has a reference while it is written, and no lock
//! is held between two pages. What a file refuses is kept, told to whoever syncs next, and tried
//! again by later passes.
//!
//! Passes may be slower than stores. So who stores to one page more where twice as much waits
//! writes a few pages out ([`write_some`]; Linux: `balance_dirty_pages`) before the store is tried
//! again: as many pages as there are threads may wait beyond that, and those that files refuse.

use super::door::FileDoor;
use super::write_out::{take_apart, write_all, write_most};
use crate::addr::{PageNo, SpaceNo};
use crate::backing::file::{FileNo, Turn};
use crate::host::{Host, Store};
use crate::mm::Mm;

/// Pages that who has stored too much writes at a time.
const SOME: u32 = if cfg!(any(loom, shuttle)) { 2 } else { 16 };

impl<H: Host, S: Store> FileDoor<'_, H, S> {
    /// Whether a pass is needed of which nobody knows yet: a file without pages to write has some,
    /// or more wait than should. A load; any thread, also where a fault was resolved.
    #[must_use]
    pub fn wants_write_back(&self) -> bool {
        self.mm.files.has_news()
    }

    /// The same, by who makes the passes, and is not told again: there will be one.
    #[must_use]
    pub fn hear_of_stores(&self) -> bool {
        self.mm.files.has_news() && self.mm.files.take_news()
    }

    /// Whether so many pages wait that they should be written now.
    #[must_use]
    pub fn much_waits(&self) -> bool {
        self.mm.files.much_waits()
    }

    /// One pass over all files: writes out the pages that wait since the pass before, or all, where
    /// too many do. True when pages are left, so that there must be another pass an interval later.
    /// In time that depends on what is in memory of those files. Any thread that holds no lock of
    /// the manager, one at a time.
    pub fn write_back(&self) -> bool {
        let files = &self.mm.files;
        let _ = files.take_news();
        let (all, mut left) = (files.much_waits(), false);
        for no in 1..files.end() {
            left |= match files.turn(no, all) {
                Turn::Clean => false,
                Turn::Waits => true,
                Turn::Now => self.write_now(FileNo(no)),
            };
        }
        left
    }

    /// Writes out what is dirty of a file to which we have a reference, and gives that back;
    /// whether something is left.
    fn write_now(&self, no: FileNo) -> bool {
        let mm = self.mm;
        // What the machine refused is as dirty as what the file did.
        let _ = write_all(mm, no, PageNo(0), PageNo(u32::MAX));
        // Pages that are clean can go without a write.
        mm.reclaim.something_changed();
        let left = mm.files.written(no);
        if let Some(gone) = mm.files.leave(no) {
            take_apart(mm, gone);
            return false;
        }
        left
    }
}

/// A thread is about to be let through to store to a page. Where that is a page of a file, and too
/// many wait to be written, it writes some of them, of all files by turns, and no more when files
/// refuse. No lock is held.
#[inline]
pub(crate) fn balance_dirty<H: Host, S: Store>(mm: &Mm<H, S>, space: SpaceNo, page: PageNo) {
    let is_files = || {
        mm.lock_space(space)
            .is_ok_and(|space| space.areas.is_shared(page))
    };
    if mm.files.too_much_waits() && is_files() {
        write_some(mm);
    }
}

#[cold]
fn write_some<H: Host, S: Store>(mm: &Mm<H, S>) {
    mm.counters.file_stores_held.one();
    let (first, mut page) = mm.files.cursor();
    let end = mm.files.end();
    let mut left = SOME;
    // Each file once, and the first one from its beginning as well.
    let turns = (first..end).chain(1..end.min(first + 1)).filter(|&no| no != 0);
    for no in turns {
        if left == 0 {
            break;
        }
        let from = std::mem::replace(&mut page, PageNo(0));
        let Some(held) = mm.files.hold_dirty(no) else {
            continue;
        };
        let next = write_most(mm, held, from, &mut left);
        mm.files.set_cursor(no, next.unwrap_or(PageNo(u32::MAX)));
        if let Some(gone) = mm.files.leave(held) {
            take_apart(mm, gone);
        }
    }
    mm.reclaim.something_changed();
}
