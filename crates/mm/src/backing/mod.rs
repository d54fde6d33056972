//! Backings: ranges of the pool, one for each family of forks and each file (`file.rs`), and which
//! frame stands where in them (Linux: `address_space`); and what a page is that no table names
//! (`areas.rs`).
//!
//! The window of a space can show one pool page at each of its pages: `backing + page`. A backing
//! records which frame stands there. A frame that cannot stand at its place, because another
//! version of that page does, goes to the *overflow* range, from where it can be copied but not
//! shown. Each entry also remembers a *base*: a stored version of its page, to which the versions
//! of all spaces of the backing are probably similar, so that the store can keep them as small
//! differences (`bases.rs`). Entries are filled and emptied by compare-exchange, under the lock of
//! the frame that stands there; the ranges themselves are handed out under the backing lock.

use crate::addr::{FrameNo, PageNo, PoolPage};
use crate::host::Stored;
use memfold_sync::atomic::{AtomicU64, Ordering};
use memfold_sync::{Arc, Giving, Mutex, Rank, Slots};
use std::num::NonZero;

pub(crate) mod areas;
mod bases;
mod entries;
pub(crate) mod file;
pub(crate) mod mappings;
mod overflow;
pub(crate) mod read_ahead;
mod stay;

use bases::Sweep;
pub(crate) use bases::Versions;
use entries::{Entries, Entry};

/// When a page of a file went, in steps of the clock of reclaim (`reclaim/state.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(pub NonZero<u16>);

/// Names a backing; never 0 in a living space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackingNo(pub u32);

const CHUNK: u32 = if cfg!(any(loom, shuttle)) { 4 } else { 256 };
/// Where the overflow range ends and the backings begin, in pool pages (1 TiB).
const OVERFLOW_PAGES: u64 = 1 << 28;

#[derive(Debug)]
struct BackingState {
    versions: Versions,
    first: PoolPage,
    pages: u32,
    users: u32,
    /// Who relies on frames not leaving their places (`native.rs`).
    staying: u32,
    /// Made with the backing; dropped with the last user.
    entries: Option<Arc<Entries>>,
}

/// One backing.
#[derive(Debug)]
pub(crate) struct Backing(Mutex<BackingState>);

#[derive(Debug)]
struct Ranges {
    next: u64,
    /// Ranges of no backing; with room for those of all backings.
    free: Vec<(u32, PoolPage)>,
    /// Backings that have a range.
    backings: usize,
    overflow_next: u64,
    overflow_free: Vec<u64>,
}

impl Ranges {
    /// A range of so many pages for one backing more. `None` when the system has no memory for
    /// giving it back, which cannot fail.
    fn take(&mut self, pages: u32) -> Option<PoolPage> {
        self.free.try_reserve(self.backings + 1).ok()?;
        self.backings += 1;
        if let Some(at) = self.free.iter().position(|&(free, _)| free == pages) {
            return Some(self.free.swap_remove(at).1);
        }
        let first = PoolPage(self.next);
        self.next += u64::from(pages);
        Some(first)
    }

    fn give_back(&mut self, pages: u32, first: PoolPage) {
        self.backings -= 1;
        self.free.push((pages, first));
    }
}

/// A backing as it was at one moment; to be used while it surely lives.
#[derive(Debug)]
pub(crate) struct View {
    first: PoolPage,
    entries: Option<Arc<Entries>>,
}

impl View {
    /// The pool page at which the page is shown.
    pub fn pool_page(&self, page: PageNo) -> PoolPage {
        self.first.plus(page.0)
    }

    /// Which frame stands at the page's entry now (or none, if the backing had no entries then).
    pub fn frame_at(&self, page: PageNo) -> Option<FrameNo> {
        Backings::at(self.entries.as_ref()?.get(page)?)
    }
}

/// What came of inserting a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Insertion {
    /// The frame stands there.
    Done,
    /// Another version of the page stands there.
    Occupied,
    /// Nobody may stand there: the budget, or the system, has no room for the record.
    NoRoom,
}

/// What a backing holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Spaces of the backing.
    pub users: u32,
    /// Bytes of its records.
    pub bytes: u64,
    /// Bases that it keeps in the store.
    pub bases: u64,
    /// Who stands where.
    pub standing: Vec<(PageNo, FrameNo)>,
}

