//! A store of exact copies, for tests that do not want a real one.
//!
//! It holds every page as it is, and charges for it as if it compressed: a quarter of a page and a
//! little more (so that eviction frees room), a whole page and a little more for what looks like
//! noise, little for a page that differs from another in few bytes, which it keeps for that long.
//! It notices names that were freed, can refuse by plan, and can let the bytes of a page rot. One
//! lock (rank `Store`).

use crate::plan::{Call, Plan, Planner};
use crate::rng::mix;
use crate::state::Guarded;
use memfold_host::addr::{PAGE_SIZE, PageBytes};
use memfold_host::{Cost, Domain, Ledger, Store, StoreError, StoreStats, Stored};
use memfold_sync::Rank;
use std::collections::BTreeMap;
use std::num::NonZeroU64;

/// What a page is charged that compresses.
const PACKED: u64 = PAGE_SIZE as u64 / 4 + 32;
/// What a page is charged that does not.
const RAW: u64 = PAGE_SIZE as u64 + 64;
/// What a page is charged that differs from another in few bytes, and in how many at most.
const DELTA: (u64, usize) = (96, 128);
/// A page with more byte values than this, and fewer bytes that repeat the one before, does not
/// compress.
const NOISY: (usize, usize) = (240, 64);

/// What pages cost, where a test says it and not their bytes.
#[derive(Clone, Copy, Debug)]
pub struct Prices {
    /// Bytes for a page by itself.
    pub plain: u64,
    /// Bytes for a page that is put near another; `None` where nothing is kept as a difference.
    pub delta: Option<u64>,
    /// Whether the ledger is charged.
    pub charged: bool,
    /// A page that begins with this byte takes a whole one.
    pub noise: Option<u8>,
}

