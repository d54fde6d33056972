//! Scripts: operations written out by hand, for scenarios. Spaces are counted from the oldest that
//! lives.

use crate::workload::{Op, Spot};

const SPOT: Spot = Spot {
    space: 0,
    page: 0,
    offset: 8,
    len: 4,
    value: 1,
    count: 0,
};

fn at(space: u32, page: u32) -> Spot {
    Spot { space, page, ..SPOT }
}

fn range(space: u32, first: u32, pages: u32) -> Spot {
    Spot {
        space,
        page: first,
        count: pages - 1,
        ..SPOT
    }
}

/// A new space of 16 pages (in a mix of that size).
#[must_use]
pub fn create() -> Op {
    Op::Create(SPOT)
}

/// A load.
#[must_use]
pub fn read(space: u32, page: u32) -> Op {
    Op::Read(at(space, page))
}

/// A store.
#[must_use]
pub fn write(space: u32, page: u32, value: u8) -> Op {
    Op::Write(Spot {
        value,
        ..at(space, page)
    })
}

/// Stores to some whole pages.
#[must_use]
pub fn fill(space: u32, first: u32, pages: u32) -> Op {
    Op::Fill(Spot {
        value: 6,
        ..range(space, first, pages)
    })
}

/// A fork.
#[must_use]
pub fn fork(space: u32) -> Op {
    Op::Fork(at(space, 0))
}

/// A frozen copy.
#[must_use]
pub fn freeze(space: u32) -> Op {
    Op::Freeze(at(space, 0))
}

/// A space goes.
#[must_use]
pub fn drop_space(space: u32) -> Op {
    Op::Drop(at(space, 0))
}

/// A space goes, and is not used again if that is refused.
#[must_use]
pub fn leave(space: u32) -> Op {
    Op::Drop(Spot {
        value: 3,
        ..at(space, 0)
    })
}

/// Pages go to the store.
#[must_use]
pub fn evict(space: u32, first: u32, pages: u32) -> Op {
    Op::Evict(range(space, first, pages))
}

/// Pages are called cold.
#[must_use]
pub fn cold(space: u32, first: u32, pages: u32) -> Op {
    Op::Cold(range(space, first, pages))
}

/// Reclaim.
#[must_use]
pub fn reclaim(pages: u32) -> Op {
    Op::Reclaim(range(0, 0, pages))
}

/// At most four pages are pinned.
#[must_use]
pub fn pin(space: u32, first: u32, pages: u32) -> Op {
    Op::Pin(range(space, first, pages))
}

/// The space's first pin ends.
#[must_use]
pub fn unpin(space: u32) -> Op {
    Op::Unpin(at(space, 0))
}

/// A page more.
#[must_use]
pub fn grow(space: u32) -> Op {
    Op::Grow(Spot {
        count: 1,
        ..at(space, 0)
    })
}

/// Whole pages of zeros.
#[must_use]
pub fn zero(space: u32, first: u32, pages: u32) -> Op {
    Op::Zero(range(space, first, pages))
}

/// A space becomes what another one of its family is, counted from the oldest of that.
#[must_use]
pub fn reset(space: u32, to: u32) -> Op {
    Op::Reset(at(space, to))
}

/// Pages become zeros without memory.
#[must_use]
pub fn discard(space: u32, first: u32, pages: u32) -> Op {
    Op::Discard(range(space, first, pages))
}

/// A merge round over all spaces, now.
#[must_use]
pub fn merge() -> Op {
    Op::MergeRound(Spot { value: 2, ..SPOT })
}

/// A step of merging in the background, long enough for a round over what a scenario has.
#[must_use]
pub fn merge_step() -> Op {
    Op::Merge(Spot {
        count: 255,
        value: 0,
        ..SPOT
    })
}

/// The same while a second thread stores to a page that was just looked at.
#[must_use]
pub fn merge_race(space: u32, page: u32) -> Op {
    Op::MergeRound(Spot {
        value: 3,
        ..at(space, page)
    })
}

/// A range is given copies of its own.
#[must_use]
pub fn unmerge(space: u32, first: u32, pages: u32) -> Op {
    Op::Unmerge(range(space, first, pages))
}

/// A load while a second thread stores.
#[must_use]
pub fn race(space: u32, page: u32) -> Op {
    Op::Race(Spot {
        value: 77,
        ..at(space, page)
    })
}
