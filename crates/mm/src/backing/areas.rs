//! What a page is where no table says more.
//!
//! The tables of a space name what it wrote. Where a leaf's entry is absent, or the tables do not
//! reach so far, the page is what *backs* it: today zeros, everywhere. Whoever meets an absent
//! entry asks here, by the space and the page, and matches on the answer; nowhere else does
//! "absent" mean anything. What a space answers with ([`Areas`]) stands in its state, under the
//! space lock; an answer takes no lock of its own and no memory. Asked by faults, reads beside the
//! window (`peek.rs`), merging.

use crate::addr::{PAGE_SIZE, PageBytes, PageNo};

/// What backs a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BackedBy {
    /// Zeros, which need no memory.
    Zeros,
}

impl BackedBy {
    /// Writes the page's bytes to `out`.
    pub fn read(self, out: &mut PageBytes) {
        match self {
            Self::Zeros => *out = [0; PAGE_SIZE],
        }
    }

    /// Whether the page has these bytes, so that a frame with them may go and leave it to its
    /// backed_by.
    pub fn is(self, bytes: &PageBytes) -> bool {
        static ZEROS: PageBytes = [0; PAGE_SIZE];
        match self {
            Self::Zeros => *bytes == ZEROS,
        }
    }
}

/// What backs the pages of one space. Forks begin with their parent's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Areas;

impl Areas {
    /// What backs a page of the space.
    pub fn of(&self, _page: PageNo) -> BackedBy {
        BackedBy::Zeros
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// Goal: what is read of a page's backed_by is what its bytes are compared with.
    #[test]
    fn it_reads_as_what_it_is() {
        let backed_by = Areas.of(PageNo(7));
        let mut bytes = [1; PAGE_SIZE];
        assert!(!backed_by.is(&bytes));
        backed_by.read(&mut bytes);
        assert!(backed_by.is(&bytes));
    }
}
