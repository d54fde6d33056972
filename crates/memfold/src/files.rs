//! [`MappedFile`]: a file whose pages spaces can map, and what [`Memory`] opens one from.
//!
//! A handle of the manager's; no lock of its own.

use crate::PAGE_SIZE;
use crate::error::Error;
use crate::inner::Inner;
use crate::memory::Memory;
use crate::space::SpaceSize;
use memfold_host::addr::PageNo;
use memfold_host::{Domain, PageSource};
use memfold_linux::{FileAccess, FileSource};
use memfold_mm::OpenFile;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

impl Memory {
    /// Opens a file, a regular one or a block device, for spaces to [map](crate::Space::map). Its
    /// pages are read when they are touched, and held once for all spaces, inside the budget.
    ///
    /// ```
    /// use memfold::{FileAccess, Memory, Rights, SpaceSize, Through};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("memfold-doc-{}", std::process::id()));
    /// std::fs::write(&path, vec![7; 8192])?;
    /// let memory = Memory::builder().budget_bytes(16 << 20).build()?;
    /// let file = memory.open(&path, FileAccess::ReadWrite)?;
    /// let space = memory.create(SpaceSize::fixed(1 << 20))?;
    /// space.map(65536, &file, 0..8192, Through::Shared, Rights::ReadWrite)?;
    ///
    /// let byte = space.as_ptr().as_ptr().wrapping_add(65536 + 5000);
    /// // SAFETY: the space lives, and nobody else uses these bytes.
    /// unsafe {
    ///     assert_eq!(byte.read(), 7);
    ///     byte.write(8);
    /// }
    /// file.sync(0..file.len())?;
    /// assert_eq!(std::fs::read(&path)?[5000], 8);
    /// # std::fs::remove_file(&path)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Open`]; [`Error::File`] when it is too long, or there is no room for its records;
    /// [`Error::Forked`].
    pub fn open(&self, path: impl AsRef<Path>, access: FileAccess) -> Result<MappedFile, Error> {
        self.open_source(FileSource::open(path, access)?)
    }

    /// The same for a descriptor that is open already. Its position means nothing.
    ///
    /// # Errors
    /// As [`open`](Self::open); the descriptor is closed then.
    pub fn open_file(&self, fd: impl Into<OwnedFd>, access: FileAccess) -> Result<MappedFile, Error> {
        self.open_source(FileSource::new(fd, access)?)
    }

    /// The same for any source of pages. It is called by whoever touches a page, also in fault
    /// handlers: it must not touch memory of a space, nor wait for anybody who does.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Forked`].
    pub fn open_source(&self, source: impl PageSource + 'static) -> Result<MappedFile, Error> {
        let is_writable = source.is_writable();
        let file = self.0.mm()?.files().open(Box::new(source))?;
        if is_writable {
            self.0.start_writer();
        }
        Ok(self.mapped(file))
    }

    /// Memory that spaces share, so many bytes of zeros, rounded up to whole pages: spaces map it
    /// as they do a file. It costs what is stored to it, inside the budget; when room is needed its
    /// pages go to the compressed store. It is gone with the last handle and mapping; forks go on
    /// sharing what their parent has mapped so. Its pages are never merged, and stored once only
    /// with those of spaces of domain 0.
    ///
    /// ```
    /// use memfold::{Memory, Rights, SpaceSize, Through};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let memory = Memory::builder().budget_bytes(16 << 20).build()?;
    /// let ring = memory.create_shared(65536)?;
    /// let sizes = SpaceSize::fixed(1 << 20);
    /// let [sender, receiver] = [memory.create(sizes)?, memory.create(sizes)?];
    /// sender.map(0, &ring, 0..65536, Through::Shared, Rights::ReadWrite)?;
    /// receiver.map(4096, &ring, 0..65536, Through::Shared, Rights::Read)?;
    ///
    /// let (to, from) = (sender.as_ptr().as_ptr(), receiver.as_ptr().as_ptr());
    /// // SAFETY: both spaces live, and nobody else uses these bytes.
    /// unsafe {
    ///     to.wrapping_add(5).write(7);
    ///     assert_eq!(from.wrapping_add(4096 + 5).read(), 7);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::BadSize`]; [`Error::File`] when it is too long, or there is no room for its
    /// records; [`Error::Forked`].
    pub fn create_shared(&self, bytes: u64) -> Result<MappedFile, Error> {
        self.create_shared_in(bytes, Domain::default())
    }

