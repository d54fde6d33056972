//! Goal: what is charged covers what the process really holds, and freeing really gives memory
//! back. Method: resident bytes of this process, which runs nothing else, before, while and after
//! the store holds 40 MiB.
#![cfg(target_os = "linux")]

use memfold_host::{Domain, Store};
use memfold_stores::CompressedStore;
use memfold_stores::conformance::Account;
use memfold_stores::conformance::pages::{changed, noise, text};

#[test]
fn charges_cover_resident_memory_and_it_comes_back() {
    let (store, account) = (CompressedStore::new(), Account::unlimited());
    let template = text(1);
    let near = store.put(Domain(0), &template, None, &account).expect("no limit");
    let mut ids = vec![near];
    ids.reserve(100_000);
    let empty = resident();
    let charged = account.charged();
    for n in 0..80_000_u64 {
        let page = match n % 16 {
            0 => noise(n),
            1 | 2 => text(n),
            _ => changed(&template, 1 + n as usize % 8, n),
        };
        ids.push(
            store
                .put(Domain(0), &page, Some(near), &account)
                .expect("no limit"),
        );
    }
    let grown = resident().saturating_sub(empty);
    let charged = account.charged() - charged;
    // The list of ids of this test, and what the heap keeps of freed pages, are not the store's.
    assert!(
        grown < charged + (1 << 20),
        "{grown} bytes resident for {charged} charged"
    );
    assert!(charged > 30 << 20, "the test holds enough to tell");
    ids.drain(..).rev().for_each(|id| store.free(id, &account));
    let left = resident().saturating_sub(empty);
    assert!(left < 2 << 20, "{left} bytes resident when all is freed");
    assert_eq!(account.charged(), 0);
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/smaps_rollup").expect("a Linux with smaps_rollup");
    let line = status
        .lines()
        .find(|line| line.starts_with("Rss:"))
        .expect("it names the resident size");
    let kib: u64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .expect("a number of KiB");
    kib << 10
}
