//! Goal: merging on real memory: equal pages of relatives hold memory once, and no byte is wrong
//! whatever runs beside it. Method: families that are filled alike; then the stress of `stress.rs`
//! with few contents, so that pages keep becoming equal, the background merger, whole rounds,
//! unmerging, forks, evictions and pins all at once. A few seconds in the gate; `MEMFOLD_SECONDS`
//! makes it longer.

use memfold::{Delivery, Domain, Memory, Merging, PAGE_SIZE, Space, SpaceSize};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const PAGES: usize = 256;
const SIZE: u64 = (PAGES * PAGE_SIZE) as u64;

fn family(memory: &Memory, n: usize, domain: Domain) -> Vec<Space> {
    let root = memory.create_in(SpaceSize::fixed(SIZE), domain).unwrap();
    root.set_merging(Merging::On).unwrap();
    (0..n).map(|_| root.fork().unwrap()).collect()
}

fn word(space: &Space, page: usize, n: usize) -> &AtomicU64 {
    assert!(page < PAGES && n < PAGE_SIZE / 8);
    // SAFETY: inside the space, aligned, and only ever used as an atomic; the space outlives the
    // reference.
    unsafe {
        &*space
            .as_ptr()
            .as_ptr()
            .add(page * PAGE_SIZE + n * 8)
            .cast::<AtomicU64>()
    }
}

fn fill(space: &Space, page: usize, value: u64) {
    for n in 0..PAGE_SIZE / 8 {
        // Relaxed: one thread at a time.
        word(space, page, n).store(value, Ordering::Relaxed);
    }
}

fn expect(space: &Space, page: usize, value: u64) {
    for n in 0..PAGE_SIZE / 8 {
        // Relaxed: one thread at a time.
        assert_eq!(word(space, page, n).load(Ordering::Relaxed), value, "page {page}");
    }
}

fn check(memory: &Memory) {
    if let Err(all) = memory.check() {
        panic!("{}", all.join("\n"));
    }
}

/// Goal: equal pages are held once, zeros not at all; stores break them apart; unmerging gives all
/// of them back.
#[test]
fn relatives_share_what_is_equal() {
    for delivery in [Delivery::InThread, Delivery::Thread] {
        let memory = Memory::builder().delivery(delivery).build().unwrap();
        let spaces = family(&memory, 6, Domain(1));
        for (s, space) in spaces.iter().enumerate() {
            (0..PAGES).for_each(|page| {
                fill(
                    space,
                    page,
                    ((page as u64 % 8) << 32) | (u64::from(page >= 250) * s as u64),
                )
            });
        }
        let held = |m: &Memory| (m.stats().usage.private + m.stats().usage.pool) / PAGE_SIZE as u64;
        assert_eq!(held(&memory), 6 * 256);
        let step = memory.merge_now().unwrap();
        assert_eq!((step.scanned, step.zeroed), (6 * 256, 6 * 32));
        assert_eq!(held(&memory), 250 - 32 + 36);
        assert_eq!(memory.sharing(Some(Domain(1))).saved_pages(), step.merged);
        assert_eq!(memory.sharing(Some(Domain(0))).pages, 0);
        check(&memory);
        fill(&spaces[3], 5, 99);
        for (s, space) in spaces.iter().enumerate() {
            for page in 0..PAGES {
                let usual = ((page as u64 % 8) << 32) | (u64::from(page >= 250) * s as u64);
                expect(space, page, if (s, page) == (3, 5) { 99 } else { usual });
            }
        }
        let shared = u64::from(spaces[0].stats().shared);
        assert_eq!(spaces[0].unmerge().unwrap(), shared);
        assert_eq!(spaces[0].stats().shared, 0);
        check(&memory);
        drop(spaces);
        let usage = memory.stats().usage;
        assert_eq!((usage.private, usage.pool), (0, 0));
    }
}

