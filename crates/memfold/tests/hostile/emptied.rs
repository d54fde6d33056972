//! Programs that empty pages of their own windows: the bytes are lost, which everybody who had them
//! is told; nothing waits for ever.

use crate::child::{End, in_child, isolated};
use crate::stamps::{DELIVERIES, PAGES, builder, stamp, stamp_page, stamped, strange, word};
use memfold::{Delivery, Failure, Memory, Merging, OnLoss, PAGE_SIZE, Space, SpaceSize};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a program must not do.
fn empty(space: &Space, page: usize) {
    let at = space.as_ptr().as_ptr().wrapping_add(page * PAGE_SIZE);
    // SAFETY: what is tested: a program that empties its own pages, to which nothing else refers.
    let done = unsafe { libc::madvise(at.cast(), PAGE_SIZE, libc::MADV_DONTNEED) };
    assert_eq!(done, 0);
}

fn tells(failure: Option<Failure>) {
    let failure = failure.expect("it is told");
    assert!(failure.to_string().contains("emptied"), "{failure}");
}

/// Which pages have another stamp, read through the library, and how many it refuses.
fn others(space: &Space, stamp: u64) -> (Vec<usize>, usize) {
    let (mut other, mut refused) = (Vec::new(), 0);
    for page in 0..PAGES {
        let mut bytes = [0; 8];
        match space.read((page * PAGE_SIZE) as u64, &mut bytes) {
            Ok(()) if u64::from_ne_bytes(bytes) == word(stamp, page) => (),
            Ok(()) => other.push(page),
            Err(_) => refused += 1,
        }
    }
    (other, refused)
}

/// Goal: an eviction passes over a page that is not there. Method: a page of a space's own, in both
/// deliveries; asked for, and by reclaim for another space's fault.
#[test]
fn evicted() {
    isolated("emptied::evicted", || {
        for delivery in DELIVERIES {
            let memory = builder(delivery)
                .budget_bytes(8 << 20)
                .build()
                .expect("userfaultfd");
            let space = stamped(&memory, 1);
            let other = stamped(&memory, 2);
            empty(&space, 5);
            assert_eq!(space.evict().expect("it lives"), PAGES as u64 - 1);
            tells(space.failure());
            assert_eq!(other.evict().expect("it lives"), PAGES as u64);
            tells(space.take_failure());
            let (wrong, refused) = others(&space, 1);
            assert!(wrong.is_empty() || wrong == [5], "{wrong:?}");
            assert!(refused <= 1, "{refused}");
            let _ = space.take_failure();

            let space = stamped(&memory, 3);
            empty(&space, 7);
            let large = memory.create(SpaceSize::fixed(16 << 20)).expect("room");
            for page in 0..4096 {
                // SAFETY: inside a living space.
                unsafe {
                    large
                        .as_ptr()
                        .as_ptr()
                        .add(page * PAGE_SIZE)
                        .write_bytes(page as u8, 1000)
                };
            }
            tells(space.take_failure());
            assert_eq!((strange(&other, 2), other.take_failure()), (0, None));
            assert_eq!((large.take_failure(), memory.check()), (None, Ok(())));
        }
    });
}

/// Goal: an exported page that its exporter has emptied is lost for the forks as well, and they are
/// told. Method: reads of the fork and of the exporter, stores, and the end of the exporter, in
/// both deliveries.
#[test]
fn exported() {
    isolated("emptied::exported", || {
        for delivery in DELIVERIES {
            let memory = builder(delivery).build().expect("userfaultfd");
            let parent = stamped(&memory, 1);
            let [first, second] = [(); 2].map(|()| parent.fork().expect("room"));
            empty(&parent, 5);
            empty(&parent, 40);
            let error = first.read((5 * PAGE_SIZE) as u64, &mut [0]).unwrap_err();
            assert!(error.to_string().contains("emptied"), "{error}");
            for space in [&first, &second, &parent] {
                tells(space.take_failure());
            }
            let error = parent.write((40 * PAGE_SIZE) as u64, &[1]).unwrap_err();
            assert!(error.to_string().contains("emptied"), "{error}");
            for space in [&first, &second, &parent] {
                tells(space.take_failure());
            }
            // The neighbours are right.
            let (wrong, refused) = others(&second, 1);
            assert_eq!((wrong, refused), (vec![], 2));
            let _ = second.take_failure();
            drop(parent);
            tells(second.take_failure());
            assert_eq!(others(&second, 1), (vec![5, 40], 0));
            assert_eq!(memory.check(), Ok(()));
        }
    });
}

