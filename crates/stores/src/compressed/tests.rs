//! What the compressed store promises beyond the seam: sizes, sharing, stats, and that bad memory
//! is told.

use super::*;
use crate::conformance::pages::{Rng, blank, changed, filled, noise, text};
use crate::conformance::{self, Account};
use proptest::prelude::*;

const D: Domain = Domain(0);

fn put(store: &CompressedStore, page: &PageBytes, near: Option<Stored>, account: &Account) -> Stored {
    store.put(D, page, near, account).expect("no limit")
}

/// Goal: the seam's rules hold. Method: the conformance suite.
#[test]
fn conforms() {
    conformance::all(|| CompressedStore::with_seed(1), 3000);
}

/// Goal: the counts say what is stored. Method: one page of each sort, counted by hand.
#[test]
fn stats_are_exact() {
    let (store, account) = (CompressedStore::with_seed(1), Account::unlimited());
    let base = noise(1);
    let zero = put(&store, &blank(), None, &account);
    assert_eq!(account.charged(), 0, "zeros cost nothing");
    let wide = put(&store, &filled(0x5555_5555_5555_5555), None, &account);
    let raw = put(&store, &base, None, &account);
    let delta = put(&store, &changed(&base, 2, 1), Some(raw), &account);
    let twin = put(&store, &base, Some(raw), &account);
    assert_eq!(twin, raw, "a page equal to its base is the base");
    let stats = store.stats();
    assert_eq!((stats.pages, stats.same_filled, stats.duplicates), (5, 2, 1));
    assert_eq!((stats.deltas, stats.raw), (1, 1));
    assert!(
        (8 + 4096 + 6..8 + 4096 + 22).contains(&stats.encoded_bytes),
        "{stats:?}"
    );
    store.free(raw, &account);
    assert_eq!((store.stats().duplicates, store.stats().raw), (0, 1));
    store.free(twin, &account);
    let held = store.stats();
    assert_eq!(
        (held.pages, held.raw),
        (3, 0),
        "the base is no page any more, but held by its delta"
    );
    assert_eq!(held.encoded_bytes, stats.encoded_bytes);
    let again = put(&store, &base, None, &account);
    assert_eq!((again, store.stats().raw, store.stats().duplicates), (raw, 1, 0));
    [again, zero, wide, delta]
        .into_iter()
        .for_each(|id| store.free(id, &account));
    assert_eq!((store.stats(), account.charged()), (StoreStats::default(), 0));
}

/// Goal: a clone's page costs 20 to 150 bytes, all counted. Method: 500 clones of 40 template
/// pages, with 1 to 8 small changes in each page.
#[test]
fn clones_pages_are_small() {
    let (store, account) = (CompressedStore::with_seed(1), Account::unlimited());
    let pages: Vec<_> = (0..40).map(text).collect();
    let bases: Vec<_> = pages
        .iter()
        .map(|page| put(&store, page, None, &account))
        .collect();
    let before = account.charged();
    for n in 0..20_000_u64 {
        let at = n as usize % 40;
        put(
            &store,
            &changed(&pages[at], 1 + n as usize % 8, n),
            Some(bases[at]),
            &account,
        );
    }
    assert_eq!(store.stats().deltas + store.stats().duplicates, 20_000);
    let each = (account.charged() - before) / 20_000;
    assert!((20..100).contains(&each), "{each} bytes for a page");
}

/// Goal: little is lost around the bodies. Method: 4 MiB of pages of all sizes, then all but a
/// tenth freed.
#[test]
fn waste_is_small() {
    let (store, account) = (CompressedStore::with_seed(1), Account::unlimited());
    let mut ids = Vec::new();
    for n in 0..2000_u64 {
        let mut page = noise(n);
        let cut = Rng::new(n).below(4096);
        page[cut..].fill(n as u8);
        ids.push(put(&store, &page, None, &account));
    }
    let waste = |stats: StoreStats| (stats.held_bytes - stats.encoded_bytes) as f64 / stats.held_bytes as f64;
    assert!(waste(store.stats()) < 0.10, "{:?}", store.stats());
    let mut rng = Rng::new(1);
    while ids.len() > 200 {
        store.free(ids.swap_remove(rng.below(ids.len())), &account);
    }
    // What is left is about 400 KiB; a chunk's slack and the last frame of each class weigh more
    // now.
    assert!(waste(store.stats()) < 0.35, "{:?}", store.stats());
}

