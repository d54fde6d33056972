//! How far a space reads ahead in the files that it maps. Under the space's lock.

use super::file::FileNo;
use crate::addr::PageNo;

/// The most pages that are read at a time.
const MOST_AHEAD: u32 = 32;

/// How many pages of a file are read when one is asked for: twice as many each time that the page
/// is the next one, one when it is any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReadAhead {
    /// The file and its page behind the last ones that were read.
    next: Option<(FileNo, PageNo)>,
    pages: u32,
}

impl ReadAhead {
    /// A page that is not in memory was asked for: how many to read, with it.
    pub fn asked(&mut self, file: FileNo, page: PageNo) -> u32 {
        self.pages = match self.next == Some((file, page)) {
            true => (self.pages * 2).min(MOST_AHEAD),
            false => 1,
        };
        self.next = Some((file, page.plus(self.pages)));
        self.pages
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// Goal: runs that go on grow to the most, others shrink to one page.
    #[test]
    fn reading_ahead_adapts() {
        let mut ahead = ReadAhead::default();
        let mut next = 0;
        let lens: Vec<u32> = (0..7)
            .map(|_| {
                let pages = ahead.asked(FileNo(1), PageNo(next));
                next += pages;
                pages
            })
            .collect();
        assert_eq!(lens, [1, 2, 4, 8, 16, 32, 32]);
        assert_eq!(ahead.asked(FileNo(1), PageNo(5)), 1);
        assert_eq!(ahead.asked(FileNo(2), PageNo(6)), 1);
    }
}
