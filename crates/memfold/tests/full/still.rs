//! A full budget leaves the process in its user's hands: signals arrive, and who does nothing costs
//! nothing.

use crate::LIMIT;
use crate::child::{End, in_child};
use crate::{BOTH, MIB, alone, fill, fill_up, memory, noise, pages, word};
use memfold::{Delivery, Space, SpaceSize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const BUDGET: u64 = 16 * MIB;

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970")
}

/// Copies noise over a space without an end, as a host call does that nobody can stop.
fn copy_for_ever(space: &Space) -> ! {
    // No two pages are equal: the store would keep them as one.
    let from: Vec<u64> = (0..pages(space)).flat_map(noise).collect();
    loop {
        // SAFETY: all of a living space, which nobody else uses.
        unsafe { word(space, 0).copy_from_nonoverlapping(from.as_ptr(), from.len()) };
    }
}

/// A process of its own copies 24 MiB into 16, over and over; when the first store has been lost,
/// SIGINT with its default action to the very thread that copies.
fn interrupt(test: &str, delivery: Delivery) {
    let ended = in_child(test, LIMIT, || {
        // SAFETY: the default action; a shell may have had the signal ignored.
        unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
        let m = memory(BUDGET, delivery);
        let space = m.create(SpaceSize::fixed(24 * MIB)).unwrap();
        // SAFETY: asks for this thread's own name.
        let copier = unsafe { libc::pthread_self() };
        std::thread::scope(|scope| {
            let space = &space;
            scope.spawn(move || {
                while space.failure().is_none() {
                    std::thread::sleep(Duration::from_millis(1));
                }
                // In the midst of what comes after the first failure.
                std::thread::sleep(Duration::from_millis(100));
                println!("sent at {}", now().as_millis());
                // SAFETY: the thread lives: it copies for ever.
                unsafe { libc::pthread_kill(copier, libc::SIGINT) };
            });
            copy_for_ever(space)
        });
    });
    let Some((end, output)) = ended else { return };
    assert_eq!(end, End::Signal(libc::SIGINT), "{output}");
    let sent = output
        .lines()
        .find_map(|line| Some(line.split_once("sent at ")?.1));
    let sent: u64 = sent.expect("it was sent").parse().expect("a number");
    let late = now().saturating_sub(Duration::from_millis(sent));
    println!("ended after {late:?}");
    assert!(late < Duration::from_secs(5), "it took {late:?} to end");
}

/// Goal: Ctrl-C ends a process at once whose host call copies more than the budget holds.
#[test]
fn an_endless_copy_is_interrupted() {
    interrupt("still::an_endless_copy_is_interrupted", Delivery::InThread);
}

/// The same with a handler thread.
#[test]
fn an_endless_copy_is_interrupted_by_thread() {
    interrupt(
        "still::an_endless_copy_is_interrupted_by_thread",
        Delivery::Thread,
    );
}

/// Processor time of this process so far, of all its threads.
fn used() -> Duration {
    // SAFETY: zeros are a valid value; the call fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &raw mut usage), 0);
        usage
    };
    let time = |t: libc::timeval| Duration::from_micros(t.tv_sec as u64 * 1_000_000 + t.tv_usec as u64);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// Goal: a process whose budget is full of what cannot go, and that does nothing, uses no processor
/// time to speak of. Method: noise until a page finds no room, then two seconds of rest; what the
/// kernel counts for all threads, the reclaimer's among them.
#[test]
fn a_full_budget_at_rest_costs_nothing() {
    alone("still::a_full_budget_at_rest_costs_nothing", || {
        for delivery in BOTH {
            let m = memory(BUDGET, delivery);
            let space = m.create(SpaceSize::fixed(32 * MIB)).unwrap();
            let end = fill_up(&space, 1);
            let total = m.stats().usage.total;
            assert!(total >= BUDGET / 100 * 98, "{total} bytes of {BUDGET} are used");
            let before = used();
            std::thread::sleep(Duration::from_secs(2));
            let used = used() - before;
            println!("{delivery:?}: {total} bytes of {BUDGET}, {used:?} in two seconds");
            assert!(
                used < Duration::from_millis(200),
                "{used:?} in two seconds at rest"
            );
            // It is no wonder that it rests: but it is there.
            fill(&space, end / 2, 9);
            assert_eq!(space.take_failure(), None);
        }
    });
}
