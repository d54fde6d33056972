//! When pages of files that were stored to are written out, though nobody syncs and no room is
//! needed (Linux: the flusher threads).
//!
//! Whoever embeds the manager has a clock, and calls a pass now and then, as long as one says that
//! pages are left. A file whose pages wait is noted by one pass and written by the next, all that
//! is dirty of it, so that a page waits for one to two intervals; where more than a tenth of the
//! budget waits, nothing is left for later. A file has a reference while it is written, and no lock
//! is held between two pages. What a file refuses is kept, told to whoever syncs next, and tried
//! again by later passes.

use super::door::FileDoor;
use super::write_out::{take_apart, write_all};
use crate::addr::PageNo;
use crate::backing::file::{FileNo, Turn};
use crate::host::{Host, Store};

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
