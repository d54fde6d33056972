//! Taking back what a space wrote, and telling what that is: [`Space::reset_to`],
//! [`Space::discard`], [`Space::dirty_since`].
//!
//! Part of [`Space`]; no lock of its own. For hosts that use one space again and again for programs
//! that must not see one another's bytes, and for fuzzers.

use crate::PAGE_SIZE;
use crate::error::{Error, SpaceError};
use crate::space::{Space, byte_of, pages};
use crate::timings::Step;
use std::ops::Range;

impl Space {
    /// Makes this space again what `to` is now, its length included, at the same addresses: what
    /// was written goes, and the rest is shared again. Where `to` is a [frozen](Self::freeze)
    /// copy, it has nothing to share first. The time depends on what the two do not share. While
    /// half of the budget is free the kernel serves forks of frozen copies by itself (see
    /// [`MemoryBuilder::native`](crate::MemoryBuilder::native)): twenty pages stored to in 64 MiB
    /// take 2 µs more then than `MADV_DONTNEED` of a private mapping, and otherwise about as long
    /// as a fork and its end (0.1 ms).
    ///
    /// A failure that nobody has [taken](Self::take_failure) is forgotten, with what it damaged.
    /// Merging, the choice for lost pages, and the addresses stay this space's own. No thread
    /// should be inside this space: what it stores meanwhile may be lost. Threads may run in `to`.
    ///
    /// # Errors
    /// [`Error::Space`]: `NotRelated` when `to` is not of this space's family, or stands on memory
    /// of its own (a fork that went its own way before it was frozen does); `Pinned` when one of
    /// the two has pinned pages. This space is as it was.
    pub fn reset_to(&self, to: &Self) -> Result<(), Error> {
        let mm = self.inner().mm()?;
        if !std::ptr::eq(self.inner(), to.inner()) {
            return Err(SpaceError::NotRelated(self.no()).into());
        }
        let begun = self.inner().timings.begin();
        mm.reset(self.no(), to.no())?;
        self.inner().timings.end(Step::Reset, begun);
        self.inner().done(&mm);
        Ok(())
    }

    /// The bytes of this space that may be others than those of `of`, in whole pages: ranges in
    /// order, that do not touch. A page is among them that one of the two has stored to, or
    /// discarded, since one was made of the other; also when it has the same bytes all the same.
    /// What is in none of them is equal. For snapshots that only hold what changed, and for what
    /// moves to another machine.
    ///
    /// Takes time in proportion to what the two do not share, not to their size, and brings nothing
    /// back from the store. `of` shares what it wrote since its last fork first, as in a fork; a
    /// [frozen](Self::freeze) copy has nothing to share. Any thread; what threads store meanwhile
    /// may be among it.
    ///
    /// # Errors
    /// [`Error::Space`]: `NotRelated` as in [`reset_to`](Self::reset_to), `Pinned` when `of` has
    /// pinned pages, `HasAreas` when one of the two has areas.
    ///
    /// ```
    /// # fn main() -> Result<(), memfold::Error> {
    /// let memory = memfold::Memory::builder().budget_bytes(16 << 20).build()?;
    /// let space = memory.create(memfold::SpaceSize::fixed(1 << 20))?;
    /// space.write(0, b"before")?;
    /// let before = space.freeze()?;
    /// let fork = before.fork()?;
    /// fork.write(5000, b"after")?;
    /// assert_eq!(fork.dirty_since(&before)?, [4096..8192]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn dirty_since(&self, of: &Self) -> Result<Vec<Range<u64>>, Error> {
        let mm = self.inner().mm()?;
        if !std::ptr::eq(self.inner(), of.inner()) {
            return Err(SpaceError::NotRelated(self.no()).into());
        }
        let runs = mm.differing(self.no(), of.no())?;
        self.inner().done(&mm);
        Ok(runs
            .into_iter()
            .map(|run| byte_of(run.first)..byte_of(run.end()))
            .collect())
    }

    /// Makes a range of bytes zeros; whole pages of it hold no memory any more, as if they had
    /// never been written. What relatives share stays theirs.
    ///
    /// # Errors
    /// [`Error::OutOfRange`]; [`Error::Space`]: `Pinned` when a page is pinned, or when there is no
    /// room for the tables that this space then no longer shares. Bytes before that are zeros.
    pub fn discard(&self, range: Range<u64>) -> Result<(), Error> {
        let mm = self.inner().mm()?;
        self.check_range(range.start, range.end.saturating_sub(range.start))?;
        let page = PAGE_SIZE as u64;
        let first = range.start.next_multiple_of(page);
        let end = range.end / page * page;
        if first >= end {
            return self.write_zeros(range);
        }
        self.write_zeros(range.start..first)?;
        if let Some(run) = pages(&(first..end)) {
            mm.discard(self.no(), run)?;
        }
        self.write_zeros(end..range.end)
    }

    /// For parts of pages.
    fn write_zeros(&self, range: Range<u64>) -> Result<(), Error> {
        let len = range.end.saturating_sub(range.start) as usize;
        self.write(range.start, &[0; 2 * PAGE_SIZE][..len])
    }
}
