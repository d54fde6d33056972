//! First touch of a page that no table says anything of: its backing for a read, new pages for a
//! write.
//!
//! What backs the page is asked of `backing/`. A read of zeros costs no memory: the window shows
//! the machine's zero page, protected. Another thread of the same space may store before the
//! protection stands; the host then says so and the page is adopted as written. A write that goes
//! on where earlier writes ended gets its following pages as well, as many as were written before
//! it, up to the end of the leaf.

use super::new_frames::NewFrames;
use super::{Fault, Next};
use crate::addr::{Access, PageNo, Run};
use crate::backing::areas::BackedBy;
use crate::budget::{Charge, Class, Need};
use crate::error::Stop;
use crate::host::{Host, Protection, Store};
use crate::mm::{PAGE, alloc_frame};
use crate::path::OwnPath;
use crate::reclaim::Origin;
use crate::table::{FANOUT, LeafEntry, OwnLeaf, TableNo, first_of, run_around};

impl<'m, H: Host, S: Store> Fault<'_, 'm, H, S> {
    pub(super) fn show_backing(&mut self, leaf: Option<TableNo>) -> Result<Next, Stop> {
        match self.space.areas.of(self.page) {
            BackedBy::Zeros => self.show_zeros(leaf),
            BackedBy::File(at) => self.show_file(leaf, at),
        }
    }

    pub(super) fn write_backing(&mut self, leaf: OwnLeaf, charge: Charge<'_>) -> Result<Next, Stop> {
        match self.space.areas.of(self.page) {
            BackedBy::Zeros => self.new_pages(leaf, charge),
            BackedBy::File(at) => self.copy_file(leaf, at, charge),
        }
    }

    fn show_zeros(&mut self, leaf: Option<TableNo>) -> Result<Next, Stop> {
        let (len, areas) = (self.space.len, &self.space.areas);
        let no_areas = areas.is_empty();
        let mut run = run_around(self.page, |page| {
            page.0 < len
                && !self.is_stood_in(page)
                && leaf.is_none_or(|leaf| self.mm.tables.entry(leaf, page) == LeafEntry::Absent)
                && (no_areas || areas.own(page, Access::Read))
        });
        // Held only until it is known that nobody stored meanwhile; where room is short, for the
        // page alone.
        let room =
            |pages: u32, need| Charge::take(&self.mm.budget, Class::Private, u64::from(pages) * PAGE, need);
        let mut charge = match room(run.len, Need::Normal) {
            Some(charge) => charge,
            None => {
                run = Run::one(self.page);
                room(1, Need::Refault).ok_or(Stop::NoRoom)?
            }
        };
        let written = self.mm.host.show_zero(self.space.no, run)?;
        let mut adopted = Ok(());
        for page in run.pages().filter(|p| written >> (p.0 - run.first.0) & 1 == 1) {
            adopted = adopted.and(self.adopt_written(page, &mut charge));
        }
        adopted?;
        self.mm.counters.zero_shown.one();
        Ok(Next::Done)
    }

    /// A store came between showing zeros and protecting them: the page has a frame from now on. If
    /// there is no room for that, not even in the reserve, the store is lost and the space learns
    /// it: no second attempt, which would find the page without it.
    fn adopt_written(&mut self, page: PageNo, charge: &mut Charge<'_>) -> Result<(), Stop> {
        // Reclaim takes no space lock, so it may run here.
        let made = self.mm.retry(|| {
            let path = OwnPath::take(self.mm, self.space, page, Need::Refault)?;
            let leaf = path.leaf;
            let frame = alloc_frame(self.mm, Need::Refault);
            Ok((leaf, path.settle(self.space, frame)?))
        });
        let (leaf, frame) = made.map_err(|stop| {
            self.mm.host.drop_pages(self.space.no, Run::one(page));
            Stop::Fault(stop.of_page(&self.mm.budget, self.space.no, page))
        })?;
        let shown = Protection::Writable;
        self.install_private(leaf, page, frame, Origin::New, charge.page(), shown);
        self.mm.counters.new_pages.one();
        Ok(())
    }

    fn new_pages(&mut self, leaf: OwnLeaf, mut charge: Charge<'_>) -> Result<Next, Stop> {
        let mut run = Run {
            first: self.page,
            len: self.pages_ahead(leaf),
        };
        let more = u64::from(run.len - 1) * PAGE;
        let more = Charge::take(&self.mm.budget, Class::Private, more, Need::Normal);
        match more {
            Some(more) => charge.join(more),
            None => run.len = 1,
        }
        let mut new = NewFrames::new(self.mm);
        if new.alloc(run.len)? < run.len {
            return Err(Stop::NoRoom);
        }
        if let Err(e) = self.mm.host.fill_zero(self.space.no, run) {
            self.mm.host.drop_pages(self.space.no, run);
            return Err(e.into());
        }
        for (n, page) in (0..).zip(run.pages()) {
            let frame = new.take(n);
            let shown = Protection::Writable;
            self.install_private(leaf, page, frame, Origin::New, charge.page(), shown);
        }
        self.mm.counters.new_pages.add(u64::from(run.len));
        Ok(Next::Done)
    }

    /// How many pages from this one on to make: as many as were written right before it, and are
    /// zeros that nobody wrote in this leaf.
    fn pages_ahead(&self, leaf: OwnLeaf) -> u32 {
        let first = first_of(self.page, 0);
        let end = (first.0 + FANOUT as u32).min(self.space.len);
        let is_new = |&p: &u32| {
            self.mm.tables.entry(leaf.0, PageNo(p)) == LeafEntry::Absent
                && self.space.areas.own(PageNo(p), Access::Write)
                && !self.is_stood_in(PageNo(p))
        };
        let absent = (self.page.0..end).take_while(is_new).count();
        let present = |p: &u32| {
            self.mm
                .tables
                .lookup(&self.space.tree, PageNo(*p))
                .frame()
                .is_some()
        };
        let before = (0..self.page.0).rev().take(FANOUT).take_while(present).count();
        before.clamp(1, absent) as u32
    }
}
