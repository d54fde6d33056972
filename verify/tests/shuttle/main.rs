//! Goal: the whole manager, on the simulated host, under threads that fault, fork, evict, pin,
//! freeze and drop at once: no byte is lost, torn or seen by who must not see it, and all
//! invariants hold when the threads are done. Method: random schedules, and such with few,
//! well-placed preemptions (PCT); a failing schedule is printed and can be run again
//! (`memfold_verify::schedules`). `MEMFOLD_EFFORT` multiplies the schedules.
#![cfg(shuttle)]

mod growing;
mod merging;
mod moving;
mod paging;
mod pressure;
mod sharing;
mod twins;

use memfold_host::Domain;
use memfold_host::addr::{PageNo, Run, SpaceNo};
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
            native: memfold_mm::Native::Off,
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
