//! Files: backings with a source (Linux: an inode and its page cache); and memory that spaces share
//! without a file, whose pages go to the store (Linux: shmem).
//!
//! A file has a range of the pool like that of a family of forks, so its pages are frames that
//! stand at their places there, once for all spaces; the backing is the index that finds them. Here
//! is what hangs beside it: the source of the bytes, how long the file is, who refers to it, which
//! spaces map it where ([`Mappings`]), and which write failed last. A file's lock (rank `File`,
//! below the frames') guards all of that; it is held while a walk calls the machine for each
//! mapping, and never while a source is read or written. Used by faults, eviction, syncing and by
//! who maps.

use super::BackingNo;
use super::mappings::{Mapping, Mappings};
use crate::addr::PageNo;
use crate::host::{Domain, PageSource, SourceError};
use memfold_sync::atomic::{AtomicBool, AtomicU64, Ordering};
use memfold_sync::{Arc, Giving, Mutex, MutexGuard, Rank, Slots};

/// Names a file; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileNo(pub u32);

/// Most files at a time.
pub(crate) const MOST_FILES: u32 = if cfg!(any(loom, shuttle)) { 4 } else { 4096 };

/// Where the bytes of a file's pages are that are not in memory; kept while anybody reads or writes
/// them.
pub(crate) enum Source {
    /// Outside of the manager.
    Outside(Box<dyn PageSource>),
    /// In the store, under this domain: the backing's entries name them. The file is memory.
    Store(Domain),
}

impl Source {
    /// Whether pages can be stored to through shared areas.
    pub fn is_writable(&self) -> bool {
        match self {
            Self::Outside(source) => source.is_writable(),
            Self::Store(_) => true,
        }
    }

    /// Whether the file is memory.
    pub fn is_memory(&self) -> bool {
        matches!(self, Self::Store(_))
    }

    /// What was written so far outlives the machine. Memory does not.
    pub fn sync(&self) -> Result<(), SourceError> {
        match self {
            Self::Outside(source) => source.sync(),
            Self::Store(_) => Ok(()),
        }
    }

    /// The source is so long from now on.
    pub fn resize(&self, bytes: u64) -> Result<(), SourceError> {
        match self {
            Self::Outside(source) => source.resize(bytes),
            Self::Store(_) => Ok(()),
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Source")
    }
}

/// A file as it was at one moment; to be used while somebody surely refers to it.
#[derive(Clone, Debug)]
pub(crate) struct FileView {
    pub backing: BackingNo,
    pub source: Arc<Source>,
    /// How long it is.
    pub bytes: u64,
    /// Pages of its range: how long it can become.
    pub pages: u32,
}

impl FileView {
    /// Bytes of a page that are the file's; 0 behind its end.
    pub fn bytes_of(&self, page: PageNo) -> usize {
        let size = crate::addr::PAGE_SIZE as u64;
        let start = u64::from(page.0) * size;
        self.bytes.saturating_sub(start).min(size) as usize
    }
}

/// Under the file's lock.
#[derive(Debug, Default)]
pub(crate) struct FileState {
    view: Option<FileView>,
    /// Handles and mappings.
    refs: u32,
    pub mappings: Mappings,
    /// The last write that failed.
    error: Option<SourceError>,
    /// How many failed.
    failures: u32,
    /// Pages that were stored to and not written out.
    dirty: u32,
    /// Whether there were such at the last pass of write-back.
    waited: bool,
}

impl FileState {
    /// One mapping more, which refers to the file.
    pub fn add(&mut self, mapping: Mapping) {
        self.mappings.insert(mapping);
        self.refs += 1;
    }

    /// Who refers to the file, for checks.
    pub fn refs(&self) -> u32 {
        self.refs
    }

    /// Pages that wait to be written out, for checks.
    pub fn dirty(&self) -> u32 {
        self.dirty
    }

    fn is_memory(&self) -> bool {
        self.view.as_ref().is_none_or(|view| view.source.is_memory())
    }
}

/// What a pass of write-back does with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It has no pages to write.
    Clean,
    /// It has some since the last pass, for which the next one is early enough.
    Waits,
    /// Its pages are written now. Whoever asked has a reference to it.
    Now,
}

