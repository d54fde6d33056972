//! What is done with whole files: opened, synced, closed; `resize.rs` makes them longer or shorter.
//!
//! An [`OpenFile`] is one user's handle, and remembers which failed writes it was told of. No lock
//! is held between the steps of what takes long.

use super::write_out::{take_apart, write_all};
use crate::addr::{PageNo, SpaceNo};
use crate::backing::Versions;
use crate::backing::file::{FileNo, FileView, Source};
use crate::budget::Need;
use crate::create::NewBacking;
use crate::error::Stop;
use crate::host::{Domain, Host, HostError, PageSource, SourceError, Store};
use crate::mm::{Mm, PAGE};
use crate::table::MAX_PAGES;
use memfold_sync::Arc;
use memfold_sync::atomic::{AtomicU32, Ordering};

/// Why something could not be done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file refused, now or when pages were written out since this handle was last told.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The file is longer than can be mapped.
    #[error("a file of {pages} pages cannot be mapped: {most} are the most")]
    TooLong {
        /// Its length in pages.
        pages: u64,
        /// The most that is possible.
        most: u64,
    },
    /// There is no room for its records in the budget, or there are too many files.
    #[error("there is no room for this; raise the budget, or close files")]
    NoRoom,
    /// A private copy of a page that was to go is pinned.
    #[error("space {0} has pinned pages of the file, which cannot go: unpin them first")]
    Pinned(SpaceNo),
    /// The machine refused a step.
    #[error("the machine refused: {0}")]
    Host(#[from] HostError),
}

/// One user's handle of a file. To be given back by [`FileDoor::close`].
#[derive(Debug)]
#[must_use = "a file that is not closed stays"]
pub struct OpenFile {
    pub(crate) no: FileNo,
    /// How many failed writes its user was told of.
    told: AtomicU32,
}

impl OpenFile {
    /// The file's number, which areas name.
    #[must_use]
    pub fn no(&self) -> FileNo {
        self.no
    }
}

/// Pages of files; statistics only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileStats {
    /// Pages that are in memory; they are charged as pool pages.
    pub resident: u64,
    /// Of these, pages that were stored to and are not written out yet.
    pub dirty: u64,
}

/// The files of a manager. May be used from any thread that holds no lock of the manager.
#[derive(Debug)]
pub struct FileDoor<'m, H, S> {
    pub(crate) mm: &'m Mm<H, S>,
}

impl<H: Host, S: Store> Mm<H, S> {
    /// The files whose pages spaces can map.
    pub fn files(&self) -> FileDoor<'_, H, S> {
        FileDoor { mm: self }
    }
}

impl<H: Host, S: Store> FileDoor<'_, H, S> {
    /// A file whose bytes come from this source. Nothing is read yet.
    ///
    /// # Errors
    /// [`FileError`]; nothing is left behind.
    pub fn open(&self, source: Box<dyn PageSource>) -> Result<OpenFile, FileError> {
        let bytes = source.bytes()?;
        self.make(Source::Outside(source), bytes)
    }

    /// Memory that spaces share, so many pages of zeros: like a file, but that its pages go to the
    /// store when room is needed, as pages of this domain, and end with the last who has it open or
    /// mapped.
    ///
    /// # Errors
    /// [`FileError`]; nothing is left behind.
    pub fn share(&self, pages: u32, domain: Domain) -> Result<OpenFile, FileError> {
        self.make(Source::Store(domain), u64::from(pages) * PAGE)
    }

    fn make(&self, source: Source, bytes: u64) -> Result<OpenFile, FileError> {
        let mm = self.mm;
        let versions = match source.is_memory() {
            true => Versions::Pages,
            false => Versions::Bases,
        };
        let (pages, most) = (bytes.div_ceil(PAGE).max(1), u64::from(MAX_PAGES));
        if pages > most {
            return Err(FileError::TooLong { pages, most });
        }
        let at = NewBacking::take(mm, pages as u32, versions).map_err(|_| FileError::NoRoom)?;
        let source = Arc::new(source);
        let made = mm.retry(|| {
            mm.host.reserve_pool(at.pool_pages)?;
            let view = FileView {
                backing: at.backing,
                source: source.clone(),
                bytes,
                pages: pages as u32,
            };
            let tables = mm.budget.tables(Need::Normal);
            mm.files.create(view, tables).ok_or(Stop::NoRoom)
        });
        let no = made.map_err(|stop| match stop {
            Stop::Host(refused) => FileError::Host(refused),
            _ => FileError::NoRoom,
        })?;
        at.keep();
        let told = AtomicU32::new(0);
        Ok(OpenFile { no, told })
    }

    /// One handle more, for another user; it is told of failures from now on.
    pub fn reopen(&self, file: &OpenFile) -> OpenFile {
        self.mm.files.join(file.no);
        let (failures, _) = self.mm.files.failures(file.no);
        OpenFile {
            no: file.no,
            told: AtomicU32::new(failures),
        }
    }

    /// Gives a handle back. The file stays while others have it open or mapped; with the last of
    /// them its pages are written out, and what cannot be is lost and counted: sync before.
    pub fn close(&self, file: OpenFile) {
        if let Some(gone) = self.mm.files.leave(file.no) {
            take_apart(self.mm, gone);
        }
    }

    /// How long the file is, in bytes.
    #[must_use]
    pub fn bytes(&self, file: &OpenFile) -> u64 {
        self.mm.files.view(file.no).bytes
    }

    /// Writes out so many pages of the file (of memory, nothing) from `first` on, as they are at
    /// one moment during the call each, and makes them last. In time that depends on what is in
    /// memory of them.
    ///
    /// # Errors
    /// [`FileError::Source`] when a write has failed, of this file, by whoever it was made, since
    /// this handle was last told of one: the pages are dirty still, and are tried again next time.
    /// [`FileError::Host`] when the machine refused.
    pub fn sync(&self, file: &OpenFile, first: PageNo, pages: u32) -> Result<(), FileError> {
        let (mm, no) = (self.mm, file.no);
        let end = PageNo(first.0.saturating_add(pages));
        let source = mm.files.view(no).source;
        if source.is_memory() {
            return Ok(());
        }
        write_all(mm, no, first, end)?;
        if let Err(error) = source.sync() {
            mm.files.failed(no, error);
        }
        // Pages that are clean can go without a write.
        mm.reclaim.something_changed();
        let (failures, error) = mm.files.failures(no);
        // Relaxed: a number on its own.
        let told = file.told.swap(failures, Ordering::Relaxed);
        match error.filter(|_| told != failures) {
            Some(error) => Err(FileError::Source(error)),
            None => Ok(()),
        }
    }

    /// What is in memory of all files.
    #[must_use]
    pub fn stats(&self) -> FileStats {
        let (resident, dirty) = self.mm.files.pages();
        FileStats { resident, dirty }
    }
}