/// All backings and the overflow range.
#[derive(Debug)]
pub(crate) struct Backings {
    backings: Slots<Backing>,
    ranges: Mutex<Ranges>,
    /// How many bases are recorded; a hint.
    bases: AtomicU64,
    /// Where the sweep through the bases is.
    sweep: Sweep,
}

impl Backings {
    pub fn new(capacity: u32) -> Self {
        let backing = || {
            Backing(Mutex::new(
                Rank::Backing,
                BackingState {
                    versions: Versions::Bases,
                    first: PoolPage(0),
                    pages: 0,
                    users: 0,
                    staying: 0,
                    entries: None,
                },
            ))
        };
        let ranges = Ranges {
            next: OVERFLOW_PAGES,
            free: Vec::new(),
            backings: 0,
            overflow_next: 0,
            overflow_free: Vec::new(),
        };
        Self {
            backings: Slots::new(capacity, backing),
            ranges: Mutex::new(Rank::Slots, ranges),
            bases: AtomicU64::new(0),
            sweep: Sweep::default(),
        }
    }

    pub fn base_bytes(&self) -> u64 {
        self.backings.base_bytes()
    }

    /// A backing of `pages` pages with one user, and how long the pool must be for it. `None` when
    /// `charge` refuses room for its record, or the system has no memory.
    pub fn create(
        &self,
        pages: u32,
        versions: Versions,
        charge: impl FnOnce(u64) -> bool,
    ) -> Option<(BackingNo, u64)> {
        let no = self.backings.alloc(charge)?;
        let mut ranges = self.ranges.lock();
        let Some(first) = ranges.take(pages) else {
            drop(ranges);
            self.backings.free(no);
            return None;
        };
        let end = ranges.next;
        drop(ranges);
        *self.backings.get(no).0.lock() = BackingState {
            versions,
            first,
            pages,
            users: 1,
            staying: 0,
            entries: Some(Arc::default()),
        };
        Some((BackingNo(no), end))
    }

    /// The pool page at which page 0 of the backing's spaces stands.
    pub fn first(&self, backing: BackingNo) -> PoolPage {
        self.backings.get(backing.0).0.lock().first
    }

    /// For many questions about one backing.
    pub fn view(&self, backing: BackingNo) -> View {
        let state = self.backings.get(backing.0).0.lock();
        View {
            first: state.first,
            entries: state.entries.clone(),
        }
    }

    pub fn join(&self, backing: BackingNo) {
        self.backings.get(backing.0).0.lock().users += 1;
    }

    /// A user less. With the last one `free` gets the bases; the answer is how many bytes the
    /// entries held, to be given back.
    pub fn leave(&self, backing: BackingNo, mut free: impl FnMut(Stored)) -> Option<u64> {
        let mut state = self.backings.get(backing.0).0.lock();
        state.users -= 1;
        if state.users != 0 {
            self.perhaps_idle_anywhere();
            return None;
        }
        let (entries, pages, first) = (state.entries.take(), state.pages, state.first);
        let staying = state.staying;
        drop(state);
        assert_eq!(staying, 0, "somebody relies on frames of a backing without users");
        let entries = entries.expect("a backing that has users has entries");
        let all = || entries.made().flat_map(|(_, chunk)| chunk.iter());
        assert!(
            all().all(|p| Self::at(p).is_none()),
            "a backing was given up while frames stood in it"
        );
        let mut bases = 0;
        all().filter_map(Self::base_at).for_each(|base| {
            bases += 1;
            free(base);
        });
        self.forget_bases(bases);
        self.ranges.lock().give_back(pages, first);
        self.backings.free(backing.0);
        Some(entries.bytes())
    }

    /// How many spaces stand in the backing.
    pub fn users(&self, backing: BackingNo) -> u32 {
        self.backings.get(backing.0).0.lock().users
    }

    fn at(entry: &Entry) -> Option<FrameNo> {
        // Acquire: sees the frame as it was when it took the entry.
        Some(entry.frame.load(Ordering::Acquire))
            .filter(|&no| no != 0)
            .map(FrameNo)
    }

    /// Which frame stands at the page's entry.
    pub fn frame_at(&self, backing: BackingNo, page: PageNo) -> Option<FrameNo> {
        let entries = self.backings.get(backing.0).0.lock().entries.clone()?;
        Self::at(entries.get(page)?)
    }

