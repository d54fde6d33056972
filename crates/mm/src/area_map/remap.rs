//! Pages and areas that move to another place of their space (Linux: `mremap`).
//!
//! A page cannot take its frame along: all who map a frame have it in one slot of their leaves, a
//! page's places in windows and in the pool are those of its number, and others may share it. So a
//! [`Move`] gives the destination copies, and what is in the store, and this space's alone, goes
//! there by its slot. Forks keep what they have, a merged page stays what it is for the others
//! (R47), and pages of files are not touched: their areas move.
//!
//! One hold of the space's lock, in which the destination comes to show what the source does, and
//! then the source goes: there is no moment at which a page is in neither place (R14), and who
//! walks a file's mappings finds the new one before the window shows a page through it. What may
//! fail comes before the source goes. What the move needs of the budget is had first; then the
//! window gets its pieces and pages, one after the other, and gives them up again when it is
//! refused one, so that nothing has moved by half (R15). Only a piece of the machine's that it does
//! not take back stays, and the areas say so.
//!
//! A page is protected before it is copied, until the source goes: a store is in the copy, or is a
//! fault, which waits for the space's lock and finds zeros.

mod copies;

use super::change::{Hide, Remapping, charge_more};
use super::{AreaMap, lay, take_rights};
use crate::addr::{PageNo, Run};
use crate::backing::areas::{Area, Areas, MOST_AREAS, Rights};
use crate::backing::file::Unreferenced;
use crate::budget::{Charge, Class};
use crate::error::{SpaceError, Stop};
use crate::files::take_apart;
use crate::host::{Host, Store};
use crate::mapped::cost;
use crate::mm::Mm;
use crate::reset::Reset;
use crate::space::SpaceGuard;
use crate::table::{LeafEntry, LeafSlot, slot_of};
use copies::Room;
use std::convert::Infallible;

impl<H: Host, S: Store> AreaMap<'_, H, S> {
    /// Moves the pages of a run, and the areas they lie in, to the run of that length from `to` on.
    /// What was there is gone, as after [`unmap`](Self::unmap), and what is left behind is what
    /// that leaves: zeros. A page keeps its bytes, what backs it, its rights, and whether it is
    /// locked; pages of files stay as they are, dirty or clean.
    ///
    /// A page in memory that is no file's is copied; it needs room for the copy, and so does a page
    /// in the store that others have as well. What forks shared of them is the space's own
    /// afterwards. Pages that were never written need nothing.
    ///
    /// Threads may run in the space. Their stores to the source are in what is moved, or in the
    /// zeros that follow it; those to the destination may be lost.
    ///
    /// # Errors
    /// [`SpaceError::BadRun`] for one of the runs, [`SpaceError::Overlap`], [`SpaceError::Pinned`],
    /// [`SpaceError::TooManyAreas`], also of those that are there for a moment;
    /// [`SpaceError::OverBudget`], [`SpaceError::Host`]; [`SpaceError::Fault`] when a page that
    /// others share cannot be had. The areas are as they were, and so are the pages of the source;
    /// those of the destination may have lost what the space stored to them. Where the machine
    /// refuses to show what it did before, areas from `to` on are those of the source, without what
    /// the space stored to these; the source has them still.
    pub fn remap(&self, from: Run, to: PageNo) -> Result<(), SpaceError> {
        let len = from.len;
        let mut left = Vec::new();
        let moved = self.run(from, |mm, reset| {
            let to = Run { first: to, len };
            if let Err(refused) = demand_place(&reset.space, from, to) {
                return Ok(Err(refused));
            }
            match Move::prepare(mm, reset, from, to)? {
                Some(prepared) => prepared.run(&mut left).map(Ok),
                None => Ok(Err(SpaceError::TooManyAreas(MOST_AREAS as u32))),
            }
        });
        left.into_iter().for_each(|file| take_apart(self.mm, file));
        moved
    }
}