    /// The same in a merge domain: with whose pages its own may be stored once.
    ///
    /// # Errors
    /// As [`create_shared`](Self::create_shared).
    pub fn create_shared_in(&self, bytes: u64, domain: Domain) -> Result<MappedFile, Error> {
        let pages = SpaceSize::fixed(bytes).pages()?.len;
        let file = self.0.mm()?.files().share(pages, domain)?;
        Ok(self.mapped(file))
    }

    fn mapped(&self, file: OpenFile) -> MappedFile {
        MappedFile {
            inner: Arc::clone(&self.0),
            file: Some(file),
        }
    }
}

/// A file that spaces can map, or [memory that they share](Memory::create_shared). Any thread;
/// dropping it closes the file for its user: mappings stay. With the last user and mapping, pages
/// that were stored to are written out, and nobody hears of failures: [`sync`](Self::sync) before.
///
/// Others may change the file meanwhile: pages that are in memory stay as they were read, until it
/// is [loaded again](Self::reload). Where others made it shorter, an access behind its end fails as
/// one behind the end does, and nothing else is lost. In a child of `fork(2)` it does nothing.
#[derive(Debug)]
pub struct MappedFile {
    inner: Arc<Inner>,
    // There until it is dropped.
    file: Option<OpenFile>,
}

impl MappedFile {
    /// The manager's handle.
    pub(crate) fn handle(&self) -> &OpenFile {
        self.file.as_ref().expect("it is not dropped")
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// How long it is, in bytes, as memfold knows it. 0 in a child of `fork(2)`.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.inner.mm().map_or(0, |mm| mm.files().bytes(self.handle()))
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes out what was stored to the pages of a range, through shared mappings, and makes it
    /// last; of memory, nothing. Takes time in proportion to what is in memory of the range.
    ///
    /// # Errors
    /// [`Error::File`] when the file has refused a write, now or in the background, since this
    /// handle was last told: the pages are kept, and tried again next time. [`Error::Forked`].
    pub fn sync(&self, range: Range<u64>) -> Result<(), Error> {
        let mm = self.inner.mm()?;
        let page = PAGE_SIZE as u64;
        let (first, end) = (range.start / page, range.end.div_ceil(page));
        let pages = |pages: u64| u32::try_from(pages).unwrap_or(u32::MAX);
        let len = pages(end.saturating_sub(first));
        mm.files().sync(self.handle(), PageNo(pages(first)), len)?;
        Ok(())
    }

    /// Makes the file so many bytes long (memory is rounded up to whole pages), up to the whole
    /// pages that it had when it was opened. What is new is zeros; what lay behind the end is gone,
    /// private copies included, and accesses there fail.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Forked`].
    pub fn truncate(&self, bytes: u64) -> Result<(), Error> {
        Ok(self.inner.mm()?.files().resize(self.handle(), bytes)?)
    }

    /// Forgets what is in memory of the file, so that it is read again when it is touched, and asks
    /// it how long it is: for files that others change. What was stored through shared mappings and
    /// not written out is written out first, and private copies stay. What lies behind the end of a
    /// file that became shorter is gone, private copies included; it becomes no longer than it was
    /// when it was opened. Of memory, nothing.
    ///
    /// Takes time in proportion to what is in memory of the file. Any thread; programs may be using
    /// it: each page is the one of before, or what the file has.
    ///
    /// # Errors
    /// [`Error::File`] when the file does not say how long it is, refuses a write, or a private
    /// copy that is to go is pinned: pages may be in memory as they were. [`Error::Forked`].
    pub fn reload(&self) -> Result<(), Error> {
        Ok(self.inner.mm()?.files().reload(self.handle())?)
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        if let (Ok(mm), Some(file)) = (self.inner.mm(), self.file.take()) {
            mm.files().close(file);
        }
    }
}
