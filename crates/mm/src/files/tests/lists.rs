//! On which lists pages of files are, and what is remembered of those that went.

use super::*;

/// How many frames of files' pages proved useful, and how many are on probation.
fn lists(mm: &Harness) -> (u32, u32) {
    let stats = mm.stats();
    (stats.active_file_frames, stats.inactive_file_frames)
}

/// Goal: a page that comes back soon after it went has proved useful; one that is read ahead, or
/// that comes back after as many others as there is room for, has not.
#[test]
fn early_returns_are_remembered() {
    let (mm, source) = (limited(4 << 20), source());
    let file = open(&mm, &source);
    let a = space(&mm, 16);
    map(&mm, a, (0, 12), &file, 0, Piece::Private);
    [9, 3, 6].iter().for_each(|&page| read(&mm, a, page));
    assert_eq!(lists(&mm), (0, 3));
    assert_eq!(mm.reclaim(3), 3);
    assert_eq!((lists(&mm), mm.stats().file_evictions), ((0, 0), 3));
    // Had there been room for these three as well, none would have gone.
    for page in [0, 11, 5, 9, 3, 6] {
        read(&mm, a, page);
    }
    assert_eq!(mm.stats().file_refaults, 3);
    assert_eq!(lists(&mm), (3, 3));
    assert_eq!(mm.reclaim(6), 6);
    for _ in 0..1000 {
        let _ = mm.reclaim.stamp();
    }
    read(&mm, a, 9);
    assert_eq!((mm.stats().file_refaults, lists(&mm)), (3, (0, 1)));
    // Page 9 goes, and comes along with the one before it at once: nobody asked for it.
    let order = mm.areas(a).set_order(run(0, 12), crate::Order::Sequential);
    assert_eq!((order, mm.reclaim(1)), (Ok(()), 1));
    read(&mm, a, 11);
    read(&mm, a, 8);
    assert_eq!((mm.stats().file_refaults, lists(&mm)), (3, (0, 4)));
    sound(&mm);
    end(&mm, &[a], file);
}

/// Goal: memory that spaces share is among what goes to the store, not among the pages of files,
/// and so are private copies.
#[test]
fn what_goes_to_the_store_is_no_files() {
    let (mm, source) = (limited(4 << 20), source());
    let file = open(&mm, &source);
    let memory = mm.files().share(12, memfold_host::Domain(3)).expect("room");
    let a = space(&mm, 40);
    map(&mm, a, (0, 12), &file, 0, Piece::Private);
    map(&mm, a, (20, 12), &memory, 0, Piece::Shared);
    put(&mm, a, 21, 1);
    put(&mm, a, 25, 1);
    put(&mm, a, 3, 1);
    assert_eq!(lists(&mm), (0, 1), "the page that was copied");
    assert_eq!(mm.stats().inactive_frames, 4);
    sound(&mm);
    mm.drop_space(a).expect("it lives");
    mm.files().close(memory);
    mm.files().close(file);
    sound(&mm);
}

/// Goal: a range that is to go out takes its pages of files along, wherever they are.
#[test]
fn ranges_go_out() {
    let (mm, source) = (limited(4 << 20), source());
    let file = open(&mm, &source);
    let a = space(&mm, 100);
    map(&mm, a, (70, 12), &file, 0, Piece::Shared);
    write(&mm, a, 0..10, 1);
    put(&mm, a, 72, 5);
    [75, 79, 71].iter().for_each(|&page| read(&mm, a, page));
    assert_eq!(mm.evict(a, run(9, 67)), Ok(4));
    assert_eq!((mm.files().stats().resident, stored(&source, 2)), (1, 5));
    assert_eq!(mm.advise_cold(a, run(0, 100)), Ok(()));
    assert_eq!([9, 72, 79].map(|page| value(&mm, a, page)), [1, 5, 109]);
    sound(&mm);
    end(&mm, &[a], file);
}
