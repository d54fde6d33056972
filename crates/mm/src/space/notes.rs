//! Notes that are left with a space by those who do not have its lock.

use super::SpaceSlot;
use crate::addr::PageNo;
use memfold_sync::atomic::Ordering;

impl SpaceSlot {
    /// Leaves a note, unless there is one: for who has a frame of the space locked but not the
    /// space.
    pub fn note_emptied(&self, page: PageNo) {
        let none = |now| (now == 0).then_some(page.0 + 1);
        // Relaxed: a number on its own; who is to see it comes to the frame's lock first, or sees
        // it later.
        let _ = (self.emptied).fetch_update(Ordering::Relaxed, Ordering::Relaxed, none);
    }

    /// Takes the note. Under the space lock; a load when there is none.
    pub fn take_emptied(&self) -> Option<PageNo> {
        // Relaxed: as above.
        if self.emptied.load(Ordering::Relaxed) == 0 {
            return None;
        }
        // Relaxed: as above.
        let noted = self.emptied.swap(0, Ordering::Relaxed);
        noted.checked_sub(1).map(PageNo)
    }

    pub fn note_merged(&self, pages: u64) {
        // Relaxed: a number for people.
        self.merged.fetch_add(pages, Ordering::Relaxed);
    }

    pub fn merged(&self) -> u64 {
        // Relaxed: a number for people.
        self.merged.load(Ordering::Relaxed)
    }
}
