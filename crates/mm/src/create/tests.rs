//! Sizes of spaces, how they grow, and what is said when there is no place for one.

use super::*;
use crate::rig::{harness, limited};

fn size(len: u32, reserve: u32) -> Size {
    Size { len, reserve }
}

/// Goal: impossible sizes are refused, with what is possible; the largest possible one is not.
#[test]
fn sizes_have_bounds() {
    let mm = harness();
    let most = u64::from(MAX_PAGES);
    let refused = |len, reserve, pages| {
        let made = mm.create(size(len, reserve), Domain(0));
        assert_eq!(made, Err(SpaceError::BadSize { pages, most }));
    };
    refused(0, 0, 0);
    refused(0, 8, 8);
    refused(9, 8, 9);
    refused(1, MAX_PAGES + 1, most + 1);
    refused(MAX_PAGES + 1, MAX_PAGES + 1, most + 1);
    let a = mm.create(size(8, 8), Domain(0)).expect("room");
    let b = mm.create(size(1, MAX_PAGES), Domain(0)).expect("room");
    assert_eq!((mm.len(a), mm.len(b)), (Ok(8), Ok(1)));
    assert_eq!(mm.len(SpaceNo(9)), Err(SpaceError::NoSuchSpace(SpaceNo(9))));
}

/// Goal: a space grows up to its reserve and never shrinks.
#[test]
fn growth_has_bounds() {
    let mm = harness();
    let a = mm.create(size(8, 20), Domain(0)).expect("room");
    let bad = |pages| Err(SpaceError::BadSize { pages, most: 20 });
    assert_eq!((mm.grow(a, 7), mm.len(a)), (bad(7), Ok(8)));
    assert_eq!((mm.grow(a, 21), mm.len(a)), (bad(21), Ok(8)));
    assert_eq!((mm.grow(a, 8), mm.len(a)), (Ok(()), Ok(8)));
    assert_eq!((mm.grow(a, 19), mm.len(a)), (Ok(()), Ok(19)));
    assert_eq!((mm.grow(a, 20), mm.len(a)), (Ok(()), Ok(20)));
    assert_eq!(mm.grow(SpaceNo(9), 9), Err(SpaceError::NoSuchSpace(SpaceNo(9))));
}

/// Goal: too many spaces are told from too little room.
#[test]
fn places_run_out() {
    let mm = harness();
    let mut spaces = Vec::new();
    let last = loop {
        match mm.create(size(1, 1), Domain(0)) {
            Ok(space) => spaces.push(space),
            Err(e) => break e,
        }
    };
    assert_eq!(last, SpaceError::TooManySpaces(16));
    assert_eq!(mm.fork(spaces[0]), Err(SpaceError::TooManySpaces(16)));
    mm.drop_space(spaces[3]).expect("it lives");
    assert_eq!(mm.fork(spaces[0]), Ok(spaces[3]));
    let mm = limited(8 << 20);
    let free = mm.budget.free();
    assert!(mm.budget.charge(crate::budget::Class::Stored, free, Need::Normal));
    let over = SpaceError::OverBudget { limit: 8 << 20 };
    assert_eq!(mm.create(size(1, 1), Domain(0)), Err(over));
}
