//! The machine: a pool, windows, and how much memory they hold.
//!
//! It has page tables too, small ones: a window gets one when a page of its range is first
//! populated, and upper tables that neighbouring windows share. Plain data and the rules for it;
//! `host.rs` puts the lock around it. Each method is one step on one page and panics when the
//! manager broke a duty that the seam gives it: that is the point of this machine.

mod native;
mod pieces;
mod pool;
mod tables;
mod taken;
mod window;

pub(crate) use pool::Pool;
pub(crate) use window::{Shown, Window};

use memfold_host::Tables as Geometry;
use memfold_host::addr::{Access, PAGE_SIZE, PageBytes, PageNo, PoolPage, Run, SpaceNo};
use std::collections::BTreeMap;
use tables::Tables;

/// A program's load or store could not go on: the page must be brought in for this access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Miss {
    /// The page.
    pub page: PageNo,
    /// What the program wanted of it.
    pub access: Access,
}

/// Memory that the machine gives; in pages where not said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Private pages of all windows.
    pub private: u64,
    /// Pool pages.
    pub pool: u64,
    /// Standby pages of all windows.
    pub standby: u64,
    /// Page tables and records of windows, in bytes.
    pub table_bytes: u64,
    /// The most of all together, ever, in bytes.
    pub peak_bytes: u64,
}

impl Memory {
    /// Pages held now.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.private + self.pool + self.standby
    }
}

/// All windows, the pool, the count.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    pub pool: Pool,
    windows: BTreeMap<u32, Window>,
    tables: Tables,
    private: u64,
    standby: u64,
    peak_bytes: u64,
}

impl Machine {
    pub fn memory(&self) -> Memory {
        Memory {
            private: self.private,
            pool: self.pool.pages(),
            standby: self.standby,
            table_bytes: self.tables.bytes(),
            peak_bytes: self.peak_bytes,
        }
    }

    fn note_peak(&mut self) {
        let pages = self.private + self.standby + self.pool.pages();
        self.peak_bytes = self
            .peak_bytes
            .max(pages * PAGE_SIZE as u64 + self.tables.bytes());
    }

    /// Something is about to be shown at a page: its page table is there from now on.
    pub fn populate(&mut self, no: SpaceNo, page: PageNo) {
        self.tables.populate(no, page);
        self.note_peak();
    }

    /// The page tables, as the manager is told of them.
    pub fn geometry(&self) -> Geometry {
        self.tables.geometry
    }

    /// From now on there are such page tables, and nothing is held for windows beside them. Before
    /// any window is open.
    pub fn set_tables(&mut self, geometry: Geometry) {
        assert!(
            self.windows.is_empty(),
            "a machine does not change its page tables"
        );
        self.tables = Tables::only(geometry);
    }

    /// The most that is held for a window of so many pages, beside page tables.
    pub fn most_window_bytes(&self, pages: u32) -> u64 {
        self.tables.most_window_bytes(pages)
    }

    /// What is held for windows beside pages and their page tables, in bytes.
    pub fn windows_held(&self) -> u64 {
        self.tables.windows_held()
    }

    /// Makes more of a window accessible. The answer is what that made the machine hold.
    pub fn resize(&mut self, no: SpaceNo, len: u32) -> u64 {
        self.window_mut(no).resize(len);
        let held = self.tables.resize(no, len);
        self.note_peak();
        held
    }

    /// Makes the end of a window inaccessible, and empty.
    pub fn shrink(&mut self, no: SpaceNo, len: u32) {
        for page in (len..self.window(no).len).map(PageNo) {
            self.hide(no, page);
        }
        self.window_mut(no).shrink(len);
    }

    /// Hides what a range shows and gives its page table back.
    pub fn free_table(&mut self, no: SpaceNo, run: Run) {
        for page in run.pages() {
            self.hide(no, page);
        }
        self.tables.free(no, run.first);
    }

    /// Hides a page that is not private, if it shows anything.
    pub fn hide(&mut self, no: SpaceNo, page: PageNo) {
        let shown = self.window_mut(no).page_mut(page);
        if let Shown::Private { .. } = shown {
            panic!("the page table of page {page} of space {no} is freed, but it is {shown}");
        }
        let was_standby = matches!(shown, Shown::Standby { .. });
        *shown = Shown::Empty;
        self.standby -= u64::from(was_standby);
    }

