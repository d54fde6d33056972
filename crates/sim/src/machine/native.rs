//! Runs of windows that the machine serves by itself: it shows their pool pages in place of empty
//! ones, and copies those that are stored to.
//!
//! A place of the pool that is empty must not be asked for: a real machine would fill it, and
//! nobody would have been charged.

use super::{Machine, Shown};
use memfold_host::addr::{PageNo, Run, SpaceNo};

impl Machine {
    /// From its opening on, the machine serves a run of the window; what it holds less for it,
    /// since a window like that was kept.
    pub fn serve_run(&mut self, no: SpaceNo, run: Run) -> u64 {
        let window = self.window_mut(no);
        assert!(run.end().0 <= window.len, "{run:?} of {} pages", window.len);
        window.native = Some(run);
        let shape = (window.backing, window.reserve, window.len, run);
        self.tables.take_over(no, &shape)
    }

    /// Somebody asks for a page that may be one of those, and empty.
    pub(super) fn serve(&mut self, no: SpaceNo, page: PageNo) {
        let window = self.window(no);
        if !window.is_native(page) || !matches!(window.page(page), Shown::Empty) {
            return;
        }
        let at = window.pool_page(page);
        assert!(
            self.pool.has(at),
            "space {no} asks for page {page}, but pool page {at} holds nothing, and the machine serves it"
        );
        self.populate(no, page);
        *self.window_mut(no).page_mut(page) = Shown::Pool { writable: false };
    }

    /// Somebody stores to a page that may be one of those, and not private.
    pub(super) fn copy_native(&mut self, no: SpaceNo, page: PageNo) {
        let window = self.window(no);
        if !window.is_native(page) || !matches!(window.page(page), Shown::Pool { .. }) {
            return;
        }
        let bytes = self.pool.copy(window.pool_page(page));
        *self.window_mut(no).page_mut(page) = Shown::Private {
            bytes,
            writable: true,
        };
        self.private += 1;
        self.note_peak();
    }

    /// Which pages of the run are private.
    pub fn private_in(&self, no: SpaceNo, run: Run) -> u64 {
        let window = self.window(no);
        let is_private = |page: &PageNo| matches!(window.page(*page), Shown::Private { .. });
        let private = run.pages().filter(is_private);
        private.fold(0, |bits, page| bits | 1 << (page.0 - run.first.0))
    }

    /// Pages that the machine serves, and could not.
    pub fn holes(&self, no: SpaceNo) -> Vec<PageNo> {
        let Some(window) = self.find(no) else {
            return Vec::new();
        };
        let missing = |page: &PageNo| {
            let private = matches!(window.page(*page), Shown::Private { .. });
            !private && !self.pool.has(window.pool_page(*page))
        };
        let native = window.native.iter().flat_map(|run| run.pages());
        native.filter(missing).collect()
    }
}
