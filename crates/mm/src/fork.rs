//! Forking a space.
//!
//! A fork shares the parent's root table, one reference, and opens a window onto the same backing.
//! Before that, the pages that the parent wrote since its last fork are protected and their frames
//! become shared: that is all that a fork costs, whatever the size. Pinned pages stay the parent's
//! own: the child gets copies. A [`Fork`] holds the parent's lock. Everything that may fail is done
//! first, or is undone by dropping the child, its window and its number.

use crate::addr::{Access, FrameNo, PageNo, Run, SpaceNo};
use crate::budget::Need;
use crate::create::{NewSpace, NewWindow};
use crate::drop::Remains;
use crate::error::{SpaceError, Stop};
use crate::fault::Fault;
use crate::frame::{Locked, Owner, Residence};
use crate::host::{Host, HostError, Store};
use crate::mm::Mm;
use crate::path::OwnPath;
use crate::space::{SpaceGuard, SpaceState};
use crate::table::{FANOUT, LeafEntry, LeafSlot, TableNo, Trees, slot_of};
use std::collections::BTreeMap;

/// Pages that a fork protects at a time.
const RUN: usize = if cfg!(any(loom, shuttle)) { 2 } else { 1024 };

impl<H: Host, S: Store> Mm<H, S> {
    /// A copy-on-write copy of a space, in time that depends on what the space wrote since its last
    /// fork.
    ///
    /// Threads may run in the parent: each page is copied as it is at one moment during the call.
    ///
    /// # Errors
    /// [`SpaceError`]; the parent is as it was and there is no child. [`SpaceError::Fault`] when a
    /// fault of the parent has failed and nobody has taken that yet: its stores since then may be
    /// lost.
    pub fn fork(&self, parent: SpaceNo) -> Result<SpaceNo, SpaceError> {
        let child = NewSpace::take(self)?;
        self.retry(|| Fork::lock(self, parent)?.run(child.no))
            .map_err(|stop| stop.of_space(&self.budget, parent, PageNo(0)))?;
        self.counters.forks.one();
        Ok(child.live())
    }
}

/// A space that is being copied, or whose pages are being shared ahead of that: its lock.
pub(crate) struct Fork<'m, H, S> {
    mm: &'m Mm<H, S>,
    parent: SpaceGuard<'m>,
}

/// A child that lives already, though its pinned pages may not be copied yet; dropped before they
/// are, it is ended.
struct Child<'m, H: Host, S: Store> {
    mm: &'m Mm<H, S>,
    space: SpaceGuard<'m>,
    complete: bool,
}

impl<H: Host, S: Store> Drop for Child<'_, H, S> {
    fn drop(&mut self) {
        if !self.complete {
            Remains::take(&mut self.space).free(self.mm);
        }
    }
}

impl<'m, H: Host, S: Store> Fork<'m, H, S> {
    /// Locks the parent, unless it has failed.
    fn lock(mm: &'m Mm<H, S>, parent: SpaceNo) -> Result<Self, Stop> {
        let mut parent = mm.lock_space(parent)?;
        match parent.failure() {
            Some(failure) => Err(Stop::Fault(failure)),
            None => Ok(Self { mm, parent }),
        }
    }

    /// Makes the child. When it fails, the parent is as it was, but for its protection.
    fn run(mut self, child: SpaceNo) -> Result<(), Stop> {
        let mm = self.mm;
        let dirty = self.dirty_leaves()?;
        let window = NewWindow::open(
            mm,
            child,
            self.parent.backing,
            self.parent.reserve,
            self.parent.len,
        )?;
        self.protect_dirty(&dirty)?;
        self.share_dirty(&dirty);
        let mut child = self.begin_child(child, window);
        if let Err(stop) = self.copy_pinned(&mut child) {
            // The child lets go of the pinned frames first.
            drop(child);
            self.reclaim_pinned();
            return Err(stop);
        }
        self.reclaim_pinned();
        child.complete = true;
        Ok(())
    }

