//! Homes: ranges of the pool, one for each family of forks, and who stands where in them.
//!
//! The window of a space can show one pool page at each of its pages: `home + page`. A home records
//! which frame stands there. A frame that cannot stand at its place, because another version of
//! that page does, goes to the *overflow* range, from where it can be copied but not shown. Each place
//! also remembers a *base*: a stored version of its page, to which the versions of all spaces of
//! the home are probably similar, so that the store can keep them as small differences
//! (`bases.rs`). Places are claimed and given back by compare-exchange, under the lock of the frame
//! that stands there; the ranges themselves are handed out under the home lock.

use crate::addr::{FrameNo, PageNo, PoolPage};
use crate::host::Stored;
use memfold_sync::atomic::{AtomicU64, Ordering};
use memfold_sync::{Arc, Giving, Mutex, Rank, Slots};

mod bases;
mod places;

use places::{Place, Places};

/// Names a home; never 0 in a living space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HomeNo(pub u32);

const CHUNK: u32 = if cfg!(any(loom, shuttle)) { 4 } else { 256 };
/// Where the overflow range ends and the homes begin, in pool pages (1 TiB).
const OVERFLOW_PAGES: u64 = 1 << 28;

#[derive(Debug)]
struct HomeState {
    first: PoolPage,
    pages: u32,
    users: u32,
    /// Made with the home; dropped with the last user.
    places: Option<Arc<Places>>,
}

/// One home.
#[derive(Debug)]
pub(crate) struct Home(Mutex<HomeState>);

#[derive(Debug)]
struct Ranges {
    next: u64,
    /// Ranges of no home; with room for those of all homes.
    free: Vec<(u32, PoolPage)>,
    /// Homes that have a range.
    homes: usize,
    overflow_next: u64,
    overflow_free: Vec<u64>,
}

impl Ranges {
    /// A range of so many pages for one home more. `None` when the system has no memory for giving
    /// it back, which cannot fail.
    fn take(&mut self, pages: u32) -> Option<PoolPage> {
        self.free.try_reserve(self.homes + 1).ok()?;
        self.homes += 1;
        if let Some(at) = self.free.iter().position(|&(free, _)| free == pages) {
            return Some(self.free.swap_remove(at).1);
        }
        let first = PoolPage(self.next);
        self.next += u64::from(pages);
        Some(first)
    }

    fn give_back(&mut self, pages: u32, first: PoolPage) {
        self.homes -= 1;
        self.free.push((pages, first));
    }
}

/// A home as it was at one moment; to be used while it surely lives.
#[derive(Debug)]
pub(crate) struct View {
    first: PoolPage,
    places: Option<Arc<Places>>,
}

impl View {
    /// The pool page of the page's place.
    pub fn place(&self, page: PageNo) -> PoolPage {
        self.first.plus(page.0)
    }

    /// Which frame stands at the page's place now (or none, if the home had no places then).
    pub fn occupant(&self, page: PageNo) -> Option<FrameNo> {
        Homes::at(self.places.as_ref()?.get(page)?)
    }
}

/// What came of a claim to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Claim {
    /// The frame stands there.
    Taken,
    /// Another version of the page stands there.
    Occupied,
    /// Nobody may stand there: the budget, or the system, has no room for the record.
    NoRoom,
}

/// What a home holds.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Spaces of the home.
    pub users: u32,
    /// Bytes of its records.
    pub bytes: u64,
    /// Bases that it keeps in the store.
    pub bases: u64,
    /// Who stands where.
    pub standing: Vec<(PageNo, FrameNo)>,
}

/// All homes and the overflow range.
#[derive(Debug)]
pub(crate) struct Homes {
    homes: Slots<Home>,
    ranges: Mutex<Ranges>,
    /// How many bases are recorded; a hint.
    bases: AtomicU64,
    /// Where the sweep through the bases goes on: the home, and the chunk of its places.
    cursor: AtomicU64,
}

