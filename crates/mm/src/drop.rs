//! Ending a space.
//!
//! Frames that forks still share while their bytes lie in this space's window (*exported*) are
//! moved to the pool first, with room that is set aside where the budget has none; that fails only
//! when the machine refuses. Then the space lives on, and can be left to [`Doomed`]: it is tried
//! again when reclaim runs in the background or a space is made. The rest cannot fail: the root is
//! dropped, what nobody else names is freed, pool pages in runs, and the window is closed, with
//! which its private pages go. The space lock is held for a piece at a time, and for the end not at
//! all: what there is to free is taken out of the state of a space that is dead from then on, so
//! that who finds it by its number (the merger, the hand that gives page tables back) is told so at
//! once, however large it was. Others meet the end at the frames and tables that they share with
//! the space, one at a time. The queue of spaces to be dropped has a lock of its own, held for a
//! push or a pop.

pub(crate) mod doomed;

use crate::addr::{PageNo, Run, SpaceNo};
use crate::backing::BackingNo;
use crate::backing::areas::Areas;
use crate::create::leave_backing;
use crate::emptied::move_as_zeros;
use crate::error::{SpaceError, Stop};
use crate::files::take_apart;
use crate::frame::{Locked, Residence};
use crate::host::{Host, HostError, Store};
use crate::keep::let_all_go;
use crate::loans::Loans;
use crate::mapped::unmap_all;
use crate::migrate::{migrate_around, migrate_to_overflow};
use crate::mm::Mm;
use crate::native::Natives;
use crate::peek::lock_entry;
use crate::pin::unpin_page;
use crate::rmap::Sweep;
use crate::space::native::{NativeRun, Steady};
use crate::space::{PIECE, SpaceGuard, SpaceState};
use crate::standby::StandbyPages;
use crate::table::{AtLeaf, LeafEntry, Lookup, TableNo, Tree, Trees, after_leaf};
use crate::window::Windows;
use crate::window_tables::WindowTables;

/// Pages that are emptied in one call, where many of a window are private: the machine lets nobody
/// change a mapping of the process while it frees them.
const EMPTIED: u32 = 2048;

/// What is left of a space that is dead: to be freed without its lock, by who took it.
#[must_use = "somebody frees it"]
pub(crate) struct Remains {
    no: SpaceNo,
    tree: Tree,
    window: WindowTables,
    backing: BackingNo,
    len: u32,
    areas: Areas,
    native: Option<NativeRun>,
    steady: Steady,
}

impl Remains {
    /// The space is dead from now on.
    pub fn take(space: &mut SpaceGuard<'_>) -> Self {
        let no = space.no;
        let st: &mut SpaceState = space;
        assert!(st.pins.is_empty(), "a space with pins was ended");
        st.alive = false;
        st.tree.dirty_head = 0;
        st.failure = None;
        Self {
            no,
            tree: std::mem::replace(&mut st.tree, Tree::new(1)),
            window: std::mem::take(&mut st.window),
            backing: st.backing,
            len: st.len,
            areas: std::mem::take(&mut st.areas),
            native: st.native.take(),
            steady: std::mem::take(&mut st.steady),
        }
    }

    /// Frees what nobody else names, and closes the window.
    pub fn free<H: Host, S: Store>(mut self, mm: &Mm<H, S>) {
        let no = self.no;
        let mut sweep = Sweep::new(mm);
        let_all_go(mm, &self.tree, &self.areas);
        if let Some(root) = self.tree.root.take() {
            Trees::new(&mm.tables, &mm.spaces).drop_root(no, root, &mut sweep);
        }
        sweep.finish_pool();
        StandbyPages::of(mm).forget(no);
        Loans::of(mm).forget(no);
        let native = self.native.map_or(0, |native| native.run.len);
        if sweep.private_pages() + u64::from(native) > EMPTIED.into() {
            self.empty_window(mm);
        }
        // Nobody is inside; and no walk asks for a window that is closed.
        let files = unmap_all(mm, no, &self.areas);
        Windows::of(mm).close(no, &mut self.window);
        Natives::of(mm).ended(no, self.backing, self.native, self.steady);
        sweep.finish_private();
        leave_backing(mm, self.backing);
        files.into_iter().for_each(|gone| take_apart(mm, gone));
        mm.reclaim.something_changed();
    }

    /// Frees the private pages of a window that is about to be closed, in pieces, so that closing
    /// it is short.
    fn empty_window<H: Host, S: Store>(&self, mm: &Mm<H, S>) {
        for first in (0..self.len).step_by(EMPTIED as usize) {
            let len = EMPTIED.min(self.len - first);
            let first = PageNo(first);
            mm.host.drop_pages(self.no, Run { first, len });
        }
    }
}

impl<H: Host, S: Store> Mm<H, S> {
    /// Ends a space: its window, its tables, what nobody else shares. No thread is inside its
    /// window.
    ///
    /// # Errors
    /// [`SpaceError::NoSuchSpace`]; also when a page that forks of it still share cannot be moved
    /// away: then the space lives on.
    pub fn drop_space(&self, space: SpaceNo) -> Result<(), SpaceError> {
        let mut next = PageNo(0);
        let done = self.retry(|| {
            if let Some(slot) = self.spaces.peek(space.0) {
                slot.let_others();
            }
            let mut ending = Ending::lock(self, space)?;
            next = ending.give_away(next)?;
            // Piece by piece: others may wait for the lock.
            if !ending.is_given_away(next) || !ending.unpin_piece() {
                return Err(Stop::Retry);
            }
            Ok(Remains::take(&mut ending.space))
        });
        let remains = done.map_err(|stop| stop.of_space(&self.budget, space, PageNo(0)))?;
        remains.free(self);
        self.spaces.free(space.0);
        Ok(())
    }

