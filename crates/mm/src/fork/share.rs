//! What a fork does to the pages that its parent wrote since the last one: the next store to each
//! is a fault from then on, and its frame is shared.
//!
//! Part of [`Fork`], under the parent's lock. Neighbours go together, in runs: their frames are
//! locked, the machine protects them in one call, and they are shared before they are let go, so
//! that each is locked once, and reclaim takes none of them away meanwhile. When the machine
//! refuses in the middle, what was shared becomes the parent's own again, but for its protection.

use super::Fork;
use crate::addr::{FrameNo, PageNo, Run, SpaceNo};
use crate::error::Stop;
use crate::frame::{Locked, Owner, Residence};
use crate::host::{Host, HostError, Store};
use crate::mm::Mm;
use crate::space::SpaceGuard;
use crate::table::{FANOUT, LeafEntry, LeafSlot, TableNo};

/// Pages that are protected at a time.
pub(super) const RUN: usize = if cfg!(any(loom, shuttle)) { 2 } else { 1024 };

/// Leaves with exclusive frames.
#[derive(Debug)]
pub(super) struct Dirty {
    /// In page order.
    leaves: Vec<DirtyLeaf>,
    /// The first one on the space's list that is none of these, or 0.
    rest: u32,
}

#[derive(Clone, Copy, Debug)]
struct DirtyLeaf {
    no: TableNo,
    /// The slots whose frames were shared: they were exclusive.
    shared: u16,
}

/// Neighbours whose frames are locked.
#[derive(Debug)]
struct LockedPages<'m> {
    /// The page after the last one.
    end: PageNo,
    /// Each with the place of its leaf among the dirty ones.
    frames: Vec<(u32, Locked<'m>)>,
}

impl Dirty {
    /// Whether nothing was stored to.
    pub fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }
}

impl<'m, H: Host, S: Store> Fork<'m, H, S> {
    /// Shares what the space wrote since its last fork, as the next fork would, piece by piece,
    /// until `most` leaves of tables are left; nobody's lock is held between two pieces. A space
    /// with pinned pages is left alone: they are shared for the moment of a fork only. So is one
    /// that is gone, or has failed.
    pub(crate) fn share_most(mm: &'m Mm<H, S>, no: SpaceNo, most: usize) -> Result<(), Stop> {
        let pages = match mm.lock_space(no) {
            Ok(st) if mm.tables.has_dirty(&st.tree, most + 1) => st.len as usize,
            _ => return Ok(()),
        };
        // Ends: as many pieces as the space has, at the most; what its threads write meanwhile is
        // left to the fork.
        for _ in 0..pages.div_ceil(most * FANOUT) {
            mm.spaces.get(no.0).let_others();
            if !Self::share_ahead(mm, no, most)? {
                break;
            }
        }
        Ok(())
    }

    /// The same for the next `most` leaves; true when there are more.
    pub(crate) fn share_ahead(mm: &'m Mm<H, S>, no: SpaceNo, most: usize) -> Result<bool, Stop> {
        let Ok(mut ahead) = Self::lock(mm, no) else {
            return Ok(false);
        };
        if !ahead.parent.pins.is_empty() {
            return Ok(false);
        }
        let dirty = ahead.some_dirty_leaves(most)?;
        let more = dirty.rest != 0;
        ahead.share(dirty)?;
        Ok(more)
    }