impl Homes {
    pub fn new(capacity: u32) -> Self {
        let home = || {
            Home(Mutex::new(
                Rank::Home,
                HomeState {
                    first: PoolPage(0),
                    pages: 0,
                    users: 0,
                    places: None,
                },
            ))
        };
        let ranges = Ranges {
            next: OVERFLOW_PAGES,
            free: Vec::new(),
            homes: 0,
            overflow_next: 0,
            overflow_free: Vec::new(),
        };
        Self {
            homes: Slots::new(capacity, home),
            ranges: Mutex::new(Rank::Slots, ranges),
            bases: AtomicU64::new(0),
            cursor: AtomicU64::new(0),
        }
    }

    pub fn base_bytes(&self) -> u64 {
        self.homes.base_bytes()
    }

    /// A home of `pages` pages with one user, and how long the pool must be for it. `None` when
    /// `charge` refuses room for its record, or the system has no memory.
    pub fn create(&self, pages: u32, charge: impl FnOnce(u64) -> bool) -> Option<(HomeNo, u64)> {
        let no = self.homes.alloc(charge)?;
        let mut ranges = self.ranges.lock();
        let Some(first) = ranges.take(pages) else {
            drop(ranges);
            self.homes.free(no);
            return None;
        };
        let end = ranges.next;
        drop(ranges);
        *self.homes.get(no).0.lock() = HomeState {
            first,
            pages,
            users: 1,
            places: Some(Arc::default()),
        };
        Some((HomeNo(no), end))
    }

    /// The pool page at which page 0 of the home's spaces stands.
    pub fn first(&self, home: HomeNo) -> PoolPage {
        self.homes.get(home.0).0.lock().first
    }

    /// For many questions about one home.
    pub fn view(&self, home: HomeNo) -> View {
        let state = self.homes.get(home.0).0.lock();
        View {
            first: state.first,
            places: state.places.clone(),
        }
    }

    pub fn join(&self, home: HomeNo) {
        self.homes.get(home.0).0.lock().users += 1;
    }

    /// A user less. With the last one `free` gets the bases; the answer is how many bytes the
    /// places held, to be given back.
    pub fn leave(&self, home: HomeNo, mut free: impl FnMut(Stored)) -> Option<u64> {
        let mut state = self.homes.get(home.0).0.lock();
        state.users -= 1;
        if state.users != 0 {
            return None;
        }
        let places = state.places.take();
        let (pages, first) = (state.pages, state.first);
        drop(state);
        let places = places.expect("a home that has users has places");
        let all = || places.made().flat_map(|(_, chunk)| chunk.iter());
        assert!(
            all().all(|p| Self::at(p).is_none()),
            "a home was given up while frames stood in it"
        );
        let mut bases = 0;
        all().filter_map(Self::base_at).for_each(|base| {
            bases += 1;
            free(base);
        });
        self.forget_bases(bases);
        self.ranges.lock().give_back(pages, first);
        self.homes.free(home.0);
        Some(places.bytes())
    }

    /// How many spaces stand in the home.
    pub fn users(&self, home: HomeNo) -> u32 {
        self.homes.get(home.0).0.lock().users
    }

    fn at(place: &Place) -> Option<FrameNo> {
        // Acquire: sees the frame as it was when it took the place.
        Some(place.frame.load(Ordering::Acquire))
            .filter(|&no| no != 0)
            .map(FrameNo)
    }

    /// Which frame stands at the page's place.
    pub fn occupant(&self, home: HomeNo, page: PageNo) -> Option<FrameNo> {
        let places = self.homes.get(home.0).0.lock().places.clone()?;
        Self::at(places.get(page)?)
    }

    /// `frame`, whose lock is held, takes the page's place, unless another stands there or there is
    /// no room for the record: `charge` refuses it, or the system has no memory.
    pub fn claim(&self, home: HomeNo, page: PageNo, frame: FrameNo, charge: impl Fn(u64) -> bool) -> Claim {
        let taken = self.with_place(home, page, charge, |place| {
            // Release: publishes the frame. That the one before it is gone is seen by the home's
            // lock: see `vacate`.
            place
                .frame
                .compare_exchange(0, frame.0, Ordering::Release, Ordering::Relaxed)
                .is_ok()
        });
        match taken {
            Some(true) => Claim::Taken,
            Some(false) => Claim::Occupied,
            None => Claim::NoRoom,
        }
    }

