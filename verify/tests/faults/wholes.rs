//! What is done with a space as a whole: created, made longer, frozen, made again what it was; and
//! with ranges of it, which become zeros again.

use crate::sweep::sweep;
use memfold_verify::script::*;

#[test]
fn create_a_space() {
    sweep(&[], &[create()]);
}

#[test]
fn growth() {
    sweep(&[create()], &[grow(0), write(0, 16, 3)]);
}

#[test]
fn freeze_moves_to_the_pool() {
    sweep(&[create(), fill(0, 0, 6)], &[freeze(0), fork(1), read(2, 3)]);
}

#[test]
fn freeze_of_a_diverged_fork_copies() {
    let setup = [
        create(),
        fill(0, 0, 3),
        fork(0),
        read(1, 0),
        write(1, 0, 4),
        evict(1, 1, 1),
    ];
    sweep(&setup, &[freeze(1), fork(2), read(3, 0), read(3, 2)]);
}

#[test]
fn freeze_with_pinned_pages() {
    sweep(&[create(), fill(0, 0, 6), pin(0, 2, 2)], &[freeze(0), read(1, 2)]);
}

#[test]
fn reset_to_a_frozen_copy() {
    let setup = [
        create(),
        fill(0, 0, 4),
        freeze(0),
        fork(1),
        write(2, 1, 7),
        write(2, 9, 7),
        evict(2, 9, 1),
    ];
    sweep(&setup, &[reset(2, 1), read(2, 1), write(2, 9, 3)]);
}

#[test]
fn reset_of_a_space_whose_fork_shares() {
    let setup = [
        create(),
        fill(0, 0, 4),
        fork(0),
        write(1, 1, 7),
        write(1, 2, 8),
        fork(1),
    ];
    sweep(
        &setup,
        &[
            read(2, 1),
            reset(2, 0),
            read(2, 1),
            reset(2, 1),
            reset(1, 0),
            read(2, 1),
            write(1, 1, 3),
            reset(0, 2),
        ],
    );
}

#[test]
fn discard_of_shared_pages() {
    let setup = [create(), fill(0, 0, 4), fork(0), write(1, 1, 7), evict(1, 2, 2)];
    sweep(
        &setup,
        &[discard(0, 0, 3), discard(1, 1, 3), read(0, 1), write(1, 1, 3)],
    );
}
