//! Areas of a space: files are mapped, pages move, accesses are allowed or not.
//!
//! Part of [`Space`]; no lock of its own.

use crate::PAGE_SIZE;
use crate::advice::Advice;
use crate::error::Error;
use crate::files::MappedFile;
use crate::space::{Space, byte_of};
use memfold_host::Piece;
use memfold_host::addr::{PageNo, Run};
pub use memfold_mm::Rights;
use memfold_mm::{AreaKind, InFork, Order};
use std::ops::Range;

/// What a store to a mapped page does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Through {
    /// The space gets its own copy of the page; the file never has the store.
    Private,
    /// All who map the file so have the store, and the file after a sync.
    Shared,
}

impl Through {
    /// As the manager says it.
    fn kind(self) -> Piece {
        match self {
            Through::Private => Piece::Private,
            Through::Shared => Piece::Shared,
        }
    }

    /// From what the manager says.
    fn of(kind: Piece) -> Self {
        match kind {
            Piece::Private => Through::Private,
            Piece::Shared => Through::Shared,
        }
    }
}

/// A range of a space that is mapped, or does not allow everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Area {
    /// Its first byte.
    pub start: u64,
    /// The byte after its last one.
    pub end: u64,
    /// The byte of the file that its first byte shows, and what stores do; `None`: the space's own
    /// memory.
    pub file: Option<(u64, Through)>,
    /// What it allows.
    pub rights: Rights,
    /// In which order it is going to be used, as was advised: [`Advice::Normal`],
    /// [`Advice::Sequential`] or [`Advice::Random`].
    pub order: Advice,
    /// What forks have of it, as was advised: [`Advice::DoFork`], [`Advice::DontFork`] or
    /// [`Advice::WipeOnFork`].
    pub in_fork: Advice,
    /// Whether it is [locked](Space::lock).
    pub locked: bool,
}

impl Space {
    /// From now on the bytes from `at` on show a range of a file. What was there is gone. Both
    /// begin at a page, and the range ends at one, or at the file's end; the rest of the last page
    /// is zeros.
    ///
    /// No thread should be inside the range meanwhile: an access while the call is under way may be
    /// a segmentation violation. System calls on mapped memory are as on any memory of the space;
    /// [`write`](Self::write) and [`pin`](Self::pin) are refused in shared areas.
    ///
    /// # Errors
    /// [`Error::Unaligned`], [`Error::OutOfRange`]; [`Error::Space`]: `ReadOnlyFile` when stores
    /// were to reach a file that was opened for reading, `TooManyAreas`, `Pinned`, `Host` when the
    /// kernel has no mappings left. The areas are as they were, but pages of the range may have
    /// lost what was stored to them.
    pub fn map(
        &self,
        at: u64,
        file: &MappedFile,
        range: Range<u64>,
        through: Through,
        rights: Rights,
    ) -> Result<(), Error> {
        let mm = self.inner().mm()?;
        if !std::ptr::eq(self.inner(), file.inner()) {
            return Err(Error::ForeignFile);
        }
        let len = range.end.saturating_sub(range.start);
        let ends_well = is_aligned(range.end) || range.end == file.len();
        if !is_aligned(at) || !is_aligned(range.start) || !ends_well {
            return Err(Error::Unaligned);
        }
        let run = self.whole(at..at.saturating_add(len.next_multiple_of(PAGE_SIZE as u64)))?;
        let Ok(first) = u32::try_from(range.start / PAGE_SIZE as u64) else {
            let end = range.end;
            let (start, len) = (range.start, file.len());
            return Err(Error::OutOfRange { start, end, len });
        };
        let areas = mm.areas(self.no());
        areas.map(run, file.handle(), PageNo(first), through.kind(), rights)?;
        self.inner().done(&mm);
        Ok(())
    }