/// Whether pages of one run can move to the other.
fn demand_place(space: &SpaceGuard<'_>, from: Run, to: Run) -> Result<(), SpaceError> {
    let Run { first, len } = to;
    if u64::from(first.0) + u64::from(len) > space.len.into() {
        return Err(SpaceError::BadRun { first, len });
    }
    if from.first < to.end() && to.first < from.end() {
        let (from, to) = (from.first, to.first);
        return Err(SpaceError::Overlap { from, to, len });
    }
    if space.has_pins(to) {
        return Err(SpaceError::Pinned(space.no));
    }
    Ok(())
}

/// A move under way: its space is locked, and the most that its areas come to is charged.
struct Move<'a, 'm, H, S> {
    mm: &'a Mm<H, S>,
    reset: &'a mut Reset<'m, H, S>,
    from: Run,
    to: Run,
    /// The areas as they were, those while both runs show the same, and those afterwards.
    before: Areas,
    both: Areas,
    after: Areas,
    /// What is charged for areas, and the part of it that may be given back.
    charged: u64,
    charge: Option<Charge<'a>>,
    /// What files have heard of it so far.
    remapped: Vec<Remapping>,
}

impl<'a, 'm, H: Host, S: Store> Move<'a, 'm, H, S> {
    /// `None` when the areas would be too many.
    fn prepare(
        mm: &'a Mm<H, S>,
        reset: &'a mut Reset<'m, H, S>,
        from: Run,
        to: Run,
    ) -> Result<Option<Self>, Stop> {
        let before = reset.space.areas.clone();
        let Some((both, after, most)) = lists(mm, &before, from, to) else {
            return Ok(None);
        };
        let had = cost(mm, &before);
        let charge = charge_more(mm, had, most)?;
        Ok(Some(Self {
            mm,
            reset,
            from,
            to,
            before,
            both,
            after,
            charged: had.max(most),
            charge,
            remapped: Vec::new(),
        }))
    }

    /// The files to which nobody refers any more are the answer; when it fails, they are `left`.
    fn run(mut self, left: &mut Vec<Unreferenced>) -> Result<Vec<Unreferenced>, Stop> {
        let mut room = self.make_room()?;
        let mut next = self.to.first;
        self.reset.discard_piece(&mut next, self.to.end())?;
        let mut laid = self.to.first;
        let done = self.show_both(&mut room, &mut laid);
        if done.is_ok() {
            self.leave_source();
        } else {
            self.take_back(laid);
        }
        let gone = self.settle();
        match done {
            Ok(()) => Ok(gone),
            Err(stop) => {
                left.extend(gone);
                Err(stop)
            }
        }
    }

    /// Where a page of the source moves to.
    fn place_of(&self, page: PageNo) -> PageNo {
        self.to.first.plus(page.0 - self.from.first.0)
    }

    fn entry(&self, page: PageNo) -> LeafEntry {
        let tree = &self.reset.space.tree;
        self.mm.tables.lookup(tree, page).entry()
    }

    /// The destination, which is empty, shows what the source does, `laid` says how far, and
    /// nothing of the source needs anything of the machine's to go.
    fn show_both(&mut self, room: &mut Room<'a>, laid: &mut PageNo) -> Result<(), Stop> {
        let (mm, no) = (self.mm, self.reset.space.no);
        self.switch(self.both.clone(), Hide::All);
        for part in self.both.parts(self.to) {
            lay(mm, no, &part, self.before.has_file(part.run))?;
            *laid = part.run.end();
        }
        for page in self.from.pages() {
            if slot_of(page, 0) == 0 || page == self.from.first {
                self.protect_leaf(page);
            }
            if self.entry(page) != LeafEntry::Absent && !self.moves_by_slot(page) {
                self.copy(page, room)?;
            }
        }
        self.end_pieces()
    }

    /// The space has these areas from now on, which differ in the destination.
    fn switch(&mut self, to: Areas, hide: Hide) {
        let space = &mut self.reset.space;
        let remapping = Remapping::between(space.no, &space.areas, &to, self.to);
        remapping.switch(self.mm, space, hide);
        space.areas = to;
        self.remapped.push(remapping);
    }

