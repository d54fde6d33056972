//! Making and growing spaces; `fork.rs` makes copies of them, `drop.rs` ends them.
//!
//! A new space takes a number, a backing, a window, in this order; each is a value that gives
//! itself back when it is dropped before the space lives, so that a step that fails leaves nothing
//! behind. Nobody else knows the number until then, so no lock is held; a space that grows is
//! locked.

use crate::addr::{PageNo, Run, SpaceNo};
use crate::backing::areas::Areas;
use crate::backing::{BackingNo, Versions};
use crate::budget::Need;
use crate::error::{SpaceError, Stop};
use crate::host::{Domain, Host, Store};
use crate::mm::{Mm, most_spaces};
use crate::space::ahead::{Ahead, Stores};
use crate::space::kin::Kin;
use crate::space::native::Steady;
use crate::space::{SpaceGuard, SpaceState};
use crate::table::{MAX_PAGES, Tree};
use crate::window::Windows;
use crate::window_tables::WindowTables;
use std::collections::BTreeMap;

/// The size of a new space.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Pages that are accessible, at least 1.
    pub len: u32,
    /// Pages of addresses: what the space can grow to.
    pub reserve: u32,
}

/// A number for a space that nobody knows yet; dropped before the space lives, it is free again.
pub(crate) struct NewSpace<'m, H: Host, S: Store> {
    mm: &'m Mm<H, S>,
    pub no: SpaceNo,
    lives: bool,
}

impl<'m, H: Host, S: Store> NewSpace<'m, H, S> {
    pub fn take(mm: &'m Mm<H, S>) -> Result<Self, SpaceError> {
        mm.doomed().drop_all();
        let made = mm.retry(|| {
            let refused = std::cell::Cell::new(false);
            let charge = |bytes| {
                let fits = mm.budget.tables(Need::Normal)(bytes);
                refused.set(!fits);
                fits
            };
            match mm.spaces.alloc(charge) {
                Some(no) => Ok(Some(no)),
                // Refused by the budget, or by the system.
                None if refused.get() || mm.spaces.used() < most_spaces(mm) => Err(Stop::NoRoom),
                None => Ok(None),
            }
        });
        match made {
            Ok(Some(no)) => Ok(Self {
                mm,
                no: SpaceNo(no),
                lives: false,
            }),
            Ok(None) => Err(SpaceError::TooManySpaces(most_spaces(mm))),
            Err(_) => Err(SpaceError::over(&mm.budget)),
        }
    }

    /// The space lives: its number is in use.
    pub fn live(mut self) -> SpaceNo {
        self.lives = true;
        self.no
    }
}

impl<H: Host, S: Store> Drop for NewSpace<'_, H, S> {
    fn drop(&mut self) {
        if !self.lives {
            self.mm.spaces.free(self.no.0);
        }
    }
}

/// The window of a space that nobody knows yet; dropped before the space has it, it is closed.
pub(crate) struct NewWindow<'m, H: Host, S: Store> {
    mm: &'m Mm<H, S>,
    no: SpaceNo,
    tables: Option<WindowTables>,
}

impl<'m, H: Host, S: Store> NewWindow<'m, H, S> {
    /// Opens it; the machine may serve a run of it by itself.
    pub fn open(
        mm: &'m Mm<H, S>,
        no: SpaceNo,
        (backing, reserve, len): (BackingNo, u32, u32),
        native: Option<Run>,
    ) -> Result<Self, Stop> {
        let tables = Some(Windows::of(mm).open(no, (backing, reserve, len), native)?);
        Ok(Self { mm, no, tables })
    }

    /// The space has the window from now on.
    pub fn give(mut self) -> WindowTables {
        self.tables.take().expect("a window is given once")
    }
}

impl<H: Host, S: Store> Drop for NewWindow<'_, H, S> {
    fn drop(&mut self) {
        if let Some(mut tables) = self.tables.take() {
            Windows::of(self.mm).close(self.no, &mut tables);
        }
    }
}

/// A backing that was made for a space, or a file, that nobody knows yet; dropped before that
/// lives, it is gone.
pub(crate) struct NewBacking<'m, H: Host, S: Store> {
    mm: &'m Mm<H, S>,
    pub backing: BackingNo,
    /// Pages of the pool that its place ends before.
    pub pool_pages: u64,
    used: bool,
}

