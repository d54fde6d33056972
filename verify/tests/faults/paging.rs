//! Pages that go to the store and come back, for one space and for all that share them.

use crate::sweep::sweep;
use memfold_verify::script::*;

#[test]
fn eviction_of_private_pages() {
    sweep(
        &[create(), fill(0, 0, 6)],
        &[evict(0, 0, 6), read(0, 1), write(0, 2, 9)],
    );
}

#[test]
fn eviction_of_shared_pages() {
    let setup = [create(), fill(0, 0, 6), fork(0), read(1, 0), write(1, 5, 3)];
    sweep(&setup, &[evict(0, 0, 6), read(1, 1), write(0, 2, 9), read(0, 1)]);
}

#[test]
fn eviction_of_a_overflow_page() {
    let setup = [
        create(),
        fill(0, 0, 2),
        fork(0),
        read(1, 0),
        write(1, 0, 4),
        fork(1),
        write(1, 0, 6),
        read(2, 0),
    ];
    sweep(
        &setup,
        &[
            evict(1, 0, 1),
            evict(2, 0, 1),
            evict(0, 0, 1),
            read(2, 0),
            read(0, 0),
            read(1, 0),
        ],
    );
}

#[test]
fn swap_in_for_all_sharers() {
    let setup = [create(), fill(0, 0, 4), fork(0), fork(0), evict(0, 0, 4)];
    sweep(
        &setup,
        &[
            read(1, 1),
            read(2, 1),
            read(0, 1),
            write(2, 1, 3),
            evict(0, 0, 2),
            read(0, 1),
        ],
    );
}

#[test]
fn swap_in_for_one_of_many() {
    let setup = [create(), fill(0, 0, 4), fork(0), evict(0, 0, 4)];
    sweep(&setup, &[write(1, 1, 3), read(0, 1), write(0, 1, 4)]);
}

#[test]
fn ageing_and_reclaim() {
    let setup = [create(), fill(0, 0, 8), fork(0), read(1, 1), cold(0, 0, 3)];
    sweep(
        &setup,
        &[reclaim(4), write(0, 5, 3), read(1, 0), reclaim(40), read(0, 7)],
    );
}
