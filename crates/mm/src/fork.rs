//! Making, forking and growing spaces; `drop.rs` ends them.
//!
//! A fork shares the parent's root table, one reference, and opens a window onto the same home. Before
//! that, the pages that the parent wrote since its last fork are protected and their frames become shared:
//! that is all that a fork costs, whatever the size. Pinned pages stay the parent's own: the
//! child gets copies. Everything that may fail is done first, or is undone by dropping the child.

use crate::addr::{Access, FrameNo, PageNo, Run, SpaceNo};
use crate::budget::Need;
use crate::frame::{Locked, Owner, Residence};
use crate::home::HomeNo;
use crate::host::{Domain, Host, HostError, Store};
use crate::mm::{Mm, SpaceError, Stop};
use crate::space::SpaceState;
use crate::table::{Entry, FAN, LeafSlot, MAX_PAGES, TableNo, levels_for, slot_of};
use std::collections::BTreeMap;

/// Pages that a fork protects at a time.
const RUN: usize = if cfg!(any(loom, shuttle)) { 2 } else { 1024 };

/// The size of a new space.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Pages that are accessible, at least 1.
    pub len: u32,
    /// Pages of addresses: what the space can grow to.
    pub reserve: u32,
}

impl<H: Host, S: Store> Mm<H, S> {
    /// A new space of zeros, at a home of its own.
    ///
    /// # Errors
    /// [`SpaceError`]; nothing is left behind.
    pub fn create(&self, size: Size, domain: Domain) -> Result<SpaceNo, SpaceError> {
        let most = u64::from(MAX_PAGES);
        let pages = u64::from(size.reserve.max(size.len));
        if size.len == 0 || size.len > size.reserve || pages > most {
            return Err(SpaceError::BadSize { pages, most });
        }
        let no = self.new_space()?;
        let tables = || self.budget.tables(Need::Normal);
        let made = self.retry(|| self.homes.create(size.reserve, tables()).ok_or(Stop::NoRoom));
        let Ok((home, pool_pages)) = made else {
            self.spaces.free(no.0);
            return Err(SpaceError::OverBudget {
                limit: self.budget.limit(),
            });
        };
        let opened = self.retry(|| {
            self.host.reserve_pool(pool_pages)?;
            self.open_window(no, home, size.reserve, size.len)
        });
        let window = match opened {
            Ok(window) => window,
            Err(stop) => {
                self.leave_home(home);
                self.spaces.free(no.0);
                return Err(self.space_error(stop, no, PageNo(0)));
            }
        };
        let slot = self.spaces.get(no.0);
        slot.set_place(home, domain);
        *slot.lock_new() = SpaceState {
            alive: true,
            root: None,
            levels: levels_for(size.reserve),
            len: size.len,
            reserve: size.reserve,
            home,
            domain,
            dirty_head: 0,
            pins: BTreeMap::new(),
            window,
            failure: None,
        };
        Ok(no)
    }

    fn new_space(&self) -> Result<SpaceNo, SpaceError> {
        self.drop_doomed();
        let made = self.retry(|| {
            let refused = std::cell::Cell::new(false);
            let charge = |bytes| {
                let fits = self.budget.tables(Need::Normal)(bytes);
                refused.set(!fits);
                fits
            };
            match self.spaces.alloc(charge) {
                Some(no) => Ok(Some(SpaceNo(no))),
                // Refused by the budget, or by the system.
                None if refused.get() || self.spaces.used() < self.most_spaces => Err(Stop::NoRoom),
                None => Ok(None),
            }
        });
        match made {
            Ok(Some(no)) => Ok(no),
            Ok(None) => Err(SpaceError::TooManySpaces(self.most_spaces)),
            Err(_) => Err(SpaceError::OverBudget {
                limit: self.budget.limit(),
            }),
        }
    }

    pub(crate) fn leave_home(&self, home: HomeNo) {
        let ledger = self.budget.ledger(Need::Reclaim);
        if let Some(bytes) = self.homes.leave(home, |base| self.store.free(base, &ledger)) {
            self.budget.refund(crate::budget::Class::Tables, bytes);
        }
    }

    /// A copy-on-write copy of a space, in time that depends on what the space wrote since its last fork.
    ///
    /// Threads may run in the parent: each page is copied as it is at one moment during the call.
    ///
    /// # Errors
    /// [`SpaceError`]; the parent is as it was and there is no child. [`SpaceError::Fault`] when a fault of the parent has
    /// failed and nobody has taken that yet: its stores since then may be lost.
    pub fn fork(&self, parent: SpaceNo) -> Result<SpaceNo, SpaceError> {
        let child = self.new_space()?;
        let made = self.retry(|| self.fork_once(parent, child));
        if let Err(stop) = made {
            self.spaces.free(child.0);
            return Err(self.space_error(stop, parent, PageNo(0)));
        }
        self.counters.forks.one();
        Ok(child)
    }

