//! Forks that the kernel serves by itself, on real memory: bytes by what was stored, what is held
//! by what the kernel counts, with a second thread in the middle.

#[path = "common/words.rs"]
mod words;

use memfold::{Memory, Native, PAGE_SIZE, Space, SpaceSize};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use words::{load, pages, store};

const MIB: u64 = 1 << 20;

fn memory(budget: Option<u64>) -> Memory {
    let builder = Memory::builder().background(false);
    let builder = match budget {
        Some(bytes) => builder.budget_bytes(bytes),
        None => builder,
    };
    builder.build().expect("userfaultfd works here")
}

/// A frozen space, each of whose pages begins with its number.
fn template(memory: &Memory, bytes: u64) -> Space {
    let warm = memory.create(SpaceSize::fixed(bytes)).expect("room");
    (0..pages(&warm)).for_each(|page| store(&warm, page, page));
    warm.freeze().expect("room")
}

fn clean(memory: &Memory) {
    if let Err(all) = memory.check() {
        panic!("{}", all.join("\n"));
    }
}

/// Goal: a fork of a template loads and stores without a fault; every byte is right, in forks of it
/// too, and in its siblings. Method: the manager's count of faults; the same memory without native
/// runs has one for each such page.
#[test]
fn forks_run_without_faults() {
    for (native, served) in [(Native::On, true), (Native::Off, false)] {
        let m = Memory::builder()
            .native(native)
            .build()
            .expect("userfaultfd works here");
        let template = template(&m, 4 * MIB);
        let forks: Vec<Space> = (0..3).map(|_| template.fork().expect("room")).collect();
        let before = m.stats().counts.faults;
        for (fork, n) in forks.iter().zip(1..) {
            for page in 0..pages(fork) {
                if page % 3 == n % 3 {
                    store(fork, page, page + n * 10_000);
                }
                assert_eq!(load(fork, page) % 10_000, page);
            }
        }
        assert_eq!(m.stats().counts.faults == before, served);
        let children: Vec<Space> = forks.iter().map(|fork| fork.fork().expect("room")).collect();
        let right = |space: &Space, n: u64| {
            (0..pages(space)).all(|page| {
                let own = if page % 3 == n % 3 { n * 10_000 } else { 0 };
                load(space, page) == page + own
            })
        };
        (0..pages(&forks[0])).for_each(|page| store(&forks[0], page, 7));
        for (n, (fork, child)) in (1..).zip(forks.iter().zip(&children)) {
            assert!(right(child, n));
            assert!(n == 1 || right(fork, n));
        }
        assert!((0..pages(&template)).all(|page| load(&template, page) == page));
        clean(&m);
    }
}

/// Goal: what a running thread stores while native runs end under it is never lost, and no fork
/// sees what came after it. Method: a thread counts up the words of a fork's pages, page after
/// page, and remembers nothing else; meanwhile its fork is forked, pinned, read and evicted. In
/// every child the words are what some moment of that order allows: each page's count is the
/// first's, or one less from some page on.
#[test]
fn stores_go_on_while_runs_end() {
    let m = memory(None);
    let template = template(&m, MIB);
    for round in 0..40 {
        let fork = template.fork().expect("room");
        let count = pages(&fork);
        (0..count).for_each(|page| store(&fork, page, 0));
        let fork = template.fork().expect("room");
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                // The template's word is the page's number.
                let mut turn = 1;
                // Acquire: pairs with the end of the looks.
                while !over.load(Ordering::Acquire) {
                    for page in 0..count {
                        assert_eq!(load(&fork, page), page + (turn - 1) * 1000, "page {page}");
                        store(&fork, page, page + turn * 1000);
                    }
                    turn += 1;
                }
            });
            let child = fork.fork().expect("room");
            if round % 4 == 1 {
                fork.evict().expect("it lives");
            }
            let mut bytes = [0; 8];
            fork.read(PAGE_SIZE as u64, &mut bytes).expect("it can be read");
            let turns: Vec<u64> = (0..count)
                .map(|page| (load(&child, page) - page) / 1000)
                .collect();
            assert!(turns.is_sorted_by(|a, b| a >= b), "{turns:?}");
            assert!(turns[0] - turns[turns.len() - 1] <= 1, "{turns:?}");
            // Release: as above.
            over.store(true, Ordering::Release);
        });
    }
    clean(&m);
}

/// Goal: the budget holds whatever forks store to natively, as the manager counts it and as the
/// process's private memory does. Method: more forks than the budget holds whole, each of which
/// stores to every page.
#[test]
fn the_budget_holds() {
    let m = memory(Some(24 * MIB));
    let template = template(&m, 2 * MIB);
    let forks: Vec<Space> = (0..16).map(|_| template.fork().expect("room")).collect();
    assert_ne!(m.stats().counts.native_forks, 0);
    for (fork, n) in forks.iter().zip(1..) {
        (0..pages(fork)).for_each(|page| store(fork, page, page + n * 1000));
        assert_eq!(fork.failure(), None);
    }
    for (fork, n) in forks.iter().zip(1..) {
        assert!((0..pages(fork)).all(|page| load(fork, page) == page + n * 1000));
    }
    let usage = m.stats().usage;
    assert!(usage.peak <= usage.limit, "{usage:?}");
    clean(&m);
    drop((forks, template));
    let usage = m.stats().usage;
    assert_eq!((usage.private, usage.pool, usage.native), (0, 0, 0));
}

/// Goal: a space is set back again and again without a fault for what the kernel serves, and ends
/// no native run; each byte is the template's afterwards. Method: a second thread sets another
/// fork of the template back meanwhile; twenty pages and all by turns; forks stay as they are.
#[test]
fn resets_take_no_faults() {
    let m = memory(None);
    let template = template(&m, 4 * MIB);
    let count = pages(&template);
    let again = |n: u64| {
        let space = template.fork().expect("room");
        for round in 0..40 {
            let step = if round % 8 == 7 { 1 } else { 53 };
            for page in (n..count).step_by(step) {
                assert_eq!(load(&space, page), page, "round {round}");
                store(&space, page, round + n);
            }
            space.reset_to(&template).expect("related");
        }
        space
    };
    let before = m.stats().counts;
    let spaces = thread::scope(|scope| {
        let other = scope.spawn(|| again(1));
        [again(0), other.join().expect("it found every byte")]
    });
    let after = m.stats().counts;
    assert_eq!((before.faults, 0), (after.faults, after.native_ended));
    store(&spaces[0], 5, 77);
    let child = spaces[0].fork().expect("room");
    spaces[0].reset_to(&template).expect("related");
    for page in 0..count {
        assert_eq!(load(&spaces[0], page), page);
        assert_eq!(load(&child, page), if page == 5 { 77 } else { page });
    }
    clean(&m);
}
