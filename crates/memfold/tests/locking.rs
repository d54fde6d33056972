//! Locked memory on this machine, with both deliveries.

#[path = "common/deliveries.rs"]
mod deliveries;
#[path = "common/file.rs"]
mod file;

use file::{PAGE, Temporary, WORD, on_disk, words};
use memfold::{Advice, Error, FileAccess, Memory, Rights, Space, SpaceError, SpaceSize, Through};

const PAGES: u64 = 512;

fn memories(limit: u64) -> impl Iterator<Item = Memory> {
    deliveries::memories(limit, |builder| builder)
}

/// One word of each page of a range.
fn fill(space: &Space, pages: std::ops::Range<u64>) {
    for page in pages {
        words(space, page)[3].store(page + 1, WORD);
    }
    assert!(space.failure().is_none(), "{:?}", space.failure());
}

fn is_filled(space: &Space, pages: std::ops::Range<u64>) {
    for page in pages {
        assert_eq!(words(space, page)[3].load(WORD), page + 1);
    }
    assert!(space.failure().is_none(), "{:?}", space.failure());
}

/// Goal: locked pages stay while four times the budget is written beside them, in the space, in a
/// fork of it and in another; each store to one of them goes on; unlocked they go like any.
#[test]
fn locked_memory_stays() {
    for memory in memories(8 << 20) {
        let create = || memory.create(SpaceSize::fixed(2 * PAGES * PAGE)).expect("room");
        let (space, other) = (create(), create());
        fill(&space, 0..PAGES);
        assert!(space.evict().expect("it lives") > 0);
        space.lock(0..PAGES * PAGE).expect("there is room");
        assert_eq!((space.stats().locked, space.stats().exclusive), (512, 512));
        let fork = space.fork().expect("room");
        assert_eq!(fork.stats().locked, 0);
        for _ in 0..2 {
            fill(&other, 0..2 * PAGES);
            fill(&fork, PAGES..2 * PAGES);
            fill(&space, PAGES..2 * PAGES);
        }
        let stats = space.stats();
        assert!(memory.stats().counts.evictions > 512);
        assert_eq!(
            memory.check(),
            Ok(()),
            "which says that locked pages are in memory"
        );
        let before = memory.stats().counts.swapped_in;
        is_filled(&space, 0..PAGES);
        assert_eq!(memory.stats().counts.swapped_in, before);
        drop(fork);
        fill(&space, 0..PAGES);
        assert_eq!(memory.stats().counts.locked_pages, 512);
        space.unlock(0..PAGES * PAGE).expect("room for no area");
        assert!(space.areas().expect("it lives").is_empty());
        fill(&other, 0..2 * PAGES);
        space.evict().expect("it lives");
        assert_eq!(space.stats().swapped, stats.len);
        is_filled(&space, 0..2 * PAGES);
        assert_eq!(memory.check(), Ok(()));
    }
}

/// Goal: areas tell what was advised and what is locked, as they are split; a lock that has no room
/// is refused with what it lacks, and changes no area; what is locked is not given up.
#[test]
fn areas_tell() {
    let memory = memories(8 << 20).next().expect("one");
    let space = memory.create(SpaceSize::fixed(8 * PAGES * PAGE)).expect("room");
    let disk = Temporary::new("locked", 64);
    let file = memory.open(&disk.0, FileAccess::ReadWrite).expect("it is there");
    let bytes = 0..64 * PAGE;
    let mapped = space.map(0, &file, bytes, Through::Shared, Rights::ReadWrite);
    mapped.expect("there is room");
    space.advise(0..16 * PAGE, Advice::Random).expect("room");
    space.advise(8 * PAGE..16 * PAGE, Advice::DontFork).expect("room");
    space.lock(12 * PAGE..32 * PAGE).expect("room");
    let areas = space.areas().expect("it lives");
    let told = areas
        .iter()
        .map(|area| (area.end / PAGE, area.order, area.in_fork, area.locked));
    let (normal, random, same) = (Advice::Normal, Advice::Random, Advice::DoFork);
    let wanted = [
        (8, random, same, false),
        (12, random, Advice::DontFork, false),
        (16, random, Advice::DontFork, true),
        (32, normal, same, true),
        (64, normal, same, false),
    ];
    assert_eq!(told.collect::<Vec<_>>(), wanted);
    let refused = space.lock(0..8 * PAGES * PAGE);
    let no_room = SpaceError::NoRoomToLock {
        pages: 8 * PAGES as u32 - 20,
        locked: 20,
        limit: 8 << 20,
    };
    assert!(
        matches!(refused, Err(Error::Space(error)) if error == no_room),
        "{refused:?}"
    );
    assert_eq!(space.areas().expect("it lives"), areas);
    let given_up = space.advise(0..16 * PAGE, Advice::DontNeed);
    assert!(
        matches!(given_up, Err(Error::Space(SpaceError::Locked(_)))),
        "{given_up:?}"
    );
    assert!(matches!(space.lock(1..PAGE), Err(Error::Unaligned)));
    assert!(matches!(space.unlock(0..1 << 40), Err(Error::OutOfRange { .. })));
    words(&space, 20)[3].store(7, WORD);
    file.sync(0..file.len()).expect("there is room on the disk");
    assert_eq!(on_disk(&disk.0, 20)[3], 7);
    drop((space, file));
    assert_eq!((memory.check(), memory.stats().counts.locked_pages), (Ok(()), 0));
}