    /// `frame`, whose lock is held, takes the page's entry, unless another stands there or there is
    /// no room for the record: `charge` refuses it, or the system has no memory.
    pub fn insert(
        &self,
        backing: BackingNo,
        page: PageNo,
        frame: FrameNo,
        charge: impl Fn(u64) -> bool,
    ) -> Insertion {
        let taken = self.with_entry(backing, page, charge, |entry| {
            // Release: publishes the frame. That the one before it is gone is seen by the backing's
            // lock: see `remove`.
            entry
                .frame
                .compare_exchange(0, frame.0, Ordering::Release, Ordering::Relaxed)
                .is_ok()
        });
        match taken {
            Some(true) => Insertion::Done,
            Some(false) => Insertion::Occupied,
            None => Insertion::NoRoom,
        }
    }

    /// Runs `step` on an entry, whose record is made if need be; `None` when `charge` refuses room
    /// for it, or the system has no memory.
    fn with_entry<R>(
        &self,
        backing: BackingNo,
        page: PageNo,
        charge: impl Fn(u64) -> bool,
        step: impl FnOnce(&Entry) -> R,
    ) -> Option<R> {
        let state = self.backings.get(backing.0).0.lock();
        let entries = state
            .entries
            .clone()
            .expect("a backing that has users has entries");
        entries.make(page, state.pages, charge).map(step)
    }

    /// `frame`, whose lock is held, leaves its entry, whose page is empty in the pool by now.
    pub fn remove(&self, backing: BackingNo, page: PageNo, frame: FrameNo) {
        let entries = self
            .backings
            .get(backing.0)
            .0
            .lock()
            .entries
            .clone()
            .expect("a frame stands in this backing");
        let entry = entries
            .get(page)
            .expect("a frame stands in this part of the backing");
        // Relaxed: whoever takes the entry next has had the backing's lock after us, so it sees the
        // entry emptied.
        let was = entry.frame.swap(0, Ordering::Relaxed);
        assert_eq!(
            was, frame.0,
            "frame {frame} left an entry where frame {was} stood"
        );
    }

    /// The page's entry remembers this stamp instead of the one that it had, if it was made.
    pub fn stamp(&self, backing: BackingNo, page: PageNo, stamp: Option<Stamp>) -> Option<Stamp> {
        let entries = self.backings.get(backing.0).0.lock().entries.clone()?;
        let entry = entries.get(page)?;
        let stamp = stamp.map_or(0, |Stamp(step)| step.get());
        // Relaxed: a hint for reclaim.
        NonZero::new(entry.stamp.swap(stamp, Ordering::Relaxed)).map(Stamp)
    }

    pub fn has_spare(&self, giving: Giving) -> bool {
        self.backings.has_spare(giving, 0)
    }

    pub fn give_back(&mut self, most: u32, giving: Giving) -> u64 {
        self.backings.give_back(most, giving, 0)
    }

    /// Backings that are given out.
    pub fn used(&self) -> u32 {
        self.backings.used()
    }

    /// Bytes of the array of backings.
    pub fn held_bytes(&self) -> u64 {
        self.backings.held_bytes()
    }

    /// What the backings that have users hold, for checks; call it when nothing runs.
    pub fn contents(&self) -> Vec<(BackingNo, Contents)> {
        let contents = |no| {
            let state = self.backings.get(no).0.lock();
            let mut found = Contents {
                users: state.users,
                ..Contents::default()
            };
            let entries = state.entries.clone().filter(|_| state.users != 0);
            drop(state);
            if let Some(entries) = entries {
                found.bytes = entries.bytes();
                for (n, chunk) in entries.made() {
                    found.bases += chunk.iter().filter_map(Self::base_at).count() as u64;
                    let standing = (n * CHUNK..)
                        .zip(chunk.iter())
                        .filter_map(|(page, entry)| Some((PageNo(page), Self::at(entry)?)));
                    found.standing.extend(standing);
                }
            }
            (BackingNo(no), found)
        };
        let all = self.backings.numbers().map(contents);
        all.filter(|(_, found)| found.users != 0).collect()
    }
}

#[cfg(all(test, loom))]
mod races;

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
