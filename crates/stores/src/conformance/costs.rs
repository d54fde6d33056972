//! The rules of [`Store::cost`], as tests for any store.
//!
//! Reclaim decides by costs whether a page goes to the store and whether a base stays there, so a
//! store that says too little lets memory grow where it should shrink.

use super::pages::{changed, noise, text};
use super::{Account, assert_empty};
use memfold_host::addr::{PAGE_SIZE, PageBytes};
use memfold_host::{Domain, PUT_MOST, Store, Stored};

/// Pages of each sort: enough for whole pages of memory of each.
const MANY: u64 = 400;
/// What may be held beside the costs: a page of memory for each of a few sorts, and some to grow
/// by.
const READY: u64 = 128 << 10;

/// Costs of pages make up what is held; a page that does not compress costs a page and more, an
/// equal one adds nothing where it is shared; and no put asks for more than it may.
///
/// # Panics
/// When the store breaks a rule.
pub fn costs_add_up(store: &impl Store) {
    let account = Account::unlimited();
    let mut held: Vec<Stored> = Vec::new();
    let sorts: [fn(u64) -> Box<PageBytes>; 3] = [text, noise, |seed| changed(&noise(seed), 4, seed)];
    for (sort, page) in sorts.into_iter().enumerate() {
        let (before, mut costs) = (account.charged(), 0);
        for seed in 1..=MANY {
            // The last sort differs in little from the one before.
            let near = (sort == 2).then(|| held[held.len() - MANY as usize]);
            let charged = account.charged();
            let id = store
                .put(Domain(0), &page(seed), near, &account)
                .expect("no limit");
            assert!(
                account.charged() <= charged + PUT_MOST,
                "a put asks for PUT_MOST at the most"
            );
            let cost = store.cost(id);
            let whole = cost.bytes >= PAGE_SIZE as u64;
            assert_eq!(
                whole,
                sort == 1,
                "noise costs a page, and all else less: {cost:?}"
            );
            costs += cost.adds();
            held.push(id);
        }
        let grown = account.charged() - before;
        assert!(
            costs <= grown + grown / 16 + READY && grown <= costs + costs / 16 + READY,
            "{MANY} pages cost {costs} bytes, and {grown} are held"
        );
    }
    let twin = store.put(Domain(0), &text(1), None, &account).expect("no limit");
    let shared = store.stats().duplicates == 1;
    assert_eq!(store.cost(twin).adds() == 0, shared, "an equal page adds nothing");
    held.push(twin);
    held.into_iter().for_each(|id| store.free(id, &account));
    assert_empty(store, &account);
}

/// A page that others are differences to is shared for as long as they are there; one that is gone
/// is said to be, and costs nothing.
///
/// # Panics
/// When the store breaks a rule.
pub fn bases_are_known_to_be_needed(store: &impl Store) {
    let account = Account::unlimited();
    let put = |page: &PageBytes, near| store.put(Domain(0), page, near, &account).expect("no limit");
    let base = put(&text(1), None);
    assert!(!store.cost(base).shared && !store.cost(base).delta);
    let deltas = [1, 2].map(|seed| put(&changed(&text(1), 2, seed), Some(base)));
    for id in deltas {
        let cost = store.cost(id);
        assert!(!cost.shared);
        assert!(
            !cost.delta || cost.bytes < store.cost(base).bytes / 2,
            "a difference is small"
        );
    }
    let needed = deltas.iter().any(|&id| store.cost(id).delta);
    assert_eq!(store.cost(base).shared, needed, "the base is needed");
    store.free(deltas[0], &account);
    assert_eq!(store.cost(base).shared, needed, "one still needs it");
    store.free(deltas[1], &account);
    assert!(!store.cost(base).shared, "nobody needs it any more");
    store.free(base, &account);
    assert_eq!(store.cost(base).bytes, 0, "what is gone costs nothing");
    assert!(store.cost(base).shared);
    assert_empty(store, &account);
}
