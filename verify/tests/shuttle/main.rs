//! Goal: the whole manager, on the simulated host, under threads that fault, fork, evict, pin,
//! freeze and drop at once: no byte is lost, torn or seen by who must not see it, and all
//! invariants hold when the threads are done. Method: random schedules, and such with few,
//! well-placed preemptions (PCT); a failing schedule is printed and can be run again
//! (`memfold_verify::schedules`). `MEMFOLD_EFFORT` multiplies the schedules.
#![cfg(shuttle)]

mod growing;
mod merging;
mod pressure;
mod twins;

use memfold_host::Domain;
use memfold_host::addr::{Access, PageNo, Run, SpaceNo};
use memfold_mm::{Config, Merging, Mm, Size, UNLIMITED};
use memfold_sim::program::{self, Place};
use memfold_sim::{SimHost, SimStore};
use memfold_sync::{Arc, thread};
use memfold_verify::schedules;

type Manager = Mm<SimHost, SimStore>;

/// What one thread does.
type Task = Box<dyn FnOnce(&Manager) + Send>;

fn task(f: impl FnOnce(&Manager) + Send + 'static) -> Task {
    Box::new(f)
}

/// Runs the tasks as threads, on many schedules; then the end of the scenario, then all invariants.
fn explore<const N: usize, C: Copy + Send + 'static>(
    setup: fn(&Manager) -> C,
    tasks: fn(C) -> [Task; N],
    end: fn(&Manager, C),
) {
    explore_within(UNLIMITED, setup, tasks, end);
}

/// The same within a budget.
fn explore_within<const N: usize, C: Copy + Send + 'static>(
    limit_bytes: u64,
    setup: fn(&Manager) -> C,
    tasks: fn(C) -> [Task; N],
    end: fn(&Manager, C),
) {
    let scenario = move || {
        let config = Config {
            replacement: memfold_mm::Replacement::default(),
            limit_bytes,
            machine_bytes: 1 << 20,
            spaces: 6,
            store_bytes: 0,
            page_tables: memfold_mm::PageTables::Counted,
        };
        let mm = Arc::new(Mm::new(SimHost::new(1), SimStore::new(1), config).unwrap());
        let context = setup(&mm);
        let threads = tasks(context).map(|task| {
            let mm = Arc::clone(&mm);
            thread::spawn(move || task(&mm))
        });
        threads.into_iter().for_each(|t| t.join().unwrap());
        harness(&mm);
        end(&mm, context);
        for n in 1..8 {
            let _ = mm.drop_space(SpaceNo(n));
        }
        harness(&mm);
        let (usage, memory) = (mm.usage(), mm.host().memory());
        assert_eq!(
            (usage.private, usage.pool, usage.stored),
            (0, 0, 0),
            "something is left"
        );
        assert_eq!(memory.pages(), 0, "the machine still holds memory");
    };
    schedules::explore(scenario);
}

fn harness(mm: &Manager) {
    if let Err(violations) = memfold_mm::check(&mm) {
        panic!(
            "{}",
            violations
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        );
    }
    let (usage, memory) = (mm.usage(), mm.host().memory());
    assert_eq!(
        (memory.private * 4096, memory.pool * 4096),
        (usage.private, usage.pool)
    );
    assert!(memory.table_bytes <= usage.page_tables, "{memory:?}, {usage:?}");
}

fn place(page: u32) -> Place {
    Place {
        page: PageNo(page),
        offset: 100,
    }
}

fn put(mm: &Manager, space: SpaceNo, page: u32, byte: u8) {
    program::store(mm, space, place(page), &[byte]).unwrap();
}

fn get(mm: &Manager, space: SpaceNo, page: u32) -> u8 {
    let mut out = [0];
    program::load(mm, space, place(page), &mut out).unwrap();
    out[0]
}

const ALL: Run = Run {
    first: PageNo(0),
    len: 3,
};

fn evict(mm: &Manager, space: SpaceNo) {
    // The space may have been dropped meanwhile.
    let _ = mm.evict(space, ALL);
}

/// A space of three pages that read 10, 11, 12.
fn three_pages(mm: &Manager) -> SpaceNo {
    let space = mm.create(Size { len: 3, reserve: 3 }, Domain(0)).unwrap();
    (0..3).for_each(|page| put(mm, space, page, 10 + page as u8));
    space
}

/// Such a space and a fork of it.
fn family(mm: &Manager) -> (SpaceNo, SpaceNo) {
    let parent = three_pages(mm);
    (parent, mm.fork(parent).unwrap())
}

/// The same, all pages in the store.
fn cold_family(mm: &Manager) -> (SpaceNo, SpaceNo) {
    let (parent, child) = family(mm);
    evict(mm, parent);
    (parent, child)
}

fn reads(mm: &Manager, space: SpaceNo) {
    (0..3).for_each(|page| assert_eq!(get(mm, space, page), 10 + page as u8));
}

