//! Advice about ranges of a space: [`Advice`], as `madvise(2)` has it for memory of the kernel.
//!
//! Part of [`Space`]; no lock of its own.

use crate::error::Error;
use crate::space::Space;
use memfold_host::addr::Access;
use memfold_mm::{InFork, Order};
use std::ops::Range;

/// What is going to be done with a range of a space, or is to be done with it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Advice {
    /// Pages of files are read ahead as it turns out to be worth it. So it is without advice.
    Normal,
    /// Pages are going to be used one after the other: files are read far ahead.
    Sequential,
    /// Pages are going to be used in any order: files are read page by page.
    Random,
    /// Pages are going to be used: what is in the store or in files comes in now, as far as there
    /// is room.
    WillNeed,
    /// Pages are not going to be used soon: they go first when room is needed.
    Cold,
    /// Pages go to the store or back to their files now, also such as others show.
    PageOut,
    /// What the space stored to the pages is given up: they are zeros again, or what the file has.
    /// Stores to a shared mapping of a file stay.
    DontNeed,
    /// The same, but not before room is needed (Linux: `MADV_FREE`). Until a page is stored to, a
    /// load may find what it had, or what it is without; a store keeps whichever it is from then
    /// on. For memory that an allocator has free and is going to use again: where room is not
    /// needed, that costs a fault and no new page. What is in the store goes at once. Pages that
    /// forks share, of shared mappings, locked or pinned stay as they are; so do all where the
    /// process has opted in to the kernel's merging.
    Free,
    /// Forks and frozen copies have pages that allow no access in their place.
    DontFork,
    /// Forks and frozen copies have zeros in their place, and so have their forks: for keys, seeds
    /// of random numbers, and whatever else two must not have.
    WipeOnFork,
    /// Forks have the pages, as without advice.
    DoFork,
    /// Pages are made accessible now, as by a load of each.
    PopulateRead,
    /// Pages are made accessible now, as by a store to each that changes nothing.
    PopulateWrite,
}

impl Space {
    /// Follows an advice about a range, whole pages. Any thread; threads may run in the space.
    ///
    /// ```
    /// use memfold::{Advice, Memory, SpaceSize};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let memory = Memory::builder().budget_bytes(16 << 20).build()?;
    /// let space = memory.create(SpaceSize::fixed(1 << 20))?;
    /// space.advise(0..1 << 20, Advice::PopulateWrite)?;
    /// assert_eq!(space.stats().exclusive, 256);
    /// space.advise(0..1 << 20, Advice::DontNeed)?;
    /// assert_eq!(space.stats().exclusive, 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Unaligned`], [`Error::OutOfRange`]; [`Error::Space`] with `TooManyAreas` where an
    /// order would need one more, `Pinned`, `Locked` for what is to be given up, or `OverBudget`;
    /// [`Error::Fault`] when a page that is to be populated cannot be had: those before it are
    /// there.
    pub fn advise(&self, range: Range<u64>, advice: Advice) -> Result<(), Error> {
        let run = self.whole(range.clone())?;
        let mm = self.inner().mm()?;
        let areas = mm.areas(self.no());
        let order = |order| Ok(areas.set_order(run, order)?);
        let in_fork = |in_fork| Ok(areas.set_in_fork(run, in_fork)?);
        let populate = |access| Ok(areas.populate(run, access)?);
        match advice {
            Advice::Normal => order(Order::Adaptive),
            Advice::Sequential => order(Order::Sequential),
            Advice::Random => order(Order::Random),
            Advice::WillNeed => Ok(areas.bring_in(run).map(drop)?),
            Advice::Cold => Ok(mm.advise_cold(self.no(), run)?),
            Advice::PageOut => self.evict_range(range).map(drop),
            Advice::DontNeed => Ok(mm.discard(self.no(), run)?),
            Advice::Free => Ok(areas.free(run)?),
            Advice::DontFork => in_fork(InFork::Nothing),
            Advice::WipeOnFork => in_fork(InFork::Zeros),
            Advice::DoFork => in_fork(InFork::Same),
            Advice::PopulateRead => populate(Access::Read),
            Advice::PopulateWrite => populate(Access::Write),
        }
    }
}
