//! Pages that are given up until they are stored to (`Advice::Free`), on this machine, with both
//! deliveries.

#[path = "common/deliveries.rs"]
mod deliveries;
#[path = "common/file.rs"]
mod file;

use file::{PAGE, Temporary, WORD, WORDS, on_disk, words};
use memfold::{Advice, FileAccess, Memory, Rights, Space, SpaceSize, Through};
use std::sync::atomic::{AtomicBool, Ordering};

const PAGES: u64 = 512;

fn memories(limit: u64) -> impl Iterator<Item = Memory> {
    deliveries::memories(limit, |builder| builder)
}

/// Words of every page of a range, which do not compress.
fn fill(space: &Space, pages: std::ops::Range<u64>, salt: u64) {
    for page in pages {
        let mut noise = (page + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt;
        for word in &words(space, page)[..WORDS] {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            word.store(noise | 1, WORD);
        }
    }
    assert!(space.failure().is_none(), "{:?}", space.failure());
}

/// Goal: pages that were given up make room for others that do not compress, without being stored;
/// those that were stored to meanwhile stay, and the budget is kept. Method: three quarters of the
/// budget are given up, and as much is written elsewhere, which would not fit beside it.
#[test]
fn given_up_pages_make_room() {
    for memory in memories(8 << 20) {
        let create = || memory.create(SpaceSize::fixed(3 * PAGES * PAGE)).expect("room");
        let (space, other) = (create(), create());
        fill(&space, 0..3 * PAGES, 0);
        space.advise(0..3 * PAGES * PAGE, Advice::Free).expect("it may");
        for page in (0..3 * PAGES).step_by(64) {
            words(&space, page)[9].store(5, WORD);
        }
        fill(&other, 0..2 * PAGES, 7);
        let counts = memory.stats().counts;
        assert!(counts.given_up >= 3 * PAGES - 64, "{}", counts.given_up);
        assert!(counts.given_up_dropped > PAGES / 2, "{}", counts.given_up_dropped);
        assert!(counts.given_up_kept > 0);
        let mut zeros = 0;
        for page in 0..3 * PAGES {
            let words = words(&space, page);
            let (first, ninth) = (words[0].load(WORD), words[9].load(WORD));
            assert!(page % 64 != 0 || ninth == 5, "page {page} lost a store");
            assert!(
                page % 64 == 0 || (first == 0) == (ninth == 0),
                "page {page} is torn"
            );
            zeros += u64::from(first == 0);
        }
        assert!(zeros > PAGES / 2, "{zeros}");
        assert_eq!(memory.check(), Ok(()));
        let usage = memory.stats().usage;
        assert!(usage.peak <= usage.limit);
    }
}

/// Goal: pages of a file go back to it when that is asked for, stores written out before.
#[test]
fn pages_of_files_go_out() {
    for memory in memories(8 << 20) {
        let temporary = Temporary::new("out", 64);
        let file = memory
            .open(&temporary.0, FileAccess::ReadWrite)
            .expect("it is there");
        let space = memory.create(SpaceSize::fixed(128 * PAGE)).expect("room");
        space
            .map(0, &file, 0..64 * PAGE, Through::Shared, Rights::ReadWrite)
            .expect("it may");
        space.advise(0..64 * PAGE, Advice::Random).expect("it may");
        for page in 0..40 {
            words(&space, page)[3].store(page + 1, WORD);
        }
        // Who resolves faults counts a page as dirty after the store went on, and before the next.
        words(&space, 63)[0].load(WORD);
        let pages = || (memory.stats().files.resident, memory.stats().files.dirty);
        assert_eq!(pages(), (41, 40));
        space.advise(0..30 * PAGE, Advice::PageOut).expect("it may");
        assert_eq!(pages(), (11, 10));
        assert_eq!([29, 30].map(|page| on_disk(&temporary.0, page)[3]), [30, 0]);
        assert!((0..40).all(|page| words(&space, page)[3].load(WORD) == page + 1));
        assert_eq!(memory.check(), Ok(()));
    }
}

/// Goal: no store after an advice is lost, whenever the page goes. Method: a thread gives pages up,
/// stores to some and looks at them until the next time, while another one fills the budget, and
/// has them go out again and again.
#[test]
fn a_store_is_never_lost() {
    for memory in memories(8 << 20) {
        let create = || memory.create(SpaceSize::fixed(3 * PAGES * PAGE)).expect("room");
        let (space, other) = (create(), create());
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut salt = 0;
                // Relaxed: nothing hangs on when it ends.
                while !ended.load(Ordering::Relaxed) {
                    salt += 1;
                    for page in 0..3 * PAGES {
                        words(&other, page)[3].store(page * 3 + salt, WORD);
                        if page % 64 == 0 {
                            space
                                .advise(0..PAGES / 4 * PAGE, Advice::PageOut)
                                .expect("it may");
                        }
                    }
                }
            });
            let mut gone = 0;
            for round in 1..200 {
                for page in 0..PAGES / 4 {
                    words(&space, page)[1].store(round, WORD);
                }
                space.advise(0..PAGES / 4 * PAGE, Advice::Free).expect("it may");
                for page in (0..PAGES / 4).step_by(2) {
                    words(&space, page)[2].store(round, WORD);
                }
                for _ in 0..4 {
                    for page in 0..PAGES / 4 {
                        let words = words(&space, page);
                        let [one, two] = [1, 2].map(|word: usize| words[word].load(WORD));
                        assert!([0, round].contains(&one), "page {page}: {one} in round {round}");
                        gone += u32::from(one == 0);
                        let stored = page.is_multiple_of(2);
                        assert!(!stored || two == round, "page {page}: {two} in round {round}");
                    }
                }
            }
            // Relaxed: as above.
            ended.store(true, Ordering::Relaxed);
            println!("{gone} times a page was found gone");
            assert!(gone > 100, "{gone}");
        });
        assert!(space.failure().is_none() && other.failure().is_none());
        assert_eq!(memory.check(), Ok(()));
    }
}
