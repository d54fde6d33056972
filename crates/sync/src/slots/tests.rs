//! Arrays that grow and give back: numbers, charges, holes.

use super::*;

/// Goal: numbers are unique while held, reused when freed, and growth is asked for first.
#[test]
fn alloc_free_reuse() {
    let slots = Slots::new(200, || 0u64);
    assert_eq!(slots.alloc(|_| false), None);
    let mut taken: Vec<u32> = (0..200).map(|_| slots.alloc(|_| true).unwrap()).collect();
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken.len(), 200);
    assert!(!taken.contains(&0));
    assert_eq!(slots.used(), 200);
    slots.free(taken[7]);
    assert_eq!(slots.used(), 199);
    assert_eq!(
        slots.held_bytes(),
        slots.base_bytes() + 4 * Slots::<u64>::chunk_bytes()
    );
    assert_eq!(slots.alloc(|_| panic!("no growth is needed")), Some(taken[7]));
}

/// Goal: the capacity is a limit.
#[test]
fn capacity_ends() {
    let slots = Slots::new(1, || ());
    let given = std::iter::from_fn(|| slots.alloc(|_| true)).count();
    assert_eq!(given, CHUNK as usize - 1);
}

/// Goal: what is kept is there for those who ask for it when the array cannot grow, and is not
/// given back; at its capacity, the array has no more to keep.
#[test]
fn some_are_kept() {
    let mut slots = Slots::new(3 * CHUNK, || ());
    let first: Vec<u32> = (0..CHUNK - 3)
        .map_while(|_| slots.alloc_leaving(2, |_| true))
        .collect();
    assert_eq!(slots.alloc_leaving(2, |_| false), None, "it would have to grow");
    assert_eq!(
        slots.held_bytes(),
        slots.base_bytes() + Slots::<()>::chunk_bytes()
    );
    let kept: Vec<u32> = std::iter::from_fn(|| slots.alloc_free()).collect();
    assert_eq!(kept.len(), 2);
    first.iter().chain(&kept).for_each(|&number| slots.free(number));
    assert!(!slots.has_spare(Giving::All, 2));
    assert_eq!(slots.give_back(u32::MAX, Giving::All, 2), 0);
    let all = std::iter::from_fn(|| slots.alloc_leaving(2, |_| true)).count();
    assert_eq!(all, 4 * CHUNK as usize - 1);
}

/// Goal: memory of chunks that are wholly free goes, their numbers come again with new items, and
/// what is in use stays. Method: many items, all freed but one here and there; then as many again.
#[test]
fn whole_chunks_go() {
    static MADE: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    // Relaxed: one thread.
    let make = || MADE.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut slots: Slots<u32> = Slots::new(100 * CHUNK, make);
    let taken: Vec<u32> = (0..100 * CHUNK).map_while(|_| slots.alloc(|_| true)).collect();
    assert!(!slots.has_spare(Giving::Spare, 0));
    // Chunks 20, 40, 60 and 80 keep an item each.
    let kept: Vec<u32> = (1..5).map(|n| n * 20 * CHUNK + n).collect();
    let items: Vec<u32> = kept.iter().map(|&number| *slots.get(number)).collect();
    let gone = taken.iter().copied().filter(|number| !kept.contains(number));
    gone.for_each(|number| slots.free(number));
    assert!(slots.has_spare(Giving::Spare, 0));
    let before = slots.held_bytes();
    assert_eq!(
        slots.give_back(10, Giving::Spare, 0),
        10 * Slots::<u32>::chunk_bytes()
    );
    assert_eq!(slots.held_bytes(), before - 10 * Slots::<u32>::chunk_bytes());
    // Of the chunks that there were, some stay beside those in use.
    let left = 4 + SPARE;
    while slots.give_back(10, Giving::Spare, 0) != 0 {}
    assert!(!slots.has_spare(Giving::Spare, 0));
    assert_eq!(
        slots.held_bytes(),
        slots.base_bytes() + u64::from(left) * Slots::<u32>::chunk_bytes()
    );
    assert_eq!(
        slots.numbers().count() as u32,
        left * CHUNK - u32::from(slots.peek(1).is_some())
    );
    assert_eq!(
        slots.give_back(u32::MAX, Giving::All, 0),
        u64::from(SPARE) * Slots::<u32>::chunk_bytes()
    );
    assert!(!slots.has_spare(Giving::All, 0));
    let now: Vec<u32> = kept.iter().map(|&number| *slots.get(number)).collect();
    assert_eq!(now, items, "items in use are the same");
    let missing = taken.len() - kept.len();
    let mut again: Vec<u32> = (0..missing).map_while(|_| slots.alloc(|_| true)).collect();
    again.extend(&kept);
    again.sort_unstable();
    assert!(again == taken, "each number is given out once");
    assert_eq!(slots.used() as usize, taken.len());
}