impl Prices {
    fn of(self, page: &PageBytes, is_delta: bool) -> u64 {
        if self.noise == Some(page[0]) {
            return PAGE_SIZE as u64;
        }
        self.delta.filter(|_| is_delta).unwrap_or(self.plain)
    }
}

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
    fn new(
        domain: Domain,
        page: &PageBytes,
        base: Option<(u64, &PageBytes)>,
        prices: Option<Prices>,
    ) -> Self {
        match prices {
            None => Self::measured(domain, page, base),
            Some(prices) => {
                let base = base.filter(|_| prices.delta.is_some()).map(|(id, _)| id);
                let charge = prices.of(page, base.is_some()) * u64::from(prices.charged);
                Self::kept(domain, page, base, charge)
            }
        }
    }

    fn measured(domain: Domain, page: &PageBytes, base: Option<(u64, &PageBytes)>) -> Self {
        let differ = |base: &PageBytes| base.iter().zip(page).filter(|(a, b)| a != b).count();
        let base = base.filter(|(_, bytes)| differ(bytes) <= DELTA.1);
        let charge = match base {
            Some(_) => DELTA.0,
            None if is_noise(page) => RAW,
            None => PACKED,
        };
        Self::kept(domain, page, base.map(|(id, _)| id), charge)
    }

    fn kept(domain: Domain, page: &PageBytes, base: Option<u64>, charge: u64) -> Self {
        Self {
            domain,
            bytes: Box::new(*page),
            checksum: checksum(page),
            charge,
            named: true,
            base,
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
    prices: Option<Prices>,
    /// What each page was said to be similar to since a test last asked, where it sets prices.
    near: Vec<Option<u64>>,
    /// The only merge domain there is, where a test says so.
    only: Option<Domain>,
}

/// The store made of copies.
#[derive(Debug)]
pub struct SimStore {
    state: Guarded<State>,
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
            prices: None,
            near: Vec::new(),
            only: None,
        };
        Self {
            state: Guarded::new(Rank::Store, state),
        }
    }

    /// An empty store in which a test says what pages cost: a quarter of a page, 100 bytes near
    /// another, which nobody is charged for.
    #[must_use]
    pub fn priced() -> Self {
        let store = Self::new(0);
        store.state.lock().prices = Some(Prices {
            plain: PAGE_SIZE as u64 / 4,
            delta: Some(100),
            charged: false,
            noise: None,
        });
        store
    }

    /// Changes what pages cost from now on; those that are there cost that much too, but were
    /// charged for before.
    ///
    /// # Panics
    /// When the store is not [priced](Self::priced).
    pub fn price(&self, change: impl FnOnce(&mut Prices)) {
        change(self.state.lock().prices.as_mut().expect("a store with prices"));
    }

    /// What each page was said to be similar to, in the order of the calls since this was last
    /// asked. Only in a store with prices.
    pub fn nears(&self) -> Vec<Option<u64>> {
        std::mem::take(&mut self.state.lock().near)
    }

    /// From now on a page of another domain is a failure.
    pub fn expect_only(&self, domain: Domain) {
        self.state.lock().only = Some(domain);
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

/// Four sums beside one another, or each word would wait for the one before it.
fn checksum(bytes: &PageBytes) -> u64 {
    let mut sums = [0; 4];
    for words in bytes.chunks_exact(32) {
        for (sum, word) in sums.iter_mut().zip(words.chunks_exact(8)) {
            *sum = mix(*sum ^ u64::from_le_bytes(word.try_into().expect("eight bytes")));
        }
    }
    sums.iter().fold(0, |all, sum| mix(all ^ sum))
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

    /// Forgets a page that nobody names or needs, and then what it differs from; what was charged
    /// for them.
    fn forget(&mut self, id: u64) -> u64 {
        let copy = &self.copies[&id];
        if copy.named || copy.needed > 0 {
            return 0;
        }
        let (charge, base) = (copy.charge, copy.base);
        self.copies.remove(&id);
        charge + base.map_or(0, |base| self.needed_less(base))
    }

    /// One page less differs from this one; what was charged for those that are forgotten now.
    fn needed_less(&mut self, base: u64) -> u64 {
        self.copies
            .get_mut(&base)
            .expect("a base that is needed is kept")
            .needed -= 1;
        self.forget(base)
    }

    /// A copy that may be kept, with what it differs from, which is needed from now on.
    fn prepare(
        &mut self,
        domain: Domain,
        page: &PageBytes,
        near: Option<Stored>,
    ) -> Result<Copy, StoreError> {
        let in_place = self.only.is_none_or(|only| only == domain);
        assert!(in_place, "a page went to the store in another domain");
        if self.prices.is_some() {
            self.near.push(near.map(|near| near.0.get()));
        }
        let base = near.and_then(|near| self.base(domain, near));
        let copy = Copy::new(domain, page, base, self.prices);
        if self.refuses(Call::Put) {
            return Err(match self.planner.below(2) {
                0 => StoreError::Full,
                _ => StoreError::Device(5),
            });
        }
        if let Some(base) = copy.base {
            self.copies.get_mut(&base).expect("it was found above").needed += 1;
        }
        Ok(copy)
    }

    /// Keeps the copy, which was charged for.
    fn keep(&mut self, mut copy: Copy) -> Stored {
        match self.rotting {
            Some(0) => {
                copy.bytes[PAGE_SIZE / 2] ^= 0x10;
                self.rotting = None;
            }
            Some(n) => self.rotting = Some(n - 1),
            None => (),
        }
        let id = self.next;
        self.next += 1;
        self.copies.insert(id, copy);
        Stored(NonZeroU64::new(id).expect("names count from 1"))
    }
}

/// Gives back what was charged, if anything was.
fn give_back(ledger: &dyn Ledger, bytes: u64) {
    if bytes != 0 {
        ledger.refund(bytes);
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
        let copy = self.state.lock().prepare(domain, page, near)?;
        // Not under the lock: a ledger belongs to the model that is explored, the store does not.
        let fits = copy.charge == 0 || ledger.charge(copy.charge);
        let mut state = self.state.lock();
        match fits {
            true => Ok(state.keep(copy)),
            false => {
                let refund = copy.base.map_or(0, |base| state.needed_less(base));
                drop(state);
                give_back(ledger, refund);
                Err(StoreError::Full)
            }
        }
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
        give_back(ledger, refund);
    }

    fn cost(&self, id: Stored) -> Cost {
        let state = self.state.lock();
        let gone = Cost {
            shared: true,
            ..Cost::default()
        };
        state.named(id).map_or(gone, |copy| Cost {
            bytes: state
                .prices
                .map_or(copy.charge, |prices| prices.of(&copy.bytes, copy.base.is_some())),
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
mod tests;