/// Two siblings that grew up by themselves and read 10, 11, 12 each.
fn siblings(mm: &Manager) -> (SpaceNo, SpaceNo) {
    let root = mm.create(Size { len: 3, reserve: 3 }, Domain(0)).unwrap();
    mm.set_merging(root, Merging::On).unwrap();
    let both = (mm.fork(root).unwrap(), mm.fork(root).unwrap());
    for space in [both.0, both.1] {
        (0..3).for_each(|page| put(mm, space, page, 10 + page as u8));
    }
    both
}

fn merge(mm: &Manager) {
    let _ = mm.merge_round(None).unwrap();
}

#[test]
fn fork_sees_each_page_at_one_moment() {
    explore(
        three_pages,
        |a| {
            [
                task(move |mm| put(mm, a, 0, 20)),
                task(move |mm| {
                    let child = mm.fork(a).unwrap();
                    let first = get(mm, child, 0);
                    assert!(first == 10 || first == 20, "{first}");
                    assert_eq!(get(mm, child, 0), first);
                    assert_eq!(get(mm, child, 1), 11);
                }),
                task(move |mm| {
                    mm.reclaim(2);
                }),
            ]
        },
        |mm, a| assert_eq!(get(mm, a, 0), 20),
    );
}

#[test]
fn readers_of_shared_pages_against_eviction() {
    explore(
        family,
        |(a, b)| {
            [
                task(move |mm| reads(mm, a)),
                task(move |mm| reads(mm, b)),
                task(move |mm| evict(mm, a)),
                task(move |mm| evict(mm, b)),
            ]
        },
        |mm, (a, b)| [a, b].into_iter().for_each(|space| reads(mm, space)),
    );
}

#[test]
fn a_write_is_never_seen_by_the_other_space() {
    explore(
        family,
        |(a, b)| {
            [
                task(move |mm| {
                    put(mm, a, 0, 30);
                    assert_eq!(get(mm, a, 0), 30);
                }),
                task(move |mm| (0..2).for_each(|_| assert_eq!(get(mm, b, 0), 10))),
                task(move |mm| evict(mm, a)),
            ]
        },
        |mm, (a, b)| assert_eq!((get(mm, a, 0), get(mm, b, 0)), (30, 10)),
    );
}

#[test]
fn both_write_while_pages_are_evicted() {
    explore(
        family,
        |(a, b)| {
            [
                task(move |mm| put(mm, a, 1, 31)),
                task(move |mm| put(mm, b, 1, 41)),
                task(move |mm| {
                    mm.reclaim(3);
                }),
            ]
        },
        |mm, (a, b)| {
            assert_eq!((get(mm, a, 1), get(mm, b, 1)), (31, 41));
            assert_eq!((get(mm, a, 2), get(mm, b, 2)), (12, 12));
        },
    );
}

#[test]
fn drop_of_the_grandparent_against_a_fork() {
    explore(
        family,
        |(a, b)| {
            [
                task(move |mm| mm.drop_space(a).unwrap()),
                task(move |mm| {
                    let c = mm.fork(b).unwrap();
                    reads(mm, c);
                }),
                task(move |mm| evict(mm, b)),
            ]
        },
        |mm, (_, b)| reads(mm, b),
    );
}

#[test]
fn drop_of_the_parent_against_the_child() {
    explore(
        family,
        |(a, b)| {
            [
                task(move |mm| mm.drop_space(a).unwrap()),
                task(move |mm| {
                    assert_eq!(get(mm, b, 0), 10);
                    put(mm, b, 1, 41);
                }),
                task(move |mm| {
                    mm.reclaim(2);
                }),
            ]
        },
        |mm, (_, b)| assert_eq!((get(mm, b, 0), get(mm, b, 1), get(mm, b, 2)), (10, 41, 12)),
    );
}

#[test]
fn one_slot_is_brought_in_by_two() {
    explore(
        cold_family,
        |(a, b)| {
            [
                task(move |mm| assert_eq!(get(mm, a, 0), 10)),
                task(move |mm| assert_eq!(get(mm, b, 0), 10)),
            ]
        },
        |mm, (a, b)| [a, b].into_iter().for_each(|space| reads(mm, space)),
    );
}

#[test]
fn one_slot_is_brought_in_read_written_and_evicted() {
    explore(
        |mm| {
            let (a, b) = cold_family(mm);
            (a, b, mm.fork(a).unwrap())
        },
        |(a, b, c)| {
            [
                task(move |mm| reads(mm, a)),
                task(move |mm| put(mm, b, 0, 42)),
                task(move |mm| {
                    put(mm, c, 1, 52);
                    assert_eq!(get(mm, c, 0), 10);
                }),
                task(move |mm| (0..2).for_each(|_| evict(mm, a))),
            ]
        },
        |mm, (a, b, c)| {
            reads(mm, a);
            assert_eq!((get(mm, b, 0), get(mm, c, 1)), (42, 52));
        },
    );
}

