//! Programs that go round in more memory than there is.

use super::*;

const ROOM: u32 = 400;

/// Uses these pages in so many rounds; how many of them were held in the last.
fn rounds(cache: &mut Cache, rounds: u32, pages: std::ops::Range<u32>) -> u32 {
    let round = |_| pages.clone().map(|page| u32::from(cache.touch(page))).sum();
    (0..rounds).map(round).last().unwrap_or_default()
}

/// Goal: of a loop through four times the memory, as many pages are found again as half the memory
/// holds, at the least; what was kept for that goes when a loop follows that fits, which is found
/// whole. Method: the lists, which are what is used if nobody chooses.
#[test]
fn loops_find_some_pages_again() {
    let mut cache = Cache::new(Replacement::TwoLists, ROOM as usize);
    let large = 0..4 * ROOM;
    let again = rounds(&mut cache, 5, large);
    assert!(again >= ROOM / 2, "{again} of {ROOM}");
    let small = 10 * ROOM..10 * ROOM + ROOM / 2;
    assert_eq!(rounds(&mut cache, 9, small), ROOM / 2);
}
