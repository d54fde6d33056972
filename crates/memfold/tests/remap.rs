//! Ranges that move inside their space on this machine, with both deliveries.

#[path = "common/deliveries.rs"]
mod deliveries;
#[path = "common/file.rs"]
mod file;

use file::{PAGE, Temporary, WORD, on_disk, words};
use memfold::{Error, FileAccess, Memory, Rights, Space, SpaceError, SpaceSize, Through};
use std::sync::atomic::{AtomicBool, Ordering};

fn memories(limit: u64) -> impl Iterator<Item = Memory> {
    deliveries::memories(limit, |builder| builder)
}

fn space(memory: &Memory, pages: u64) -> Space {
    memory.create(SpaceSize::fixed(pages * PAGE)).expect("room")
}

fn get(space: &Space, page: u64) -> u64 {
    let value = words(space, page)[3].load(WORD);
    assert!(space.failure().is_none(), "page {page}: {:?}", space.failure());
    value
}

fn set(space: &Space, page: u64, value: u64) {
    words(space, page)[3].store(value, WORD);
    assert!(space.failure().is_none(), "page {page}: {:?}", space.failure());
}

fn all(space: &Space, pages: std::ops::Range<u64>) -> Vec<u64> {
    pages.map(|page| get(space, page)).collect()
}

fn remap(space: &Space, pages: std::ops::Range<u64>, to: u64) {
    let moved = space.remap(pages.start * PAGE..pages.end * PAGE, to * PAGE);
    moved.expect("there is room");
}

/// Goal: pages in memory, in the store, shared with forks and never written are at their new
/// places, take stores there, and are zeros at the old ones, also for who reads beside the window;
/// forks keep theirs.
#[test]
fn ranges_move() {
    for memory in memories(32 << 20) {
        let a = space(&memory, 1024);
        (0..64).for_each(|page| set(&a, page, page + 1));
        let fork = a.fork().expect("room");
        (32..48).for_each(|page| set(&a, page, page + 100));
        a.evict().expect("it lives");
        (40..56).for_each(|page| set(&a, page, page + 200));
        (700..760).for_each(|page| set(&a, page, 9));
        let before = all(&a, 0..64);
        let frozen = a.freeze().expect("room");
        remap(&a, 0..80, 690);
        assert_eq!(memory.check(), Ok(()));
        assert_eq!((all(&a, 690..754), all(&a, 0..80)), (before.clone(), vec![0; 80]));
        assert_eq!((all(&a, 754..770), get(&a, 750)), (vec![0; 16], before[60]));
        let mut bytes = [1; 8];
        a.read(24, &mut bytes).expect("it lives");
        assert_eq!(bytes, [0; 8]);
        let child = frozen.fork().expect("room");
        assert_eq!(all(&fork, 0..64), (1..65).collect::<Vec<_>>());
        assert_eq!((all(&child, 0..64), get(&child, 700)), (before.clone(), 9));
        (690..754).for_each(|page| set(&a, page, page));
        (0..64).for_each(|page| set(&a, page, 7));
        let again = a.fork().expect("room");
        remap(&again, 690..754, 0);
        assert_eq!(all(&again, 0..64), (690..754).collect::<Vec<_>>());
        assert_eq!((all(&a, 690..754), get(&a, 0)), ((690..754).collect(), 7));
        assert_eq!(memory.check(), Ok(()));
        drop((a, fork, frozen, child, again));
        assert_eq!(memory.check(), Ok(()));
        let usage = memory.stats().usage;
        assert_eq!((usage.private, usage.pool), (0, 0));
    }
}

/// Goal: areas of files go along, and what was stored to private ones; shared ones show the same
/// pages of the file, and what is stored to them there is in the file after a sync; what they allow
/// goes along; nothing of it is left.
#[test]
fn areas_move() {
    for memory in memories(32 << 20) {
        let disk = Temporary::new("moves", 64);
        let file = memory.open(&disk.0, FileAccess::ReadWrite).expect("it is there");
        let a = space(&memory, 512);
        let map = |at: u64, pages: std::ops::Range<u64>, through| {
            let bytes = pages.start * PAGE..pages.end * PAGE;
            let mapped = a.map(at * PAGE, &file, bytes, through, Rights::ReadWrite);
            mapped.expect("there is room");
        };
        map(10, 0..20, Through::Shared);
        map(40, 10..30, Through::Private);
        (10..30).for_each(|page| set(&a, page, page * 3));
        (45..50).for_each(|page| set(&a, page, page));
        a.protect(48 * PAGE..49 * PAGE, Rights::Read).expect("room");
        let before = all(&a, 5..65);
        let areas = a.areas().expect("it lives").len();
        assert_eq!(areas, 4);
        let fork = a.fork().expect("room");
        remap(&a, 5..65, 200);
        assert_eq!(memory.check(), Ok(()));
        assert_eq!((all(&a, 200..260), all(&a, 5..65)), (before.clone(), vec![0; 60]));
        assert_eq!(all(&fork, 5..65), before);
        let moved = a.areas().expect("it lives");
        assert_eq!((moved.len(), moved[0].start), (areas, 205 * PAGE));
        set(&a, 206, 1);
        set(&a, 241, 2);
        set(&a, 10, 3);
        assert_eq!((get(&fork, 11), get(&fork, 46), get(&fork, 10)), (1, 46, 30));
        let refused = a.write(243 * PAGE + 24, &[5; 8]);
        assert!(refused.is_err(), "it allows loads alone");
        assert_eq!(get(&a, 243), 48);
        file.sync(0..file.len()).expect("there is room on the disk");
        assert_eq!((on_disk(&disk.0, 1)[3], on_disk(&disk.0, 11)[3]), (1, 63));
        // A part of an area moves over another, and the rest stays where it is.
        remap(&a, 210..215, 238);
        let parts = (all(&a, 238..243), all(&a, 208..217));
        assert_eq!(parts.0, [45, 48, 51, 54, 57]);
        assert_eq!(parts.1, [39, 42, 0, 0, 0, 0, 0, 60, 63]);
        assert_eq!(memory.check(), Ok(()));
        drop((a, fork, file));
        assert_eq!(memory.check(), Ok(()));
    }
}

