//! Programs: threads that load and store, fault, and try again; and the kernel, which holds pinned
//! pages.
//!
//! [`load`] and [`store`] are what a thread on a real machine does: access, on a miss ask the
//! manager to bring the page in, access again. Several attempts may be needed, since others evict
//! meanwhile; that nobody starves is bounded by [`PATIENCE`]. An access lies within one page.

use crate::host::{SimHost, State};
use crate::machine::{Miss, Shown};
use memfold_host::addr::{PAGE_SIZE, PageBytes, PageNo, Run, SpaceNo};
use memfold_host::{HostError, Resolve};
use memfold_sync::thread;

/// Faults of one access after which something is wrong.
pub const PATIENCE: u32 = 1000;

/// A place in a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The page.
    pub page: PageNo,
    /// The byte in it.
    pub offset: usize,
}

impl Place {
    /// The place of a byte of a space.
    #[must_use]
    pub fn of(byte: u64) -> Self {
        let page = u32::try_from(byte / PAGE_SIZE as u64).expect("spaces have at most 2^32 pages");
        Self {
            page: PageNo(page),
            offset: (byte % PAGE_SIZE as u64) as usize,
        }
    }
}

impl State {
    /// The pages of the run are as they should be again.
    pub(crate) fn find_lost(&mut self, space: SpaceNo, run: Run) {
        self.lost.retain(|&(s, page)| s != space || !run.has(page));
    }
}

impl SimHost {
    /// One load by a program.
    ///
    /// # Errors
    /// [`Miss`] when the window does not show the page.
    pub fn load(&self, space: SpaceNo, at: Place, out: &mut [u8]) -> Result<(), Miss> {
        self.lock().machine.load(space, at.page, at.offset, out)
    }

    /// One store by a program.
    ///
    /// # Errors
    /// [`Miss`] when the window does not show the page, or only for loads.
    pub fn store(&self, space: SpaceNo, at: Place, data: &[u8]) -> Result<(), Miss> {
        self.lock().machine.store(space, at.page, at.offset, data)
    }

    /// What a program would see at a page without a fault; `None` where it would fault. For
    /// inspection.
    pub fn shown(&self, space: SpaceNo, page: PageNo) -> Option<Box<PageBytes>> {
        let state = self.lock();
        let window = state.machine.find(space)?;
        if page.0 >= window.len {
            return None;
        }
        match window.page(page) {
            Shown::Empty => None,
            Shown::Zero { .. } => Some(Box::new([0; PAGE_SIZE])),
            Shown::Pool { .. } => Some(state.machine.pool.copy(window.pool_page(page))),
            Shown::Private { bytes, .. } | Shown::Standby { bytes, .. } => Some(bytes.clone()),
        }
    }

    /// Pages of a window that the machine serves by itself, and at whose places the pool has
    /// nothing: there must be none. For inspection.
    pub fn native_holes(&self, space: SpaceNo) -> Vec<PageNo> {
        self.lock().machine.holes(space)
    }

    /// The private pages of a window to which a program stores without a fault: each must be its
    /// space's alone. For inspection.
    pub fn stores_go_through(&self, space: SpaceNo) -> Vec<PageNo> {
        let state = self.lock();
        let window = state.machine.find(space);
        window.map_or(Vec::new(), |window| window.writable_pages().collect())
    }

    /// Something beside the manager takes the protection of a private page away, as a kernel does
    /// that merges pages.
    ///
    /// # Panics
    /// When the page is not private.
    pub fn lose_protection(&self, space: SpaceNo, page: PageNo) {
        let mut state = self.lock();
        state.machine.window_mut(space).set_writable(page, true);
        state.lost.push((space, page));
        state.protections_hold = false;
    }

    /// Whether every page of the run is there, and as the manager protected it.
    pub(crate) fn vouch(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        let state = self.lock();
        let in_run = |&(s, page): &(SpaceNo, PageNo)| s == space && run.has(page);
        if state.emptied.iter().any(in_run) {
            return Err(HostError::Emptied);
        }
        match state.lost.iter().any(in_run) {
            true => Err(HostError::Unprotected),
            false => Ok(()),
        }
    }

    /// The program empties a private page of its own, as `madvise` does; the manager is not told.
    ///
    /// # Panics
    /// When the page is not private.
    pub fn empty(&self, space: SpaceNo, page: PageNo) {
        let mut state = self.lock();
        state.machine.empty(space, page);
        state.emptied.push((space, page));
    }

