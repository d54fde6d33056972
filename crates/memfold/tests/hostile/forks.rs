//! `fork(2)`: a child can do nothing to its parent's memory, and may have its own.

use crate::child::{End, forked, isolated};
use crate::stamps::{DELIVERIES, builder, stamp, stamp_page, stamped, strange, whole};
use memfold::{Delivery, Error, Memory, MemoryStats, PAGE_SIZE, Space, SpaceSize};
use std::mem::ManuallyDrop;
use std::process::Command;

/// A parent's memory with everything in it: an evicted space, its fork with a page that it exports,
/// a page that is written.
struct Parent {
    memory: Memory,
    space: Space,
    fork: Space,
}

fn parent(delivery: Delivery) -> Parent {
    let memory = builder(delivery).budget_bytes(16 << 20).merge_cpu_percent(1.0);
    let memory = memory.build().expect("userfaultfd");
    let space = stamped(&memory, 1);
    space.evict().expect("room in the store");
    stamp_page(&space, 3, 1);
    let fork = space.fork().expect("a fork");
    stamp_page(&fork, 5, 1);
    Parent { memory, space, fork }
}

impl Parent {
    /// That parent and fork are as they were, go on, and stay apart.
    fn survives(self) {
        let Self { memory, space, fork } = self;
        whole(&memory, &space, 1);
        whole(&memory, &fork, 1);
        stamp(&space, 2);
        whole(&memory, &fork, 1);
        space.evict().expect("room in the store");
        whole(&memory, &space, 2);
        drop(space);
        whole(&memory, &fork, 1);
        let last = fork.fork().expect("a fork");
        drop(fork);
        whole(&memory, &last, 1);
    }
}

fn is_forked<T: std::fmt::Debug>(answer: Result<T, Error>) {
    assert!(matches!(answer, Err(Error::Forked)), "{answer:?}");
}

/// Every operation that can fail.
fn refused(memory: &Memory, space: &Space) {
    let whole = || 0..space.len();
    is_forked(memory.create(SpaceSize::fixed(4096)).map(std::mem::forget));
    is_forked(
        memory
            .create_in(SpaceSize::fixed(4096), memfold::Domain(1))
            .map(std::mem::forget),
    );
    is_forked(memory.merge_now());
    assert!(memory.check().unwrap_err()[0].contains("fork(2)"));
    is_forked(space.fork().map(std::mem::forget));
    is_forked(space.freeze().map(std::mem::forget));
    is_forked(space.grow(space.reserve()));
    is_forked(space.read(0, &mut [0; 8]));
    is_forked(space.write(0, &[9; 8]));
    is_forked(space.pin(whole()).map(std::mem::forget));
    is_forked(space.pin(0..0).map(std::mem::forget));
    is_forked(space.advise_cold(whole()));
    is_forked(space.evict());
    is_forked(space.evict_range(0..1));
    is_forked(space.set_merging(memfold::Merging::On));
    is_forked(space.merge_now());
    is_forked(space.unmerge());
}

/// And those that cannot.
fn harmless(memory: &Memory, space: &Space) {
    assert_eq!(memory.reclaim(1000), 0);
    assert_eq!(memory.stats().usage, MemoryStats::default().usage);
    assert_eq!(memory.sharing(None), memfold::Sharing::default());
    memory.merge_in_background(50.0);
    assert_eq!(space.stats(), memfold::SpaceStats::default());
    assert_eq!(space.take_failure(), None);
    assert_eq!(space.len(), (crate::stamps::PAGES * PAGE_SIZE) as u64);
    assert_eq!(space.reserve(), space.len());
    assert!(!space.is_empty());
    assert_ne!(space.as_ptr().as_ptr() as usize, 0);
}

/// Goal: in a child each operation says `Forked` or does nothing, and the parent notices none of
/// it. Method: all of them, then drops of everything; in the parent all stamps, and life goes on.
#[test]
fn a_child_can_do_nothing() {
    isolated("forks::a_child_can_do_nothing", || {
        for delivery in DELIVERIES {
            let all = parent(delivery);
            let pinned = all.space.pin(0..4096).expect("room");
            let end = forked(|| {
                refused(&all.memory, &all.space);
                refused(&all.memory.clone(), &all.fork);
                harmless(&all.memory, &all.space);
                assert_eq!(pinned.len(), 4096);
                assert_eq!(pinned.as_ptr(), all.space.as_ptr());
            });
            assert_eq!(end, End::Code(0));
            drop(pinned);
            all.survives();
        }
    });
}