/// Goal: no store is lost that a thread makes to a range while it moves, again and again: each is
/// in what moved or in the zeros that follow. Method: threads add to words of a range; what they
/// added is collected from where it moved to, and at the end from the range itself.
#[test]
fn stores_meanwhile() {
    const ROUNDS: u64 = 300;
    for memory in memories(16 << 20) {
        let a = space(&memory, 256);
        let over = AtomicBool::new(false);
        let (added, collected) = std::thread::scope(|scope| {
            let adds = [0_u64, 1].map(|thread| {
                let (a, over) = (&a, &over);
                scope.spawn(move || {
                    let mut added = 0;
                    // Acquire: pairs with the store below; ends when enough has moved.
                    while !over.load(Ordering::Acquire) {
                        words(a, 8 * thread + added % 8)[3].fetch_add(1, WORD);
                        added += 1;
                    }
                    added
                })
            });
            let mut collected = 0;
            for round in 0..ROUNDS {
                remap(&a, 0..20, 100);
                collected += all(&a, 100..120).iter().sum::<u64>();
                if round % 7 == 0 {
                    a.evict().expect("it lives");
                }
                if round % 50 == 0 {
                    drop(a.fork().expect("room"));
                }
            }
            // Release: whoever sees it adds no more.
            over.store(true, Ordering::Release);
            let added = adds.map(|thread| thread.join().expect("it adds"));
            (added.iter().sum::<u64>(), collected)
        });
        assert!(a.take_failure().is_none());
        let rest: u64 = all(&a, 0..20).iter().sum();
        assert!(collected > ROUNDS, "{collected}");
        assert_eq!(collected + rest, added, "a store is lost, or there twice");
        assert_eq!(memory.check(), Ok(()));
    }
}

/// Goal: more moves than the budget has room for, through the store, and the budget holds.
#[test]
fn larger_than_the_budget() {
    const LIMIT: u64 = 4 << 20;
    for memory in memories(LIMIT) {
        let a = space(&memory, 8000);
        (0..3000).for_each(|page| set(&a, page, page + 1));
        remap(&a, 0..3000, 4000);
        assert_eq!(all(&a, 4000..7000), (1..3001).collect::<Vec<_>>());
        assert!((0..3000).all(|page| get(&a, page) == 0));
        assert!(memory.stats().usage.peak <= LIMIT);
        assert_eq!(memory.check(), Ok(()));
    }
}

/// Goal: what must be refused is, with a reason, and changes nothing.
#[test]
fn refusals() {
    let memory = memories(16 << 20).next().expect("one");
    let a = space(&memory, 64);
    (0..64).for_each(|page| set(&a, page, page));
    let refused = |range: std::ops::Range<u64>, to| a.remap(range, to).expect_err("it may not");
    let unaligned = [
        (0..PAGE - 1, 8 * PAGE),
        (1..PAGE, 8 * PAGE),
        (0..PAGE, 5),
        (PAGE..PAGE, 0),
    ];
    for (range, to) in unaligned {
        assert!(matches!(refused(range, to), Error::Unaligned));
    }
    for (range, to) in [(60 * PAGE..65 * PAGE, 0), (0..5 * PAGE, 60 * PAGE)] {
        let error = refused(range, to);
        assert!(matches!(error, Error::OutOfRange { .. }), "{error:?}");
    }
    let overlap = refused(0..5 * PAGE, 4 * PAGE);
    assert!(
        matches!(overlap, Error::Space(SpaceError::Overlap { .. })),
        "{overlap:?}"
    );
    let pinned = a.pin(10 * PAGE..11 * PAGE).expect("room");
    for (range, to) in [(8 * PAGE..12 * PAGE, 40 * PAGE), (40 * PAGE..44 * PAGE, 7 * PAGE)] {
        let error = refused(range, to);
        assert!(matches!(error, Error::Space(SpaceError::Pinned(_))), "{error:?}");
    }
    drop(pinned);
    assert_eq!(all(&a, 0..64), (0..64).collect::<Vec<_>>());
    assert!(a.areas().expect("it lives").is_empty());
    assert_eq!(memory.check(), Ok(()));
}