    /// Spaces that nobody uses any more and that the machine did not let end yet.
    pub fn doomed(&self) -> Doomed<'_, H, S> {
        Doomed { mm: self }
    }
}

/// Spaces that wait for their end. May be used from any thread; no space lock is held.
#[derive(Debug)]
pub struct Doomed<'m, H, S> {
    mm: &'m Mm<H, S>,
}

impl<H: Host, S: Store> Doomed<'_, H, S> {
    /// Ends a space that [`drop_space`](Mm::drop_space) could not end, as soon as the machine lets
    /// it: nobody will use its number again.
    pub fn add(&self, space: SpaceNo) {
        self.mm.doomed.push(space);
    }

    /// How many wait.
    #[must_use]
    pub fn count(&self) -> usize {
        self.mm.doomed.count()
    }

    /// Tries once to end each of them.
    pub fn drop_all(&self) {
        // Ends: as many as wait now.
        for _ in 0..self.count() {
            let Some(space) = self.mm.doomed.pop() else {
                return;
            };
            match self.mm.drop_space(space) {
                Ok(()) | Err(SpaceError::NoSuchSpace(_)) => (),
                // The others have their turn before this one is asked again.
                Err(_) => self.mm.doomed.push(space),
            }
        }
    }
}

/// A space that is about to end, while it lives: its lock.
struct Ending<'m, H, S> {
    mm: &'m Mm<H, S>,
    space: SpaceGuard<'m>,
}

impl<'m, H: Host, S: Store> Ending<'m, H, S> {
    fn lock(mm: &'m Mm<H, S>, no: SpaceNo) -> Result<Self, Stop> {
        let space = mm.lock_space(no)?;
        Ok(Self { mm, space })
    }

    /// Whether nothing that others share lies in this window any more, with `next` the first page
    /// that was not looked at.
    fn is_given_away(&self, next: PageNo) -> bool {
        next.0 >= self.space.len || self.space.slot.exported() == 0
    }

    /// Pins that were left end with the space: each holds a reference, and with it the frame. True
    /// when none is left.
    fn unpin_piece(&mut self) -> bool {
        for _ in 0..PIECE {
            let Some((&page, _)) = self.space.pins.last_key_value() else {
                return true;
            };
            unpin_page(self.mm, &mut self.space, page);
        }
        self.space.pins.is_empty()
    }

    /// Moves the frames of a piece that others share out of this space's window; where the next
    /// piece begins.
    fn give_away(&self, first: PageNo) -> Result<PageNo, Stop> {
        let (mm, st) = (self.mm, &self.space);
        let end = first.0.saturating_add(PIECE).min(st.len);
        let mut page = first.0;
        while page < end && st.slot.exported() != 0 {
            let Lookup::Leaf(found) = mm.tables.lookup(&st.tree, PageNo(page)) else {
                page = after_leaf(page);
                continue;
            };
            give_away_page(mm, st, PageNo(page), found)?;
            page += 1;
        }
        Ok(PageNo(page))
    }
}

/// Moves the frame of a page that others share out of this space's window, if it lies there.
///
/// # Errors
/// [`Stop`]; the page is as it was, or has moved.
pub(crate) fn give_away_page<H: Host, S: Store>(
    mm: &Mm<H, S>,
    space: &SpaceGuard<'_>,
    page: PageNo,
    found: AtLeaf,
) -> Result<(), Stop> {
    let LeafEntry::Frame(frame) = found.entry else {
        return Ok(());
    };
    let exported = |locked: &Locked<'_>| {
        locked.residence == Residence::Private(space.no)
            && locked.frame.is_shared()
            && (found.shared || locked.frame.count.load().maps > 1)
    };
    let Some(locked) = lock_entry(mm, found.leaf, page, frame).filter(exported) else {
        return Ok(());
    };
    match give_away_frame(mm, space, (found.leaf, page), locked) {
        Err(Stop::Host(HostError::Emptied)) => Err(move_as_zeros(mm, space.no, page, frame)),
        given => given,
    }
}

pub(crate) fn give_away_frame<H: Host, S: Store>(
    mm: &Mm<H, S>,
    space: &SpaceGuard<'_>,
    (leaf, page): (TableNo, PageNo),
    locked: Locked<'_>,
) -> Result<(), Stop> {
    let (no, backing) = (space.no, space.backing);
    let frame = locked.no;
    match migrate_around(mm, (leaf, page), locked, no, backing) {
        Ok(true) => return Ok(()),
        Ok(false) => {
            // Another version stands at the frame's place.
            let locked = mm.frames.lock(frame);
            if locked.residence != Residence::Private(no) {
                return Ok(());
            }
            match migrate_to_overflow(mm, space, page, locked) {
                Err(Stop::NoRoom) => (),
                moved => return moved,
            }
        }
        Err(Stop::NoRoom) => (),
        Err(stop) => return Err(stop),
    }
    StandbyPages::of(mm).give_away(space, page)
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
