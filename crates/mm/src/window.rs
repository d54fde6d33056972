//! What windows cost the machine beside their pages: its page tables, and its record of each
//! window.
//!
//! The one place where a page of a window becomes populated is a fault step of its own space, under
//! the space lock; and a step stays within one page table. So [`Windows::enter_table`], before each
//! step, charges for that table unless anything was ever shown there. The charge stays when the
//! step fails: the machine may have made the table by then. What a window costs at once (the
//! machine's record of it, the upper tables of its accessible part) the host says when it is opened
//! or grows; the most that this can be is charged before.
//!
//! A table goes back when its window is closed, or earlier when nothing but translations stands in
//! it: those of private pages that went to the store, of pool pages and zeros, which the next use
//! shows again. Reclaim looks for such tables, a few windows at a time (a clock's hand, a second
//! chance for tables where a fault step was since), under the space lock if that is free. No
//! private page can come in meanwhile, for that takes a fault step.

pub(crate) mod hand;

use crate::addr::{Access, PageNo, Run, SpaceNo};
use crate::backing::BackingNo;
use crate::budget::{Charge, Class, Need};
use crate::error::Stop;
use crate::frame::Residence;
use crate::host::{Host, Store};
use crate::mm::Mm;
use crate::space::{SpaceGuard, SpaceState};
use crate::table::{LeafEntry, after_leaf};
use crate::window_tables::WindowTables;
use memfold_sync::atomic::Ordering;

/// Places for spaces that the hand passes over in a step that others wait for less than for pages.
const PLACES: u32 = 16;

/// Tables that one step frees at the most.
const ENOUGH: u32 = 8;

/// Which tables a step frees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spare {
    /// Those where a fault step was since the hand last passed stay.
    Used,
    /// All that can go.
    None,
}

/// What became of tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Passed {
    freed: u32,
    spared: u32,
}

/// The windows of all spaces, and what the machine's page tables for them are charged.
pub(crate) struct Windows<'m, H, S> {
    mm: &'m Mm<H, S>,
}

impl<'m, H: Host, S: Store> Windows<'m, H, S> {
    /// Those of this manager.
    pub fn of(mm: &'m Mm<H, S>) -> Self {
        Self { mm }
    }

    /// Opens the window of a space that nobody else knows, of which the machine may serve a run by
    /// itself.
    pub fn open(
        &self,
        no: SpaceNo,
        (backing, reserve, len): (BackingNo, u32, u32),
        native: Option<Run>,
    ) -> Result<WindowTables, Stop> {
        let tables = match self.mm.host.page_tables() {
            tables if tables.bytes == 0 => WindowTables::default(),
            tables => WindowTables::new(reserve.div_ceil(tables.pages)).ok_or(Stop::NoRoom)?,
        };
        let own = tables.own_bytes();
        let most = own + self.mm.host.most_window_bytes(len);
        let mut charge =
            Charge::take(&self.mm.budget, Class::PageTables, most, Need::Normal).ok_or(Stop::NoRoom)?;
        let (host, first) = (&self.mm.host, self.mm.backings.first(backing));
        let made = match native {
            None => host.open(no, first, reserve, len)?,
            Some(run) => host.open_native(no, first, (reserve, len), run)?,
        };
        charge.split(own + made).keep();
        Ok(tables)
    }

    /// Makes the first `len` pages of a window of `old` accessible.
    pub fn grow(&self, no: SpaceNo, old: u32, len: u32) -> Result<(), Stop> {
        let most = self.mm.host.most_window_bytes(len - old);
        let mut charge =
            Charge::take(&self.mm.budget, Class::PageTables, most, Need::Normal).ok_or(Stop::NoRoom)?;
        let made = self.mm.host.resize(no, len)?;
        charge.split(made).keep();
        Ok(())
    }

    /// Closes the window; its page tables go with it, or when the machine needs them no more.
    pub fn close(&self, no: SpaceNo, tables: &mut WindowTables) {
        let tables = std::mem::take(tables);
        let freed = self.mm.host.close(no, tables.made());
        self.mm
            .budget
            .refund(Class::PageTables, freed + tables.own_bytes());
    }

    /// Gives back what the machine keeps for windows that are not open yet; false when that is
    /// nothing.
    pub fn free_kept(&self) -> bool {
        let freed = self.mm.host.free_kept();
        if freed != 0 {
            self.mm.budget.refund(Class::PageTables, freed);
        }
        freed != 0
    }