    /// Shares all that the space wrote since its last fork, as the next fork would; its lock.
    /// `None` for a space with pinned pages.
    pub(crate) fn share_all(mm: &'m Mm<H, S>, no: SpaceNo) -> Result<Option<SpaceGuard<'m>>, Stop> {
        let mut all = Self::lock(mm, no)?;
        if !all.parent.pins.is_empty() {
            return Ok(None);
        }
        let dirty = all.dirty_leaves()?;
        all.share(dirty)?;
        Ok(Some(all.parent))
    }

    /// All leaves with exclusive frames.
    pub(super) fn dirty_leaves(&self) -> Result<Dirty, Stop> {
        self.some_dirty_leaves(usize::MAX)
    }

    /// The first `most` of the list.
    fn some_dirty_leaves(&self, most: usize) -> Result<Dirty, Stop> {
        let mut leaves = Vec::new();
        for no in self.mm.tables.dirty(&self.parent.tree).take(most) {
            leaves.try_reserve(1).map_err(|_| Stop::NoRoom)?;
            leaves.push(DirtyLeaf { no, shared: 0 });
        }
        let rest = match leaves.last() {
            Some(leaf) => self.mm.tables.next_dirty(leaf.no),
            None => 0,
        };
        leaves.sort_unstable_by_key(|leaf| self.mm.tables.at(leaf.no).first_page());
        Ok(Dirty { leaves, rest })
    }

    /// Makes the next store to each page of these leaves a fault, and their frames shared. When it
    /// fails, they are the parent's own, but may be protected.
    pub(super) fn share(&mut self, mut dirty: Dirty) -> Result<(), HostError> {
        if let Err(refused) = self.share_leaves(&mut dirty.leaves) {
            self.take_back(&dirty.leaves);
            return Err(refused);
        }
        for leaf in &dirty.leaves {
            self.mm.tables.at(leaf.no).forget_dirty();
        }
        self.parent.tree.dirty_head = dirty.rest;
        Ok(())
    }

    fn share_leaves(&self, leaves: &mut [DirtyLeaf]) -> Result<(), HostError> {
        let mut run = LockedPages {
            end: PageNo(0),
            frames: Vec::new(),
        };
        for n in 0..leaves.len() {
            let leaf = leaves[n].no;
            let first = self.mm.tables.at(leaf).first_page();
            for slot in 0..FANOUT as u8 {
                let at = LeafSlot { leaf, slot };
                let Some(frame) = self.exclusive_at(at) else {
                    continue;
                };
                let page = first.plus(u32::from(slot));
                let pinned = self.is_pinned(page);
                let follows = page == run.end && !pinned && run.frames.len() < RUN;
                // Where the system has no memory for a longer run, a shorter one will do.
                let follows = follows && run.frames.try_reserve(1).is_ok();
                let next = follows.then(|| self.mm.frames.try_lock(frame)).flatten();
                let locked = match next {
                    Some(locked) => locked,
                    None => {
                        // No frame lock is held while this one is waited for.
                        self.share_run(&mut run, leaves)?;
                        run.frames.try_reserve(1).map_err(|_| HostError::NoMemory)?;
                        self.mm.frames.lock(frame)
                    }
                };
                if self.exclusive_at(at) != Some(frame) {
                    continue;
                }
                if pinned {
                    // Shared for the moment, so that the tables may be split, and never protected;
                    // `copy_pinned` follows.
                    self.share_frame(&locked, &mut leaves[n]);
                    continue;
                }
                run.frames.push((n as u32, locked));
                run.end = page.plus(1);
            }
        }
        self.share_run(&mut run, leaves)
    }

    /// Protects these pages, shares their frames, and lets them go.
    fn share_run(&self, run: &mut LockedPages<'_>, leaves: &mut [DirtyLeaf]) -> Result<(), HostError> {
        let len = run.frames.len() as u32;
        if len != 0 {
            let first = PageNo(run.end.0 - len);
            self.mm.host.protect(self.parent.no, Run { first, len })?;
            for (n, locked) in &mut run.frames {
                locked.protected = true;
                self.share_frame(locked, &mut leaves[*n as usize]);
            }
        }
        run.frames.clear();
        Ok(())
    }

    /// An exclusive frame is shared from now on.
    fn share_frame(&self, locked: &Locked<'_>, leaf: &mut DirtyLeaf) {
        let Owner::Exclusive(at) = locked.frame.word.load().owner else {
            panic!("frame {} is shared already", locked.no)
        };
        // Before anybody who sees it shared can take it back.
        self.parent.slot.export();
        locked.set_owner(Owner::Shared(at));
        leaf.shared |= 1 << at.slot;
    }

    /// What was shared is the parent's own again, but for what is in the store by now, or has
    /// become one with a sibling's.
    fn take_back(&self, leaves: &[DirtyLeaf]) {
        let (mm, no) = (self.mm, self.parent.no);
        for leaf in leaves {
            for slot in (0..FANOUT as u8).filter(|slot| leaf.shared >> slot & 1 == 1) {
                let at = LeafSlot { leaf: leaf.no, slot };
                let entry = || mm.tables.at(at.leaf).slot(at.slot).entry.leaf();
                let LeafEntry::Frame(frame) = entry() else {
                    continue;
                };
                let locked = mm.frames.lock(frame);
                let alone = entry() == LeafEntry::Frame(frame)
                    && locked.residence == Residence::Private(no)
                    && locked.frame.is_shared()
                    && locked.frame.count.load().maps == 1;
                if alone {
                    locked.set_owner(Owner::Exclusive(at));
                    self.parent.slot.unexport();
                }
            }
        }
    }

    /// The exclusive frame of a slot. A hint, until the frame is locked.
    fn exclusive_at(&self, at: LeafSlot) -> Option<FrameNo> {
        match self.mm.tables.at(at.leaf).slot(at.slot).entry.leaf() {
            LeafEntry::Frame(no) if self.mm.frames.at(no).is_exclusive() => Some(no),
            _ => None,
        }
    }

    fn is_pinned(&self, page: PageNo) -> bool {
        self.parent.pins.contains_key(&page)
    }
}
