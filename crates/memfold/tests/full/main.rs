//! The full budget, judged from outside: bytes by an oracle, what is held by what the kernel
//! counts.
//!
//! Each scenario runs in a process of its own, so that the kernel's counts are of one memory alone,
//! and a process may end.

#[path = "../common/child.rs"]
mod child;
mod noise;
mod outside;
mod still;
#[path = "../common/words.rs"]
mod words;

use child::{End, in_child};
use memfold::{Delivery, Failure, Memory, OnLoss, PAGE_SIZE, Space, SpaceSize};
use outside::held_bytes;
use std::time::{Duration, Instant};
use words::{load, pages, store, word};

/// What a child may take.
const LIMIT: Duration = Duration::from_secs(30);
const MIB: u64 = 1 << 20;
const BOTH: [Delivery; 2] = [Delivery::InThread, Delivery::Thread];

/// The words of a page that does not compress.
fn noise(seed: u64) -> impl Iterator<Item = u64> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..PAGE_SIZE / 8).map(move |_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    })
}

/// Writes such a page by plain stores.
fn fill(space: &Space, page: u64, seed: u64) {
    let at = word(space, page);
    for (n, value) in noise(seed).enumerate() {
        // SAFETY: inside the page.
        unsafe { at.add(n).write_volatile(value) };
    }
}

fn is_filled(space: &Space, page: u64, seed: u64) -> bool {
    let at = word(space, page);
    // SAFETY: inside the page.
    noise(seed)
        .enumerate()
        .all(|(n, value)| unsafe { at.add(n).read_volatile() } == value)
}

/// Writes noise until a page finds no room; which one.
fn fill_up(space: &Space, seed: u64) -> u64 {
    fill_from(space, 0, seed)
}

/// The same from a page on.
fn fill_from(space: &Space, first: u64, seed: u64) -> u64 {
    let end = (first..pages(space)).find(|&page| {
        fill(space, page, seed ^ page);
        space.failure().is_some()
    });
    let end = end.expect("the space is larger than the budget");
    let failure = space.take_failure();
    assert!(matches!(failure, Some(Failure::OverBudget { .. })), "{failure:?}");
    end
}

fn memory(budget: u64, delivery: Delivery) -> Memory {
    Memory::builder()
        .budget_bytes(budget)
        .delivery(delivery)
        .on_loss(OnLoss::Sink)
        .build()
        .expect("userfaultfd works here")
}

fn clean(memory: &Memory) {
    if let Err(all) = memory.check() {
        panic!("{}", all.join("\n"));
    }
}

fn alone(test: &str, body: impl FnOnce()) {
    if let Some((end, output)) = in_child(test, LIMIT, body) {
        assert_eq!(end, End::Code(0), "{output}");
    }
}

/// Goal: a parent's store to a page that a fork shares does not reach the fork when there is no
/// room for a copy: it is lost, the parent knows, and has its old byte again. Method: all pages of
/// a parent, exported to a live fork, are stored to in a full budget; then the fork's, and the
/// parent's, bytes are read.
#[test]
fn a_store_without_room_reaches_nobody() {
    alone("a_store_without_room_reaches_nobody", || {
        for delivery in BOTH {
            let m = memory(8 * MIB, delivery);
            let parent = m.create(SpaceSize::fixed(2 * MIB)).unwrap();
            (0..pages(&parent)).for_each(|page| fill(&parent, page, page));
            let child = parent.fork().unwrap();
            let other = m.create(SpaceSize::fixed(32 * MIB)).unwrap();
            let end = fill_up(&other, 1 << 32);
            let mut lost = 0;
            for page in 0..pages(&parent) {
                store(&parent, page, 0xbad);
                match parent.failure() {
                    Some(_) => lost += 1,
                    // It found room.
                    None => assert_eq!(load(&parent, page), 0xbad),
                }
            }
            assert!(lost > 0, "every store found room");
            assert!(parent.take_failure().is_some());
            for page in 0..pages(&parent) {
                assert!(is_filled(&child, page, page), "page {page} of the fork");
                let kept = load(&parent, page) == 0xbad;
                assert!(
                    kept || is_filled(&parent, page, page),
                    "page {page} of the parent"
                );
            }
            assert!((0..end).all(|page| is_filled(&other, page, (1 << 32) ^ page)));
            assert_eq!((child.take_failure(), other.take_failure()), (None, None));
            clean(&m);
        }
    });
}

/// Goal: stores far beyond the budget hold no more than the budget, and end at once after the first
/// that is refused. Method: a copy of 32 MiB of noise by host code, in 16 MiB; what the kernel
/// counts.
#[test]
fn stores_beyond_the_budget_hold_nothing() {
    alone("stores_beyond_the_budget_hold_nothing", || {
        for delivery in BOTH {
            let m = memory(16 * MIB, delivery);
            let space = m.create(SpaceSize::fixed(32 * MIB)).unwrap();
            let begin = Instant::now();
            let mut most = 0;
            for page in 0..pages(&space) {
                fill(&space, page, page);
                if page % 64 == 0 {
                    most = most.max(held_bytes());
                }
            }
            most = most.max(held_bytes());
            assert!(most <= 16 * MIB, "{most} bytes are held in a budget of 16 MiB");
            assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
            let failure = space.take_failure();
            let Some(Failure::OverBudget { page, .. }) = failure else {
                panic!("{failure:?}")
            };
            assert!((0..u64::from(page.0)).all(|page| is_filled(&space, page, page)));
            assert_eq!(load(&space, pages(&space) - 1), 0, "a lost store is gone");
            assert_eq!(space.take_failure(), None);
            clean(&m);
        }
    });
}