    /// Charges for the machine's page table of this page, before anything is shown there;
    /// `returning` is the need of what is there already.
    pub fn enter_table(
        &self,
        st: &mut SpaceState,
        page: PageNo,
        access: Access,
        returning: Need,
    ) -> Result<(), Stop> {
        let tables = self.mm.host.page_tables();
        if tables.bytes == 0 {
            return Ok(());
        }
        let table = page.0 / tables.pages;
        st.window.mark_used(table);
        if st.window.is_made(table) {
            return Ok(());
        }
        let need = match (self.mm.tables.lookup(&st.tree, page).entry(), access) {
            (LeafEntry::Absent, Access::Write) => Need::Normal,
            // Zeros, and what is there already, must be seen when others have filled the budget.
            _ => returning,
        };
        if !self.mm.budget.charge(Class::PageTables, tables.bytes, need) {
            return Err(Stop::NoRoom);
        }
        st.window.set_made(table, true);
        // Relaxed: a hint.
        self.mm.window_hand.entered.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The pages of the machine's page table that this page is in, if the space was not charged for
    /// it.
    pub fn uncharged_table(&self, st: &SpaceState, page: PageNo) -> Option<Run> {
        let tables = self.mm.host.page_tables();
        if tables.bytes == 0 || st.window.is_made(page.0 / tables.pages) {
            return None;
        }
        let first = page.0 - page.0 % tables.pages;
        Some(Run {
            first: PageNo(first),
            len: tables.pages.min(st.len - first),
        })
    }

    /// Charges for a page table that is there already and does not go.
    pub fn charge_late(&self, st: &mut SpaceState, page: PageNo) {
        let tables = self.mm.host.page_tables();
        if self
            .mm
            .budget
            .charge(Class::PageTables, tables.bytes, Need::Reclaim)
        {
            st.window.set_made(page.0 / tables.pages, true);
        }
    }

    /// Frees page tables of idle windows; returns how many. `frames`: how many pages went to the
    /// store just now. If none did, the hand goes round until a table has gone.
    ///
    /// A table where a fault step was since the hand last passed stays, so a fault that comes back
    /// because it found no room finds its own table; and reclaim called again finds those of
    /// others.
    pub fn shrink(&self, frames: u32) -> u32 {
        if !self.mm.budget.counts_page_tables() || self.mm.host.page_tables().bytes == 0 {
            return 0;
        }
        let places = self.mm.spaces.end();
        if frames != 0 {
            return self.turn_hand(places, PLACES, ENOUGH).freed;
        }
        // Relaxed: a hint.
        let entered = self.mm.window_hand.entered.load(Ordering::Relaxed);
        let seen = [
            self.mm.reclaim.clock().into(),
            entered.into(),
            self.mm.budget.usage().private,
        ];
        let seen = seen.iter().fold(1, |sum: u64, part| sum.rotate_left(21) ^ part);
        // Relaxed: a hint.
        if self.mm.window_hand.barren.load(Ordering::Relaxed) == seen {
            return 0;
        }
        let passed = self.turn_hand(places, places, 1);
        // One that was spared is that of the fault that asks.
        if passed.freed == 0 && passed.spared <= 1 {
            // Relaxed: a hint.
            self.mm.window_hand.barren.store(seen, Ordering::Relaxed);
        }
        passed.freed
    }

    fn turn_hand(&self, places: u32, steps: u32, enough: u32) -> Passed {
        let mut sum = Passed::default();
        for _ in 0..steps {
            // Relaxed: each place is as good as another.
            let no = 1 + self.mm.window_hand.at.fetch_add(1, Ordering::Relaxed) % places;
            // One that is at work is not idle.
            let Some(mut space) = SpaceGuard::attempt(&self.mm.spaces, SpaceNo(no)) else {
                continue;
            };
            let all = Run {
                first: PageNo(0),
                len: space.len,
            };
            let passed = self.free_tables(&mut space, all, Spare::Used);
            sum.freed += passed.freed;
            sum.spared += passed.spared;
            if sum.freed >= enough {
                break;
            }
        }
        sum
    }

    /// Pages of this range were evicted: frees the page tables in which none is left.
    pub fn free_idle(&self, space: SpaceNo, run: Run) {
        if let Ok(mut space) = self.mm.lock_space(space) {
            self.free_tables(&mut space, run, Spare::None);
        }
    }

    /// Frees the page tables of a range that hold no private page.
    fn free_tables(&self, space: &mut SpaceGuard<'_>, run: Run, spare: Spare) -> Passed {
        let tables = self.mm.host.page_tables();
        let mut passed = Passed::default();
        // Where a fault failed, or the machine serves it, the program may have got a page that the
        // manager does not know.
        if space.failure.is_some() || space.native.is_some() || tables.bytes == 0 {
            return passed;
        }
        let end = run.end().0.min(space.len).div_ceil(tables.pages);
        let mut from = run.first.0 / tables.pages;
        while let Some(table) = space.window.next_made(from).filter(|&table| table < end) {
            from = table + 1;
            let used = space.window.test_and_clear_used(table);
            if used && spare == Spare::Used {
                passed.spared += 1;
                continue;
            }
            let range = Run {
                first: PageNo(table * tables.pages),
                len: tables.pages.min(space.len - table * tables.pages),
            };
            if self.may_hold_private(space, range) || !self.mm.host.free_table(space.no, range) {
                continue;
            }
            space.window.set_made(table, false);
            self.mm.budget.refund(Class::PageTables, tables.bytes);
            self.mm.counters.tables_freed.one();
            passed.freed += 1;
        }
        passed
    }

    /// Whether a private page of this space may stand in the range. The space lock is held, so none
    /// can come.
    fn may_hold_private(&self, space: &SpaceGuard<'_>, range: Run) -> bool {
        let mut page = range.first.0;
        while page < range.end().0 {
            let Some(leaf) = self.mm.tables.lookup(&space.tree, PageNo(page)).leaf() else {
                page = after_leaf(page);
                continue;
            };
            let entry = self.mm.tables.entry(leaf, PageNo(page));
            if let LeafEntry::Frame(frame) = entry {
                // One that somebody works on may be anything.
                let Some(locked) = self.mm.frames.try_lock(frame) else {
                    return true;
                };
                if self.mm.tables.entry(leaf, PageNo(page)) != entry
                    || locked.residence == Residence::Private(space.no)
                {
                    return true;
                }
            }
            page += 1;
        }
        false
    }

    /// What is charged for page tables, found out by looking at all windows.
    pub fn count_bytes(&self) -> u64 {
        let each = self.mm.host.page_tables().bytes;
        let of = |no| {
            let st = self.mm.spaces.get(no).lock();
            st.window.made() * each + st.window.own_bytes()
        };
        let windows: u64 = self.mm.spaces.numbers().map(of).sum();
        self.mm.host.page_tables().fixed_bytes + self.mm.host.windows_held() + windows
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
