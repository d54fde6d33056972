//! A window: what a program sees at each page of a space.
//!
//! ```text
//!   Empty ── show ──> Pool                     shows the pool page of its place, read-only, or, in
//!     │                                        a shared piece, open after show_writable
//!     │ ╲── show_zero ──> Zero                 zeros without memory, open until protected
//!     ╰── fill, fill_zero, copy_from_pool ──> Private (writable <── protect, unprotect ──> not)
//! ```
//! `show_standby` leads from all but Private to Standby; `drop_pages` leads back to Empty from
//! everywhere. Pages that the (simulated) kernel holds by a pin must stay private and writable
//! until it lets go.

use super::pieces::Pieces;
use memfold_host::addr::{PageBytes, PageNo, PoolPage, Run};
use std::collections::{BTreeMap, BTreeSet};

/// What one page of a window shows.
#[derive(Debug)]
pub(crate) enum Shown {
    /// Nothing: every access is a miss.
    Empty,
    /// Zeros without memory.
    Zero { protected: bool },
    /// The pool page at its place; stores go through to it only in a shared piece.
    Pool { writable: bool },
    /// Memory of its own.
    Private { bytes: Box<PageBytes>, writable: bool },
    /// A standby page: memory that stands in for what the page's space has elsewhere, or has lost.
    Standby { bytes: Box<PageBytes>, writable: bool },
}

impl Shown {
    pub fn private(bytes: &PageBytes, writable: bool) -> Self {
        Self::Private {
            bytes: Box::new(*bytes),
            writable,
        }
    }
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty",
            Self::Zero { .. } => "showing zeros",
            Self::Pool { writable: false } => "showing its pool page",
            Self::Pool { writable: true } => "showing its pool page, open to stores",
            Self::Private { writable: true, .. } => "a writable private page",
            Self::Private { writable: false, .. } => "a protected private page",
            Self::Standby { .. } => "a standby page",
        })
    }
}

/// One space's window.
#[derive(Debug)]
pub(crate) struct Window {
    pub backing: PoolPage,
    pub reserve: u32,
    pub len: u32,
    /// A program was inside; until then the space is at rest.
    pub entered: bool,
    pub pieces: Pieces,
    /// Pages that the machine serves by itself.
    pub native: Option<Run>,
    pages: BTreeMap<u32, Shown>,
    held: BTreeMap<u32, u32>,
    /// Pages that are about to be held: their pin may stand already.
    expected: BTreeSet<u32>,
    /// Pages that were held until just now: their pin may stand still. Until they are protected.
    released: BTreeSet<u32>,
}

impl Window {
    pub fn new(backing: PoolPage, reserve: u32, len: u32) -> Self {
        assert!(len >= 1 && len <= reserve, "a window of {len} pages in {reserve}");
        Self {
            backing,
            reserve,
            len,
            entered: false,
            pieces: Pieces::default(),
            native: None,
            pages: BTreeMap::new(),
            held: BTreeMap::new(),
            expected: BTreeSet::new(),
            released: BTreeSet::new(),
        }
    }

    pub fn resize(&mut self, len: u32) {
        assert!(
            len >= self.len && len <= self.reserve,
            "a window of {} is resized to {len}",
            self.len
        );
        self.len = len;
    }

    pub fn shrink(&mut self, len: u32) {
        assert!(
            len >= 1 && len <= self.len,
            "a window of {} shrinks to {len}",
            self.len
        );
        self.len = len;
        self.pages.retain(|&page, _| page < len);
    }

    fn check(&self, page: PageNo) {
        assert!(
            page.0 < self.len,
            "page {page} lies beyond the window's {} pages",
            self.len
        );
    }

    pub fn page(&self, page: PageNo) -> &Shown {
        self.check(page);
        self.pages.get(&page.0).unwrap_or(&Shown::Empty)
    }

    pub fn page_mut(&mut self, page: PageNo) -> &mut Shown {
        self.check(page);
        self.pages.entry(page.0).or_insert(Shown::Empty)
    }

    /// The pages at which a pool page can be shown: one at the window's own backing, others in
    /// pieces.
    pub fn places_of(&self, at: PoolPage) -> Vec<PageNo> {
        let own =
            at.0.checked_sub(self.backing.0)
                .and_then(|n| u32::try_from(n).ok());
        let own = own.map(PageNo).filter(|&page| self.pieces.at(page).is_none());
        let places = own.into_iter().chain(self.pieces.places_of(at));
        places.filter(|page| page.0 < self.len).collect()
    }

    /// The pool page that a page can show.
    pub fn pool_page(&self, page: PageNo) -> PoolPage {
        match self.pieces.at(page) {
            Some(piece) => piece.pool_page(page),
            None => self.backing.plus(page.0),
        }
    }

    /// Whether the machine serves the page by itself.
    pub fn is_native(&self, page: PageNo) -> bool {
        self.native.is_some_and(|run| run.has(page))
    }

    /// The manager has nothing to do with a page that the machine serves.
    pub fn check_managed(&self, page: PageNo, what: &str) {
        assert!(
            !self.is_native(page),
            "page {page} {what}, but the machine serves it"
        );
    }

