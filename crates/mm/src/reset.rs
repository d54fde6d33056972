//! Taking back what a space wrote: [`Mm::reset`], back to what a relative is, and [`Mm::discard`],
//! back to zeros; at the same addresses, and in time that depends on what differs.
//!
//! A reset gives the space the tables of the other one, as a fork would have them: one reference.
//! What the two trees do not share is then nobody's or others', and leaves the window. Nothing can
//! fail after the tables have changed hands: what others share is moved out of the window before
//! that, and the window grows before that. The other space is locked first, and alone: its root is
//! kept by a reference without a parent until the space has it.
//!
//! A private page leaves its window after the entry that named its frame has gone, under the
//! frame's lock, so that reclaim is not at work on it. Where the machine serves a run of the window
//! by itself (`native.rs`), and the other space has the pages that it shows there, what was stored
//! to leaves the window unseen, and the machine serves the run as before. Called with no lock held;
//! the locks of spaces, frames and tables are taken here.

use crate::addr::{PageNo, Run, SpaceNo};
use crate::backing::BackingNo;
use crate::budget::Need;
use crate::drop::give_away_page;
use crate::emptying::Emptying;
use crate::error::{SpaceError, Stop};
use crate::fork::Fork;
use crate::host::{Host, Store};
use crate::keep::{each_frame, let_go};
use crate::mm::Mm;
use crate::native::{Natives, lock_to_change};
use crate::path::OwnPath;
use crate::rmap::Sweep;
use crate::space::{PIECE, SpaceGuard};
use crate::standby::StandbyPages;
use crate::table::{
    AtLeaf, Difference, FANOUT, LeafEntry, LeafSlot, Leaves, Lookup, Parent, TableNo, Trees, first_of,
};
use crate::window::Windows;

mod differing;

/// Runs of pages that leave a window in one call of the host.
const RUNS: usize = if cfg!(any(loom, shuttle)) { 2 } else { 32 };

impl<H: Host, S: Store> Mm<H, S> {
    /// Makes the space what `to` is now, its length included, at its own addresses and with its own
    /// settings. A failure that nobody has taken is forgotten with what it damaged. Takes time in
    /// proportion to what the two do not share, and to what `to` wrote since its last fork.
    ///
    /// Threads may run in `to`. Whoever stores to the space meanwhile loses the store or keeps it.
    ///
    /// # Errors
    /// [`SpaceError::NotRelated`] when the two do not show the same pages of the pool;
    /// [`SpaceError::Pinned`] when one of them has pinned pages; [`SpaceError::HasAreas`] when one
    /// of them has areas; [`SpaceError::Fault`] when a fault of `to` has failed. The space is as it
    /// was.
    pub fn reset(&self, space: SpaceNo, to: SpaceNo) -> Result<(), SpaceError> {
        let done = self.retry(|| {
            let model = match Model::hold(self, to)? {
                Ok(model) => model,
                Err(refused) => return Ok(Err(refused)),
            };
            let space = self.lock_space(space)?;
            Reset { mm: self, space }.run(&model)
        });
        done.unwrap_or_else(|stop| Err(stop.of_space(&self.budget, space, PageNo(0))))?;
        self.reclaim.something_changed();
        self.counters.resets.one();
        Ok(())
    }

    /// Makes the pages of the run what they were before the space stored to them: zeros, or a
    /// file's. They hold no memory any more. Piece by piece; whoever stores to them meanwhile loses
    /// the store or keeps it.
    ///
    /// # Errors
    /// [`SpaceError::Pinned`] when one of them is pinned, [`SpaceError::Locked`] when one is
    /// locked; [`SpaceError`] otherwise when there is no room for tables that forks do not share,
    /// or the machine refuses to move what they do. Pages before that one are zeros.
    pub fn discard(&self, space: SpaceNo, run: Run) -> Result<(), SpaceError> {
        let mut next = run.first;
        let done = self.retry(|| {
            // Ends: each turn takes a piece off the run.
            while next < run.end() {
                let mut reset = Reset::lock(self, space)?;
                let len = PIECE.min(run.end().0 - next.0);
                let piece = Run { first: next, len };
                reset.space.demand_page(PageNo(piece.end().0 - 1))?;
                if let Err(refused) = demand_unheld(&reset.space, piece) {
                    return Ok(Err(refused));
                }
                reset.discard_piece(&mut next, piece.end())?;
                let slot = reset.space.slot;
                drop(reset);
                slot.let_others();
            }
            Ok(Ok(()))
        });
        done.unwrap_or_else(|stop| Err(stop.of_space(&self.budget, space, next)))?;
        self.reclaim.something_changed();
        Ok(())
    }
}

/// What a space is to become: the tables of another one, held by a reference of their root's.
struct Model<'m, H: Host, S: Store> {
    mm: &'m Mm<H, S>,
    of: SpaceNo,
    root: Option<TableNo>,
    backing: BackingNo,
    reserve: u32,
    len: u32,
    has_areas: bool,
    birth: u64,
}