impl<'m, H: Host, S: Store> NewBacking<'m, H, S> {
    pub fn take(mm: &'m Mm<H, S>, reserve: u32, versions: Versions) -> Result<Self, SpaceError> {
        let made = mm.retry(|| {
            let tables = mm.budget.tables(Need::Normal);
            let made = mm.backings.create(reserve, versions, tables);
            made.ok_or(Stop::NoRoom)
        });
        let (backing, pool_pages) = made.map_err(|_| SpaceError::over(&mm.budget))?;
        Ok(Self {
            mm,
            backing,
            pool_pages,
            used: false,
        })
    }

    /// A space, or a file, uses the backing from now on.
    pub fn keep(mut self) {
        self.used = true;
    }
}

impl<H: Host, S: Store> Drop for NewBacking<'_, H, S> {
    fn drop(&mut self) {
        if !self.used {
            leave_backing(self.mm, self.backing);
        }
    }
}

/// A space less stands in the backing; what only the last one needed goes.
pub(crate) fn leave_backing<H: Host, S: Store>(mm: &Mm<H, S>, backing: BackingNo) {
    let ledger = mm.budget.ledger(Need::Reclaim);
    if let Some(bytes) = mm.backings.leave(backing, |base| mm.store.free(base, &ledger)) {
        mm.budget.refund(crate::budget::Class::Tables, bytes);
    }
}

impl<H: Host, S: Store> Mm<H, S> {
    /// A new space of zeros, at a backing of its own.
    ///
    /// # Errors
    /// [`SpaceError`]; nothing is left behind.
    pub fn create(&self, size: Size, domain: Domain) -> Result<SpaceNo, SpaceError> {
        let most = u64::from(MAX_PAGES);
        let pages = u64::from(size.reserve.max(size.len));
        if size.len == 0 || size.len > size.reserve || pages > most {
            return Err(SpaceError::BadSize { pages, most });
        }
        // Each gives itself back when a later one cannot be had: the last one first.
        let new = NewSpace::take(self)?;
        let at = NewBacking::take(self, size.reserve, Versions::Bases)?;
        let opened = self.retry(|| {
            self.host.reserve_pool(at.pool_pages)?;
            NewWindow::open(self, new.no, (at.backing, size.reserve, size.len), None)
        });
        let window = opened.map_err(|stop| stop.of_space(&self.budget, new.no, PageNo(0)))?;
        let mut space = SpaceGuard::begin(&self.spaces, new.no);
        space.slot.set_place(at.backing, domain);
        *space = SpaceState {
            alive: true,
            kin: Kin::created(self.counters.spaces_made.next()),
            tree: Tree::new(size.reserve),
            len: size.len,
            reserve: size.reserve,
            backing: at.backing,
            domain,
            areas: Areas::default(),
            pins: BTreeMap::new(),
            window: window.give(),
            ahead: Ahead::new(),
            stores: Stores::default(),
            native: None,
            steady: Steady::Unknown,
            failure: None,
        };
        drop(space);
        at.keep();
        Ok(new.live())
    }

    /// Makes the first `len` pages accessible.
    ///
    /// # Errors
    /// [`SpaceError`]; the old length stands. A shorter length is [`SpaceError::BadSize`].
    pub fn grow(&self, space: SpaceNo, len: u32) -> Result<(), SpaceError> {
        let grown = self.retry(|| {
            let mut st = match self.lock_space(space) {
                Ok(st) => st,
                Err(none) => return Ok(Err(none.into())),
            };
            let (old, most) = (st.len, st.reserve);
            if len < old || len > most {
                let (pages, most) = (len.into(), most.into());
                return Ok(Err(SpaceError::BadSize { pages, most }));
            }
            Windows::of(self).grow(space, old, len)?;
            st.len = len;
            Ok(Ok(()))
        });
        grown.unwrap_or_else(|stop| Err(stop.of_space(&self.budget, space, PageNo(0))))
    }

    /// Pages of the space that are accessible.
    ///
    /// # Errors
    /// [`SpaceError::NoSuchSpace`].
    pub fn len(&self, space: SpaceNo) -> Result<u32, SpaceError> {
        Ok(self.lock_space(space)?.len)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