/// Goal: a child that drops its handles, pins among them, takes nothing from the parent. Method:
/// drops by plain code, and by unwinding; a SIGBUS handler, a userfaultfd and a handler thread that
/// still work in the parent.
#[test]
fn a_child_drops_everything() {
    isolated("forks::a_child_drops_everything", || {
        for delivery in DELIVERIES {
            for unwinds in [false, true] {
                let all = parent(delivery);
                // SAFETY: only the child uses its copy, and drops nothing else.
                let copy = ManuallyDrop::new(unsafe { std::ptr::read(&raw const all) });
                let end = forked(move || {
                    let copy = ManuallyDrop::into_inner(copy);
                    is_forked(copy.space.pin(0..1).map(std::mem::forget));
                    assert!(!unwinds, "a panic on purpose");
                    let Parent { memory, space, fork } = copy;
                    drop(memory);
                    drop(fork);
                    drop(space);
                });
                assert_eq!(end, End::Code(if unwinds { 101 } else { 0 }));
                all.survives();
            }
        }
    });
}

/// Goal: the same for the guard of a pin. Method: the child drops it; in the parent the page stays
/// where it is.
#[test]
fn a_child_drops_a_pin() {
    isolated("forks::a_child_drops_a_pin", || {
        for delivery in DELIVERIES {
            let all = parent(delivery);
            let pinned = all.space.pin(0..4096).expect("room");
            // SAFETY: as above.
            let copy = ManuallyDrop::new(unsafe { std::ptr::read(&raw const pinned) });
            assert_eq!(forked(move || drop(ManuallyDrop::into_inner(copy))), End::Code(0));
            all.space.evict().expect("room in the store");
            // SAFETY: a word of a living space; by a system call, which would be refused were the
            // page not there.
            let read = unsafe {
                libc::write(
                    libc::memfd_create(c"out".as_ptr(), 0),
                    pinned.as_ptr().as_ptr().cast(),
                    8,
                )
            };
            assert_eq!(read, 8, "the page is pinned");
            drop(pinned);
            all.survives();
        }
    });
}

/// Goal: a child has its own memory, and so has its child. Method: three generations with stamps of
/// their own, at addresses that overlap; the middle one forks while it has handles of two memories.
#[test]
fn generations_have_their_own() {
    isolated("forks::generations_have_their_own", || {
        for delivery in DELIVERIES {
            let all = parent(delivery);
            let end = forked(|| {
                let own = parent(delivery);
                refused(&all.memory, &all.space);
                let end = forked(|| {
                    let third = parent(delivery);
                    refused(&all.memory, &all.space);
                    refused(&own.memory, &own.space);
                    third.survives();
                });
                assert_eq!(end, End::Code(0));
                own.survives();
            });
            assert_eq!(end, End::Code(0));
            all.survives();
        }
    });
}

/// Goal: a child that calls exec, or whose access to a space dies, leaves the parent alone. Method:
/// `sh`, and a load.
#[test]
fn a_child_execs_or_dies() {
    isolated("forks::a_child_execs_or_dies", || {
        for delivery in DELIVERIES {
            let all = parent(delivery);
            let end = forked(|| {
                let error =
                    std::os::unix::process::CommandExt::exec(Command::new("sh").args(["-c", "exit 7"]));
                panic!("{error}");
            });
            assert_eq!(end, End::Code(7));
            let end = forked(|| assert_eq!(strange(&all.space, 1), 0));
            assert_eq!(end, End::Signal(libc::SIGSEGV));
            all.survives();
        }
    });
}

/// Goal: a child waits for no lock of its parent's threads. Method: forks while another thread
/// faults, forks spaces and drops them all the time; in each child every operation, drops, and a
/// memory of its own.
#[test]
fn no_lock_is_waited_for() {
    isolated("forks::no_lock_is_waited_for", || {
        let all = parent(Delivery::InThread);
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Relaxed: a flag.
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let busy = stamped(&all.memory, 8);
                    let fork = busy.fork().expect("a fork");
                    busy.evict().expect("room in the store");
                    assert_eq!(strange(&fork, 8), 0);
                }
            });
            for _ in 0..200 {
                let end = forked(|| {
                    refused(&all.memory, &all.space);
                    harmless(&all.memory, &all.space);
                    let own = Memory::builder().background(false).build().expect("userfaultfd");
                    whole(&own, &stamped(&own, 4), 4);
                });
                assert_eq!(end, End::Code(0));
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed); // Relaxed: a flag.
        });
        all.survives();
    });
}
