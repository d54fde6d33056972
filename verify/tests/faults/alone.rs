//! Pages that a space has to itself: first touches, room for tables, pins.

use crate::sweep::{MIX, sweep};
use memfold_host::addr::{PageNo, Run};
use memfold_sim::SimStore;
use memfold_verify::harness::Harness;
use memfold_verify::script::*;
use memfold_verify::workload::Mix;

#[test]
fn first_writes_in_a_row() {
    sweep(
        &[create()],
        &[write(0, 0, 1), write(0, 1, 2), write(0, 2, 3), write(0, 4, 4)],
    );
}

#[test]
fn first_read() {
    sweep(&[create()], &[read(0, 3), write(0, 3, 1)]);
}

#[test]
fn second_thread_stores_while_zeros_are_shown() {
    sweep(&[create()], &[race(0, 3), read(0, 3), write(0, 3, 5)]);
}

/// The room for a table and a frame runs out while the store is already there. Found: it was shown
/// over.
#[test]
fn second_thread_stores_and_there_is_no_room_for_tables() {
    let mix = Mix {
        pages: (1100, 1100),
        audit_every: 8,
        ..MIX
    };
    for leaves in 38..48 {
        for left in [17, 20, 23, 26] {
            let mut harness: Harness<SimStore> = Harness::new(1, &mix);
            harness.step(create());
            (0..leaves).for_each(|leaf| harness.step(pin(0, leaf * 16, 1)));
            harness.fill_up(left);
            harness.step(race(0, leaves * 16 + 3));
            harness.relent();
            harness.finish();
        }
    }
}

#[test]
fn pins_of_pages_from_everywhere() {
    let setup = [create(), fill(0, 0, 2), fork(0), evict(0, 1, 1), read(0, 2)];
    sweep(&setup, &[pin(0, 0, 4), write(0, 1, 3), unpin(0)]);
}

#[test]
fn drop_of_a_space_that_is_still_pinned() {
    let mut harness: Harness<SimStore> = Harness::new(1, &MIX);
    harness.step(create());
    harness.step(fill(0, 0, 3));
    let space = harness.space(0);
    let run = Run {
        first: PageNo(0),
        len: 2,
    };
    harness.mm.pin(space, run).expect("room for two pages");
    harness.step(drop_space(0));
    harness.mm.unpin(space, run);
    harness.step(create());
    harness.step(write(0, 0, 1));
    harness.finish();
}
