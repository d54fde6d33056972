//! A store of exact copies, for tests that do not want a real one.
//!
//! It holds every page as it is, charges a quarter of a page and a little more for each (so that eviction
//! frees room, as with compression), notices names that were freed, can refuse by plan, and can let the bytes of
//! a page rot. One lock (rank `Store`).

use crate::plan::{Call, Plan, Planner};
use crate::rng::mix;
use memfold_mm::addr::{PAGE_SIZE, PageBytes};
use memfold_mm::host::{Domain, Ledger, Store, StoreError, StoreStats, Stored};
use memfold_sync::{Mutex, Rank};
use std::collections::BTreeMap;
use std::num::NonZeroU64;

/// What one page is charged.
pub(crate) const CHARGE: u64 = PAGE_SIZE as u64 / 4 + 32;

#[derive(Debug)]
struct Copy {
    domain: Domain,
    bytes: Box<PageBytes>,
    checksum: u64,
}

#[derive(Debug)]
struct State {
    next: u64,
    copies: BTreeMap<u64, Copy>,
    planner: Planner,
    rotting: Option<u64>,
    at_rest: u32,
}

/// The store made of copies.
#[derive(Debug)]
pub struct SimStore {
    state: Mutex<State>,
}

impl SimStore {
    /// An empty store whose choices follow `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            next: 1,
            copies: BTreeMap::new(),
            planner: Planner::new(seed),
            rotting: None,
            at_rest: 0,
        };
        Self {
            state: Mutex::new(Rank::Store, state),
        }
    }

    /// From now on `put` and `get` are refused as the plan says; counts begin at 0.
    pub fn set_plan(&self, plan: Plan) {
        self.state.lock().planner.set(plan);
    }

    /// Calls that the plan was about, and how many of them were refused.
    pub fn plan_counts(&self) -> (u64, u64) {
        self.state.lock().planner.counts()
    }

    /// The bytes of the n-th page put from now on, counted from 0, rot at once.
    pub fn rot(&self, nth: u64) {
        self.state.lock().rotting = Some(nth);
    }

    /// Runs `look` without refusals.
    pub fn at_rest<R>(&self, look: impl FnOnce() -> R) -> R {
        self.state.lock().at_rest += 1;
        let result = look();
        self.state.lock().at_rest -= 1;
        result
    }
}

fn checksum(bytes: &PageBytes) -> u64 {
    let words = bytes
        .chunks_exact(8)
        .map(|c| u64::from_le_bytes(c.try_into().expect("eight bytes")));
    words.fold(0, |sum, word| mix(sum ^ word))
}

impl State {
    fn refuses(&mut self, call: Call) -> bool {
        self.at_rest == 0 && self.planner.refuses(call)
    }

    fn copy(&self, id: Stored, why: &str) -> &Copy {
        self.copies
            .get(&id.0.get())
            .unwrap_or_else(|| panic!("page {} is {why}, but is not stored", id.0))
    }
}

impl Store for SimStore {
    fn put(
        &self,
        domain: Domain,
        page: &PageBytes,
        near: Option<Stored>,
        ledger: &dyn Ledger,
    ) -> Result<Stored, StoreError> {
        let mut state = self.state.lock();
        if let Some(near) = near {
            let near = state.copy(near, "named as similar").domain;
            assert_eq!(near, domain, "a page of another merge domain is named as similar");
        }
        if state.refuses(Call::Put) {
            return Err(match state.planner.below(2) {
                0 => StoreError::Full,
                _ => StoreError::Device(5),
            });
        }
        if !ledger.charge(CHARGE) {
            return Err(StoreError::Full);
        }
        let mut bytes = Box::new(*page);
        let checksum = checksum(&bytes);
        match state.rotting {
            Some(0) => {
                bytes[PAGE_SIZE / 2] ^= 0x10;
                state.rotting = None;
            }
            Some(n) => state.rotting = Some(n - 1),
            None => (),
        }
        let id = state.next;
        state.next += 1;
        state.copies.insert(
            id,
            Copy {
                domain,
                bytes,
                checksum,
            },
        );
        Ok(Stored(NonZeroU64::new(id).expect("names count from 1")))
    }

    fn get(&self, id: Stored, out: &mut PageBytes) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if state.refuses(Call::Get) {
            return Err(StoreError::Device(5));
        }
        let copy = state.copy(id, "asked for");
        let found = checksum(&copy.bytes);
        if found != copy.checksum {
            return Err(StoreError::Corrupt {
                expected: copy.checksum,
                found,
            });
        }
        *out = *copy.bytes;
        Ok(())
    }

    fn free(&self, id: Stored, ledger: &dyn Ledger) {
        let freed = self.state.lock().copies.remove(&id.0.get());
        assert!(freed.is_some(), "page {} is freed, but is not stored", id.0);
        ledger.refund(CHARGE);
    }

    fn stats(&self) -> StoreStats {
        let pages = self.state.lock().copies.len() as u64;
        StoreStats {
            pages,
            raw: pages,
            encoded_bytes: pages * PAGE_SIZE as u64,
            held_bytes: pages * CHARGE,
            ..StoreStats::default()
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::plan::Lasting;
    use memfold_mm::UNLIMITED;
    use memfold_sync::atomic::{AtomicU64, Ordering};

    struct Account(AtomicU64, u64);

    impl Ledger for Account {
        fn charge(&self, bytes: u64) -> bool {
            // Relaxed: one thread.
            let fits = self.0.load(Ordering::Relaxed) + bytes <= self.1;
            // Relaxed: one thread.
            self.0.fetch_add(if fits { bytes } else { 0 }, Ordering::Relaxed);
            fits
        }
        fn refund(&self, bytes: u64) {
            // Relaxed: one thread.
            self.0.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Goal: what is put comes back, is charged, and is refunded when freed.
    #[test]
    fn put_get_free() {
        let (store, account) = (SimStore::new(1), Account(AtomicU64::new(0), CHARGE));
        let page = [3; PAGE_SIZE];
        let id = store.put(Domain(0), &page, None, &account).unwrap();
        assert_eq!(store.put(Domain(0), &page, None, &account), Err(StoreError::Full));
        let mut out = [0; PAGE_SIZE];
        store.get(id, &mut out).unwrap();
        assert_eq!(out, page);
        assert_eq!(store.stats().held_bytes, CHARGE);
        store.free(id, &account);
        assert_eq!((store.stats().pages, account.0.into_inner()), (0, 0));
    }

    /// Goal: rotten bytes are noticed, refusals follow the plan, and both end.
    #[test]
    fn rot_and_refusals() {
        let (store, account) = (SimStore::new(1), Account(AtomicU64::new(0), UNLIMITED));
        let page = [3; PAGE_SIZE];
        store.rot(1);
        let ids = [(); 3].map(|()| store.put(Domain(0), &page, None, &account).unwrap());
        let mut out = [0; PAGE_SIZE];
        let good = ids.map(|id| store.get(id, &mut out).is_ok());
        assert_eq!(good, [true, false, true]);
        store.set_plan(Plan::nth(0, Lasting::Once));
        assert!(store.put(Domain(0), &page, None, &account).is_err());
        assert!(store.put(Domain(0), &page, None, &account).is_ok());
    }

    /// Goal: a name is freed once.
    #[test]
    #[should_panic(expected = "is not stored")]
    fn freed_twice() {
        let (store, account) = (SimStore::new(1), Account(AtomicU64::new(0), UNLIMITED));
        let id = store.put(Domain(0), &[0; PAGE_SIZE], None, &account).unwrap();
        store.free(id, &account);
        store.free(id, &account);
    }
}