    /// From now on the range, whole pages, is zeros of the space's own, which may be stored to.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn unmap(&self, range: Range<u64>) -> Result<(), Error> {
        let mm = self.inner().mm()?;
        mm.areas(self.no()).unmap(self.whole(range)?)?;
        self.inner().done(&mm);
        Ok(())
    }

    /// Moves the range, whole pages, to the range of that length that begins at byte `to` of the
    /// space (Linux: `mremap`): its bytes, and its areas with the files that they show, what they
    /// allow, what was advised about them, and whether they are [locked](Self::lock). What was
    /// there is gone, and what is left behind is zeros of the space's own, as after
    /// [`unmap`](Self::unmap).
    ///
    /// Forks of the space keep what they have, files are not stored to, and shared areas show the
    /// same bytes of the file as before. No bytes are lost that were stored to the range before the
    /// call, by any thread; a store to it while the call is under way is in what is moved or in the
    /// zeros that follow. No thread should be inside the range at `to` meanwhile: its stores may be
    /// lost, and where a file is mapped, an access to either range may be a segmentation violation.
    ///
    /// Pages in memory are copied: until the call is done, the budget holds both copies. What was
    /// shared with forks is the space's own afterwards. What is in the store, and shared with
    /// nobody, goes without a copy, and what was never stored to costs nothing. Takes as long as a
    /// store to each of the pages would, and the space's faults wait meanwhile; move less at a time
    /// where that is too long, or too much room.
    ///
    /// ```
    /// use memfold::{Memory, SpaceSize};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let memory = Memory::builder().budget_bytes(16 << 20).build()?;
    /// let space = memory.create(SpaceSize::fixed(1 << 20))?;
    /// space.write(4096 + 10, b"moved")?;
    /// let fork = space.fork()?;
    /// space.remap(4096..8192, 512 << 10)?;
    /// let seen = |space: &memfold::Space, at| {
    ///     let mut bytes = [0; 5];
    ///     space.read(at, &mut bytes).map(|()| bytes)
    /// };
    /// assert_eq!(&seen(&space, (512 << 10) + 10)?, b"moved");
    /// assert_eq!(seen(&space, 4096 + 10)?, [0; 5]);
    /// assert_eq!(&seen(&fork, 4096 + 10)?, b"moved");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Unaligned`], [`Error::OutOfRange`]; [`Error::Space`]: `Overlap` when the two ranges
    /// do, `Pinned`, `TooManyAreas`, also for the moment in which both ranges show the same,
    /// `OverBudget` when there is no room for the copies, `Host` when the kernel refuses a step,
    /// `Fault` when a page is lost. The areas are as they were, and so is the range itself; the
    /// range at `to` may have lost what was stored to it. (Where the kernel even refuses to map
    /// again what it had mapped there, areas from `to` on show the files that the range shows.)
    pub fn remap(&self, range: Range<u64>, to: u64) -> Result<(), Error> {
        let mm = self.inner().mm()?;
        let from = self.whole(range.clone())?;
        let to = self.whole(to..to.saturating_add(range.end - range.start))?;
        mm.areas(self.no()).remap(from, to.first)?;
        self.inner().done(&mm);
        Ok(())
    }

    /// Changes what the range, whole pages, allows; its bytes stay. An access that is not allowed
    /// is a failure of whoever makes it, and of nobody else: a trap of guest code, a signal for
    /// other code (see [`MemoryBuilder::on_loss`](crate::MemoryBuilder::on_loss)).
    ///
    /// # Errors
    /// As [`map`](Self::map), and `Locked` where pages of a file that are locked, and mapped
    /// privately for loads alone, were to be stored to; nothing was changed.
    pub fn protect(&self, range: Range<u64>, rights: Rights) -> Result<(), Error> {
        let mm = self.inner().mm()?;
        mm.areas(self.no()).protect(self.whole(range)?, rights)?;
        Ok(())
    }

    /// Keeps the range, whole pages, in memory (Linux: `mlock`): brings all of it in, and reclaim
    /// passes over it, until it is [unlocked](Self::unlock), mapped or unmapped, or the space ends;
    /// [moved](Self::remap), it is so at its new place. What may be stored to, and is not shared
    /// with all who map a file, becomes the space's own, so that neither loads nor stores need room
    /// or wait for a store of cold pages later. Locking does not nest: one call unlocks what
    /// several have locked.
    ///
    /// Forks do not inherit it; a store to a page that a fork shares needs room for a copy, as any.
    /// A range that is locked cannot be given up ([`Advice::DontNeed`]), and the space cannot be
    /// reset. Any thread; threads may run in the space. Takes what as many faults take.
    ///
    /// ```
    /// use memfold::{Memory, SpaceSize};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let memory = Memory::builder().budget_bytes(16 << 20).build()?;
    /// let space = memory.create(SpaceSize::fixed(1 << 20))?;
    /// space.lock(0..65536)?;
    /// assert_eq!(space.evict()?, 0);
    /// assert_eq!((space.stats().locked, space.stats().exclusive), (16, 16));
    /// space.unlock(0..65536)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Unaligned`], [`Error::OutOfRange`]; [`Error::Space`] with `NoRoomToLock` when the
    /// budget has no room for all of it beside what else has to be in memory, `TooManyAreas`,
    /// `OverBudget`, `Host`, or `Fault` when a page allows no access or cannot be had. Then nothing
    /// more is locked than before, though pages may have been brought in.
    pub fn lock(&self, range: Range<u64>) -> Result<(), Error> {
        let mm = self.inner().mm()?;
        mm.areas(self.no()).lock(self.whole(range)?)?;
        self.inner().done(&mm);
        Ok(())
    }

    /// The range, whole pages, need not stay in memory any more.
    ///
    /// # Errors
    /// [`Error::Unaligned`], [`Error::OutOfRange`]; [`Error::Space`] with `TooManyAreas` or
    /// `OverBudget` where an area would become two; pages before that may be unlocked.
    pub fn unlock(&self, range: Range<u64>) -> Result<(), Error> {
        let mm = self.inner().mm()?;
        mm.areas(self.no()).unlock(self.whole(range)?)?;
        Ok(())
    }

    /// The areas, in order. What lies in none of them is the space's own, allows everything, and
    /// nothing was advised about it.
    ///
    /// # Errors
    /// [`Error::Space`]; [`Error::Forked`].
    pub fn areas(&self) -> Result<Vec<Area>, Error> {
        let all = self.inner().mm()?.areas(self.no()).list()?;
        let area = |area: memfold_mm::Area| Area {
            start: byte_of(area.run.first),
            end: byte_of(area.run.end()),
            file: match area.kind {
                AreaKind::Own => None,
                AreaKind::File { first, kind, .. } => Some((byte_of(first), Through::of(kind))),
            },
            rights: area.rights,
            order: match area.order {
                Order::Adaptive => Advice::Normal,
                Order::Sequential => Advice::Sequential,
                Order::Random => Advice::Random,
            },
            in_fork: match area.in_fork {
                InFork::Same => Advice::DoFork,
                InFork::Nothing => Advice::DontFork,
                InFork::Zeros => Advice::WipeOnFork,
            },
            locked: area.locked,
        };
        Ok(all.into_iter().map(area).collect())
    }

    /// The pages of a range that is whole pages, at least one.
    pub(crate) fn whole(&self, range: Range<u64>) -> Result<Run, Error> {
        if !is_aligned(range.start) || !is_aligned(range.end) || range.start >= range.end {
            return Err(Error::Unaligned);
        }
        self.check_range(range.start, range.end - range.start)?;
        let run = crate::space::pages(&range);
        Ok(run.expect("it is not empty"))
    }
}

fn is_aligned(byte: u64) -> bool {
    byte.is_multiple_of(PAGE_SIZE as u64)
}
