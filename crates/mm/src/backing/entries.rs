//! The entries of one backing: one for each page, made in chunks when a page of theirs is first
//! inserted.
//!
//! Chunks never move and are not freed before the whole, so readers need no lock; they are made
//! under the backing's lock. Memory for them is got first, charged, and only then touched, since
//! the system may have none.

use super::{Backings, CHUNK, View};
use crate::addr::{FrameNo, PageNo};
use memfold_sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};
use memfold_sync::{OnceLock, Reserved};

/// The entries of [`CHUNK`] neighbours.
type Chunk = Box<[Entry]>;

#[derive(Debug)]
pub(super) struct Entry {
    /// The frame that stands here, or 0. Changed by compare-exchange, under that frame's lock.
    pub frame: AtomicU32,
    /// The base, or 0. Changed by compare-exchange, under the backing's lock (`bases.rs`).
    pub base: AtomicU64,
    /// Of the first entry of a chunk: whether a base of the chunk may have become one that nobody
    /// needs, since the sweep looked. Takes no room beside the two numbers.
    perhaps_idle: AtomicBool,
    /// Of a file's page that went: when that was, or 0. A hint; takes no room either.
    pub stamp: AtomicU16,
}

const _: () = assert!(size_of::<Entry>() == 16 || cfg!(any(loom, shuttle)));

/// Marks the chunk: a base of it may be one that nobody needs.
pub(super) fn mark(chunk: &[Entry]) {
    // Relaxed: a hint for the sweep.
    chunk[0].perhaps_idle.store(true, Ordering::Relaxed);
}

/// Whether the chunk was marked; it is not any more.
pub(super) fn take_mark(chunk: &[Entry]) -> bool {
    let mark = &chunk[0].perhaps_idle;
    // Relaxed: a hint; most are not marked, and are only read.
    mark.load(Ordering::Relaxed) && mark.swap(false, Ordering::Relaxed)
}

/// See the head of the file.
#[derive(Debug, Default)]
pub(super) struct Entries(OnceLock<Box<[OnceLock<Chunk>]>>);

impl Entries {
    /// The page's entry, if it was made.
    pub fn get(&self, page: PageNo) -> Option<&Entry> {
        Some(&self.chunk(page)?[(page.0 % CHUNK) as usize])
    }

    /// The chunk that the page's entry is in, if it was made.
    pub fn chunk(&self, page: PageNo) -> Option<&[Entry]> {
        self.0
            .get()?
            .get((page.0 / CHUNK) as usize)?
            .get()
            .map(|chunk| &**chunk)
    }

    /// The page's entry, in a backing of `pages` pages, which is made if need be; `None` when
    /// `charge` refuses room for it, or the system has no memory. The backing's lock is held.
    pub fn make(&self, page: PageNo, pages: u32, charge: impl Fn(u64) -> bool) -> Option<&Entry> {
        let chunks = match self.0.get() {
            Some(chunks) => chunks,
            None => {
                let len = pages.div_ceil(CHUNK);
                let memory = Reserved::new(len as usize)?;
                if !charge(u64::from(len) * size_of::<OnceLock<Chunk>>() as u64) {
                    return None;
                }
                self.0.get_or_init(|| memory.fill(0..len, |_| OnceLock::new()))
            }
        };
        let chunk = &chunks[(page.0 / CHUNK) as usize];
        if chunk.get().is_none() {
            let memory = Reserved::new(CHUNK as usize)?;
            if !charge(Self::chunk_bytes()) {
                return None;
            }
            let entry = |_| Entry {
                frame: AtomicU32::new(0),
                base: AtomicU64::new(0),
                perhaps_idle: AtomicBool::new(false),
                stamp: AtomicU16::new(0),
            };
            chunk.get_or_init(|| memory.fill(0..CHUNK, entry));
        }
        self.get(page)
    }

    /// The chunks that were made, with their numbers.
    pub fn made(&self) -> impl Iterator<Item = (u32, &Chunk)> {
        let all = self.0.get().map_or(&[][..], |chunks| chunks);
        (0..).zip(all).filter_map(|(n, chunk)| Some((n, chunk.get()?)))
    }

    /// Bytes of all of it.
    pub fn bytes(&self) -> u64 {
        let outer = self.0.get().map_or(0, |chunks| size_of_val(&**chunks));
        outer as u64 + self.made().count() as u64 * Self::chunk_bytes()
    }

    pub fn chunk_bytes() -> u64 {
        u64::from(CHUNK) * size_of::<Entry>() as u64
    }
}

impl View {
    /// The pages before `end`, from `first` on, at which frames stand now.
    pub fn standing(&self, first: PageNo, end: PageNo) -> impl Iterator<Item = (PageNo, FrameNo)> + '_ {
        let made = self.entries.iter().flat_map(|entries| entries.made());
        let inside = move |&(n, _): &(u32, _)| n * CHUNK < end.0 && (n + 1) * CHUNK > first.0;
        let pages = made
            .filter(inside)
            .flat_map(|(n, chunk)| (n * CHUNK..).map(PageNo).zip(chunk.iter()));
        let pages = pages.filter_map(|(page, entry)| Some((page, Backings::at(entry)?)));
        pages.filter(move |&(page, _)| first <= page && page < end)
    }
}