    pub fn window(&self, no: SpaceNo) -> &Window {
        self.windows
            .get(&no.0)
            .unwrap_or_else(|| panic!("space {no} has no window"))
    }

    pub fn window_mut(&mut self, no: SpaceNo) -> &mut Window {
        self.windows
            .get_mut(&no.0)
            .unwrap_or_else(|| panic!("space {no} has no window"))
    }

    /// The window, if it is open.
    pub fn find(&self, no: SpaceNo) -> Option<&Window> {
        self.windows.get(&no.0)
    }

    pub fn open_windows(&self) -> usize {
        self.windows.len()
    }

    /// The answer is what that made the machine hold.
    pub fn open(&mut self, no: SpaceNo, window: Window) -> u64 {
        let len = window.len;
        self.pool.check_length(window.backing.plus(window.reserve - 1));
        for (other, open) in &self.windows {
            assert!(
                open.shares_backing(&window) || !open.overlaps(&window),
                "the window of space {no} shows pool pages of that of space {other}, which has another backing"
            );
        }
        let before = self.windows.insert(no.0, window);
        assert!(before.is_none(), "the window of space {no} is opened twice");
        let held = self.tables.open(no, len);
        self.note_peak();
        held
    }

    /// `charged` of its tables are the manager's. The answer is what the machine does not hold any
    /// more, these included.
    pub fn close(&mut self, no: SpaceNo, charged: u64) -> u64 {
        let window = self
            .windows
            .remove(&no.0)
            .unwrap_or_else(|| panic!("space {no} has no window to close"));
        self.private -= window.private_pages();
        self.standby -= window.standby_pages();
        let native = window.native;
        let keep_as = native.map(|run| (window.backing, window.reserve, window.len, run));
        self.tables.close(no, charged, keep_as)
    }

    /// Gives back what is kept for windows that are not open; how many bytes that was.
    pub fn free_kept(&mut self) -> u64 {
        self.tables.free_kept()
    }

    /// Shows a pool page at its place.
    pub fn show(&mut self, no: SpaceNo, page: PageNo) {
        self.window(no).check_managed(page, "is shown");
        let at = self.window(no).pool_page(page);
        assert!(
            self.pool.has(at),
            "space {no} shows page {page}, but pool page {at} holds nothing"
        );
        self.populate(no, page);
        let shown = self.window_mut(no).page_mut(page);
        match shown {
            Shown::Empty => *shown = Shown::Pool { writable: false },
            Shown::Pool { .. } => (),
            other => panic!("space {no} shows pool page {at} over page {page}, which is {other}"),
        }
    }

    /// Gives an empty or zero page private memory.
    pub fn fill(&mut self, no: SpaceNo, page: PageNo, bytes: &PageBytes, writable: bool) {
        self.populate(no, page);
        self.window(no).check_own_memory(page, "is filled");
        let shown = self.window_mut(no).page_mut(page);
        match shown {
            Shown::Empty | Shown::Zero { .. } => *shown = Shown::private(bytes, writable),
            other => panic!("page {page} of space {no} is filled, but it is {other}"),
        }
        self.private += 1;
        self.note_peak();
    }

    /// Shows a standby page in place of what is shown, which must not be the space's own memory.
    pub fn show_standby(&mut self, no: SpaceNo, page: PageNo, bytes: &PageBytes, writable: bool) {
        self.window(no).check_own_memory(page, "shows a standby page");
        let shown = self.window_mut(no).page_mut(page);
        assert!(
            !matches!(shown, Shown::Private { .. } | Shown::Standby { .. }),
            "a standby page is shown at page {page} of space {no}, but it is {shown}"
        );
        *shown = Shown::Standby {
            bytes: Box::new(*bytes),
            writable,
        };
        self.standby += 1;
        self.note_peak();
    }

    /// Gives a page a private copy of a pool page.
    pub fn copy_from_pool(&mut self, no: SpaceNo, page: PageNo, from: PoolPage) {
        let bytes = self.pool.copy(from);
        self.populate(no, page);
        let window = self.window_mut(no);
        window.check_own_memory(page, "gets a copy");
        let own = window.pool_page(page) == from;
        let shown = window.page_mut(page);
        match shown {
            Shown::Empty => (),
            Shown::Pool { .. } if own => (),
            other => {
                panic!("page {page} of space {no} gets a copy of pool page {from}, but it is {other}")
            }
        }
        *shown = Shown::Private {
            bytes,
            writable: true,
        };
        self.private += 1;
        self.note_peak();
    }