/// Goal: no page of one domain is ever one with a page of another. Method: the same pages in
/// families of three domains.
#[test]
fn domains_stay_apart() {
    let memory = Memory::builder().build().unwrap();
    let families: Vec<Vec<Space>> = (0..3).map(|d| family(&memory, 3, Domain(d))).collect();
    for space in families.iter().flatten() {
        (0..PAGES).for_each(|page| fill(space, page, 7 + page as u64));
    }
    let step = memory.merge_now().unwrap();
    assert_eq!(step.merged, 3 * 2 * PAGES as u64);
    for domain in 0..3 {
        let sharing = memory.sharing(Some(Domain(domain)));
        assert_eq!((sharing.frames, sharing.saved_pages()), (256, 512));
    }
    assert_eq!(memory.sharing(None).frames, 3 * 256);
    check(&memory);
}

/// Goal: how long the first store to a page takes does not depend on what another domain holds.
/// Method: medians of stores to a family's merged pages with equal and with different pages in
/// another domain, in turns; beside them the store to a page of its own, which is what the clock
/// can tell.
#[test]
fn write_latency_tells_nothing_across_domains() {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..12 {
        let memory = Memory::builder().build().unwrap();
        let (mine, theirs) = (family(&memory, 2, Domain(0)), family(&memory, 2, Domain(1)));
        let equal = round % 2;
        for page in 0..PAGES {
            mine.iter().for_each(|space| fill(space, page, 7 + page as u64));
            let other = 7 + page as u64 + 1000 * (1 - equal as u64);
            theirs.iter().for_each(|space| fill(space, page, other));
        }
        assert_eq!(memory.merge_now().unwrap().merged, 2 * PAGES as u64);
        for page in 0..PAGES {
            let begin = Instant::now();
            // Relaxed: one thread.
            word(&mine[0], page, 0).store(1, Ordering::Relaxed);
            times[equal].push(begin.elapsed());
        }
        // The same work in both: one copy a page.
        assert_eq!(memory.stats().counts.copied, PAGES as u64);
    }
    let median = |t: &mut Vec<Duration>| {
        t.sort_unstable();
        t[t.len() / 2].as_secs_f64() * 1e6
    };
    let [different, equal] = &mut times;
    let (different, equal) = (median(different), median(equal));
    println!("first store: {equal:.2} us with equal pages in another domain, {different:.2} us without");
    assert!(
        (0.5..2.0).contains(&(equal / different)),
        "{equal} and {different} us"
    );
}

