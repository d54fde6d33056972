//! How far a space reads ahead in the files that it maps. Under the space's lock.

use super::file::FileNo;
use crate::addr::PageNo;

/// The most pages that are read at a time.
const MOST_AHEAD: u32 = 32;

/// In which order the pages of an area are going to be used, as far as files are read ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// As it turns out: runs are read further and further ahead, single pages alone.
    #[default]
    Adaptive,
    /// One after the other: each page that is not in memory is read with as many behind it as are
    /// read at the most.
    Sequential,
    /// Any: each page is read alone.
    Random,
}

/// How many pages of a file are read when one is asked for: twice as many each time that the page
/// is the next one, one when it is any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReadAhead {
    /// The file and its page behind the last ones that were read.
    next: Option<(FileNo, PageNo)>,
    pages: u32,
}

impl ReadAhead {
    /// A page that is not in memory was asked for, by somebody who uses pages in this order: how
    /// many to read, with it.
    pub fn asked(&mut self, file: FileNo, page: PageNo, order: Order) -> u32 {
        self.pages = match order {
            Order::Sequential => MOST_AHEAD,
            Order::Adaptive if self.next == Some((file, page)) => (self.pages * 2).min(MOST_AHEAD),
            Order::Adaptive | Order::Random => 1,
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
                let pages = ahead.asked(FileNo(1), PageNo(next), Order::Adaptive);
                next += pages;
                pages
            })
            .collect();
        assert_eq!(lens, [1, 2, 4, 8, 16, 32, 32]);
        assert_eq!(ahead.asked(FileNo(1), PageNo(5), Order::Adaptive), 1);
        assert_eq!(ahead.asked(FileNo(2), PageNo(6), Order::Adaptive), 1);
        assert_eq!(ahead.asked(FileNo(2), PageNo(7), Order::Random), 1);
        assert_eq!(ahead.asked(FileNo(2), PageNo(70), Order::Sequential), 32);
    }
}