#[test]
fn promotion_against_a_write_of_the_parent() {
    explore(
        family,
        |(a, b)| {
            [
                task(move |mm| put(mm, a, 1, 31)),
                task(move |mm| reads(mm, b)),
                task(move |mm| put(mm, a, 2, 32)),
            ]
        },
        |mm, (a, b)| {
            reads(mm, b);
            assert_eq!((get(mm, a, 0), get(mm, a, 1), get(mm, a, 2)), (10, 31, 32));
        },
    );
}

#[test]
fn a_pinned_page_stays_and_is_copied_by_a_fork() {
    explore(
        three_pages,
        |a| {
            [
                task(move |mm| {
                    let run = Run {
                        first: PageNo(0),
                        len: 2,
                    };
                    mm.host().expect_hold(a, run);
                    mm.pin(a, run).unwrap();
                    mm.host().hold(a, run);
                    mm.host().kernel_store(a, place(0), &[70]);
                    thread::yield_now();
                    mm.host().kernel_store(a, place(1), &[71]);
                    mm.host().let_go(a, run);
                    mm.unpin(a, run);
                }),
                task(move |mm| evict(mm, a)),
                task(move |mm| {
                    let child = mm.fork(a).unwrap();
                    let seen = get(mm, child, 0);
                    assert!(seen == 10 || seen == 70, "{seen}");
                    assert_eq!(get(mm, child, 0), seen);
                }),
            ]
        },
        |mm, a| assert_eq!((get(mm, a, 0), get(mm, a, 1), get(mm, a, 2)), (70, 71, 12)),
    );
}

#[test]
fn two_threads_touch_a_new_page() {
    explore(
        |mm| mm.create(Size { len: 3, reserve: 3 }, Domain(0)).unwrap(),
        |a| {
            [
                task(move |mm| assert!([0, 60].contains(&get(mm, a, 1)))),
                task(move |mm| put(mm, a, 1, 60)),
                task(move |mm| put(mm, a, 2, 61)),
                task(move |mm| evict(mm, a)),
            ]
        },
        |mm, a| assert_eq!((get(mm, a, 0), get(mm, a, 1), get(mm, a, 2)), (0, 60, 61)),
    );
}

#[test]
fn freeze_against_writes_and_eviction() {
    explore(
        family,
        |(a, b)| {
            [
                task(move |mm| put(mm, b, 0, 40)),
                task(move |mm| {
                    let frozen = mm.freeze(b).unwrap();
                    let seen = get(mm, frozen, 0);
                    assert!(seen == 10 || seen == 40, "{seen}");
                    assert_eq!((get(mm, frozen, 0), get(mm, frozen, 1)), (seen, 11));
                }),
                task(move |mm| evict(mm, a)),
            ]
        },
        |mm, (a, b)| {
            reads(mm, a);
            assert_eq!(get(mm, b, 0), 40);
        },
    );
}

#[test]
fn a_stale_name_of_a_space_is_refused_or_is_the_new_space() {
    explore(
        family,
        |(_, b)| {
            [
                task(move |mm| {
                    mm.drop_space(b).unwrap();
                    let new = mm.create(Size { len: 3, reserve: 3 }, Domain(0)).unwrap();
                    put(mm, new, 0, 90);
                }),
                task(move |mm| {
                    let _ = mm.fault(b, PageNo(0), Access::Read);
                    let _ = mm.len(b);
                }),
                task(move |mm| {
                    mm.reclaim(2);
                }),
            ]
        },
        |mm, (a, _)| reads(mm, a),
    );
}

#[test]
fn frames_are_reused_while_others_hold_stale_numbers() {
    explore(
        family,
        |(a, b)| {
            [
                task(move |mm| reads(mm, a)),
                task(move |mm| (0..2).for_each(|_| evict(mm, b))),
                task(move |mm| {
                    let c = mm.create(Size { len: 2, reserve: 2 }, Domain(0)).unwrap();
                    put(mm, c, 0, 80);
                    assert_eq!(get(mm, b, 0), 10);
                    assert_eq!(get(mm, c, 0), 80);
                }),
            ]
        },
        |mm, (a, b)| [a, b].into_iter().for_each(|space| reads(mm, space)),
    );
}

#[test]
fn ageing_hides_and_protects_while_programs_run() {
    explore(
        |mm| {
            let (a, b) = family(mm);
            reads(mm, b);
            put(mm, a, 2, 32);
            (a, b)
        },
        |(a, b)| {
            [
                task(move |mm| put(mm, a, 2, 33)),
                task(move |mm| reads(mm, b)),
                task(move |mm| {
                    mm.advise_cold(a, ALL).unwrap();
                    mm.reclaim(1);
                }),
            ]
        },
        |mm, (a, b)| {
            reads(mm, b);
            assert_eq!((get(mm, a, 1), get(mm, a, 2)), (11, 33));
        },
    );
}
