//! What is put comes back, is charged, and fails by plan.

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
