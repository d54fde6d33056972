//! Taking back what a space wrote, on real memory: resets and discards.

use memfold::{Error, Memory, PAGE_SIZE, Space, SpaceError, SpaceSize, linux};

const MIB: u64 = 1 << 20;
const PAGE: u64 = PAGE_SIZE as u64;

fn memory(budget: u64) -> Memory {
    let memory = Memory::builder().budget_bytes(budget).build();
    memory.expect("userfaultfd works here")
}

/// Stores through the addresses, as a program does.
fn set(space: &Space, at: u64, value: u8) {
    assert!(at < space.len());
    // SAFETY: inside the space, which lives; nobody else uses it at the same time.
    unsafe { space.as_ptr().as_ptr().add(at as usize).write_volatile(value) }
}

fn byte(space: &Space, at: u64) -> u8 {
    assert!(at < space.len());
    // SAFETY: as `set`.
    unsafe { space.as_ptr().as_ptr().add(at as usize).read_volatile() }
}

/// What all pages begin with.
fn firsts(space: &Space) -> Vec<u8> {
    (0..space.len())
        .step_by(PAGE_SIZE)
        .map(|at| byte(space, at))
        .collect()
}

fn clean(memory: &Memory) {
    if let Err(all) = memory.check() {
        panic!("{}", all.join("\n"));
    }
}

/// 64 MiB, every page of which holds its number.
fn warm(memory: &Memory) -> Space {
    let space = memory.create(SpaceSize::fixed(64 * MIB)).expect("room");
    for page in 0..64 * MIB / PAGE {
        set(&space, page * PAGE, page as u8);
    }
    space
}

/// Goal: after each of many resets the space is the snapshot, byte for byte, at the same address,
/// and nothing is left behind: no memory, no descriptors, no mappings. Method: scattered stores,
/// loads in between that show pages, evictions now and then; the account, and the kernel's list of
/// mappings, before and after. `MEMFOLD_RESETS` says how many there are: ten millions in
/// `cargo xtask hostile`.
#[test]
fn many_resets_leave_nothing() {
    let rounds = std::env::var("MEMFOLD_RESETS").ok();
    let rounds = rounds.map_or(3000, |rounds| rounds.parse().expect("a number"));
    let memory = memory(256 * MIB);
    let snapshot = warm(&memory).freeze().expect("room");
    let space = snapshot.fork().expect("room");
    let base = space.as_ptr();
    let mut seed = 7_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % (64 * MIB / PAGE)
    };
    let mut round = |n: u32| {
        let pages: Vec<u64> = (0..20).map(|_| next()).collect();
        pages.iter().for_each(|page| set(&space, page * PAGE, 0xee));
        if n.is_multiple_of(97) {
            space.evict_range(0..16 * MIB).expect("it lives");
        }
        space.reset_to(&snapshot).expect("related");
        for page in pages {
            assert_eq!(byte(&space, page * PAGE), page as u8, "round {n}, page {page}");
        }
    };
    (0..200).for_each(&mut round);
    assert_eq!(firsts(&space), firsts(&snapshot));
    let mappings = || {
        std::fs::read_to_string("/proc/self/maps")
            .expect("it can be read")
            .lines()
            .count()
    };
    let (usage, maps) = (memory.stats().usage, mappings());
    (0..rounds).for_each(&mut round);
    assert_eq!(firsts(&space), firsts(&snapshot));
    let after = memory.stats().usage;
    assert_eq!((after.private, after.tables), (usage.private, usage.tables));
    assert!(after.total <= usage.total + MIB, "{usage:?} {after:?}");
    assert!(mappings() <= maps + 4);
    assert_eq!(space.as_ptr(), base);
    clean(&memory);
}

/// Goal: the length comes back; what lay beyond is inaccessible, and zeros when the space grows
/// again.
#[test]
fn the_length_comes_back() {
    let memory = memory(64 * MIB);
    let size = SpaceSize {
        len: MIB,
        reserve: 16 * MIB,
    };
    let space = memory.create(size).expect("room");
    set(&space, 0, 1);
    let snapshot = space.freeze().expect("room");
    for _ in 0..3 {
        space.grow(9 * MIB).expect("room");
        set(&space, 8 * MIB, 7);
        assert_eq!(byte(&space, 9 * MIB - 1), 0);
        space.reset_to(&snapshot).expect("related");
        assert_eq!(space.len(), MIB);
        let mut out = [0];
        assert!(matches!(
            space.read(8 * MIB, &mut out),
            Err(Error::OutOfRange { .. })
        ));
        space.grow(9 * MIB).expect("room");
        assert_eq!((byte(&space, 8 * MIB), byte(&space, 0)), (0, 1));
        space.reset_to(&snapshot).expect("related");
        clean(&memory);
    }
}

