//! The rules of the [`Store`] seam, as a test for any store.
//!
//! [`all`] runs every rule; each takes a maker of empty stores and panics with the rule that is
//! broken. `tests` of a store call it; so can the stores of others. Single-threaded but for
//! [`threads`]; no clock and no chance but a seed, so a failure repeats.

mod costs;
mod ledger;
pub mod pages;

pub use costs::{bases_are_known_to_be_needed, costs_add_up};
pub use ledger::Account;
use memfold_host::addr::{PAGE_SIZE, PageBytes};
use memfold_host::{Domain, Store, StoreError, StoreStats, Stored};
use pages::{Rng, blank, changed, filled, noise, text};

/// Runs every rule, each on a new store; `steps` (at least 100) is the length of the random
/// histories.
///
/// # Panics
/// When the store breaks a rule.
pub fn all<S: Store>(make: impl Fn() -> S, steps: usize) {
    every_sort_comes_back(&make());
    equal_pages_are_kept_apart_by_domain(&make());
    bases_outlive_their_names(&make());
    refusal_changes_nothing(&make());
    costs_add_up(&make());
    bases_are_known_to_be_needed(&make());
    for seed in 0..4 {
        history(&make(), seed, steps);
    }
    threads(&make(), 2, steps);
}

/// Each sort of page comes back, with and without a `near`, and freeing it leaves nothing.
///
/// # Panics
/// When the store breaks a rule.
pub fn every_sort_comes_back(store: &impl Store) {
    let (account, mut out) = (Account::unlimited(), noise(7));
    let base = text(1);
    let near = store.put(Domain(0), &base, None, &account).expect("no limit");
    for page in sorts(&base) {
        for near in [None, Some(near)] {
            let id = store.put(Domain(0), &page, near, &account).expect("no limit");
            store.get(id, &mut out).expect("it is stored");
            assert!(out == page, "the bytes come back");
            store.get(id, &mut out).expect("getting leaves it stored");
            store.free(id, &account);
            assert_eq!(
                store.stats().held_bytes,
                account.charged(),
                "what is held is charged"
            );
        }
    }
    store.free(near, &account);
    assert_empty(store, &account);
}

fn sorts(base: &PageBytes) -> Vec<Box<PageBytes>> {
    let mut sorts = vec![
        blank(),
        filled(1),
        filled(0x8877_6655_4433_2211),
        filled(u64::MAX),
    ];
    sorts.extend([noise(1), text(1), text(2)]);
    sorts.extend([1, 2, 8, 40, 400].map(|count| changed(base, count, 3)));
    sorts.extend([1, 8, 400].map(|count| changed(&blank(), count, 4)));
    let mut shifted = blank();
    shifted[12..].copy_from_slice(&base[..PAGE_SIZE - 12]);
    sorts.push(shifted);
    sorts
}

/// Pages of two domains never share: freeing one's leaves the other's, a `near` of another domain
/// or one that is gone does no harm.
///
/// # Panics
/// When the store breaks a rule.
pub fn equal_pages_are_kept_apart_by_domain(store: &impl Store) {
    let (account, mut out, page) = (Account::unlimited(), blank(), text(3));
    let a = store.put(Domain(1), &page, None, &account).expect("no limit");
    let b = store.put(Domain(2), &page, Some(a), &account).expect("no limit");
    assert_eq!(
        store.stats().duplicates,
        0,
        "pages of two domains are not stored once"
    );
    let near = changed(&page, 3, 1);
    let c = store.put(Domain(2), &near, Some(a), &account).expect("no limit");
    store.free(a, &account);
    let d = store
        .put(Domain(2), &changed(&page, 4, 2), Some(a), &account)
        .expect("a stale near is no error");
    for (id, page) in [(b, &page), (c, &near)] {
        store.get(id, &mut out).expect("it is stored");
        assert!(out == *page, "the bytes come back");
    }
    [b, c, d].into_iter().for_each(|id| store.free(id, &account));
    assert_empty(store, &account);
}

/// A page that others were put near to may be freed before them, in any order, and put again.
///
/// # Panics
/// When the store breaks a rule.
pub fn bases_outlive_their_names(store: &impl Store) {
    let (account, mut out, base) = (Account::unlimited(), blank(), noise(4));
    let first = store.put(Domain(0), &base, None, &account).expect("no limit");
    let pages: Vec<_> = (0..20).map(|n| changed(&base, 3, n)).collect();
    let mut ids: Vec<Stored> = Vec::new();
    for page in &pages {
        // Each page is near to the one before, which may itself be kept as a difference.
        let near = *ids.last().unwrap_or(&first);
        ids.push(
            store
                .put(Domain(0), page, Some(near), &account)
                .expect("no limit"),
        );
    }
    store.free(first, &account);
    let again = store
        .put(Domain(0), &base, Some(ids[3]), &account)
        .expect("no limit");
    check(store, again, &base);
    for (n, (id, page)) in ids.into_iter().zip(&pages).enumerate() {
        store.get(id, &mut out).expect("it is stored");
        assert!(out == *page, "the bytes come back");
        store.free(id, &account);
        if n == 10 {
            store.free(again, &account);
        }
    }
    assert_empty(store, &account);
}

