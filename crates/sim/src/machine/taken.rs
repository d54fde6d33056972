//! Pages that are taken out of their windows: the machine holds and counts them until whoever took
//! them has looked. Under the host's lock, as all of the machine.

use super::{Machine, Shown};
use memfold_host::addr::{PageBytes, PageNo, SpaceNo};

impl Machine {
    /// A private page leaves its window, and is held still; `None` when it is not there, for its
    /// program has emptied it.
    pub fn take(&mut self, no: SpaceNo, page: PageNo) -> Option<Box<PageBytes>> {
        let window = self.window_mut(no);
        assert!(
            !window.is_held(page),
            "page {page} of space {no} is pinned and taken"
        );
        match std::mem::replace(window.page_mut(page), Shown::Empty) {
            Shown::Private { bytes, .. } => Some(bytes),
            Shown::Empty => None,
            other => panic!("page {page} of space {no} is taken as private, but it is {other}"),
        }
    }

    /// A page that was taken is held no more.
    pub fn let_go(&mut self) {
        self.private -= 1;
    }

    /// A page that was taken stands in its window again, protected.
    pub fn give_back(&mut self, no: SpaceNo, page: PageNo, bytes: &PageBytes) {
        let shown = self.window_mut(no).page_mut(page);
        assert!(
            matches!(shown, Shown::Empty),
            "page {page} of space {no} comes back, but it is {shown}"
        );
        *shown = Shown::private(bytes, false);
    }
}