/// Goal: discarded bytes are zeros, and memory comes back for whole pages; neighbours on the same
/// page stay, and so do relatives.
#[test]
fn discarded_bytes_are_zeros() {
    let memory = memory(256 * MIB);
    let space = memory.create(SpaceSize::fixed(4 * MIB)).expect("room");
    space.write(0, &vec![5; 4 * MIB as usize]).expect("room");
    let child = space.fork().expect("room");
    child.write(0, &vec![6; 4 * MIB as usize]).expect("room");
    let before = memory.stats().usage.total;
    child.discard(PAGE + 10..3 * MIB + 20).expect("room");
    assert!(memory.stats().usage.total < before - 2 * MIB);
    let mut all = vec![9; 4 * MIB as usize];
    child.read(0, &mut all).expect("it is there");
    let gone = PAGE + 10..3 * MIB + 20;
    let expected = |at: usize| if gone.contains(&(at as u64)) { 0 } else { 6 };
    assert!(all.iter().enumerate().all(|(at, &byte)| byte == expected(at)));
    space.read(0, &mut all).expect("it is there");
    assert!(all.iter().all(|&byte| byte == 5));
    child.discard(7..9).expect("room");
    child.discard(100..100).expect("nothing");
    assert_eq!([6, 7, 8, 9].map(|at| byte(&child, at)), [6, 0, 0, 6]);
    assert!(matches!(child.discard(0..5 * MIB), Err(Error::OutOfRange { .. })));
    clean(&memory);
}

/// Goal: what cannot be is refused, in words that say what can.
#[test]
fn refusals() {
    let (memory, other) = (memory(64 * MIB), memory(64 * MIB));
    let size = SpaceSize::fixed(MIB);
    let space = memory.create(size).expect("room");
    let child = space.fork().expect("room");
    let strangers = [
        memory.create(size).expect("room"),
        other.create(size).expect("room"),
    ];
    for stranger in &strangers {
        let error = child.reset_to(stranger).expect_err("they are strangers");
        assert!(
            matches!(error, Error::Space(SpaceError::NotRelated(_))),
            "{error}"
        );
        assert!(error.to_string().contains("a fork of"), "{error}");
    }
    let pinned = child.pin(0..1).expect("room");
    let error = child.reset_to(&space).expect_err("it is pinned");
    assert!(matches!(error, Error::Space(SpaceError::Pinned(_))), "{error}");
    drop(pinned);
    child.reset_to(&space).expect("related");
    linux::check_thread().expect("this thread can fault");
    clean(&memory);
}

/// Goal: what differs from a snapshot is told to the page, whether the kernel copied it unseen, a
/// fault did, or it is in the store; all else is equal byte for byte.
#[test]
fn what_differs_is_told() {
    let m = memory(256 * MIB);
    let snapshot = warm(&m).freeze().expect("room");
    let space = snapshot.fork().expect("room");
    assert!(space.dirty_since(&snapshot).expect("related").is_empty());
    let stored: Vec<u64> = (0..40).map(|n| n * n * 7).collect();
    for &page in &stored {
        set(&space, page * PAGE + 9, 1);
    }
    let pages = |space: &Space| -> Vec<u64> {
        let told = space.dirty_since(&snapshot).expect("related");
        assert!(told.iter().is_sorted_by(|a, b| a.end < b.start), "{told:?}");
        told.iter()
            .flat_map(|range| range.start / PAGE..range.end / PAGE)
            .collect()
    };
    assert_eq!(pages(&space), stored);
    space.evict().expect("it lives");
    assert_eq!(pages(&space), stored);
    for page in (0..64 * MIB / PAGE).filter(|page| !stored.contains(page)) {
        assert_eq!(byte(&space, page * PAGE), page as u8);
    }
    space.reset_to(&snapshot).expect("related");
    assert_eq!(pages(&space), []);
    clean(&m);
}

/// Goal: a space that becomes shorter gives back what stood behind its end, to the kernel as well,
/// with a second thread that stores before the end meanwhile; and that is zeros when it grows.
#[test]
fn a_shorter_space_gives_back() {
    let m = memory(256 * MIB);
    let space = warm(&m);
    let fork = space.fork().expect("room");
    let len = 16 * MIB;
    for round in 1..4 {
        for page in (0..64 * MIB / PAGE).step_by(3) {
            set(&space, page * PAGE, 100 + round);
        }
        std::thread::scope(|scope| {
            let before_the_end = || (0..len / PAGE).for_each(|page| set(&space, page * PAGE + 1, round));
            let storing = scope.spawn(before_the_end);
            space.shrink(len).expect("nothing keeps it");
            storing.join().expect("it stores to what is left");
        });
        assert_eq!(space.len(), len);
        assert!(m.stats().usage.private <= len + MIB, "{:?}", m.stats().usage);
        let stored = |page: u64| {
            if page.is_multiple_of(3) {
                100 + round
            } else {
                page as u8
            }
        };
        for page in 0..len / PAGE {
            let (first, second) = (byte(&space, page * PAGE), byte(&space, page * PAGE + 1));
            assert_eq!((first, second), (stored(page), round), "page {page}");
        }
        space.grow(64 * MIB).expect("the reserve has it");
        assert!((len / PAGE..64 * MIB / PAGE).all(|page| byte(&space, page * PAGE) == 0));
    }
    assert!((0..64 * MIB / PAGE).all(|page| byte(&fork, page * PAGE) == page as u8));
    clean(&m);
}
