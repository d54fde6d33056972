//! The pool: one long sparse array of pages. A page is free until it is written, and from then on
//! changed only through shared pieces of windows.

use memfold_host::addr::{PageBytes, PoolPage};
use std::collections::BTreeMap;

/// The pages that hold something, and how long the pool is.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    length: u64,
    pages: BTreeMap<u64, Box<PageBytes>>,
}

impl Pool {
    /// Makes the pool at least `pages` long.
    pub fn reserve(&mut self, pages: u64) {
        self.length = self.length.max(pages);
    }

    /// Pages that hold something.
    pub fn pages(&self) -> u64 {
        self.pages.len() as u64
    }

    pub fn check_length(&self, at: PoolPage) {
        assert!(
            at.0 < self.length,
            "pool page {at} lies beyond the pool's {} pages",
            self.length
        );
    }

    pub fn has(&self, at: PoolPage) -> bool {
        self.pages.contains_key(&at.0)
    }

    pub fn read(&self, at: PoolPage) -> &PageBytes {
        self.held(at)
    }

    /// The same, for a store through a shared piece.
    pub fn page_mut(&mut self, at: PoolPage) -> &mut PageBytes {
        let page = self.pages.get_mut(&at.0);
        page.unwrap_or_else(|| panic!("pool page {at} is stored to, but holds nothing"))
    }

    /// The same, as a copy.
    pub fn copy(&self, at: PoolPage) -> Box<PageBytes> {
        self.held(at).clone()
    }

    #[expect(
        clippy::borrowed_box,
        reason = "it is copied from one box to the next, not by the stack"
    )]
    fn held(&self, at: PoolPage) -> &Box<PageBytes> {
        self.pages
            .get(&at.0)
            .unwrap_or_else(|| panic!("pool page {at} is read, but holds nothing"))
    }

    pub fn write(&mut self, at: PoolPage, bytes: &PageBytes) {
        self.put(at, Box::new(*bytes));
    }

    pub fn put(&mut self, at: PoolPage, bytes: Box<PageBytes>) {
        self.check_length(at);
        let before = self.pages.insert(at.0, bytes);
        assert!(before.is_none(), "pool page {at} is written while it is in use");
    }

    /// Also of a page that was never written, or lies beyond the end.
    pub fn free(&mut self, at: PoolPage) {
        self.pages.remove(&at.0);
    }
}
