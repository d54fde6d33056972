//! A memory with nothing to do costs nothing: its threads sleep until something happens, and wake
//! when it does.

use crate::child::isolated;
use crate::stamps::{DELIVERIES, PAGES, builder, stamp, stamped, strange};
use memfold::{Memory, Merging, PAGE_SIZE, Space, SpaceSize};
use std::time::{Duration, Instant};

/// How often threads of this process whose names begin so have gone to sleep, as the kernel counts.
fn naps(names: &str) -> u64 {
    let mut sum = 0;
    for task in std::fs::read_dir("/proc/self/task").expect("Linux").flatten() {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or("").trim().to_owned()
        };
        if field("Name:").starts_with(names) {
            sum += field("voluntary_ctxt_switches:")
                .parse::<u64>()
                .expect("a number");
        }
    }
    sum
}

/// A memory with all its threads, and four spaces, equal, that may merge.
fn busy(delivery: memfold::Delivery) -> (Memory, Vec<Space>) {
    let memory = builder(delivery)
        .budget_bytes(16 << 20)
        .merging(Merging::On)
        .merge_cpu_percent(20.0);
    let memory = memory.build().expect("userfaultfd");
    let size = SpaceSize::fixed((PAGES * PAGE_SIZE) as u64);
    let pristine = memory.create(size).expect("room");
    let forks = (0..4).map(|_| pristine.fork().expect("room"));
    let spaces: Vec<_> = forks.collect();
    spaces.iter().for_each(|space| stamp(space, 1));
    (memory, spaces)
}

/// Waits until so many pages were merged.
fn merged(memory: &Memory, pages: u64) {
    let end = Instant::now() + Duration::from_secs(20);
    while memory.stats().counts.merged < pages {
        assert!(Instant::now() < end, "{:?}", memory.stats().counts);
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Goal: no wake-ups without work, in no thread of ours; and work wakes them. Method: the kernel's
/// count of voluntary switches over two seconds, after everything was merged; then pages that are
/// equal again, a full budget, and the end.
#[test]
fn no_wake_ups() {
    isolated("idle::no_wake_ups", || {
        for delivery in DELIVERIES {
            let (memory, spaces) = busy(delivery);
            let all = 3 * PAGES as u64;
            merged(&memory, all);
            // A few quiet rounds, and then it sleeps.
            std::thread::sleep(Duration::from_millis(1500));
            let before = naps("memfold-");
            std::thread::sleep(Duration::from_secs(2));
            let naps_of_two_seconds = naps("memfold-") - before;
            assert!(naps_of_two_seconds <= 3, "{delivery:?}: {naps_of_two_seconds}");

            spaces.iter().for_each(|space| stamp(space, 2));
            merged(&memory, 2 * all);
            let evicted = memory.stats().counts.evictions;
            let large = memory.create(SpaceSize::fixed(32 << 20)).expect("room");
            for page in 0..8192 {
                let at = (page * PAGE_SIZE) as u64;
                large.write(at, &[page as u8; 2000]).expect("room");
            }
            // The reclaimer goes on to its mark after the last fault.
            let end = Instant::now() + Duration::from_secs(20);
            while memory.stats().usage.total > (16 << 20) - (384 << 10) {
                assert!(Instant::now() < end, "{:?}", memory.stats().usage);
                std::thread::sleep(Duration::from_millis(10));
            }
            assert!(memory.stats().counts.evictions > evicted);
            assert_eq!(spaces.iter().map(|space| strange(space, 2)).sum::<usize>(), 0);
            drop((large, spaces, memory));
            let end = Instant::now() + Duration::from_secs(10);
            while naps("memfold-") != 0 {
                assert!(Instant::now() < end, "the threads end with their memory");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    });
}

/// Goal: a memory that has nothing to merge sleeps from the start. Method: as above, with a space
/// that takes no part.
#[test]
fn nothing_to_merge() {
    isolated("idle::nothing_to_merge", || {
        for delivery in DELIVERIES {
            let memory = builder(delivery)
                .budget_bytes(16 << 20)
                .merge_cpu_percent(5.0)
                .build()
                .expect("userfaultfd");
            let _space = stamped(&memory, 1);
            std::thread::sleep(Duration::from_millis(500));
            let before = naps("memfold-");
            std::thread::sleep(Duration::from_secs(2));
            assert!(naps("memfold-") - before <= 3);
        }
    });
}