/// A file whose last reference is gone, to be taken apart by whoever dropped it.
#[derive(Debug)]
#[must_use = "somebody takes it apart"]
pub(crate) struct Unreferenced {
    pub no: FileNo,
    pub view: FileView,
}

/// All files.
#[derive(Debug)]
pub(crate) struct Files {
    slots: Slots<Mutex<FileState>>,
    /// Pages that are in memory. Statistics only.
    resident: AtomicU64,
    /// Of these, pages that were stored to and not written out. Statistics only.
    dirty: AtomicU64,
    /// Of these, pages that have a file to go to. Policy only.
    unwritten: AtomicU64,
    /// So many of them are not left for a later pass of write-back.
    many: u64,
    /// Whether pages wait to be written of which write-back does not know.
    news: AtomicBool,
    /// Where who has stored too much goes on to write: the file, and the page. Policy only.
    cursor: AtomicU64,
}

impl Files {
    /// None. Write-back leaves nothing for later while so many pages wait for it.
    pub fn new(many: u64) -> Self {
        Self {
            slots: Slots::new(MOST_FILES, || Mutex::new(Rank::File, FileState::default())),
            resident: AtomicU64::new(0),
            dirty: AtomicU64::new(0),
            unwritten: AtomicU64::new(0),
            many,
            news: AtomicBool::new(false),
            cursor: AtomicU64::new(0),
        }
    }

    /// A file with one reference. `None` when `charge` refuses room for its record, the system has
    /// no memory, or there are too many; then the view is nobody's.
    pub fn create(&self, view: FileView, charge: impl FnOnce(u64) -> bool) -> Option<FileNo> {
        let no = self.slots.alloc(charge)?;
        *self.slots.get(no).lock() = FileState {
            view: Some(view),
            refs: 1,
            ..FileState::default()
        };
        Some(FileNo(no))
    }

