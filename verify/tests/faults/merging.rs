//! Equal pages of siblings that become one, and are taken apart again.

use crate::sweep::sweep;
use memfold_verify::script::*;
use memfold_verify::workload::Op;

/// Two siblings that grew up by themselves, with equal pages, pages of zeros, and one that differs.
fn siblings() -> Vec<Op> {
    let mut setup = vec![create(), fork(0), fork(0)];
    for space in [1, 2] {
        setup.extend([
            fill(space, 0, 3),
            zero(space, 4, 2),
            write(space, 7, 3),
            write(space, 6, space as u8),
        ]);
    }
    setup
}

#[test]
fn merging_of_private_pages() {
    sweep(
        &siblings(),
        &[merge(), read(1, 1), write(2, 1, 9), write(1, 4, 3), read(2, 4)],
    );
}

#[test]
fn merging_in_the_background() {
    sweep(
        &siblings(),
        &[
            merge_step(),
            merge_step(),
            merge_step(),
            read(2, 1),
            write(1, 0, 4),
        ],
    );
}

#[test]
fn merging_while_a_second_thread_stores() {
    sweep(
        &siblings(),
        &[
            merge_race(1, 1),
            read(1, 1),
            merge_race(2, 4),
            read(2, 4),
            merge(),
        ],
    );
}

#[test]
fn merging_with_what_stands_at_the_place() {
    let mut setup = siblings();
    setup.extend([merge(), fork(0), fill(3, 0, 3), fork(3), write(3, 1, 2)]);
    sweep(
        &setup,
        &[merge(), write(3, 1, 5), read(4, 1), merge(), read(4, 2)],
    );
}

#[test]
fn merging_of_pinned_and_forked_pages() {
    let mut setup = siblings();
    setup.extend([pin(1, 0, 2), fork(2)]);
    sweep(&setup, &[merge(), fork(1), unpin(1), merge(), write(2, 2, 8)]);
}

#[test]
fn merged_pages_leave_and_come_back() {
    let mut setup = siblings();
    setup.push(merge());
    sweep(
        &setup,
        &[
            evict(1, 0, 8),
            read(1, 1),
            write(2, 2, 9),
            evict(2, 0, 8),
            drop_space(1),
            read(1, 0),
        ],
    );
}

#[test]
fn unmerging() {
    let mut setup = siblings();
    setup.extend([merge(), fork(1), evict(2, 2, 1)]);
    sweep(&setup, &[unmerge(1, 0, 8), unmerge(2, 0, 8), unmerge(3, 0, 8)]);
}