/// Goal: a flipped bit is told or harmless, never a panic, never wrong bytes. Method: every bit of
/// one object of each kind, header and body, and of a delta's base.
#[test]
fn every_flipped_bit_is_told() {
    let base = text(1);
    let mut moved = noise(9);
    moved.copy_within(100..2100, 112);
    let cases = [
        (text(2), None),
        (filled(0x5555_5555_5555_5555), None),
        (changed(&blank(), 3, 1), None),
        (changed(&base, 3, 1), Some(base)),
        (moved, Some(noise(9))),
        (noise(2), None),
    ];
    for (page, base) in cases {
        let (store, account) = (CompressedStore::with_seed(1), Account::unlimited());
        let near = base.map(|base| put(&store, &base, None, &account));
        let id = put(&store, &page, near, &account);
        for victim in [Some(id), near].into_iter().flatten() {
            let told = flip_each_bit(&store, victim, (id, &page));
            assert!(told > 0, "some flips are told");
        }
    }
}

/// Flips each bit of `victim` in turn and gets the page; how often it was told to be corrupt.
fn flip_each_bit(store: &CompressedStore, victim: Stored, (id, page): (Stored, &PageBytes)) -> usize {
    let Some(Name::Object { id: object, .. }) = Name::decode(victim) else {
        panic!("an object")
    };
    let (mut out, mut told, mut bit) = (blank(), 0, 0);
    // Ends: at the object's end.
    while store.heap.lock().flip(object, bit) {
        match store.get(id, &mut out) {
            Ok(()) => assert!(*out == *page, "no wrong bytes (bit {bit})"),
            Err(StoreError::Corrupt { expected, found }) => {
                assert_ne!(expected, found);
                told += 1;
            }
            Err(other) => panic!("{other}"),
        }
        assert!(store.heap.lock().flip(object, bit), "back again");
        // Raw pages are long, and each bit of them is like the next.
        bit += if bit < 4000 { 1 } else { 61 };
    }
    store.get(id, &mut out).expect("all is mended");
    told
}

/// Goal: two threads that put and free the same pages agree. Method: eight contents, thousands of
/// times.
#[test]
fn two_threads_share_and_part() {
    let (store, account) = (CompressedStore::with_seed(1), Account::unlimited());
    let pages: Vec<_> = (0..8).map(|n| changed(&text(1), 4, n)).collect();
    let near = put(&store, &text(1), None, &account);
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let (store, account, pages) = (&store, &account, &pages);
            scope.spawn(move || {
                let (mut rng, mut out) = (Rng::new(seed), blank());
                for _ in 0..5000 {
                    let page = &pages[rng.below(8)];
                    let id = put(store, page, Some(near), account);
                    store.get(id, &mut out).expect("it is stored");
                    assert!(out == *page);
                    store.free(id, account);
                }
            });
        }
    });
    store.free(near, &account);
    assert_eq!((store.stats(), account.charged()), (StoreStats::default(), 0));
}

/// Goal: calls get on with little stack. Method: a thread with the 16 KiB that are the least the
/// system gives; release builds only, since debug builds keep every temporary.
#[test]
#[cfg(not(debug_assertions))]
fn calls_need_little_stack() {
    let (store, account) = (CompressedStore::with_seed(1), Account::unlimited());
    let (base, delta, far, mut out) = (text(1), changed(&text(1), 200, 1), noise(1), blank());
    std::thread::scope(|scope| {
        let calls = || {
            let near = put(&store, &base, None, &account);
            for page in [&base, &delta, &far] {
                let id = put(&store, page, Some(near), &account);
                store.get(id, &mut out).expect("it is stored");
                store.free(id, &account);
            }
        };
        std::thread::Builder::new()
            .stack_size(16 << 10)
            .spawn_scoped(scope, calls)
            .expect("a thread");
    });
}

/// Goal: freeing twice is told. Method: do it.
#[test]
#[should_panic(expected = "only what is stored can be freed")]
fn freeing_twice_panics() {
    let (store, account) = (CompressedStore::with_seed(1), Account::unlimited());
    let id = put(&store, &noise(1), None, &account);
    store.free(id, &account);
    store.free(id, &account);
}

/// Goal: a name that is gone is told from the next object of its id. Method: free, put another,
/// get.
#[test]
fn a_stale_name_is_told() {
    let (store, account) = (CompressedStore::with_seed(1), Account::unlimited());
    let old = put(&store, &noise(1), None, &account);
    store.free(old, &account);
    put(&store, &noise(2), None, &account);
    assert!(matches!(
        store.get(old, &mut blank()),
        Err(StoreError::Corrupt { .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Goal: no history breaks the model. Method: random histories with refusing charges.
    #[test]
    fn any_history_holds(seed: u64, steps in 1_usize..1200) {
        conformance::history(&CompressedStore::with_seed(seed), seed, steps);
    }
}
