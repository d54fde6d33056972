//! Why things fail: building a manager, an operation on a space, a step of one.
//!
//! What a step stops for ([`Stop`]) stays inside; its operation tries again, or says it in the
//! words of a space ([`SpaceError`]) or of a page ([`FaultError`]). No lock, no data.

use crate::addr::{PageNo, SpaceNo};
use crate::budget::Budget;
use crate::host::{HostError, SourceError, StoreError};
use crate::space::{FaultError, NoSuchSpace};

/// Why a manager cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The budget does not even hold the manager's own tables.
    #[error("a budget of {limit} bytes is too small: {least} bytes are the least that works")]
    BudgetTooSmall {
        /// What was asked for.
        limit: u64,
        /// The least that works.
        least: u64,
    },
}

/// Why an operation on a space failed; everything is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpaceError {
    /// The space was dropped.
    #[error("space {0} does not exist")]
    NoSuchSpace(SpaceNo),
    /// All places for spaces are taken.
    #[error("there are {0} spaces already, the most that this manager was built for")]
    TooManySpaces(u32),
    /// The size is zero, or beyond what a space can have, or beyond its reserve.
    #[error("a space of {pages} pages is not possible: 1 to {most} are")]
    BadSize {
        /// What was asked for, in pages.
        pages: u64,
        /// The most that is possible here, in pages.
        most: u64,
    },
    /// Everything that could be reclaimed was, and the budget still has no room.
    #[error(
        "the budget of {limit} bytes has no room for this, and nothing more can be reclaimed; raise the budget or drop spaces"
    )]
    OverBudget {
        /// The budget.
        limit: u64,
    },
    /// The two spaces do not come from one another in a way that would let one show the other's
    /// pages: they have different backings, or reserves.
    #[error(
        "space {0} stands on other memory than this one: reset it to, or compare it with, a space that it is a fork of, or a fork or a frozen copy of such a space"
    )]
    NotRelated(SpaceNo),
    /// The space, or the one that it is to become or is compared with, has areas, locked ones among
    /// them; such spaces are not reset or compared, and become shorter only when no area is left
    /// behind the end.
    #[error(
        "space {0} has areas; unmap, unprotect and unlock them all before it is reset, compared or cut there"
    )]
    HasAreas(SpaceNo),
    /// What was asked for would give the space more areas than it may have.
    #[error("a space has at most {0} areas; map fewer, longer runs")]
    TooManyAreas(u32),
    /// The run is empty, or goes beyond the space, or beyond the file.
    #[error("the pages from {first} on, {len} of them, are not all pages of the space and of the file")]
    BadRun {
        /// Its first page.
        first: PageNo,
        /// How many.
        len: u32,
    },
    /// Pages were to move to a run that some of them are in.
    #[error(
        "{len} pages cannot move from page {from} to page {to}: the runs overlap; move them somewhere else first, or fewer at a time"
    )]
    Overlap {
        /// The first page that was to move.
        from: PageNo,
        /// Where that was to go.
        to: PageNo,
        /// How many pages.
        len: u32,
    },
    /// Stores were to reach a file that cannot be written.
    #[error("the file was opened for reading only: map it privately, or without stores")]
    ReadOnlyFile,
    /// A page of the space is pinned, and what was asked for would take it away or share it.
    #[error("space {0} has pinned pages, which cannot be taken away or shared: unpin them first")]
    Pinned(SpaceNo),
    /// A page of the space is locked, and what was asked for would take it out of memory.
    #[error("space {0} has locked pages there, which stay in memory: unlock them first")]
    Locked(SpaceNo),
    /// The pages cannot be kept in memory: the budget has no room for them beside what has to be
    /// there already.
    #[error(
        "the budget of {limit} bytes has no room to keep {pages} pages more in memory, where {locked} are locked already; raise the budget, or unlock others"
    )]
    NoRoomToLock {
        /// How many pages were to be locked.
        pages: u32,
        /// How many pages of all spaces are.
        locked: u64,
        /// The budget.
        limit: u64,
    },
    /// A page could not be brought in.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// The machine refused a step.
    #[error("the machine refused: {0}")]
    Host(#[from] HostError),
}

impl SpaceError {
    /// The one place that says it, for what concerns no page.
    pub(crate) fn over(budget: &Budget) -> Self {
        let limit = budget.limit();
        Self::OverBudget { limit }
    }
}

/// Why a step stopped before it was done; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Another thread was faster: look again.
    Retry,
    /// The budget has no room: reclaim, then look again.
    NoRoom,
    /// The machine refused.
    Host(HostError),
    /// The store refused.
    Lost(StoreError),
    /// A file could not be read or written.
    Source(SourceError),
    /// A file is not so long any more.
    BeyondEnd,
    /// There is no such page.
    Fault(FaultError),
}

impl Stop {
    /// Why an operation on a space failed that stopped so at this page.
    pub fn of_space(self, budget: &Budget, space: SpaceNo, page: PageNo) -> SpaceError {
        match self {
            Self::Retry | Self::NoRoom => SpaceError::over(budget),
            Self::Host(source) => SpaceError::Host(source),
            Self::Lost(_) | Self::Source(_) | Self::BeyondEnd | Self::Fault(_) => {
                SpaceError::Fault(self.of_page(budget, space, page))
            }
        }
    }

    /// Why a page could not be had for which a step stopped so.
    pub fn of_page(self, budget: &Budget, space: SpaceNo, page: PageNo) -> FaultError {
        let limit = budget.limit();
        match self {
            Self::Retry | Self::NoRoom => FaultError::OverBudget { space, page, limit },
            Self::Host(source) => FaultError::Host { space, page, source },
            Self::Lost(source) => FaultError::PageLost { space, page, source },
            Self::Source(source) => FaultError::Source { space, page, source },
            Self::BeyondEnd => FaultError::BeyondEnd { space, page },
            Self::Fault(e) => e,
        }
    }
}

impl From<NoSuchSpace> for SpaceError {
    fn from(NoSuchSpace(no): NoSuchSpace) -> Self {
        Self::NoSuchSpace(no)
    }
}

impl From<NoSuchSpace> for Stop {
    fn from(none: NoSuchSpace) -> Self {
        Self::Fault(none.into())
    }
}

impl From<FaultError> for Stop {
    fn from(e: FaultError) -> Self {
        Self::Fault(e)
    }
}

impl From<StoreError> for Stop {
    fn from(e: StoreError) -> Self {
        Self::Lost(e)
    }
}

impl From<SourceError> for Stop {
    fn from(e: SourceError) -> Self {
        Self::Source(e)
    }
}

impl From<HostError> for Stop {
    fn from(e: HostError) -> Self {
        Self::Host(e)
    }
}