    /// The child lives from now on, with the parent's tables. Cannot fail.
    fn begin_child(&self, no: SpaceNo, window: NewWindow<'m, H, S>) -> Child<'m, H, S> {
        let (mm, st) = (self.mm, &self.parent);
        mm.backings.join(st.backing);
        let mut space = SpaceGuard::begin(&mm.spaces, no);
        space.slot.set_place(st.backing, st.domain);
        space.slot.set_merging(st.slot.merging());
        space.slot.set_on_loss(st.slot.on_loss());
        *space = SpaceState {
            alive: true,
            tree: st.tree.fork(),
            len: st.len,
            reserve: st.reserve,
            backing: st.backing,
            domain: st.domain,
            areas: st.areas.clone(),
            pins: BTreeMap::new(),
            window: window.give(),
            ahead: st.ahead.inherited(),
            failure: None,
        };
        if let Some(root) = st.tree.root {
            Trees::new(&mm.tables, &mm.spaces).share_root(no, root);
        }
        Child {
            mm,
            space,
            complete: false,
        }
    }

    /// The leaves with exclusive frames, in page order.
    fn dirty_leaves(&self) -> Result<Vec<TableNo>, Stop> {
        Ok(self.some_dirty_leaves(usize::MAX)?.0)
    }

    /// The first `most` leaves with exclusive frames, in page order; and the one after them on the
    /// list, or 0.
    fn some_dirty_leaves(&self, most: usize) -> Result<(Vec<TableNo>, u32), Stop> {
        let first = Some(self.parent.tree.dirty_head)
            .filter(|&no| no != 0)
            .map(TableNo);
        let next = |&leaf: &TableNo| {
            Some(self.mm.tables.next_dirty(leaf))
                .filter(|&next| next != 0)
                .map(TableNo)
        };
        let mut leaves = Vec::new();
        for leaf in std::iter::successors(first, next).take(most) {
            leaves.try_reserve(1).map_err(|_| Stop::NoRoom)?;
            leaves.push(leaf);
        }
        let rest = leaves.last().map_or(0, |&leaf| self.mm.tables.next_dirty(leaf));
        leaves.sort_unstable_by_key(|&leaf| self.mm.tables.at(leaf).first_page());
        Ok((leaves, rest))
    }

    /// Shares some of what the space wrote since its last fork, as the next fork would, for `most`
    /// leaves of tables; true when there is more. A space with pinned pages is left alone: they are
    /// shared for the moment of a fork only. So is one that is gone, or has failed.
    pub(crate) fn share_ahead(mm: &'m Mm<H, S>, no: SpaceNo, most: usize) -> Result<bool, Stop> {
        let Ok(mut ahead) = Self::lock(mm, no) else {
            return Ok(false);
        };
        if !ahead.parent.pins.is_empty() {
            return Ok(false);
        }
        let (dirty, rest) = ahead.some_dirty_leaves(most)?;
        ahead.protect_dirty(&dirty)?;
        ahead.share_dirty(&dirty);
        ahead.parent.tree.dirty_head = rest;
        Ok(rest != 0)
    }

    /// The exclusive frame of a slot. A hint, until the frame is locked.
    fn exclusive_at(&self, at: LeafSlot) -> Option<FrameNo> {
        match self.mm.tables.at(at.leaf).slot(at.slot).entry.leaf() {
            LeafEntry::Frame(no) if self.mm.frames.at(no).is_exclusive() => Some(no),
            _ => None,
        }
    }

    fn pinned(&self) -> Vec<PageNo> {
        self.parent.pins.keys().copied().collect()
    }

    fn is_pinned(&self, page: PageNo) -> bool {
        self.parent.pins.contains_key(&page)
    }

    /// Makes the next store to each page written since the last fork a fault. Harmless when the
    /// fork fails later. The frames of a run are locked while the host protects it: reclaim must
    /// not take them away meanwhile.
    fn protect_dirty(&self, dirty: &[TableNo]) -> Result<(), HostError> {
        let mut run: Vec<Locked<'_>> = Vec::new();
        let mut end = PageNo(0);
        for &leaf in dirty {
            for slot in 0..FANOUT as u8 {
                let at = LeafSlot { leaf, slot };
                let page = self.mm.tables.page_of(at);
                let Some(frame) = self.exclusive_at(at).filter(|_| !self.is_pinned(page)) else {
                    continue;
                };
                // Where the system has no memory for a longer run, a shorter one will do.
                let follows = page == end && run.len() < RUN && run.try_reserve(1).is_ok();
                let next = follows.then(|| self.mm.frames.try_lock(frame));
                let locked = match next.flatten() {
                    Some(locked) => locked,
                    None => {
                        // No frame lock is held while this one is waited for.
                        self.protect_run(end, &mut run)?;
                        run.try_reserve(1).map_err(|_| HostError::NoMemory)?;
                        self.mm.frames.lock(frame)
                    }
                };
                if self.exclusive_at(at) == Some(frame) {
                    run.push(locked);
                    end = page.plus(1);
                }
            }
        }
        self.protect_run(end, &mut run)
    }

    /// Protects the pages of these frames, the last of which is before `end`, and lets the frames
    /// go.
    fn protect_run(&self, end: PageNo, run: &mut Vec<Locked<'_>>) -> Result<(), HostError> {
        let len = run.len() as u32;
        if len != 0 {
            let first = PageNo(end.0 - len);
            self.mm.host.protect(self.parent.no, Run { first, len })?;
            run.iter_mut().for_each(|locked| locked.protected = true);
        }
        run.clear();
        Ok(())
    }

    /// The protected frames are shared from now on. Cannot fail.
    fn share_dirty(&mut self, dirty: &[TableNo]) {
        for &leaf in dirty {
            self.mm.tables.at(leaf).forget_dirty();
            for slot in 0..FANOUT as u8 {
                let place = LeafSlot { leaf, slot };
                let LeafEntry::Frame(frame) = self.mm.tables.at(leaf).slot(slot).entry.leaf() else {
                    continue;
                };
                let locked = self.mm.frames.lock(frame);
                let same = self.mm.tables.at(leaf).slot(slot).entry.leaf() == LeafEntry::Frame(frame);
                if !same || !locked.frame.is_exclusive() {
                    continue;
                }
                // A pinned frame is shared for the moment, so that the tables may be split;
                // `copy_pinned` follows.
                locked.set_owner(Owner::Shared(place));
                self.parent.slot.export();
            }
        }
        self.parent.tree.dirty_head = 0;
    }

    /// The child gets its own copy of each pinned page. (`reclaim_pinned` follows, whatever comes
    /// of it.)
    fn copy_pinned(&mut self, child: &mut Child<'m, H, S>) -> Result<(), Stop> {
        let mm = self.mm;
        for page in self.pinned() {
            // The parent leaves the shared path, then a write fault of the child copies the frame.
            mm.retry(|| Ok(OwnPath::take(mm, &mut self.parent, page, Need::Normal)?.keep()))?;
            mm.retry(|| Fault::resolve(mm, &mut child.space, page, Access::Write))?;
        }
        Ok(())
    }

    /// Nobody else maps the pinned frames any more: they are exclusive again.
    fn reclaim_pinned(&mut self) {
        let mm = self.mm;
        for page in self.pinned() {
            let own = OwnPath::take(mm, &mut self.parent, page, Need::Normal)
                .expect("the path is this space's own already")
                .keep();
            let LeafEntry::Frame(frame) = mm.tables.entry(own.0, page) else {
                panic!("a pinned page was evicted")
            };
            let locked = mm.frames.lock(frame);
            assert_eq!(
                locked.residence,
                Residence::Private(self.parent.no),
                "a pinned page was moved"
            );
            assert_eq!(locked.frame.count.load().maps, 1, "a pinned page is shared");
            let place = LeafSlot {
                leaf: own.0,
                slot: slot_of(page, 0),
            };
            locked.set_owner(Owner::Exclusive(place));
            self.parent.slot.unexport();
            drop(locked);
            mm.tables.mark_dirty(&mut self.parent.tree, own);
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
