//! Pages that forks share: the fork itself, stores and loads on both sides, the end of a parent.

use crate::sweep::{Seam, arm, prepared, refused, sweep};
use memfold_sim::Lasting;
use memfold_verify::script::*;

#[test]
fn fork_of_written_pages() {
    sweep(
        &[create(), fill(0, 0, 3), fill(0, 8, 2)],
        &[fork(0), write(0, 1, 9), write(1, 1, 8)],
    );
}

#[test]
fn fork_of_pinned_pages() {
    sweep(
        &[create(), fill(0, 0, 6), pin(0, 1, 2), pin(0, 4, 1)],
        &[fork(0), write(0, 1, 3), write(1, 2, 5)],
    );
}

#[test]
fn fork_of_a_fork_with_pinned_pages() {
    sweep(
        &[create(), fill(0, 0, 6), fork(0), pin(1, 1, 3)],
        &[fork(1), read(2, 1), write(2, 2, 5)],
    );
}

#[test]
fn read_by_a_child_promotes() {
    sweep(
        &[create(), fill(0, 0, 6), fork(0)],
        &[read(1, 2), read(0, 2), read(0, 3)],
    );
}

#[test]
fn write_by_a_parent_displaces() {
    sweep(&[create(), fill(0, 0, 3), fork(0)], &[write(0, 1, 9), read(1, 1)]);
}

#[test]
fn write_by_a_parent_whose_place_is_taken() {
    let setup = [
        create(),
        fill(0, 0, 2),
        fork(0),
        read(1, 0),
        write(1, 0, 4),
        fork(1),
    ];
    sweep(&setup, &[write(1, 0, 6), read(2, 0), read(0, 0)]);
}

#[test]
fn write_by_a_child_copies_from_the_pool() {
    sweep(
        &[create(), fill(0, 0, 3), fork(0), read(1, 1)],
        &[write(1, 1, 7), write(1, 2, 7), write(0, 1, 3)],
    );
}

#[test]
fn write_by_a_child_copies_from_the_parent() {
    sweep(&[create(), fill(0, 0, 3), fork(0)], &[write(1, 1, 7), read(0, 1)]);
}

#[test]
fn write_after_the_last_sharer_went() {
    sweep(
        &[create(), fill(0, 0, 3), fork(0), drop_space(1)],
        &[write(0, 1, 7), read(0, 2)],
    );
}

#[test]
fn drop_of_a_parent_that_exported_pages() {
    sweep(&[create(), fill(0, 0, 6), fork(0), fork(0)], &[drop_space(0)]);
}

#[test]
fn drop_of_a_parent_whose_places_are_taken() {
    let setup = [
        create(),
        fill(0, 0, 2),
        fork(0),
        read(1, 0),
        write(1, 0, 4),
        write(1, 1, 4),
        fork(1),
    ];
    sweep(&setup, &[drop_space(1)]);
}

/// Goal: a space that nobody uses again ends as soon as the machine lets it, and not before; those
/// who share with it lose nothing. Method: from the n-th call of the machine on all are refused;
/// its children live on meanwhile.
#[test]
fn a_space_left_to_end_ends_later() {
    let setup = [
        create(),
        fill(0, 0, 3),
        fill(0, 6, 2),
        fill(0, 10, 3),
        fork(0),
        fork(0),
        write(2, 1, 7),
    ];
    let mut left = 0;
    for n in 0.. {
        let mut harness = prepared(&setup, n);
        arm(&mut harness, Seam::Host, n, Lasting::FromThenOn);
        harness.step(leave(0));
        assert_eq!(harness.spaces(), 2, "nobody uses it again");
        let refused = refused(&harness, Seam::Host, n) != 0;
        assert_eq!(
            (harness.mm.doomed().count(), harness.tally().left),
            (usize::from(refused), u64::from(refused))
        );
        // A new space asks again, in vain.
        harness.step(create());
        assert_eq!(harness.mm.doomed().count(), usize::from(refused));
        harness.relent();
        assert_eq!(harness.mm.doomed().count(), 0);
        for op in [read(0, 1), read(1, 1), write(0, 2, 3), read(1, 2), create()] {
            harness.step(op);
        }
        let _ = harness.finish();
        if !refused {
            break;
        }
        left += 1;
    }
    assert!(left > 2, "only {left} calls can be refused");
}
