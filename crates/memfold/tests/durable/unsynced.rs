//! Stores that nobody syncs are written out all the same, and nobody wakes up for it afterwards.

use super::{PAGE, Temporary, WORD, on_disk, words};
use memfold::{Delivery, FileAccess, MappedFile, Memory, Rights, Space, SpaceSize, Through};
use std::path::Path;
use std::time::{Duration, Instant};

const PAGES: u64 = 512;

fn mapped(memory: &Memory, path: &Path) -> (MappedFile, Space) {
    let file = memory.open(path, FileAccess::ReadWrite).expect("it is there");
    let space = memory.create(SpaceSize::fixed(PAGES * PAGE)).expect("room");
    let whole = 0..PAGES * PAGE;
    let mapped = space.map(0, &file, whole, Through::Shared, Rights::ReadWrite);
    mapped.expect("there is room");
    (file, space)
}

/// Waits until the file itself has the value on these pages.
fn arrives(path: &Path, pages: std::ops::Range<u64>, value: u64) {
    let end = Instant::now() + Duration::from_secs(30);
    for page in pages {
        while on_disk(path, page)[1] != value {
            assert!(Instant::now() < end, "page {page} was not written");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// How often the writer has gone to sleep, as the kernel counts.
fn naps() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux").flatten();
    let statuses = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
    let writers = statuses.filter(|status| status.starts_with("Name:\tmemfold-write\n"));
    let count = |status: String| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|count| count.trim().parse::<u64>().ok())
    };
    writers.filter_map(count).sum()
}

/// Goal: stores reach the file without a sync, in some intervals; stores go on meanwhile, and none
/// is lost; the thread sleeps while nothing waits. Method: pages of one file, the file itself, and
/// the kernel's count of voluntary switches.
#[test]
fn stores_are_written_without_a_sync() {
    for delivery in [Delivery::InThread, Delivery::Thread] {
        let builder = Memory::builder()
            .budget_bytes(16 << 20)
            .delivery(delivery)
            .write_back(Duration::from_millis(20));
        let memory = builder.build().expect("userfaultfd works here");
        let disk = Temporary::new("unsynced", PAGES);
        let (file, space) = mapped(&memory, &disk.0);
        for value in 1..4 {
            (0..64).for_each(|page| words(&space, page)[1].store(value, WORD));
            arrives(&disk.0, 0..64, value);
        }
        let end = Instant::now() + Duration::from_secs(30);
        while memory.stats().files.dirty != 0 {
            assert!(Instant::now() < end, "{:?}", memory.stats());
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(100));
        let before = naps();
        std::thread::sleep(Duration::from_millis(500));
        assert!(naps() - before <= 1, "it wakes up without work");
        assert_eq!(memory.check(), Ok(()));
        drop((space, file));
    }
}

/// Goal: where a tenth of the budget waits, nothing waits for the interval; without an interval
/// nothing is written before it must be, which is where a fifth of the budget waits.
#[test]
fn many_stores_do_not_wait() {
    let disk = Temporary::new("many", PAGES);
    let builder = Memory::builder().budget_bytes(8 << 20);
    let memory = builder.clone().write_back(Duration::from_secs(3600)).build();
    let memory = memory.expect("userfaultfd works here");
    let (file, space) = mapped(&memory, &disk.0);
    (0..PAGES).for_each(|page| words(&space, page)[1].store(7, WORD));
    // A tenth of the budget is 204 pages.
    arrives(&disk.0, 0..100, 7);
    drop((space, file, memory));
    let memory = builder.write_back(Duration::ZERO).build();
    let memory = memory.expect("userfaultfd works here");
    let (file, space) = mapped(&memory, &disk.0);
    (0..300).for_each(|page| words(&space, page)[1].store(8, WORD));
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(on_disk(&disk.0, 0)[1], 7);
    (300..PAGES).for_each(|page| words(&space, page)[1].store(8, WORD));
    assert_eq!(on_disk(&disk.0, 0)[1], 8);
    file.sync(0..file.len()).expect("there is room on the disk");
    arrives(&disk.0, 0..PAGES, 8);
    drop((space, file));
}