    /// A page gets memory of its own outside of shared pieces only.
    pub fn check_own_memory(&self, page: PageNo, what: &str) {
        self.check_managed(page, what);
        assert!(
            !self.pieces.is_shared(page),
            "page {page} {what}, but lies in a shared piece"
        );
    }

    /// Whether a program stores to this pool page without a fault.
    pub fn stores_to(&self, at: PoolPage) -> bool {
        let open = |page: PageNo| matches!(self.page(page), Shown::Pool { writable: true });
        !self.pieces.is_empty() && self.places_of(at).into_iter().any(open)
    }

    /// Whether the two are of one family: the same backing, with the same extent.
    pub fn shares_backing(&self, other: &Self) -> bool {
        (self.backing, self.reserve) == (other.backing, other.reserve)
    }

    /// Whether there is a pool page that both can show.
    pub fn overlaps(&self, other: &Self) -> bool {
        let end = |window: &Self| window.backing.plus(window.reserve);
        self.backing < end(other) && other.backing < end(self)
    }

    /// From now on the run is the manager's: its private pages are protected.
    pub fn manage(&mut self, run: Run) {
        self.native = None;
        for page in run.pages() {
            if let Shown::Private { writable, .. } = self.page_mut(page) {
                *writable = false;
            }
        }
    }

    /// The pages of its own to which a program stores without a fault.
    pub fn writable_pages(&self) -> impl Iterator<Item = PageNo> + '_ {
        let writable = |shown: &Shown| matches!(shown, Shown::Private { writable: true, .. });
        let pages = self.pages.iter().filter(move |(_, shown)| writable(shown));
        pages.map(|(&page, _)| PageNo(page))
    }

    pub fn private_pages(&self) -> u64 {
        self.count(|shown| matches!(shown, Shown::Private { .. }))
    }

    pub fn standby_pages(&self) -> u64 {
        self.count(|shown| matches!(shown, Shown::Standby { .. }))
    }

    fn count(&self, which: impl Fn(&Shown) -> bool) -> u64 {
        self.pages.values().filter(|shown| which(shown)).count() as u64
    }

    /// Changes whether the page's stores go through.
    pub fn set_writable(&mut self, page: PageNo, to: bool) {
        assert!(to || !self.is_held(page), "page {page} is pinned and protected");
        self.check_managed(page, "is protected, or open to stores");
        if !to {
            self.released.remove(&page.0);
        }
        let shared = self.pieces.is_shared(page);
        match self.page_mut(page) {
            Shown::Private { writable, .. } => *writable = to,
            // In a shared piece.
            Shown::Pool { writable } if !to && shared => *writable = false,
            // Evicted between the manager's look and its call: it stays empty.
            Shown::Empty if !to => (),
            other => panic!("the protection of page {page} is changed, but it is {other}"),
        }
    }

    /// A page that lies between others that are protected, whatever it shows.
    pub fn pass_over(&mut self, page: PageNo) {
        assert!(!self.is_held(page), "page {page} is pinned and protected");
        match self.page_mut(page) {
            Shown::Private { writable, .. } | Shown::Standby { writable, .. } | Shown::Pool { writable } => {
                *writable = false;
            }
            Shown::Empty | Shown::Zero { .. } => (),
        }
    }

    /// The second half of `show_zero`: true when a store came between. A page that was emptied
    /// between is shown again.
    pub fn protect_zero(&mut self, page: PageNo) -> bool {
        match self.page_mut(page) {
            shown @ Shown::Empty => {
                *shown = Shown::Zero { protected: true };
                false
            }
            Shown::Zero { protected } => {
                *protected = true;
                false
            }
            Shown::Private { writable, .. } => {
                *writable = false;
                true
            }
            other => panic!("zeros are protected at page {page}, but it is {other}"),
        }
    }

    pub fn is_held(&self, page: PageNo) -> bool {
        self.held.contains_key(&page.0)
    }

    /// Whether a fork may read the page although stores go through: it is pinned.
    pub fn may_be_pinned(&self, page: PageNo) -> bool {
        self.is_held(page) || self.expected.contains(&page.0) || self.released.contains(&page.0)
    }

    pub fn expect_hold(&mut self, page: PageNo) {
        self.expected.insert(page.0);
    }

    /// The kernel holds a page, which must be private and writable.
    pub fn hold(&mut self, page: PageNo) {
        let ready = matches!(self.page(page), Shown::Private { writable: true, .. });
        assert!(ready, "page {page} is pinned, but it is {}", self.page(page));
        *self.held.entry(page.0).or_insert(0) += 1;
    }

    pub fn let_go(&mut self, page: PageNo) {
        let count = self
            .held
            .get_mut(&page.0)
            .unwrap_or_else(|| panic!("page {page} is not pinned"));
        *count -= 1;
        if *count == 0 {
            self.held.remove(&page.0);
            self.expected.remove(&page.0);
            self.released.insert(page.0);
        }
    }
}
