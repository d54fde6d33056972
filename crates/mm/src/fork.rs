//! Forking a space.
//!
//! A fork shares the parent's root table, one reference, and opens a window onto the same backing.
//! Before that, the pages that the parent wrote since its last fork are protected and their frames
//! become shared (`fork/share.rs`): that is all that a fork costs, whatever the size. Where that is
//! much, it is done in pieces, so that the parent's faults are not kept waiting for all of it.
//! Pinned pages stay the parent's own: the child gets copies. A [`Fork`] holds the parent's lock.
//! Everything that may fail is done first, or is undone by dropping the child, its window and its
//! number.

use crate::addr::{Access, PageNo, Run, SpaceNo};
use crate::backing::areas::Areas;
use crate::budget::Need;
use crate::create::NewWindow;
use crate::drop::Remains;
use crate::error::Stop;
use crate::fault::Fault;
use crate::frame::{Owner, Residence};
use crate::host::{Host, Store};
use crate::loans::Loans;
use crate::mapped::NewAreas;
use crate::mm::Mm;
use crate::native::{Granted, Natives, lock_settled};
use crate::path::OwnPath;
use crate::space::ahead::Stores;
use crate::space::native::Steady;
use crate::space::{SpaceGuard, SpaceState};
use crate::table::{LeafEntry, LeafSlot, Trees, slot_of};
use std::collections::BTreeMap;

mod share;

/// Leaves of tables whose pages a fork shares while it holds the parent's lock.
const MANY: usize = 256;

/// A space that is being copied, or whose pages are being shared ahead of that: its lock.
pub(crate) struct Fork<'m, H, S> {
    mm: &'m Mm<H, S>,
    parent: SpaceGuard<'m>,
}

/// A child's window, before it lives, and what of it the machine serves.
struct ChildWindow<'m, H: Host, S: Store> {
    window: NewWindow<'m, H, S>,
    native: Option<Granted<'m, H, S>>,
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
        let mut parent = lock_settled(mm, parent)?;
        match parent.failure() {
            Some(failure) => Err(Stop::Fault(failure)),
            None => Ok(Self { mm, parent }),
        }
    }

    /// The same; what is more than can be shared under the lock is shared before.
    pub fn begin(mm: &'m Mm<H, S>, parent: SpaceNo) -> Result<Self, Stop> {
        let fork = Self::lock(mm, parent)?;
        if !mm.tables.has_dirty(&fork.parent.tree, MANY + 1) {
            return Ok(fork);
        }
        drop(fork);
        Self::share_most(mm, parent, MANY)?;
        Self::lock(mm, parent)
    }

    /// Makes the child, which has all pages of its parent, also in the runs that are returned: what
    /// stands there is to be kept from it. When it fails, the parent is as it was, but for its
    /// protection.
    pub fn run(mut self, child: SpaceNo) -> Result<Vec<Run>, Stop> {
        let mm = self.mm;
        let dirty = self.dirty_leaves()?;
        let native = Natives::of(mm).of_fork(&mut self.parent, child, dirty.is_empty());
        let window = self.open(child, native)?;
        let inherits = !self.parent.areas.is_empty();
        let areas = inherits
            .then(|| NewAreas::inherit(mm, &self.parent.areas.of_fork(), child))
            .transpose()?;
        self.share(dirty)?;
        let mut child = self.begin_child(child, window, areas);
        if let Err(stop) = self.copy_pinned(&mut child) {
            // The child lets go of the pinned frames first.
            drop(child);
            self.reclaim_pinned();
            return Err(stop);
        }
        self.reclaim_pinned();
        child.complete = true;
        // There was room outside of the reserve. What is shared now could not be called in.
        Loans::of(mm).forget(self.parent.no);
        Ok(self.parent.areas.kept_from_forks())
    }

    /// The child's window, and the native run that it has; without one where the machine has none.
    fn open(&self, child: SpaceNo, native: Option<Granted<'m, H, S>>) -> Result<ChildWindow<'m, H, S>, Stop> {
        let st = &self.parent;
        let size = (st.backing, st.reserve, st.len);
        if let Some(granted) = native
            && let Ok(window) = NewWindow::open(self.mm, child, size, Some(granted.run))
        {
            let native = Some(granted);
            return Ok(ChildWindow { window, native });
        }
        let window = NewWindow::open(self.mm, child, size, None)?;
        Ok(ChildWindow { window, native: None })
    }

    /// The child lives from now on, with the parent's tables. Cannot fail.
    fn begin_child(
        &self,
        no: SpaceNo,
        ChildWindow { window, native }: ChildWindow<'m, H, S>,
        areas: Option<NewAreas<'m, H, S>>,
    ) -> Child<'m, H, S> {
        let (mm, st) = (self.mm, &self.parent);
        mm.backings.join(st.backing);
        let mut window = window.give();
        let native = native.map(|granted| {
            mm.counters.native_forks.one();
            granted.give(&mut window)
        });
        let mut space = SpaceGuard::begin(&mm.spaces, no);
        space.slot.set_place(st.backing, st.domain);
        space.slot.set_merging(st.slot.merging());
        space.slot.set_on_loss(st.slot.on_loss());
        *space = SpaceState {
            alive: true,
            kin: st.kin.forked(mm.counters.spaces_made.next()),
            tree: st.tree.fork(),
            len: st.len,
            reserve: st.reserve,
            backing: st.backing,
            domain: st.domain,
            areas: areas.map_or_else(Areas::default, NewAreas::give),
            pins: BTreeMap::new(),
            window,
            ahead: st.ahead.inherited(),
            stores: Stores::default(),
            native,
            steady: Steady::Unknown,
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

    fn pinned(&self) -> Vec<PageNo> {
        self.parent.pins.keys().copied().collect()
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