/// Goal: an access by address to such a page ends, by a signal. Method: loads of a fork, in a
/// process of its own for each delivery.
fn touched(test: &str, delivery: Delivery) {
    let ended = in_child(test, || {
        let memory = builder(delivery).build().expect("userfaultfd");
        let parent = stamped(&memory, 1);
        let child = parent.fork().expect("room");
        empty(&parent, 5);
        println!("an access begins");
        // SAFETY: a word of a living space.
        let seen = unsafe { child.as_ptr().as_ptr().add(5 * PAGE_SIZE).read_volatile() };
        println!("it saw {seen}");
    });
    let (end, text) = ended.expect("the parent");
    assert!(
        text.contains("an access begins") && !text.contains("it saw"),
        "{text}"
    );
    assert_eq!(end, End::Signal(libc::SIGBUS), "{text}");
}

#[test]
fn touched_in_thread() {
    touched("emptied::touched_in_thread", Delivery::InThread);
}

#[test]
fn touched_by_thread() {
    touched("emptied::touched_by_thread", Delivery::Thread);
}

/// Spaces with equal pages, that merge.
fn siblings(memory: &Memory) -> Vec<Space> {
    let pristine = memory
        .create(SpaceSize::fixed((PAGES * PAGE_SIZE) as u64))
        .expect("room");
    let forked = (0..4).map(|_| {
        let space = pristine.fork().expect("room");
        space.set_merging(Merging::On).expect("it lives");
        stamp(&space, 9);
        space
    });
    forked.collect()
}

/// Goal: the search for equal pages passes over pages that are not there.
#[test]
fn merged() {
    isolated("emptied::merged", || {
        for delivery in DELIVERIES {
            let memory = builder(delivery).build().expect("userfaultfd");
            let spaces = siblings(&memory);
            empty(&spaces[0], 3);
            empty(&spaces[1], 4);
            empty(&spaces[3], 3);
            let _ = memory.merge_now().expect("room");
            let _ = memory.merge_now().expect("room");
            for (space, lost) in spaces.iter().zip([Some(3), Some(4), None, Some(3)]) {
                let wrong = (0..PAGES).filter(|&page| Some(page) != lost);
                let mut bytes = [0; 8];
                for page in wrong {
                    space
                        .read((page * PAGE_SIZE) as u64, &mut bytes)
                        .expect("it is there");
                    assert_eq!(u64::from_ne_bytes(bytes), word(9, page));
                }
            }
        }
    });
}

/// Goal: nothing hangs whenever a page vanishes. Method: a thread that empties pages as fast as it
/// can, beside evictions, forks, merges, and the ends of spaces, for a while; then another space is
/// whole.
#[test]
fn at_any_moment() {
    isolated("emptied::at_any_moment", || {
        for delivery in DELIVERIES {
            let memory = builder(delivery)
                .budget_bytes(8 << 20)
                .on_loss(OnLoss::Sink)
                .build()
                .expect("userfaultfd");
            let other = stamped(&memory, 2);
            let victims = siblings(&memory);
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    // Relaxed: a flag on its own.
                    while !stop.load(Ordering::Relaxed) {
                        for page in 0..PAGES {
                            empty(&victims[page % 4], page);
                        }
                    }
                });
                let end = Instant::now() + Duration::from_millis(1500);
                for round in 0.. {
                    if Instant::now() > end {
                        break;
                    }
                    for space in &victims {
                        let _ = space.take_failure();
                        for page in (round % 3..PAGES).step_by(3) {
                            let _ = space.write((page * PAGE_SIZE + 8) as u64, &[1]);
                        }
                        let fork = space.fork();
                        let _ = space.evict();
                        if let Ok(fork) = fork {
                            others(&fork, 9);
                        }
                    }
                    let _ = memory.merge_now().expect("room");
                }
                // Relaxed: as above.
                stop.store(true, Ordering::Relaxed);
            });
            stamp_page(&other, 3, 2);
            assert_eq!((strange(&other, 2), other.take_failure()), (0, None));
            drop(victims);
            assert_eq!(memory.check(), Ok(()));
        }
    });
}