    /// The run is about to be pinned while other threads fork: from now on its pages may be found
    /// pinned.
    pub fn expect_hold(&self, space: SpaceNo, run: Run) {
        let mut state = self.lock();
        run.pages()
            .for_each(|page| state.machine.window_mut(space).expect_hold(page));
    }

    /// The kernel holds the pages of a run that was just pinned: until `let_go` they must stay
    /// where they are.
    pub fn hold(&self, space: SpaceNo, run: Run) {
        let mut state = self.lock();
        run.pages()
            .for_each(|page| state.machine.window_mut(space).hold(page));
    }

    /// Ends a `hold`, before the run is unpinned.
    pub fn let_go(&self, space: SpaceNo, run: Run) {
        let mut state = self.lock();
        run.pages()
            .for_each(|page| state.machine.window_mut(space).let_go(page));
    }

    /// The kernel stores to a held page, which cannot fault.
    ///
    /// # Panics
    /// When the page is not held: the kernel would have got an error.
    pub fn kernel_store(&self, space: SpaceNo, at: Place, data: &[u8]) {
        let mut state = self.lock();
        assert!(
            state.machine.window(space).is_held(at.page),
            "the kernel stores to a page that is not pinned"
        );
        let stored = state.machine.store(space, at.page, at.offset, data);
        assert_eq!(stored, Ok(()), "a pinned page faulted");
    }
}

/// A program loads bytes of one page.
///
/// # Errors
/// The manager's, when a fault could not be resolved.
///
/// # Panics
/// When the access still misses after [`PATIENCE`] resolved faults.
pub fn load<M: Resolve<Host = SimHost>>(
    mm: &M,
    space: SpaceNo,
    at: Place,
    out: &mut [u8],
) -> Result<(), M::Error> {
    patiently(mm, space, || mm.host().load(space, at, out))
}

/// A program stores bytes to one page.
///
/// # Errors
/// The manager's, when a fault could not be resolved; nothing was stored.
///
/// # Panics
/// When the access still misses after [`PATIENCE`] resolved faults.
pub fn store<M: Resolve<Host = SimHost>>(
    mm: &M,
    space: SpaceNo,
    at: Place,
    data: &[u8],
) -> Result<(), M::Error> {
    patiently(mm, space, || mm.host().store(space, at, data))
}

fn patiently<M: Resolve>(
    mm: &M,
    space: SpaceNo,
    mut access: impl FnMut() -> Result<(), Miss>,
) -> Result<(), M::Error> {
    for _ in 0..PATIENCE {
        let Err(miss) = access() else { return Ok(()) };
        mm.resolve(space, miss.page, miss.access)?;
        // Elsewhere a no-op; under a checker it lets whoever took the page away get on.
        if cfg!(any(loom, shuttle)) {
            thread::yield_now();
        }
    }
    panic!("an access to space {space} still misses after {PATIENCE} faults that succeeded");
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use memfold_host::Host;
    use memfold_host::addr::{Access, PoolPage};

    /// Goal: a byte's place, at the edges of pages.
    #[test]
    fn places() {
        assert_eq!(
            Place::of(4095),
            Place {
                page: PageNo(0),
                offset: 4095
            }
        );
        assert_eq!(
            Place::of(4096),
            Place {
                page: PageNo(1),
                offset: 0
            }
        );
    }

    /// Goal: loads and stores miss where the window shows nothing, and the kernel may store where
    /// it holds.
    #[test]
    fn misses_and_holds() {
        let host = SimHost::new(1);
        let space = SpaceNo(1);
        host.reserve_pool(4).unwrap();
        host.open(space, PoolPage(0), 4, 4).unwrap();
        let at = Place {
            page: PageNo(1),
            offset: 9,
        };
        assert_eq!(
            host.load(space, at, &mut [0]),
            Err(Miss {
                page: PageNo(1),
                access: Access::Read
            })
        );
        assert_eq!(
            host.store(space, at, &[0]),
            Err(Miss {
                page: PageNo(1),
                access: Access::Write
            })
        );
        assert!(host.shown(space, PageNo(1)).is_none());
        let run = Run::one(PageNo(1));
        host.fill_zero(space, run).unwrap();
        host.hold(space, run);
        host.kernel_store(space, at, &[5]);
        host.let_go(space, run);
        assert_eq!(host.shown(space, PageNo(1)).unwrap()[9], 5);
    }
}