    /// The source shows no page of a file any more, and the machine has no piece there; what the
    /// space stored to it is in the pool. The last step that can fail.
    fn end_pieces(&mut self) -> Result<(), Stop> {
        if !self.both.has_file(self.from) {
            return Ok(());
        }
        let (mm, space) = (self.mm, &self.reset.space);
        take_rights(mm, space, self.from, Rights::None)?;
        let remapping = Remapping::between(space.no, &self.both, &self.after, self.from);
        remapping.switch(mm, space, Hide::All);
        if let Err(refused) = mm.host.unmap_piece(space.no, self.from) {
            remapping.switch_back(mm);
            return Err(refused.into());
        }
        self.remapped.push(remapping);
        Ok(())
    }

    /// What needs no copy goes to the destination, and the rest of the source is zeros. Cannot
    /// fail.
    fn leave_source(&mut self) {
        let (mm, (first, end)) = (self.mm, (self.from.first, self.from.end()));
        let tree = &self.reset.space.tree;
        let walked = mm.tables.each_page_of(tree, first, end, |page, leaf, entry| {
            let at = self.place_of(page);
            // What was copied may be zeros that need no frame by now.
            if self.entry(at) == LeafEntry::Absent && self.moves_by_slot(page) {
                let to = LeafSlot::of(self.own_leaf(at).0, at);
                mm.tables.set_entry(to, entry);
                mm.tables.set_entry(LeafSlot::of(leaf, page), LeafEntry::Absent);
            }
            Ok::<(), Infallible>(())
        });
        let Ok(()) = walked;
        self.discard(self.from);
        self.reset.space.areas = self.after.clone();
    }

    /// The destination is what it was before, as far as the machine lets it: in the window, up to
    /// `laid`, it shows what the source does.
    fn take_back(&mut self, laid: PageNo) {
        let (mm, no) = (self.mm, self.reset.space.no);
        self.discard(self.to);
        let (first, mut end) = (self.to.first, laid);
        let len = laid.0 - first.0;
        for part in self.before.parts(Run { first, len }).iter().rev() {
            if lay(mm, no, part, self.both.has_file(part.run)).is_err() {
                break;
            }
            end = part.run.first;
        }
        let areas = match end == first {
            true => self.before.clone(),
            false => (self.before.with_moved(self.from, first, end)).expect("such lists were counted"),
        };
        self.switch(areas, Hide::Nothing);
    }

    /// The pages of a run are the space's alone, as are their tables.
    fn discard(&mut self, run: Run) {
        let mut next = run.first;
        let done = self.reset.discard_piece(&mut next, run.end());
        done.expect("pages that nobody shares need nothing to go");
    }

    /// The areas are those that the space has now.
    fn settle(self) -> Vec<Unreferenced> {
        let (mm, areas) = (self.mm, &self.reset.space.areas);
        self.charge.into_iter().for_each(Charge::keep);
        let less = self.charged - cost(mm, areas);
        if less != 0 {
            mm.budget.refund(Class::Tables, less);
        }
        let (before, now) = (self.before.locked_pages(), areas.locked_pages());
        mm.reclaim.unlock_pages(before.saturating_sub(now));
        let counted = mm.reclaim.lock_pages(now.saturating_sub(before), u64::MAX);
        assert!(counted, "more pages are locked than can be counted");
        let kept = self.remapped.into_iter().flat_map(|remapping| remapping.keep(mm));
        kept.collect()
    }
}

/// The areas while both runs show the same, those when the first shows nothing any more, and the
/// most that the areas cost on the way, wherever it ends; `None` when they would be too many.
fn lists<H: Host, S>(mm: &Mm<H, S>, before: &Areas, from: Run, to: Run) -> Option<(Areas, Areas, u64)> {
    let both = before.with_moved(from, to.first, to.end())?;
    let after = both.changed(from, |area| Area::plain(area.run))?;
    let mut most = cost(mm, &both).max(cost(mm, &after));
    // Without pieces nothing can be refused to be taken back.
    if both.has_file(to) || before.has_file(to) {
        let ends = both.parts(to).into_iter().map(|part| part.run.end());
        let begins = before.parts(to).into_iter().map(|part| part.run.first);
        for end in ends.chain(begins) {
            most = most.max(cost(mm, &before.with_moved(from, to.first, end)?));
        }
    }
    Some((both, after, most))
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