/// A refused `put` leaves the store and the account as they were.
///
/// # Panics
/// When the store breaks a rule.
pub fn refusal_changes_nothing(store: &impl Store) {
    let account = Account::limited(256 << 10);
    let mut ids = Vec::new();
    // Ends: noise does not shrink, so the account's 256 KiB hold at most 64 pages of it.
    let before = loop {
        let before = (store.stats(), account.charged());
        match store.put(Domain(0), &noise(ids.len() as u64), ids.last().copied(), &account) {
            Ok(id) => ids.push(id),
            Err(error) => {
                assert_eq!(error, StoreError::Full, "a refusal is Full");
                break before;
            }
        }
        assert!(ids.len() <= 64, "what is held is charged");
    };
    assert!(ids.len() > 32, "half of the budget is used");
    assert_eq!(
        (store.stats(), account.charged()),
        before,
        "a refused put changes nothing"
    );
    ids.drain(..).for_each(|id| store.free(id, &account));
    assert_empty(store, &account);
}

/// A random history of put, get and free, against a list of what must be stored, with charges that
/// are refused at random. The seed decides all.
///
/// # Panics
/// When the store breaks a rule.
pub fn history(store: &impl Store, seed: u64, steps: usize) {
    let account = Account::unlimited();
    let mut history = History {
        rng: Rng::new(seed),
        held: Vec::new(),
        domains: 2,
    };
    for step in 0..steps {
        // A rising and falling tide, so that the store grows and shrinks.
        let rising = step / 256 % 2 == 0;
        history.step(store, &account, if rising { 7 } else { 3 });
        assert_eq!(
            store.stats().held_bytes,
            account.charged(),
            "what is held is charged"
        );
        assert_eq!(
            store.stats().pages,
            history.held.len() as u64,
            "pages are counted"
        );
    }
    history.finish(store, &account);
    assert_empty(store, &account);
}

/// Several threads at once, each with a history in a domain of its own and all in one shared
/// domain.
///
/// # Panics
/// When the store breaks a rule.
pub fn threads(store: &impl Store, count: u64, steps: usize) {
    let account = Account::unlimited();
    std::thread::scope(|scope| {
        for seed in 0..count {
            let account = &account;
            scope.spawn(move || {
                let mut history = History {
                    rng: Rng::new(seed),
                    held: Vec::new(),
                    domains: 1,
                };
                (0..steps).for_each(|_| history.step(store, account, 5));
                history.finish(store, account);
            });
        }
    });
    assert_empty(store, &account);
}

/// What a history has put and not yet freed.
struct History {
    rng: Rng,
    held: Vec<(Stored, Domain, Box<PageBytes>)>,
    domains: usize,
}

impl History {
    /// Puts (`puts` times in ten), or gets and frees. One put in eight meets an account that
    /// refuses.
    fn step(&mut self, store: &impl Store, account: &Account, puts: usize) {
        if self.held.is_empty() || self.rng.below(10) < puts {
            let refuse = self.domains > 1 && self.rng.below(8) == 0;
            self.put(store, account, refuse);
        } else {
            let (id, _, page) = self.held.swap_remove(self.rng.below(self.held.len()));
            check(store, id, &page);
            store.free(id, account);
        }
    }

    fn put(&mut self, store: &impl Store, account: &Account, refuse: bool) {
        let domain = Domain(self.rng.below(self.domains) as u32);
        let (page, near) = self.next_page();
        let before: (StoreStats, u64) = (store.stats(), account.charged());
        account.set_limit(if refuse { account.charged() } else { u64::MAX });
        match store.put(domain, &page, near, account) {
            Ok(id) => self.held.push((id, domain, page)),
            Err(error) => {
                assert!(
                    refuse && error == StoreError::Full,
                    "only a refusal makes a put fail: {error}"
                );
                assert_eq!(
                    (store.stats(), account.charged()),
                    before,
                    "a refused put changes nothing"
                );
            }
        }
        account.set_limit(u64::MAX);
    }

    fn next_page(&mut self) -> (Box<PageBytes>, Option<Stored>) {
        let seed = self.rng.next();
        if !self.held.is_empty() && self.rng.below(2) == 0 {
            let (id, _, base) = &self.held[self.rng.below(self.held.len())];
            let count = [0, 1, 3, 8, 60, 500][self.rng.below(6)];
            return (changed(base, count, seed), Some(*id));
        }
        // Few seeds, so that equal pages are common.
        let page = match self.rng.below(5) {
            0 => filled(seed % 3 * 0x7777_7777_7777_7777),
            1 => noise(seed % 32),
            2 => changed(&blank(), 1 + (seed % 9) as usize, seed % 16),
            _ => text(seed % 64),
        };
        (page, None)
    }

    fn finish(&mut self, store: &impl Store, account: &Account) {
        for (id, _, page) in self.held.drain(..) {
            check(store, id, &page);
            store.free(id, account);
        }
    }
}

fn check(store: &impl Store, id: Stored, page: &PageBytes) {
    let mut out = blank();
    store.get(id, &mut out).expect("what is stored can be got");
    assert!(*out == *page, "the bytes come back");
}

/// Asserts that the store holds nothing and charges what it charged before its first page, which is
/// nothing.
fn assert_empty(store: &impl Store, account: &Account) {
    assert_eq!(
        store.stats(),
        StoreStats::default(),
        "an empty store holds nothing"
    );
    assert_eq!(account.charged(), 0, "all charges come back");
}
