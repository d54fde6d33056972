//! Real threads on real memory: two writers fault on the same and on different pages of the same
//! spaces, a third thread forks, checks, writes and drops children, the reclaimer runs all the time
//! because the budget is a fraction of what is written. Every page carries version stamps, one for
//! each writer; a child must show, for each stamp, a version between the one known before its fork
//! and the one known after, and must never change. A few seconds in the gate; `MEMFOLD_SECONDS`
//! makes it longer.

use memfold::{Delivery, Memory, PAGE_SIZE, Space, SpaceSize};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const SPACES: usize = 4;
const PAGES: usize = 256;
const WRITERS: usize = 2;

/// What each writer stored last: by space, page and writer.
struct Known(Vec<AtomicU64>);

impl Known {
    fn new() -> Self {
        Self((0..SPACES * PAGES * WRITERS).map(|_| AtomicU64::new(0)).collect())
    }

    fn at(&self, space: usize, page: usize, writer: usize) -> &AtomicU64 {
        &self.0[(space * PAGES + page) * WRITERS + writer]
    }
}

/// A small generator; the seed says which thread it is.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }
}

fn word(space: &Space, page: usize, writer: usize) -> &AtomicU64 {
    assert!(page < PAGES && writer < WRITERS);
    // SAFETY: inside the space, aligned, and only ever used as an atomic; the space outlives the
    // reference.
    unsafe {
        &*space
            .as_ptr()
            .as_ptr()
            .add(page * PAGE_SIZE + writer * 64)
            .cast::<AtomicU64>()
    }
}

/// A stamp names its place, so that a page in the wrong place is noticed as well.
fn stamp(space: usize, page: usize, writer: usize, version: u64) -> u64 {
    version << 32 | (space as u64) << 24 | (page as u64) << 8 | writer as u64 | 0x80
}

fn version(space: usize, page: usize, writer: usize, seen: u64) -> u64 {
    if seen == 0 {
        return 0;
    }
    let version = seen >> 32;
    assert_eq!(
        seen,
        stamp(space, page, writer, version),
        "space {space} page {page} shows another page's bytes"
    );
    version
}

fn write(spaces: &[Space], known: &Known, writer: usize, stop: &AtomicBool) -> u64 {
    let mut random = Random(0x9e37_79b9 + writer as u64);
    let mut stores = 0;
    // Relaxed: only a flag.
    while !stop.load(Ordering::Relaxed) {
        let (n, page) = (random.below(SPACES), random.below(PAGES));
        let place = word(&spaces[n], page, writer);
        // Relaxed: this thread's own stamp.
        let seen = version(n, page, writer, place.load(Ordering::Relaxed));
        // Relaxed: only this thread writes it.
        let last = known.at(n, page, writer).load(Ordering::Relaxed);
        assert_eq!(seen, last, "a store to space {n} page {page} was lost");
        if random.below(3) == 0 {
            // Relaxed: as above.
            place.store(stamp(n, page, writer, last + 1), Ordering::Relaxed);
            // Release: whoever sees the new version knows that it is stored.
            known.at(n, page, writer).store(last + 1, Ordering::Release);
            stores += 1;
        }
    }
    stores
}

/// What is known of every stamp of a space now.
fn snapshot(known: &Known, space: usize) -> Vec<u64> {
    let stamps = (0..PAGES).flat_map(|page| (0..WRITERS).map(move |w| (page, w)));
    // Acquire: pairs with the writer's release.
    stamps
        .map(|(page, w)| known.at(space, page, w).load(Ordering::Acquire))
        .collect()
}

fn check_child(child: &Space, n: usize, before: &[u64], after: &[u64], random: &mut Random) {
    let mut first = vec![0; before.len()];
    for round in 0..2 {
        for at in 0..before.len() {
            let (page, writer) = (at / WRITERS, at % WRITERS);
            // Relaxed: nobody writes to the child.
            let seen = version(n, page, writer, word(child, page, writer).load(Ordering::Relaxed));
            if round == 0 {
                // One store may have been under way that is not known yet.
                assert!(
                    (before[at]..=after[at] + 1).contains(&seen),
                    "child of {n}, page {page}: {seen} is not between {} and {}",
                    before[at],
                    after[at]
                );
                first[at] = seen;
            } else {
                assert_eq!(seen, first[at], "child of {n}, page {page} changed");
            }
        }
        if random.below(2) == 0 {
            child.evict().unwrap();
        }
    }
}

