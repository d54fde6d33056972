//! A store of exact copies, for tests that do not want a real one.
//!
//! It holds every page as it is, and charges for it as if it compressed: a quarter of a page and a little more (so that
//! eviction frees room), a whole page and a little more for what looks like noise, little for a page that differs from another
//! in few bytes, which it keeps for that long. It notices names that were freed, can refuse by plan, and can let the bytes
//! of a page rot. One lock (rank `Store`).

use crate::plan::{Call, Plan, Planner};
use crate::rng::mix;
use memfold_host::addr::{PAGE_SIZE, PageBytes};
use memfold_host::{Cost, Domain, Ledger, Store, StoreError, StoreStats, Stored};
use memfold_sync::{Mutex, Rank};
use std::collections::BTreeMap;
use std::num::NonZeroU64;

/// What a page is charged that compresses.
const PACKED: u64 = PAGE_SIZE as u64 / 4 + 32;
/// What a page is charged that does not.
const RAW: u64 = PAGE_SIZE as u64 + 64;
/// What a page is charged that differs from another in few bytes, and in how many at most.
const DELTA: (u64, usize) = (96, 128);
/// A page with more byte values than this, and fewer bytes that repeat the one before, does not compress.
const NOISY: (usize, usize) = (240, 64);

#[derive(Debug)]
struct Copy {
    domain: Domain,
    bytes: Box<PageBytes>,
    checksum: u64,
    charge: u64,
    /// Put and not yet freed; it may stay longer, for those that differ from it.
    named: bool,
    /// What it differs from in few bytes.
    base: Option<u64>,
    /// How many differ from it in few bytes.
    needed: u32,
}

impl Copy {
    /// A page, beside a base that may be near.
    fn new(domain: Domain, page: &PageBytes, base: Option<(u64, &PageBytes)>) -> Self {
        let differ = |base: &PageBytes| base.iter().zip(page).filter(|(a, b)| a != b).count();
        let base = base.filter(|(_, bytes)| differ(bytes) <= DELTA.1);
        let charge = match base {
            Some(_) => DELTA.0,
            None if is_noise(page) => RAW,
            None => PACKED,
        };
        Self {
            domain,
            bytes: Box::new(*page),
            checksum: checksum(page),
            charge,
            named: true,
            base: base.map(|(id, _)| id),
            needed: 0,
        }
    }
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

fn is_noise(page: &PageBytes) -> bool {
    let mut seen = [false; 256];
    page.iter().for_each(|&byte| seen[usize::from(byte)] = true);
    let values = seen.iter().filter(|&&seen| seen).count();
    let repeats = page.windows(2).filter(|pair| pair[0] == pair[1]).count();
    values > NOISY.0 && repeats < NOISY.1
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

    fn named(&self, id: Stored) -> Option<&Copy> {
        self.copies.get(&id.0.get()).filter(|copy| copy.named)
    }

    fn copy(&self, id: Stored, why: &str) -> &Copy {
        self.named(id)
            .unwrap_or_else(|| panic!("page {} is {why}, but is not stored", id.0))
    }

    /// What a page near `near` may differ from: that page, or what it differs from itself.
    fn base(&self, domain: Domain, near: Stored) -> Option<(u64, &PageBytes)> {
        // Another thread may have freed it after it was named.
        let copy = self.named(near)?;
        assert_eq!(
            copy.domain, domain,
            "a page of another merge domain is named as similar"
        );
        let id = copy.base.unwrap_or(near.0.get());
        Some((id, &self.copies[&id].bytes))
    }

    /// Forgets a page that nobody names or needs, and then what it differs from; what was charged for them.
    fn forget(&mut self, id: u64) -> u64 {
        let copy = &self.copies[&id];
        if copy.named || copy.needed > 0 {
            return 0;
        }
        let (charge, base) = (copy.charge, copy.base);
        self.copies.remove(&id);
        let Some(base) = base else { return charge };
        self.copies
            .get_mut(&base)
            .expect("a base that is needed is kept")
            .needed -= 1;
        charge + self.forget(base)
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
        let mut copy = Copy::new(domain, page, near.and_then(|near| state.base(domain, near)));
        if state.refuses(Call::Put) {
            return Err(match state.planner.below(2) {
                0 => StoreError::Full,
                _ => StoreError::Device(5),
            });
        }
        if !ledger.charge(copy.charge) {
            return Err(StoreError::Full);
        }
        match state.rotting {
            Some(0) => {
                copy.bytes[PAGE_SIZE / 2] ^= 0x10;
                state.rotting = None;
            }
            Some(n) => state.rotting = Some(n - 1),
            None => (),
        }
        let id = state.next;
        state.next += 1;
        if let Some(base) = copy.base {
            state.copies.get_mut(&base).expect("it was found above").needed += 1;
        }
        state.copies.insert(id, copy);
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
        let mut state = self.state.lock();
        state.copy(id, "freed");
        let copy = state.copies.get_mut(&id.0.get()).expect("seen above");
        copy.named = false;
        let refund = state.forget(id.0.get());
        drop(state);
        ledger.refund(refund);
    }

    fn cost(&self, id: Stored) -> Cost {
        let state = self.state.lock();
        let gone = Cost {
            shared: true,
            ..Cost::default()
        };
        state.named(id).map_or(gone, |copy| Cost {
            bytes: copy.charge,
            shared: copy.needed > 0,
            delta: copy.base.is_some(),
        })
    }

    fn stats(&self) -> StoreStats {
        let state = self.state.lock();
        let named = || state.copies.values().filter(|copy| copy.named);
        StoreStats {
            pages: named().count() as u64,
            deltas: named().filter(|copy| copy.base.is_some()).count() as u64,
            raw: named().filter(|copy| copy.charge == RAW).count() as u64,
            encoded_bytes: state.copies.len() as u64 * PAGE_SIZE as u64,
            held_bytes: state.copies.values().map(|copy| copy.charge).sum(),
            ..StoreStats::default()
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::plan::Lasting;
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
        let (store, account) = (SimStore::new(1), Account(AtomicU64::new(0), PACKED));
        let page = [3; PAGE_SIZE];
        let id = store.put(Domain(0), &page, None, &account).unwrap();
        assert_eq!(store.put(Domain(0), &page, None, &account), Err(StoreError::Full));
        let mut out = [0; PAGE_SIZE];
        store.get(id, &mut out).unwrap();
        assert_eq!(out, page);
        assert_eq!(store.stats().held_bytes, PACKED);
        store.free(id, &account);
        assert_eq!((store.stats().pages, account.0.into_inner()), (0, 0));
    }

    /// Goal: rotten bytes are noticed, refusals follow the plan, and both end.
    #[test]
    fn rot_and_refusals() {
        let (store, account) = (SimStore::new(1), Account(AtomicU64::new(0), u64::MAX / 2));
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
        let (store, account) = (SimStore::new(1), Account(AtomicU64::new(0), u64::MAX / 2));
        let id = store.put(Domain(0), &[0; PAGE_SIZE], None, &account).unwrap();
        store.free(id, &account);
        store.free(id, &account);
    }
}