    /// Runs `step` on a place, whose record is made if need be; `None` when `charge` refuses room
    /// for it, or the system has no memory.
    fn with_place<R>(
        &self,
        home: HomeNo,
        page: PageNo,
        charge: impl Fn(u64) -> bool,
        step: impl FnOnce(&Place) -> R,
    ) -> Option<R> {
        let state = self.homes.get(home.0).0.lock();
        let places = state.places.clone().expect("a home that has users has places");
        places.make(page, state.pages, charge).map(step)
    }

    /// `frame`, whose lock is held, leaves its place, which is empty in the pool by now.
    pub fn vacate(&self, home: HomeNo, page: PageNo, frame: FrameNo) {
        let places = self
            .homes
            .get(home.0)
            .0
            .lock()
            .places
            .clone()
            .expect("a frame stands in this home");
        let place = places.get(page).expect("a frame stands in this part of the home");
        // Relaxed: whoever takes the place next has had the home's lock after us, so it sees the
        // place emptied.
        let was = place.frame.swap(0, Ordering::Relaxed);
        assert_eq!(was, frame.0, "frame {frame} left a place where frame {was} stood");
    }

    /// A place in the overflow range, and how long the pool must be for it; `None` when the system has
    /// no memory for giving it back.
    pub fn alloc_overflow(&self) -> Option<(PoolPage, u64)> {
        let mut ranges = self.ranges.lock();
        let at = match ranges.overflow_free.pop() {
            Some(at) => at,
            None => {
                // All of them may be free at a time.
                let more = (ranges.overflow_next as usize + 1).saturating_sub(ranges.overflow_free.len());
                ranges.overflow_free.try_reserve(more).ok()?;
                ranges.overflow_next += 1;
                ranges.overflow_next - 1
            }
        };
        assert!(at < OVERFLOW_PAGES, "the overflow range is full");
        Some((PoolPage(at), at + 1))
    }

    /// Overflow places that are taken.
    pub fn overflow_used(&self) -> u64 {
        let ranges = self.ranges.lock();
        ranges.overflow_next - ranges.overflow_free.len() as u64
    }

    pub fn has_spare(&self, giving: Giving) -> bool {
        self.homes.has_spare(giving)
    }

    pub fn give_back(&mut self, most: u32, giving: Giving) -> u64 {
        self.homes.give_back(most, giving)
    }

    /// Homes that are given out.
    pub fn used(&self) -> u32 {
        self.homes.used()
    }

    /// Bytes of the array of homes.
    pub fn held_bytes(&self) -> u64 {
        self.homes.held_bytes()
    }

    /// What the homes that have users hold, for checks; call it when nothing runs.
    pub fn survey(&self) -> Vec<(HomeNo, Survey)> {
        let survey = |no| {
            let state = self.homes.get(no).0.lock();
            let mut found = Survey {
                users: state.users,
                ..Survey::default()
            };
            let places = state.places.clone().filter(|_| state.users != 0);
            drop(state);
            if let Some(places) = places {
                found.bytes = places.bytes();
                for (n, chunk) in places.made() {
                    found.bases += chunk.iter().filter_map(Self::base_at).count() as u64;
                    let standing = (n * CHUNK..)
                        .zip(chunk.iter())
                        .filter_map(|(page, place)| Some((PageNo(page), Self::at(place)?)));
                    found.standing.extend(standing);
                }
            }
            (HomeNo(no), found)
        };
        let all = self.homes.numbers().map(survey);
        all.filter(|(_, found)| found.users != 0).collect()
    }

    /// Gives an overflow place back; it is empty in the pool by now.
    pub fn free_overflow(&self, at: PoolPage) {
        self.ranges.lock().overflow_free.push(at.0);
    }
}

#[cfg(all(test, loom))]
mod races;

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
