//! [`Space`]: one memory image.

use crate::PAGE_SIZE;
use crate::error::{Error, Failure};
use crate::inner::Inner;
use crate::stats::{MergeStep, SpaceStats};
use crate::timings::Step;
use memfold_host::addr::{PageNo, Run, SpaceNo};
use memfold_linux::Window;
use memfold_mm::table::MAX_PAGES;
use memfold_mm::{Losses, Merging, OnLoss, Size};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

/// How long a space is and how far it may grow, in bytes; rounded up to whole pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceSize {
    /// Accessible bytes.
    pub len: u64,
    /// Bytes of addresses that are set aside: what the space can grow to. At most 64 GiB.
    pub reserve: u64,
}

impl SpaceSize {
    /// A space that does not grow.
    #[must_use]
    pub fn fixed(len: u64) -> Self {
        Self { len, reserve: len }
    }

    pub(crate) fn pages(self) -> Result<Size, Error> {
        Ok(Size {
            len: to_pages(self.len)?,
            reserve: to_pages(self.reserve.max(self.len))?,
        })
    }
}

fn to_pages(bytes: u64) -> Result<u32, Error> {
    let pages = bytes.div_ceil(PAGE_SIZE as u64);
    if pages == 0 || pages > u64::from(MAX_PAGES) {
        return Err(Error::BadSize {
            bytes,
            most: crate::MAX_SPACE_BYTES,
        });
    }
    Ok(pages as u32)
}

/// A memory image: a range of addresses, its own content, shared with its relatives as far as it is
/// the same.
///
/// The addresses are the same for the life of the space. Any thread may read and write them
/// directly through [`as_ptr`](Self::as_ptr); accesses to pages that are not there become faults
/// that memfold resolves. Dropping the space ends it: no thread may be inside it then.
///
/// In a child of `fork(2)` the addresses are not there, each operation that can fail does, with
/// [`Error::Forked`], and dropping the space does nothing: it is the parent's.
#[derive(Debug)]
pub struct Space {
    inner: Arc<Inner>,
    no: SpaceNo,
}

impl Space {
    pub(crate) fn new(inner: Arc<Inner>, no: SpaceNo) -> Self {
        Self { inner, no }
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    pub(crate) fn no(&self) -> SpaceNo {
        self.no
    }

    /// The first byte. Reading and writing `len` bytes from it is allowed, by any thread, while the
    /// space lives.
    ///
    /// System calls on the memory: see [`pin`](Self::pin).
    #[must_use]
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.window().base
    }

    /// Accessible bytes, whole pages.
    #[must_use]
    pub fn len(&self) -> u64 {
        u64::from(self.window().len) * PAGE_SIZE as u64
    }

    /// Never: a space has at least one page.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of addresses set aside, whole pages.
    #[must_use]
    pub fn reserve(&self) -> u64 {
        u64::from(self.window().reserve) * PAGE_SIZE as u64
    }

    /// A copy-on-write copy, in microseconds, whatever the size: the time depends on what this
    /// space wrote since its last fork.
    ///
    /// Threads may run in this space meanwhile; each page is copied as it is at one moment during
    /// the call.
    ///
    /// # Errors
    /// [`Error::Space`]; this space is as it was.
    pub fn fork(&self) -> Result<Self, Error> {
        let begun = self.inner.timings.begin();
        let no = self.inner.mm()?.fork(self.no)?;
        self.inner.opened();
        self.inner.timings.end(Step::Fork, begun);
        Ok(Self::new(self.inner.clone(), no))
    }

    /// A copy whose pages all of *its* forks can share in memory from the start: fork a space that
    /// will have many children through this. Takes time in proportion to what was written since
    /// this was last done; a space that is itself a fork and went its own way is copied whole.
    ///
    /// # Errors
    /// [`Error::Space`]; this space is as it was.
    pub fn freeze(&self) -> Result<Self, Error> {
        let no = self.inner.mm()?.freeze(self.no)?;
        self.inner.opened();
        Ok(Self::new(self.inner.clone(), no))
    }

    /// Makes the first `len` bytes (rounded up to pages) accessible; the new ones are zeros.
    ///
    /// # Errors
    /// [`Error::Space`] with `BadSize` when that is shorter than now or beyond the reserve; the old
    /// length stands.
    pub fn grow(&self, len: u64) -> Result<(), Error> {
        Ok(self.inner.mm()?.grow(self.no, to_pages(len)?)?)
    }