impl<'m, H: Host, S: Store> Model<'m, H, S> {
    /// Shares what the space wrote since its last fork, as a fork does, and holds its tables.
    fn hold(mm: &'m Mm<H, S>, of: SpaceNo) -> Result<Result<Self, SpaceError>, Stop> {
        let space = match Fork::share_all(mm, of)? {
            Some(space) => space,
            None => return Ok(Err(SpaceError::Pinned(of))),
        };
        if let Some(root) = space.tree.root {
            mm.tables.at(root).add_ref();
        }
        Ok(Ok(Self {
            mm,
            of,
            root: space.tree.root,
            backing: space.backing,
            reserve: space.reserve,
            len: space.len,
            has_areas: !space.areas.is_empty(),
            birth: space.kin.birth,
        }))
    }

    /// The space's pages can be told from these.
    fn demand_related(&self, space: &SpaceGuard<'_>) -> Result<(), SpaceError> {
        if self.has_areas {
            return Err(SpaceError::HasAreas(self.of));
        }
        if !space.areas.is_empty() {
            return Err(SpaceError::HasAreas(space.no));
        }
        if (space.backing, space.reserve) != (self.backing, self.reserve) {
            return Err(SpaceError::NotRelated(space.no));
        }
        Ok(())
    }
}

impl<H: Host, S: Store> Drop for Model<'_, H, S> {
    fn drop(&mut self) {
        if let Some(root) = self.root {
            let mut sweep = Sweep::new(self.mm);
            Trees::new(&self.mm.tables, &self.mm.spaces).drop_table(root, &mut sweep);
        }
    }
}

/// A space that is being taken back: its lock.
pub(crate) struct Reset<'m, H, S> {
    mm: &'m Mm<H, S>,
    pub space: SpaceGuard<'m>,
}

impl<'m, H: Host, S: Store> Reset<'m, H, S> {
    pub fn lock(mm: &'m Mm<H, S>, no: SpaceNo) -> Result<Self, Stop> {
        let space = lock_to_change(mm, no)?;
        Ok(Self { mm, space })
    }

    fn run(mut self, model: &Model<'m, H, S>) -> Result<Result<(), SpaceError>, Stop> {
        let no = self.space.no;
        if let Err(refused) = model.demand_related(&self.space) {
            return Ok(Err(refused));
        }
        if !self.space.pins.is_empty() {
            return Ok(Err(SpaceError::Pinned(no)));
        }
        if !self.is_served_as(model) {
            Natives::of(self.mm).end(&mut self.space)?;
        }
        self.give_away(model)?;
        if model.len > self.space.len {
            Windows::of(self.mm).grow(no, self.space.len, model.len)?;
            self.space.len = model.len;
        }
        self.become_model(model);
        Ok(Ok(()))
    }

    /// Whether the machine serves a run of the window, and shows the pages there that the model
    /// has.
    fn is_served_as(&self, model: &Model<'m, H, S>) -> bool {
        let Some(native) = self.space.native else {
            return false;
        };
        let mm = self.mm;
        let roots = (self.space.tree.root, model.root);
        let walked = mm
            .tables
            .each_difference(roots, self.space.tree.levels, &mut |at| {
                let mut pages = differing(mm, at).map(|slot| at.first.plus(slot.into()));
                let served = pages.any(|page| native.run.has(page));
                if served { Err(()) } else { Ok(()) }
            });
        walked.is_ok()
    }

    /// Moves what others share, and the model does not have, out of this window.
    fn give_away(&self, model: &Model<'m, H, S>) -> Result<(), Stop> {
        let (mm, space) = (self.mm, &self.space);
        if space.slot.exported() == 0 {
            return Ok(());
        }
        let roots = (space.tree.root, model.root);
        mm.tables.each_difference(roots, space.tree.levels, &mut |at| {
            let Some(leaf) = at.ours else { return Ok(()) };
            for slot in differing(mm, at) {
                let entry = mm.tables.at(leaf).slot(slot).entry.leaf();
                let shared = at.shared;
                let found = AtLeaf { leaf, shared, entry };
                give_away_page(mm, space, at.first.plus(slot.into()), found)?;
            }
            Ok(())
        })
    }

    /// The space has the model's tables from now on, and its window shows nothing else. Cannot
    /// fail.
    fn become_model(&mut self, model: &Model<'m, H, S>) {
        let mm = self.mm;
        let space = &mut self.space;
        StandbyPages::of(mm).take_back_all(space);
        space.failure = None;
        space.kin.parent = Some(model.birth);
        let _ = space.slot.take_emptied();
        space.tree.dirty_head = 0;
        let trees = Trees::new(&mm.tables, &mm.spaces);
        let before = std::mem::replace(&mut space.tree.root, model.root);
        if let Some(root) = before {
            // Its reference stays until the window is in order.
            trees.pull_parent(Parent::Space(space.no), root);
        }
        if let Some(root) = model.root {
            trees.share_root(space.no, root);
        }
        let mut leaving = Leaving::new(mm, space.no);
        if let Some(native) = space.native {
            leaving.window.add(space.no, native.run);
        }
        let roots = (before, model.root);
        let walked: Result<(), std::convert::Infallible> =
            mm.tables.each_difference(roots, space.tree.levels, &mut |at| {
                for slot in differing(mm, at) {
                    leaving.take(at, slot);
                }
                Ok(())
            });
        let Ok(()) = walked;
        leaving.window.finish();
        if let Some(root) = before {
            trees.drop_table(root, &mut leaving.sweep);
        }
        leaving.finish();
        if model.len < space.len {
            mm.host.shrink(space.no, model.len);
            space.len = model.len;
        }
    }