    fn fork_once(&self, parent: SpaceNo, child: SpaceNo) -> Result<(), Stop> {
        let slot = self
            .spaces
            .peek(parent.0)
            .ok_or(Stop::Fault(crate::space::FaultError::NoSuchSpace(parent)))?;
        let mut st = slot.lock();
        if !st.alive {
            return Err(Stop::Fault(crate::space::FaultError::NoSuchSpace(parent)));
        }
        if let Some(failure) = self.failure_of(parent, &mut st) {
            return Err(Stop::Fault(failure));
        }
        let dirty = self.dirty_leaves(&st)?;
        let mut window = self.open_window(child, st.home, st.reserve, st.len)?;
        if let Err(e) = self.protect_dirty(parent, &st, &dirty) {
            self.close_window(child, &mut window);
            return Err(e.into());
        }
        self.share_dirty(parent, &mut st, &dirty);
        self.homes.join(st.home);
        let child_slot = self.spaces.get(child.0);
        child_slot.set_place(st.home, st.domain);
        child_slot.set_merging(slot.merging());
        child_slot.set_on_loss(slot.on_loss());
        let mut child_st = child_slot.lock_new();
        *child_st = SpaceState {
            alive: true,
            root: st.root,
            levels: st.levels,
            len: st.len,
            reserve: st.reserve,
            home: st.home,
            domain: st.domain,
            dirty_head: 0,
            pins: BTreeMap::new(),
            window,
            failure: None,
        };
        if let Some(root) = st.root {
            self.share_root(child, root);
        }
        if let Err(stop) = self.copy_pinned(parent, &mut st, child, &mut child_st) {
            self.tear_down(child, &mut child_st);
            self.reclaim_pinned(parent, &mut st);
            return Err(stop);
        }
        Ok(())
    }

    /// The leaves with exclusive frames, in page order.
    fn dirty_leaves(&self, st: &SpaceState) -> Result<Vec<TableNo>, Stop> {
        Ok(self.some_dirty_leaves(st, usize::MAX)?.0)
    }

    /// The first `most` leaves with exclusive frames, in page order; and the one after them on the list, or 0.
    fn some_dirty_leaves(&self, st: &SpaceState, most: usize) -> Result<(Vec<TableNo>, u32), Stop> {
        let first = Some(st.dirty_head).filter(|&no| no != 0).map(TableNo);
        let next = |&leaf: &TableNo| Some(self.next_dirty(leaf)).filter(|&next| next != 0).map(TableNo);
        let mut leaves = Vec::new();
        for leaf in std::iter::successors(first, next).take(most) {
            leaves.try_reserve(1).map_err(|_| Stop::NoRoom)?;
            leaves.push(leaf);
        }
        let rest = leaves.last().map_or(0, |&leaf| self.next_dirty(leaf));
        leaves.sort_unstable_by_key(|&leaf| self.table(leaf).first_page());
        Ok((leaves, rest))
    }

    /// Shares some of what the space wrote since its last fork, as the next fork would, for `most` leaves of tables; true when
    /// there is more. A space with pinned pages is left alone: they are shared for the moment of a fork only.
    pub(crate) fn share_some(&self, no: SpaceNo, most: usize) -> Result<bool, Stop> {
        let Ok(mut st) = self.lock_space(no) else {
            return Ok(false);
        };
        if !st.pins.is_empty() || self.failure_of(no, &mut st).is_some() {
            return Ok(false);
        }
        let (dirty, rest) = self.some_dirty_leaves(&st, most)?;
        self.protect_dirty(no, &st, &dirty)?;
        self.share_dirty(no, &mut st, &dirty);
        st.dirty_head = rest;
        Ok(rest != 0)
    }

    /// The exclusive frame of a slot. A hint, until the frame is locked.
    fn exclusive_at(&self, at: LeafSlot) -> Option<FrameNo> {
        match self.table(at.leaf).slot(at.slot).entry.load() {
            Entry::Frame(no) if matches!(self.frame(no).word.load().owner, Owner::Exclusive(_)) => Some(no),
            _ => None,
        }
    }

    fn pinned(st: &SpaceState) -> Vec<PageNo> {
        st.pins.keys().copied().collect()
    }

    fn is_pinned(st: &SpaceState, page: PageNo) -> bool {
        st.pins.contains_key(&page)
    }

    /// Makes the next store to each page written since the last fork a fault. Harmless when the fork fails later.
    /// The frames of a run are locked while the host protects it: reclaim must not take them away meanwhile.
    fn protect_dirty(&self, no: SpaceNo, st: &SpaceState, dirty: &[TableNo]) -> Result<(), HostError> {
        let mut run: Vec<Locked<'_>> = Vec::new();
        let mut end = PageNo(0);
        for &leaf in dirty {
            for slot in 0..FAN as u8 {
                let at = LeafSlot { leaf, slot };
                let page = self.page_of(at);
                let Some(frame) = self.exclusive_at(at).filter(|_| !Self::is_pinned(st, page)) else {
                    continue;
                };
                // Where the system has no memory for a longer run, a shorter one will do.
                let follows = page == end && run.len() < RUN && run.try_reserve(1).is_ok();
                let next = follows.then(|| Locked::attempt(frame, self.frame(frame)));
                let locked = match next.flatten() {
                    Some(locked) => locked,
                    None => {
                        // No frame lock is held while this one is waited for.
                        self.protect_run(no, end, &mut run)?;
                        run.try_reserve(1).map_err(|_| HostError::NoMemory)?;
                        self.lock_frame(frame)
                    }
                };
                if self.exclusive_at(at) == Some(frame) {
                    run.push(locked);
                    end = page.plus(1);
                }
            }
        }
        self.protect_run(no, end, &mut run)
    }