    /// The lock of a file to which somebody refers.
    pub fn lock(&self, no: FileNo) -> MutexGuard<'_, FileState> {
        self.slots.get(no.0).lock()
    }

    /// The file as it is now; somebody refers to it.
    pub fn view(&self, no: FileNo) -> FileView {
        let view = self.lock(no).view.clone();
        view.expect("somebody refers to the file")
    }

    /// The file is so long from now on, as far as faults are concerned.
    pub fn set_bytes(&self, no: FileNo, bytes: u64) {
        let mut state = self.lock(no);
        let view = state.view.as_mut().expect("somebody refers to the file");
        view.bytes = bytes;
    }

    /// One reference more.
    pub fn join(&self, no: FileNo) {
        self.lock(no).refs += 1;
    }

    /// One reference less; with the last one the file is the caller's to take apart. Whoever has a
    /// frame of it locked may ask for it until then.
    pub fn leave(&self, no: FileNo) -> Option<Unreferenced> {
        let mut state = self.lock(no);
        state.refs -= 1;
        if state.refs != 0 {
            return None;
        }
        let view = state.view.clone().expect("the last reference");
        Some(Unreferenced { no, view })
    }

    /// The file was taken apart: its number is free.
    pub fn free(&self, gone: Unreferenced) {
        *self.slots.get(gone.no.0).lock() = FileState::default();
        self.slots.free(gone.no.0);
    }

    /// A write failed: whoever syncs next, of all who have the file open, is told.
    pub fn failed(&self, no: FileNo, error: SourceError) {
        let mut state = self.lock(no);
        state.error = Some(error);
        state.failures = state.failures.wrapping_add(1);
    }

    /// How many writes have failed so far, and the last of them.
    pub fn failures(&self, no: FileNo) -> (u32, Option<SourceError>) {
        let state = self.lock(no);
        (state.failures, state.error)
    }

    /// So many more pages are in memory, or fewer.
    pub fn count_resident(&self, change: i64) {
        // Relaxed: statistics only.
        self.resident.fetch_add(change.cast_unsigned(), Ordering::Relaxed);
    }

    /// One more page of the file waits to be written out.
    pub fn now_dirty(&self, no: FileNo) {
        let mut state = self.lock(no);
        state.dirty += 1;
        let (first, is_memory) = (state.dirty == 1, state.is_memory());
        drop(state);
        // Relaxed: statistics only.
        self.dirty.fetch_add(1, Ordering::Relaxed);
        // Relaxed: policy only.
        if !is_memory && (self.unwritten.fetch_add(1, Ordering::Relaxed) + 1 == self.many || first) {
            self.news.store(true, Ordering::Relaxed);
        }
    }

    /// One page fewer.
    pub fn now_clean(&self, no: FileNo) {
        let mut state = self.lock(no);
        state.dirty -= 1;
        let is_memory = state.is_memory();
        drop(state);
        // Relaxed: statistics only.
        self.dirty.fetch_sub(1, Ordering::Relaxed);
        if !is_memory {
            // Relaxed: policy only.
            self.unwritten.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether pages wait to be written since a pass of write-back last began, of a file that had
    /// none, or too many.
    pub fn has_news(&self) -> bool {
        // Relaxed: policy only.
        self.news.load(Ordering::Relaxed)
    }

    /// The same; it is known from now on.
    pub fn take_news(&self) -> bool {
        // Relaxed: policy only.
        self.news.swap(false, Ordering::Relaxed)
    }

    /// Whether more pages wait than should.
    pub fn much_waits(&self) -> bool {
        // Relaxed: policy only.
        self.unwritten.load(Ordering::Relaxed) >= self.many
    }

    /// Whether so many pages wait that who stores to one more has to write some first (Linux:
    /// `dirty_ratio`): twice as many as write-back leaves for later.
    #[inline]
    pub fn too_much_waits(&self) -> bool {
        // Relaxed: policy only.
        self.unwritten.load(Ordering::Relaxed) > 2 * self.many
    }

    /// Where to go on writing.
    pub fn cursor(&self) -> (u32, PageNo) {
        // Relaxed: policy only.
        let at = self.cursor.load(Ordering::Relaxed);
        ((at >> 32) as u32, PageNo(at as u32))
    }

    /// It is there from now on.
    pub fn set_cursor(&self, no: u32, page: PageNo) {
        let at = u64::from(no) << 32 | u64::from(page.0);
        // Relaxed: policy only.
        self.cursor.store(at, Ordering::Relaxed);
    }

    /// A reference to the file of this number, if pages of it wait to be written.
    pub fn hold_dirty(&self, no: u32) -> Option<FileNo> {
        let mut state = self.slots.peek(no)?.lock();
        if state.refs == 0 || state.is_memory() || state.dirty == 0 {
            return None;
        }
        state.refs += 1;
        Some(FileNo(no))
    }

    /// What write-back does with the file of this number now; `all`: it leaves none for later.
    pub fn turn(&self, no: u32, all: bool) -> Turn {
        let Some(slot) = self.slots.peek(no) else {
            return Turn::Clean;
        };
        let mut state = slot.lock();
        if state.refs == 0 || state.is_memory() || state.dirty == 0 {
            state.waited = false;
            return Turn::Clean;
        }
        if !std::mem::replace(&mut state.waited, true) && !all {
            return Turn::Waits;
        }
        state.refs += 1;
        Turn::Now
    }

    /// The file's pages were written; whether some wait still, or again.
    pub fn written(&self, no: FileNo) -> bool {
        let mut state = self.lock(no);
        state.waited = state.dirty != 0;
        state.waited
    }

    /// One more than the greatest number that a file had.
    pub fn end(&self) -> u32 {
        self.slots.end()
    }

    /// Pages in memory, and how many of them wait to be written out.
    pub fn pages(&self) -> (u64, u64) {
        // Relaxed: statistics only.
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        (read(&self.resident), read(&self.dirty))
    }

    /// The files to which somebody refers, for checks.
    pub fn numbers(&self) -> impl Iterator<Item = FileNo> + '_ {
        let all = self.slots.numbers().map(FileNo);
        all.filter(|&no| self.lock(no).refs != 0)
    }

    /// Files that are given out.
    pub fn used(&self) -> u32 {
        self.slots.used()
    }

    pub fn base_bytes(&self) -> u64 {
        self.slots.base_bytes()
    }

    /// Bytes of the array of files.
    pub fn held_bytes(&self) -> u64 {
        self.slots.held_bytes()
    }

    pub fn has_spare(&self, giving: Giving) -> bool {
        self.slots.has_spare(giving, 0)
    }

    pub fn give_back(&mut self, most: u32, giving: Giving) -> u64 {
        self.slots.give_back(most, giving, 0)
    }
}