    /// Discards the pages from `next` on, before `end`, leaf by leaf; `next` is where it stopped.
    pub fn discard_piece(&mut self, next: &mut PageNo, end: PageNo) -> Result<(), Stop> {
        let (mm, no) = (self.mm, self.space.no);
        let mut leaving = Leaving::new(mm, no);
        let mut done = Ok(());
        while *next < end && done.is_ok() {
            let first = *next;
            let stop = PageNo(first.0 - first.0 % FANOUT as u32 + FANOUT as u32).min(end);
            done = self.discard_leaf(first, stop, &mut leaving);
            if done.is_ok() {
                *next = stop;
            }
        }
        leaving.window.finish();
        leaving.finish();
        done
    }

    /// The same for pages of one leaf.
    fn discard_leaf(
        &mut self,
        first: PageNo,
        end: PageNo,
        leaving: &mut Leaving<'m, H, S>,
    ) -> Result<(), Stop> {
        let (mm, no) = (self.mm, self.space.no);
        let found = mm.tables.lookup(&self.space.tree, first);
        if matches!(found, Lookup::NoLeaf) && StandbyPages::of(mm).stood_in(no, first_of(first, 0)) == 0 {
            return Ok(());
        }
        for page in (first.0..end.0).map(PageNo) {
            StandbyPages::of(mm).take_back(no, page);
            let Lookup::Leaf(found) = mm.tables.lookup(&self.space.tree, page) else {
                continue;
            };
            if found.entry == LeafEntry::Absent {
                continue;
            }
            give_away_page(mm, &self.space, page, found)?;
            let ours = OwnPath::take(mm, &mut self.space, page, Need::Normal)?.keep().0;
            let slot = LeafSlot::of(ours, page).slot;
            let at = Difference {
                first: PageNo(page.0 - u32::from(slot)),
                ours: Some(ours),
                theirs: None,
                shared: false,
            };
            if self.space.areas.is_locked(page) {
                each_frame(mm, &self.space.tree, (page, page.plus(1)), |locked| {
                    let_go(mm, locked);
                });
            }
            leaving.take(at, slot);
        }
        Ok(())
    }
}

/// Whether nobody relies on it that pages of the run stay.
pub(crate) fn demand_unheld(space: &SpaceGuard<'_>, run: Run) -> Result<(), SpaceError> {
    if space.has_pins(run) {
        return Err(SpaceError::Pinned(space.no));
    }
    if space.areas.parts(run).iter().any(|area| area.locked) {
        return Err(SpaceError::Locked(space.no));
    }
    Ok(())
}

/// The slots of which the two leaves say different things.
fn differing<H: Host, S: Store>(mm: &Mm<H, S>, at: Difference) -> impl Iterator<Item = u8> + '_ {
    let says = |leaf: Option<TableNo>, slot| {
        leaf.map_or(LeafEntry::Absent, |leaf| {
            mm.tables.at(leaf).slot(slot).entry.leaf()
        })
    };
    (0..FANOUT as u8).filter(move |&slot| says(at.ours, slot) != says(at.theirs, slot))
}

/// What leaves a window, gathered: frames that nobody names any more, and pages to be emptied.
struct Leaving<'m, H: Host, S: Store> {
    mm: &'m Mm<H, S>,
    space: SpaceNo,
    sweep: Sweep<'m, H, S>,
    window: Emptying<'m, H, RUNS>,
}

impl<'m, H: Host, S: Store> Leaving<'m, H, S> {
    fn new(mm: &'m Mm<H, S>, space: SpaceNo) -> Self {
        Self {
            mm,
            space,
            sweep: Sweep::new(mm),
            window: Emptying::new(&mm.host),
        }
    }

    /// The page of this slot leaves the window. Where only this space could reach its entry, that
    /// says nothing any more.
    fn take(&mut self, at: Difference, slot: u8) {
        let page = at.first.plus(slot.into());
        if let Some(leaf) = at.ours {
            let entry = self.mm.tables.at(leaf).slot(slot).entry.leaf();
            match entry {
                _ if !at.shared => self.sweep.clear(LeafSlot { leaf, slot }),
                // Whoever works on the frame for this window as well has finished then.
                LeafEntry::Frame(frame) => drop(self.mm.frames.lock(frame)),
                _ => (),
            }
        }
        self.window.add(self.space, Run::one(page));
    }

    /// Nothing that was taken stands in the window any more: its memory is held no more.
    fn finish(mut self) {
        assert!(
            self.window.is_finished(),
            "pages are held by a window that were given back"
        );
        self.sweep.finish_pool();
        self.sweep.finish_private();
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