    /// Protects the pages of these frames, the last of which is before `end`, and lets the frames go.
    fn protect_run(&self, no: SpaceNo, end: PageNo, run: &mut Vec<Locked<'_>>) -> Result<(), HostError> {
        let len = run.len() as u32;
        if len != 0 {
            let first = PageNo(end.0 - len);
            self.host.protect(no, Run { first, len })?;
        }
        run.clear();
        Ok(())
    }

    /// The protected frames are shared from now on. Cannot fail.
    fn share_dirty(&self, no: SpaceNo, st: &mut SpaceState, dirty: &[TableNo]) {
        for &leaf in dirty {
            self.forget_dirty(self.table(leaf));
            for slot in 0..FAN as u8 {
                let place = LeafSlot { leaf, slot };
                let Entry::Frame(frame) = self.table(leaf).slot(slot).entry.load() else {
                    continue;
                };
                let locked = self.lock_frame(frame);
                let same = self.table(leaf).slot(slot).entry.load() == Entry::Frame(frame);
                if !same || !matches!(locked.frame.word.load().owner, Owner::Exclusive(_)) {
                    continue;
                }
                // A pinned frame is shared for the moment, so that the tables may be split; `copy_pinned` follows.
                locked.frame.word.set(Owner::Shared(place));
                self.spaces.get(no.0).lend();
            }
        }
        st.dirty_head = 0;
    }

    /// The child gets its own copy of each pinned page, and the parent's frame stays its own.
    fn copy_pinned(
        &self,
        parent: SpaceNo,
        st: &mut SpaceState,
        child: SpaceNo,
        child_st: &mut SpaceState,
    ) -> Result<(), Stop> {
        for page in Self::pinned(st) {
            // The parent leaves the shared path, then a write fault of the child copies the frame.
            self.retry(|| self.own_leaf(parent, st, page, Need::Normal))?;
            self.retry(|| self.fault_locked(child, child_st, page, Access::Write))?;
        }
        self.reclaim_pinned(parent, st);
        Ok(())
    }

    /// Nobody else maps the pinned frames any more: they are exclusive again.
    fn reclaim_pinned(&self, parent: SpaceNo, st: &mut SpaceState) {
        for page in Self::pinned(st) {
            let own = self
                .own_leaf(parent, st, page, Need::Normal)
                .expect("the path is this space's own already");
            let Entry::Frame(frame) = self.entry(own.0, page) else {
                panic!("a pinned page was evicted")
            };
            let locked = self.lock_frame(frame);
            assert_eq!(
                locked.residence,
                Residence::Private(parent),
                "a pinned page was moved"
            );
            assert_eq!(locked.frame.count.load().maps, 1, "a pinned page is shared");
            let place = LeafSlot {
                leaf: own.0,
                slot: slot_of(page, 0),
            };
            locked.frame.word.set(Owner::Exclusive(place));
            self.spaces.get(parent.0).unlend();
            drop(locked);
            self.mark_dirty(st, own);
        }
    }

    /// Makes the first `len` pages accessible.
    ///
    /// # Errors
    /// [`SpaceError`]; the old length stands. A shorter length is [`SpaceError::BadSize`].
    pub fn grow(&self, space: SpaceNo, len: u32) -> Result<(), SpaceError> {
        let grown = self.retry(|| {
            let mut st = match self.lock_space(space) {
                Ok(st) => st,
                Err(none) => return Ok(Err(none)),
            };
            let (old, most) = (st.len, st.reserve);
            if len < old || len > most {
                let (pages, most) = (len.into(), most.into());
                return Ok(Err(SpaceError::BadSize { pages, most }));
            }
            self.grow_window(space, old, len)?;
            st.len = len;
            Ok(Ok(()))
        });
        grown.unwrap_or_else(|stop| Err(self.space_error(stop, space, PageNo(0))))
    }

    /// Pages of the space that are accessible.
    ///
    /// # Errors
    /// [`SpaceError::NoSuchSpace`].
    pub fn len(&self, space: SpaceNo) -> Result<u32, SpaceError> {
        Ok(self.lock_space(space)?.len)
    }

    pub(crate) fn lock_space(
        &self,
        no: SpaceNo,
    ) -> Result<memfold_sync::MutexGuard<'_, SpaceState>, SpaceError> {
        let st = self.space(no)?.lock();
        if st.alive {
            Ok(st)
        } else {
            Err(SpaceError::NoSuchSpace(no))
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
