//! The system refuses memory while faults are served: nothing ends the process, and bytes are right
//! or their space is told.
//!
//! The allocator of this process refuses on demand, one allocation or all from a chosen one on, in
//! whatever thread. The same work is done with each of its allocations refused in turn (and all
//! from some on), until it passes without a refusal; what spaces then hold is compared with what
//! was stored. Spaces are made before; one test only, since the plan is the process's.

use memfold::{Delivery, Error, Memory, OnLoss, PAGE_SIZE, Space, SpaceSize};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Relaxed: a plan that is made and read while nothing else hangs on it.
const PLAN: Ordering = Ordering::Relaxed;
/// Whether the plan is in force.
static ARMED: AtomicBool = AtomicBool::new(false);
/// Allocations since it is.
static MADE: AtomicU32 = AtomicU32::new(0);
/// Which of them is refused, and how many from that on.
static FIRST: AtomicU32 = AtomicU32::new(0);
static COUNT: AtomicU32 = AtomicU32::new(0);

struct Refusing;

impl Refusing {
    fn refuses() -> bool {
        if !ARMED.load(PLAN) {
            return false;
        }
        let n = MADE.fetch_add(1, PLAN);
        n.checked_sub(FIRST.load(PLAN))
            .is_some_and(|n| n < COUNT.load(PLAN))
    }
}

// SAFETY: the system's allocator, or a null pointer, which says that there is no memory.
unsafe impl GlobalAlloc for Refusing {
    /// # Safety
    /// As [`GlobalAlloc::alloc`].
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if Self::refuses() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's word.
        unsafe { System.alloc(layout) }
    }

    /// # Safety
    /// As [`GlobalAlloc::dealloc`].
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's word.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

/// Does the work with `count` allocations refused from number `first` on; whether any was.
fn refusing<T>(first: u32, count: u32, work: impl FnOnce() -> T) -> (T, bool) {
    FIRST.store(first, PLAN);
    COUNT.store(count, PLAN);
    MADE.store(0, PLAN);
    ARMED.store(true, PLAN);
    let result = work();
    ARMED.store(false, PLAN);
    (result, MADE.load(PLAN) > first)
}

const PAGES: usize = 320;

fn at(space: &Space, page: usize) -> *mut u8 {
    space.as_ptr().as_ptr().wrapping_add(page * PAGE_SIZE)
}

/// Stores `value` into every `step`-th page.
fn store(space: &Space, step: usize, value: u8) {
    for page in (0..PAGES).step_by(step) {
        // SAFETY: bytes of a living space; the fault is answered, or a sink takes the store.
        unsafe { at(space, page).write_bytes(value, 100) };
    }
}

fn load(space: &Space) -> Vec<u8> {
    let mut bytes = vec![0; 1];
    let mut value = |page: usize| {
        space
            .read((page * PAGE_SIZE + 99) as u64, &mut bytes)
            .expect("memory is there again");
        bytes[0]
    };
    (0..PAGES).map(&mut value).collect()
}

/// Touches every page by its address.
fn touch(space: &Space) {
    for page in 0..PAGES {
        // SAFETY: a byte of a living space; the fault is answered, or a sink shows zeros.
        unsafe { at(space, page).read_volatile() };
    }
}

/// Each page holds what it held before or what was stored; where nobody was told of a failure, what
/// was stored.
fn right(space: &Space, step: usize, before: u8, after: u8) {
    let told = space.take_failure();
    for (page, value) in load(space).into_iter().enumerate() {
        let stored = page % step == 0 && value == after;
        let kept = page % step != 0 || told.is_some();
        assert!(
            stored || kept && value == before,
            "page {page}: {value}, {told:?}"
        );
    }
}

/// One round: what allocations are refused during its steps, and whether any was.
struct Round {
    first: u32,
    count: u32,
    refused: bool,
}

impl Round {
    fn step<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (result, refused) = refusing(self.first, self.count, work);
        self.refused |= refused;
        result
    }

    /// Two forks, or fewer.
    fn fork(&mut self, parent: &Space) -> Vec<Space> {
        let forked = self.step(|| [(); 2].map(|()| parent.fork()));
        let made = forked.into_iter().filter_map(|fork| match fork {
            Ok(child) => Some(child),
            Err(error) => {
                assert!(matches!(error, Error::Space(_)), "{error}");
                None
            }
        });
        made.collect()
    }

    fn run(&mut self, memory: &Memory) {
        let size = SpaceSize::fixed((PAGES * PAGE_SIZE) as u64);
        let [parent, other] = [(); 2].map(|()| memory.create(size).expect("room"));
        self.step(|| store(&parent, 1, 1));
        right(&parent, 1, 0, 1);
        store(&parent, 1, 1);
        let mut children = self.fork(&parent);
        self.step(|| {
            for child in &children {
                // Exported pages move to the pool, and others are copied.
                touch(child);
                store(child, 3, 2);
            }
            store(&other, 5, 3);
        });
        right(&other, 5, 0, 3);
        for child in &children {
            right(child, 3, 1, 2);
            store(child, 3, 2);
        }
        self.step(|| {
            let all = children.iter().chain([&parent]);
            all.for_each(|space| assert!(space.evict().is_ok(), "what cannot go stays"));
            store(&parent, 7, 4);
            children.iter().for_each(touch);
        });
        for child in &children {
            right(child, 3, 1, 2);
        }
        right(&parent, 7, 1, 4);
        assert_eq!(memory.check(), Ok(()));
        let ended = children.pop();
        self.step(|| drop(ended));
        drop(parent);
        for child in &children {
            right(child, 3, 1, 2);
        }
        assert_eq!(memory.check(), Ok(()));
    }
}

fn one_round(delivery: Delivery, first: u32, count: u32) -> bool {
    let memory = Memory::builder()
        .delivery(delivery)
        .budget_bytes(16 << 20)
        .on_loss(OnLoss::Sink)
        .background(false)
        .build()
        .expect("userfaultfd");
    let mut round = Round {
        first,
        count,
        refused: false,
    };
    round.run(&memory);
    round.refused
}

/// Goal: as the head says. Method: each allocation of the work refused by itself, and all from
/// every fourth on, for both deliveries.
#[test]
fn each_allocation_refused() {
    for delivery in [Delivery::InThread, Delivery::Thread] {
        for (count, step) in [(1, 1), (u32::MAX, 4)] {
            let mut first = 0;
            while one_round(delivery, first, count) {
                first += step;
            }
            assert!(first > 10, "the work allocates: {first}");
        }
    }
}
