//! Race models of the facade's own structures: the lock, the arrays, the witness itself.
//!
//! Goal of each: the lock or the array orders what its users do. Method: plain data (`Witness`)
//! beside it, touched by every thread that the structure lets through; loom reports a touch
//! that nothing orders. Every model is explored on every interleaving.

use crate::model::{Outside, Part, Preemptions::All, Preemptions::UpTo, caught, holds, part, race};
use crate::{Arc, Mutex, Rank, Slots, Witness, thread};

/// Goal: a holder of the lock sees what the one before did. Method: a witness under the lock, three
/// threads.
#[test]
fn the_lock_orders() {
    holds("sync: a lock orders its holders", All, || {
        let shared = Arc::new((Mutex::new(Rank::Frame, 0), Witness::new()));
        let step = |shared: &(Mutex<u32>, Witness)| {
            let mut held = shared.0.lock();
            shared.1.write();
            *held += 1;
        };
        race([(); 3].map(|()| part(&shared, step)));
        assert_eq!(*shared.0.lock(), 3);
    });
}

/// Goal: `try_lock` keeps out and orders like `lock`. Method: both against each other.
#[test]
fn trying_orders_too() {
    holds("sync: try_lock keeps out and orders", All, || {
        let shared = Arc::new((Mutex::new(Rank::Frame, ()), Witness::new()));
        let waits = part(&shared, |shared: &(Mutex<()>, Witness)| {
            let _held = shared.0.lock();
            shared.1.write();
        });
        let tries = part(&shared, |shared: &(Mutex<()>, Witness)| {
            let held = shared.0.try_lock();
            held.iter().for_each(|_| shared.1.write());
        });
        race([waits, tries]);
    });
}

/// Goal: the witness reports what nothing orders. Method: the lock left out.
#[test]
fn a_witness_without_a_lock_is_caught() {
    caught("sync: no lock at all", All, "Causality violation", || {
        let shared = Arc::new(Witness::new());
        race([(); 2].map(|()| part(&shared, Witness::write)));
    });
}

struct Desk {
    items: Slots<Witness>,
    held: Outside<Vec<u32>>,
}

impl Desk {
    fn new(capacity: u32) -> Arc<Self> {
        Arc::new(Self {
            items: Slots::new(capacity, Witness::new),
            held: Outside::default(),
        })
    }

    /// Takes an item, uses it as its only holder, gives it back.
    fn use_one(&self) -> bool {
        let Some(no) = self.items.alloc(|_| true) else {
            return false;
        };
        self.held.with(|held| {
            assert!(!held.contains(&no), "item {no} was given out twice");
            held.push(no);
        });
        self.items.get(no).write();
        thread::yield_now();
        self.items.get(no).write();
        self.held.with(|held| held.retain(|&n| n != no));
        self.items.free(no);
        true
    }
}

/// Goal: an item has one holder at a time, and each sees what the one before did. Method: three
/// items, three threads, a witness in each item.
#[test]
fn items_have_one_holder() {
    holds("sync: Slots: an item has one holder at a time", UpTo(2), || {
        let desk = Desk::new(1);
        race([(); 3].map(|()| part(&desk, |desk: &Desk| assert!(desk.use_one()))));
    });
}

/// Goal: growth is one step: two threads that find the array empty get different items, charged
/// for once. Method: both allocate first thing.
#[test]
fn growth_is_one_step() {
    holds("sync: Slots: growth is one step", All, || {
        let desk = Desk::new(7);
        let charged = Arc::new(Outside::new(0));
        let alloc = || -> Part {
            let charged = charged.clone();
            part(&desk, move |desk: &Desk| {
                let grow = |_| {
                    charged.with(|n| *n += 1);
                    true
                };
                let no = desk.items.alloc(grow).expect("there is room");
                desk.held.with(|held| held.push(no));
            })
        };
        race([alloc(), alloc()]);
        desk.held
            .with(|held| assert_ne!(held[0], held[1], "an item was given out twice"));
        charged.with(|n| assert_eq!(*n, 1, "the first chunk was charged for twice"));
    });
}