    /// Makes this space `len` bytes long (rounded up to pages). What stood behind that holds no
    /// memory any more, areas there end, and an access there is one beyond the end of the space;
    /// when the space [grows](Self::grow) again, those bytes are zeros. Forks keep what they have.
    ///
    /// Any thread; a thread that stores behind the new end meanwhile loses the store. Takes time in
    /// proportion to what goes.
    ///
    /// # Errors
    /// [`Error::Space`]: `BadSize` when that is nothing, or longer than now; `Pinned` and `Locked`
    /// when a page behind the new end is; otherwise when there is no room for tables that forks do
    /// not share, or another thread maps a file there meanwhile. The old length stands.
    ///
    /// ```
    /// # fn main() -> Result<(), memfold::Error> {
    /// let memory = memfold::Memory::builder().budget_bytes(16 << 20).build()?;
    /// let space = memory.create(memfold::SpaceSize { len: 1 << 20, reserve: 4 << 20 })?;
    /// space.write(900_000, b"gone")?;
    /// space.shrink(64 << 10)?;
    /// assert_eq!(space.len(), 64 << 10);
    /// space.grow(1 << 20)?;
    /// let mut bytes = [9; 4];
    /// space.read(900_000, &mut bytes)?;
    /// assert_eq!(bytes, [0; 4]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn shrink(&self, len: u64) -> Result<(), Error> {
        let mm = self.inner.mm()?;
        mm.areas(self.no).shrink(to_pages(len)?)?;
        self.inner.done(&mm);
        Ok(())
    }

    /// Copies bytes out. A page that is in the store stays there: each call decodes it. So each
    /// call costs a look-up and a copy of every page that it touches, and some microseconds more
    /// for one in the store; who reads a page often reads it by its address.
    ///
    /// # Errors
    /// [`Error::OutOfRange`]; [`Error::Space`] when a page could not be brought back: `out` is then
    /// unspecified.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let mm = self.inner.mm()?;
        self.check_range(offset, out.len() as u64)?;
        let mut bytes = [0; PAGE_SIZE];
        let mut at = offset as usize;
        let mut rest = out;
        while !rest.is_empty() {
            let start = at % PAGE_SIZE;
            let (now, later) = rest.split_at_mut(rest.len().min(PAGE_SIZE - start));
            mm.read_page(self.no, PageNo((at / PAGE_SIZE) as u32), &mut bytes)?;
            now.copy_from_slice(&bytes[start..start + now.len()]);
            at += now.len();
            rest = later;
        }
        Ok(())
    }

    /// Copies bytes in.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], with nothing written; [`Error::Fault`] when there is no room for a
    /// page, or it is lost: those before it are written.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let mm = self.inner.mm()?;
        self.check_range(offset, bytes.len() as u64)?;
        let mut at = offset as usize;
        let mut rest = bytes;
        while !rest.is_empty() {
            let start = at % PAGE_SIZE;
            let (now, later) = rest.split_at(rest.len().min(PAGE_SIZE - start));
            let page = Run::one(PageNo((at / PAGE_SIZE) as u32));
            mm.pin(self.no, page)?;
            let written = mm.host().write_pinned(self.no, page.first, start, now);
            mm.unpin(self.no, page);
            if let Err(source) = written {
                mm.lost(self.no, page.first);
                let (space, page) = (self.no, page.first);
                return Err(Failure::Host { space, page, source }.into());
            }
            at += now.len();
            rest = later;
        }
        self.inner.done(&mm);
        Ok(())
    }

    /// Says that the range is not needed soon: it goes first when room is needed.
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    pub fn advise_cold(&self, range: Range<u64>) -> Result<(), Error> {
        let mm = self.inner.mm()?;
        let Some(run) = self.run(range)? else {
            return Ok(());
        };
        Ok(mm.advise_cold(self.no, run)?)
    }

    /// Moves the whole space to the store now, also what it shares; returns how many pages went.
    /// Pinned pages stay. Relatives that the kernel serves by itself
    /// ([`native`](crate::MemoryBuilder::native)) are served by memfold from then on.
    ///
    /// # Errors
    /// [`Error::Space`].
    pub fn evict(&self) -> Result<u64, Error> {
        let all = 0..self.len();
        self.evict_range(all)
    }

    /// The same for a range of bytes; pages that it only touches go as well.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Space`].
    pub fn evict_range(&self, range: Range<u64>) -> Result<u64, Error> {
        let mm = self.inner.mm()?;
        let Some(run) = self.run(range)? else { return Ok(0) };
        let evicted = mm.evict(self.no, run)?;
        drop(mm);
        self.inner.watch();
        Ok(evicted)
    }

    /// Says whether this space takes part in merging: whether its pages may become one with equal
    /// pages, at the same place, of spaces of its family and domain that take part as well. Forks
    /// inherit it. What is merged already stays so until it is written, or
    /// [`unmerge`](Self::unmerge)d.
    ///
    /// The first store to a merged page takes longer than one to a page of the space's own. So a
    /// program that guesses a page's content can find out whether a relative in its domain has the
    /// same: do not let spaces take part in one domain whose programs must not know each other's
    /// secrets.
    ///
    /// # Errors
    /// [`Error::Space`].
    pub fn set_merging(&self, merging: Merging) -> Result<(), Error> {
        let mm = self.inner.mm()?;
        mm.set_merging(self.no, merging)?;
        self.inner.done(&mm);
        Ok(())
    }

    /// Looks at every page of this space and its relatives that take part, now, and merges what is
    /// equal.
    ///
    /// # Errors
    /// [`Error::Space`] when the budget has no room for the list of relatives.
    pub fn merge_now(&self) -> Result<MergeStep, Error> {
        Ok(self.inner.mm()?.merge_round(Some(self.no))?)
    }

    /// Gives this space its own copy of every page that it shares, merged or forked; returns how
    /// many. Nobody can then learn about it, or it about others, by how long a store takes.
    ///
    /// # Errors
    /// [`Error::Space`] when there is no room; pages before that one have their copies.
    pub fn unmerge(&self) -> Result<u64, Error> {
        let run = self.run(0..self.len())?;
        let run = run.expect("a space has at least one page");
        Ok(self.inner.mm()?.unmerge(self.no, run)?)
    }

    /// What the pages of this space are, in pages. Takes time in proportion to its size. Nothing in
    /// a child of `fork(2)`.
    #[must_use]
    pub fn stats(&self) -> SpaceStats {
        let Ok(mm) = self.inner.mm() else {
            return SpaceStats::default();
        };
        memfold_mm::SpaceStats::of(&mm, self.no).expect("the space lives")
    }

    /// The first fault of this space that could not be resolved since this was last asked: what the
    /// program inside did since then is not to be trusted. Until this is called the space is
    /// *condemned*: its further faults fail at once, it cannot be forked, and under
    /// [`OnLoss::Sink`] its stores to such pages go nowhere. None in a child of `fork(2)`, where
    /// the space cannot be used at all.
    #[must_use]
    pub fn take_failure(&self) -> Option<Failure> {
        self.inner.mm().ok()?.take_failure(self.no)
    }

    /// The same, without taking it: the space stays condemned. For host functions that are about to
    /// pass on what they have read in the space.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.inner.mm().ok()?.failure(self.no)
    }

    /// Says what becomes of an access that the process makes itself to a page of this space and
    /// that cannot be served; forks inherit it. See
    /// [`MemoryBuilder::on_loss`](crate::MemoryBuilder::on_loss).
    ///
    /// # Errors
    /// [`Error::Space`]; [`Error::Forked`].
    pub fn set_on_loss(&self, on_loss: OnLoss) -> Result<(), Error> {
        let mm = self.inner.mm()?;
        Ok(Losses::of(&mm).set_on_loss(self.no, on_loss)?)
    }

    /// From the window's record. A child of `fork(2)` that cannot have it without waiting gets one
    /// without pages: it cannot use the space in any case.
    fn window(&self) -> Window {
        self.inner.window(self.no).unwrap_or(Window {
            base: NonNull::dangling(),
            len: 0,
            reserve: 0,
        })
    }

    pub(crate) fn check_range(&self, start: u64, bytes: u64) -> Result<(), Error> {
        let (end, len) = (start.saturating_add(bytes), self.len());
        if end > len {
            Err(Error::OutOfRange { start, end, len })
        } else {
            Ok(())
        }
    }

    fn run(&self, range: Range<u64>) -> Result<Option<Run>, Error> {
        self.check_range(range.start, range.end.saturating_sub(range.start))?;
        Ok(pages(&range))
    }
}

/// The pages that a range of bytes touches.
pub(crate) fn pages(range: &Range<u64>) -> Option<Run> {
    if range.start >= range.end {
        return None;
    }
    let first = (range.start / PAGE_SIZE as u64) as u32;
    let end = range.end.div_ceil(PAGE_SIZE as u64) as u32;
    Some(Run {
        first: PageNo(first),
        len: end - first,
    })
}

/// Where a page begins, in bytes.
pub(crate) fn byte_of(page: PageNo) -> u64 {
    u64::from(page.0) * PAGE_SIZE as u64
}

impl Drop for Space {
    fn drop(&mut self) {
        self.inner.end_space(self.no);
    }
}
