//! Numbers with a meaning: pages, frames, spaces, pool pages and runs of them.
//!
//! A *page* is a place in a space; a *frame* is its content. All are plain
//! `Copy` numbers; nothing here is shared, nothing allocates.

/// Bytes of one page, on every host.
pub const PAGE_SIZE: usize = 4096;

/// The content of one page.
pub type PageBytes = [u8; PAGE_SIZE];

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(/// A space, by its place in the manager's table; reused after the space is dropped.
    SpaceNo(u32));
number!(/// A page's place in its space: byte offset / [`PAGE_SIZE`].
    PageNo(u32));
number!(/// A frame, by its place in the array of descriptors; never 0.
    FrameNo(u32));
number!(/// A page's place in the pool: byte offset in the pool / [`PAGE_SIZE`].
    PoolPage(u64));

impl PageNo {
    /// The page `n` pages further.
    #[must_use]
    pub fn plus(self, n: u32) -> Self {
        Self(self.0 + n)
    }
}

impl PoolPage {
    /// The pool page `n` pages further.
    #[must_use]
    pub fn plus(self, n: u32) -> Self {
        Self(self.0 + u64::from(n))
    }
}

/// `len` neighbouring pages of a space, from `first`; `len` is at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first page.
    pub first: PageNo,
    /// How many pages, at least 1.
    pub len: u32,
}

impl Run {
    /// One page.
    #[must_use]
    pub fn one(page: PageNo) -> Self {
        Self { first: page, len: 1 }
    }

    /// The page after the last one.
    #[must_use]
    pub fn end(self) -> PageNo {
        self.first.plus(self.len)
    }

    /// The run from the first of these, which stand in their order, to the end of the last; `None`
    /// when there is none.
    #[must_use]
    pub fn around(runs: &[Self]) -> Option<Self> {
        let (first, last) = (runs.first()?.first, runs.last()?.end());
        let len = last.0 - first.0;
        Some(Self { first, len })
    }

    /// The part of the run from one page to before another, if there is any.
    #[must_use]
    pub fn within(self, first: PageNo, end: PageNo) -> Option<Self> {
        let (first, end) = (first.max(self.first), end.min(self.end()));
        let len = end.0.checked_sub(first.0).filter(|&len| len != 0)?;
        Some(Self { first, len })
    }

    /// Whether the page is one of them.
    #[must_use]
    pub fn has(self, page: PageNo) -> bool {
        page >= self.first && page < self.end()
    }

    /// The pages, in order.
    pub fn pages(self) -> impl Iterator<Item = PageNo> {
        (self.first.0..self.first.0 + self.len).map(PageNo)
    }
}

/// What a thread wanted of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store, or an atomic operation.
    Write,
}