    /// Copies a protected private page to a free pool page.
    pub fn copy_to_pool(&mut self, no: SpaceNo, page: PageNo, to: PoolPage) {
        let window = self.window(no);
        assert!(
            !window.is_held(page),
            "page {page} of space {no} is pinned and moved to the pool"
        );
        let Shown::Private {
            bytes,
            writable: false,
        } = window.page(page)
        else {
            panic!(
                "page {page} of space {no} goes to the pool, but it is {}",
                window.page(page)
            )
        };
        let bytes = bytes.clone();
        self.pool.put(to, bytes);
        self.note_peak();
    }

    pub fn pool_write(&mut self, at: PoolPage, bytes: &PageBytes) {
        self.pool.write(at, bytes);
        self.note_peak();
    }

    /// Frees a pool page and empties every page that shows it, or zeros in its place: the kernel's
    /// hole takes both.
    pub fn pool_free(&mut self, at: PoolPage) {
        self.pool.free(at);
        for window in self.windows.values_mut() {
            for page in window.places_of(at) {
                if matches!(window.page(page), Shown::Pool { .. } | Shown::Zero { .. }) {
                    *window.page_mut(page) = Shown::Empty;
                }
            }
        }
    }

    /// A program empties a private page that it has, behind the manager's back.
    pub fn empty(&mut self, no: SpaceNo, page: PageNo) {
        let shown = self.window_mut(no).page_mut(page);
        assert!(
            matches!(shown, Shown::Private { .. }),
            "page {page} of space {no} is {shown}"
        );
        *shown = Shown::Empty;
        self.private -= 1;
    }

    pub fn drop_page(&mut self, no: SpaceNo, page: PageNo) {
        let window = self.window_mut(no);
        assert!(
            !window.is_held(page),
            "page {page} of space {no} is pinned and dropped"
        );
        let was_private = matches!(window.page(page), Shown::Private { .. });
        let was_standby = matches!(window.page(page), Shown::Standby { .. });
        *window.page_mut(page) = Shown::Empty;
        self.private -= u64::from(was_private);
        self.standby -= u64::from(was_standby);
    }

    /// A program's load: what the window shows, or a miss.
    pub fn load(&mut self, no: SpaceNo, page: PageNo, offset: usize, out: &mut [u8]) -> Result<(), Miss> {
        let miss = Miss {
            page,
            access: Access::Read,
        };
        let Some(window) = self.windows.get_mut(&no.0).filter(|w| page.0 < w.len) else {
            return Err(miss);
        };
        window.entered = true;
        self.serve(no, page);
        let window = self.window(no);
        match window.page(page) {
            Shown::Empty => return Err(miss),
            Shown::Zero { .. } => out.fill(0),
            Shown::Pool { .. } => {
                out.copy_from_slice(&self.pool.read(window.pool_page(page))[offset..offset + out.len()]);
            }
            Shown::Private { bytes, .. } | Shown::Standby { bytes, .. } => {
                out.copy_from_slice(&bytes[offset..offset + out.len()]);
            }
        }
        Ok(())
    }

    /// A program's store, or a miss.
    pub fn store(&mut self, no: SpaceNo, page: PageNo, offset: usize, data: &[u8]) -> Result<(), Miss> {
        let miss = Miss {
            page,
            access: Access::Write,
        };
        let Some(window) = self.windows.get_mut(&no.0).filter(|w| page.0 < w.len) else {
            return Err(miss);
        };
        window.entered = true;
        self.serve(no, page);
        self.copy_native(no, page);
        if matches!(self.window(no).page(page), Shown::Zero { protected: false }) {
            *self.window_mut(no).page_mut(page) = Shown::private(&[0; PAGE_SIZE], true);
            self.private += 1;
            self.note_peak();
        }
        let window = self.windows.get_mut(&no.0).expect("seen above");
        let at = window.pool_page(page);
        let bytes = match window.page_mut(page) {
            Shown::Private { bytes, writable } | Shown::Standby { bytes, writable } if *writable => bytes,
            Shown::Pool { writable: true } => self.pool.page_mut(at),
            _ => return Err(miss),
        };
        bytes[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