fn fork(spaces: &[Space], known: &Known, stop: &AtomicBool) -> u64 {
    let mut random = Random(77);
    let mut forks = 0;
    // Relaxed: only a flag.
    while !stop.load(Ordering::Relaxed) {
        let n = random.below(SPACES);
        let before = snapshot(known, n);
        let child = if random.below(8) == 0 {
            spaces[n].freeze()
        } else {
            spaces[n].fork()
        }
        .unwrap();
        let after = snapshot(known, n);
        let grandchild = child.fork().unwrap();
        check_child(&child, n, &before, &after, &mut random);
        for page in (0..PAGES).step_by(7) {
            // Relaxed: nobody else uses the child.
            word(&child, page, 0).store(1 << 63, Ordering::Relaxed);
        }
        if random.below(2) == 0 {
            drop(child);
        }
        check_child(&grandchild, n, &before, &after, &mut random);
        spaces[random.below(SPACES)]
            .evict_range(0..PAGE_SIZE as u64 * 40)
            .unwrap();
        forks += 2;
    }
    forks
}

fn seconds() -> u64 {
    std::env::var("MEMFOLD_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(4)
}

fn stress(delivery: Delivery) {
    let limit = 3 << 20;
    let memory = Memory::builder()
        .budget_bytes(limit)
        .delivery(delivery)
        .build()
        .unwrap();
    let size = SpaceSize::fixed((PAGES * PAGE_SIZE) as u64);
    let spaces: Vec<Space> = (0..SPACES).map(|_| memory.create(size).unwrap()).collect();
    let (known, stop) = (Known::new(), AtomicBool::new(false));
    let (stores, forks) = std::thread::scope(|scope| {
        let (spaces, known, stop) = (&spaces, &known, &stop);
        let writers: Vec<_> = (0..WRITERS)
            .map(|w| scope.spawn(move || write(spaces, known, w, stop)))
            .collect();
        let forker = scope.spawn(move || fork(spaces, known, stop));
        let end = Instant::now() + Duration::from_secs(seconds());
        while Instant::now() < end && !forker.is_finished() && writers.iter().all(|w| !w.is_finished()) {
            std::thread::sleep(Duration::from_millis(20));
        }
        // Relaxed: only a flag.
        stop.store(true, Ordering::Relaxed);
        let stores: u64 = writers.into_iter().map(|w| w.join().unwrap()).sum();
        (stores, forker.join().unwrap())
    });
    let stats = memory.stats();
    println!("{delivery:?}: {stores} stores, {forks} forks, {stats:?}");
    // For `cargo xtask campaign`.
    println!(
        "campaign: stores={stores} forks={forks} evictions={}",
        stats.counts.evictions
    );
    assert!(stats.usage.peak <= limit);
    assert!(
        stats.counts.evictions > 100 && stores > 100 && forks > 2,
        "nothing was tried"
    );
    if let Err(all) = memory.check() {
        panic!("{}", all.join("\n"));
    }
    drop(spaces);
    let usage = memory.stats().usage;
    assert_eq!((usage.private, usage.pool), (0, 0));
}

/// Goal: no wrong byte when faults run in the faulting threads.
#[test]
fn in_thread() {
    stress(Delivery::InThread);
}

/// Goal: the same when a handler thread resolves them.
#[test]
fn by_handler_thread() {
    stress(Delivery::Thread);
}

/// Goal: `write` and `read` may be called by any threads at once, by safe code. Method: two writers
/// of words of their own kind and a reader, over all alignments; each aligned word is one of the
/// two, whole; ThreadSanitizer sees no race.
#[test]
fn writers_at_once() {
    let memory = Memory::builder().build().expect("userfaultfd");
    let space = memory
        .create(SpaceSize::fixed(4 * PAGE_SIZE as u64))
        .expect("room");
    let rounds = 300;
    std::thread::scope(|scope| {
        for value in [3u8, 5] {
            let space = &space;
            scope.spawn(move || {
                for round in 0..rounds {
                    let start = 8192 - 64 + round % 17;
                    space
                        .write(start, &vec![value; 100 + round as usize % 9])
                        .expect("room");
                }
            });
        }
        for _ in 0..rounds {
            let mut seen = [0; 64];
            space.read(8192, &mut seen).expect("room");
            for word in seen[24..32].chunks(8) {
                assert!(
                    [0, 3, 5].contains(&word[0]) && word.iter().all(|&byte| byte == word[0]),
                    "{word:?}"
                );
            }
        }
    });
}