/// Goal: what was evicted comes back, page by page, when others have filled the budget with what
/// does not compress and go on wanting more. Method: noise of forks is evicted, another space fills
/// the budget; then every page is read and stored to.
#[test]
fn what_was_evicted_comes_back() {
    alone("what_was_evicted_comes_back", || {
        for delivery in BOTH {
            let m = memory(16 * MIB, delivery);
            let parent = m.create(SpaceSize::fixed(MIB)).unwrap();
            (0..pages(&parent)).for_each(|page| fill(&parent, page, page));
            let forks: Vec<_> = (0..2).map(|_| parent.fork().unwrap()).collect();
            for (n, fork) in forks.iter().enumerate() {
                (0..pages(fork)).for_each(|page| fill(fork, page, (page << 8) | (n as u64 + 1)));
                fork.evict().unwrap();
            }
            let other = m.create(SpaceSize::fixed(32 * MIB)).unwrap();
            let mut end = fill_up(&other, 1 << 32);
            for round in 0..2 {
                for (n, fork) in forks.iter().enumerate() {
                    for page in 0..pages(fork) {
                        assert!(is_filled(fork, page, (page << 8) | (n as u64 + 1)), "page {page}");
                    }
                    assert_eq!(fork.take_failure(), None, "loads, round {round}");
                }
                // They want it all, and get what the store gave back of its own tables, until they
                // are refused.
                end = fill_from(&other, end, 1 << 32);
            }
            // A page that holds as much in the store as in memory can be stored to as well: nothing
            // is needed for it.
            for page in 0..pages(&forks[0]) {
                store(&forks[0], page, page);
                assert_eq!(load(&forks[0], page), page);
                assert_eq!(forks[0].take_failure(), None, "a store to page {page}");
            }
            assert!((0..end).all(|page| is_filled(&other, page, (1 << 32) ^ page)));
            assert!(m.stats().usage.peak <= 16 * MIB && held_bytes() <= 16 * MIB);
            clean(&m);
        }
    });
}

/// Goal: a space that exports pages can be dropped when there is no room for another page.
#[test]
fn an_exporter_is_dropped_in_a_full_budget() {
    alone("an_exporter_is_dropped_in_a_full_budget", || {
        let m = memory(8 * MIB, Delivery::InThread);
        let parent = m.create(SpaceSize::fixed(2 * MIB)).unwrap();
        (0..pages(&parent)).for_each(|page| fill(&parent, page, page));
        let child = parent.fork().unwrap();
        let other = m.create(SpaceSize::fixed(16 * MIB)).unwrap();
        fill_up(&other, 1 << 32);
        drop(parent);
        assert!(m.stats().usage.peak <= 8 * MIB && held_bytes() <= 8 * MIB);
        assert!((0..pages(&child)).all(|page| is_filled(&child, page, page)));
        clean(&m);
        drop((child, other));
        let usage = m.stats().usage;
        assert_eq!((usage.private, usage.pool, usage.stored), (0, 0, 0));
    });
}

fn lose_a_store(on_loss: OnLoss, delivery: Delivery) {
    let m = memory(8 * MIB, delivery);
    let other = m.create(SpaceSize::fixed(16 * MIB)).unwrap();
    let space = m.create(SpaceSize::fixed(MIB)).unwrap();
    space.set_on_loss(on_loss).unwrap();
    let space = space.fork().unwrap();
    fill_up(&other, 1);
    (0..pages(&space)).for_each(|page| fill(&space, page, page));
}

/// Goal: an access that cannot be served is a signal by default, as for a page that the kernel has
/// lost; or the end of the process with a message.
#[test]
fn a_lost_store_is_a_signal() {
    if let Some((end, _)) = in_child("a_lost_store_is_a_signal", LIMIT, || {
        lose_a_store(OnLoss::Signal, Delivery::InThread);
    }) {
        assert_eq!(end, End::Signal(libc::SIGBUS));
    }
}

/// The same with a handler thread.
#[test]
fn a_lost_store_is_a_signal_by_thread() {
    if let Some((end, _)) = in_child("a_lost_store_is_a_signal_by_thread", LIMIT, || {
        lose_a_store(OnLoss::Signal, Delivery::Thread);
    }) {
        assert_eq!(end, End::Signal(libc::SIGBUS));
    }
}

/// See above.
#[test]
fn a_lost_store_ends_the_process() {
    if let Some((end, output)) = in_child("a_lost_store_ends_the_process", LIMIT, || {
        lose_a_store(OnLoss::Abort, Delivery::InThread);
    }) {
        assert_eq!(end, End::Signal(libc::SIGABRT));
        assert!(
            output.contains("memfold: a page of a memory image cannot be had"),
            "{output}"
        );
    }
}