/// Goal: pages that are equal are merged in the background, within its share of a core.
#[test]
fn the_background_keeps_to_its_share() {
    let memory = Memory::builder()
        .merging(Merging::On)
        .merge_cpu_percent(10.0)
        .build()
        .unwrap();
    let root = memory.create(SpaceSize::fixed(SIZE)).unwrap();
    let spaces: Vec<Space> = (0..8).map(|_| root.fork().unwrap()).collect();
    for space in &spaces {
        (0..PAGES).for_each(|page| fill(space, page, 7 + page as u64));
    }
    let (begin, cpu) = (Instant::now(), memory.stats().merge_cpu);
    let end = begin + Duration::from_secs(20);
    while memory.stats().counts.merged < 7 * PAGES as u64 {
        assert!(Instant::now() < end, "{:?}", memory.stats().counts);
        std::thread::sleep(Duration::from_millis(5));
    }
    let share = (memory.stats().merge_cpu - cpu).as_secs_f64() / begin.elapsed().as_secs_f64();
    println!("{:?}, {:.1} % of a core", begin.elapsed(), share * 100.0);
    for space in &spaces {
        (0..PAGES).for_each(|page| expect(space, page, 7 + page as u64));
    }
    check(&memory);
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

const WRITERS: usize = 2;

/// Each writer has a word in every page of every space, in which it counts in small numbers: pages
/// are often equal.
fn write(spaces: &[Space], writer: usize, stop: &AtomicBool) -> u64 {
    let mut random = Random(0x9e37_79b9 + writer as u64);
    let mut known = vec![0; spaces.len() * PAGES];
    let mut stores = 0;
    // Relaxed: only a flag.
    while !stop.load(Ordering::Relaxed) {
        let (n, page) = (random.below(spaces.len()), random.below(PAGES));
        let place = word(&spaces[n], page, writer * 64);
        let known = &mut known[n * PAGES + page];
        // Relaxed: this thread's own word.
        let seen = place.load(Ordering::Relaxed);
        assert_eq!(
            seen, *known,
            "a store of writer {writer} to space {n} page {page} was lost"
        );
        if random.below(4) == 0 {
            *known = (*known + 1) % 3;
            // Relaxed: as above.
            place.store(*known, Ordering::Relaxed);
            stores += 1;
        }
        if random.below(64) == 0 {
            let at = (page * PAGE_SIZE) as u64;
            let pinned = spaces[n].pin(at..at + 8192.min(SIZE - at)).unwrap();
            *known = (*known + 1) % 3;
            // Relaxed: as above; the page is held, as a system call would have it.
            place.store(*known, Ordering::Relaxed);
            drop(pinned);
        }
    }
    stores
}

/// Forks, looks twice and drops; evicts, unmerges and merges in between.
fn disturb(memory: &Memory, spaces: &[Space], stop: &AtomicBool) -> u64 {
    let mut random = Random(77);
    let mut forks = 0;
    // Relaxed: only a flag.
    while !stop.load(Ordering::Relaxed) {
        let n = random.below(spaces.len());
        let child = spaces[n].fork().unwrap();
        let look = |child: &Space| -> Vec<u64> {
            let words = (0..PAGES).flat_map(|page| (0..WRITERS).map(move |w| (page, w * 64)));
            // Relaxed: nobody writes to the child.
            words
                .map(|(page, w)| word(child, page, w).load(Ordering::Relaxed))
                .collect()
        };
        let first = look(&child);
        assert!(first.iter().all(|&value| value < 3), "a word that nobody wrote");
        match random.below(5) {
            0 => drop(child.unmerge().unwrap()),
            1 => drop(spaces[random.below(spaces.len())].unmerge().unwrap()),
            2 => drop(memory.merge_now().unwrap()),
            3 => drop(child.merge_now().unwrap()),
            _ => drop(spaces[n].evict_range(0..SIZE / 4).unwrap()),
        }
        assert_eq!(look(&child), first, "a fork changed");
        forks += 1;
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
    let limit = 5 << 20;
    let memory = Memory::builder()
        .budget_bytes(limit)
        .delivery(delivery)
        .merge_cpu_percent(60.0)
        .build()
        .unwrap();
    let spaces = family(&memory, 5, Domain(0));
    let stop = AtomicBool::new(false);
    let (stores, forks) = std::thread::scope(|scope| {
        let (memory, spaces, stop) = (&memory, &spaces, &stop);
        let writers: Vec<_> = (0..WRITERS)
            .map(|w| scope.spawn(move || write(spaces, w, stop)))
            .collect();
        let disturber = scope.spawn(move || disturb(memory, spaces, stop));
        let end = Instant::now() + Duration::from_secs(seconds());
        while Instant::now() < end && !disturber.is_finished() && writers.iter().all(|w| !w.is_finished()) {
            std::thread::sleep(Duration::from_millis(20));
        }
        // Relaxed: only a flag.
        stop.store(true, Ordering::Relaxed);
        let stores: u64 = writers.into_iter().map(|w| w.join().unwrap()).sum();
        (stores, disturber.join().unwrap())
    });
    let counts = memory.stats().counts;
    println!("{delivery:?}: {stores} stores, {forks} forks, {counts:?}");
    // For `cargo xtask campaign`.
    println!(
        "campaign: stores={stores} forks={forks} evictions={} merged={}",
        counts.evictions, counts.merged
    );
    assert!(memory.stats().usage.peak <= limit);
    assert!(
        counts.merged > 100 && stores > 100 && forks > 2,
        "nothing was tried"
    );
    check(&memory);
    drop(spaces);
    let usage = memory.stats().usage;
    assert_eq!((usage.private, usage.pool), (0, 0));
}

/// Goal: no wrong byte when faults run in the faulting threads.
#[test]
fn stress_in_thread() {
    stress(Delivery::InThread);
}

/// Goal: the same when a handler thread resolves them.
#[test]
fn stress_by_handler_thread() {
    stress(Delivery::Thread);
}
