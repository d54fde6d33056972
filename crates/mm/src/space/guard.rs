//! The lock of a space, held: which space it is, and its state.
//!
//! Whoever works on a space holds one of these, so that its number, its place in the table of
//! spaces and its state cannot be those of two spaces. Made for spaces that live, by their number;
//! the state is let go when it is dropped. Rank `Space`: nothing but the locks below it is waited
//! for meanwhile.

use super::{FaultError, SpaceSlot, SpaceState};
use crate::addr::{Access, PageNo, SpaceNo};
use crate::host::HostError;
use memfold_sync::{MutexGuard, Slots};

/// There is no such space: it was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoSuchSpace(pub SpaceNo);

impl From<NoSuchSpace> for FaultError {
    fn from(NoSuchSpace(no): NoSuchSpace) -> Self {
        Self::NoSuchSpace(no)
    }
}

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct SpaceGuard<'m> {
    pub no: SpaceNo,
    pub slot: &'m SpaceSlot,
    state: MutexGuard<'m, SpaceState>,
}

impl<'m> SpaceGuard<'m> {
    /// Waits for the lock of a space that lives.
    pub fn lock(spaces: &'m Slots<SpaceSlot>, no: SpaceNo) -> Result<Self, NoSuchSpace> {
        let slot = spaces.peek(no.0).ok_or(NoSuchSpace(no))?;
        let state = slot.lock();
        if state.alive {
            Ok(Self { no, slot, state })
        } else {
            Err(NoSuchSpace(no))
        }
    }

    /// The lock of a space that lives, if it is free: for who waits for no space.
    pub fn attempt(spaces: &'m Slots<SpaceSlot>, no: SpaceNo) -> Option<Self> {
        let slot = spaces.peek(no.0)?;
        let state = slot.try_lock().filter(|state| state.alive)?;
        Some(Self { no, slot, state })
    }

    /// The lock of a number that was just taken: nobody knows the space that is to live here.
    pub fn begin(spaces: &'m Slots<SpaceSlot>, no: SpaceNo) -> Self {
        let slot = spaces.get(no.0);
        let state = slot.lock_new();
        Self { no, slot, state }
    }

    /// Whether the space has such a page.
    ///
    /// # Errors
    /// [`FaultError::OutOfRange`].
    pub fn demand_page(&self, page: PageNo) -> Result<(), FaultError> {
        let (space, len) = (self.no, self.len);
        if page.0 >= len {
            return Err(FaultError::OutOfRange { space, page, len });
        }
        Ok(())
    }

    /// Whether the page's area allows the access.
    ///
    /// # Errors
    /// [`FaultError::Forbidden`].
    #[inline]
    pub fn demand_access(&self, page: PageNo, access: Access) -> Result<(), FaultError> {
        let (space, rights) = (self.no, self.areas.rights(page));
        if !rights.allow(access) {
            return Err(FaultError::Forbidden { space, page, access });
        }
        Ok(())
    }

    /// The space's failure; a note that was left with it (`emptied.rs`) becomes one.
    pub fn failure(&mut self) -> Option<FaultError> {
        if let Some(page) = self.slot.take_emptied() {
            let (space, source) = (self.no, HostError::Emptied);
            self.failure
                .get_or_insert(FaultError::Host { space, page, source });
        }
        self.failure
    }
}

impl std::ops::Deref for SpaceGuard<'_> {
    type Target = SpaceState;
    fn deref(&self) -> &SpaceState {
        &self.state
    }
}

impl std::ops::DerefMut for SpaceGuard<'_> {
    fn deref_mut(&mut self) -> &mut SpaceState {
        &mut self.state
    }
}
