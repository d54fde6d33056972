//! What a host need not write itself: the comparisons that the seam makes of reads, on this host,
//! which keeps them.

use super::tests::refuse;
use super::*;
use memfold_host::addr::{PAGE_SIZE, PoolPage};
use memfold_host::{Host, PageRef, Protection};

const A: SpaceNo = SpaceNo(1);
const B: SpaceNo = SpaceNo(2);
const POOL: PageRef = PageRef::Pool(PoolPage(30));

/// Protected pages with these bytes, and a pool page of ones.
fn filled(pages: &[(SpaceNo, u32, u8)]) -> SimHost {
    let host = SimHost::new(1);
    host.reserve_pool(64).expect("never refused");
    host.open(A, PoolPage(0), 4, 4).expect("never refused");
    host.open(B, PoolPage(0), 4, 4).expect("never refused");
    for &(space, page, value) in pages {
        host.fill(space, PageNo(page), &[value; PAGE_SIZE], Protection::Protected)
            .expect("never refused");
    }
    host.pool_write(PoolPage(30), &[1; PAGE_SIZE])
        .expect("never refused");
    host
}

/// Goal: samples are equal when the bytes are; what cannot be read is equal to nothing.
#[test]
fn guesses() {
    let host = filled(&[(A, 0, 1), (B, 0, 1), (A, 1, 2), (B, 1, 0)]);
    let like = |page, of| host.sample_equal(A, PageNo(page), of);
    assert_eq!([like(0, POOL), like(1, POOL)], [true, false]);
    let sibling = PageRef::Private(B);
    assert_eq!([like(0, sibling), like(1, sibling)], [true, false]);
    let zeros = |space| host.sample_is_zero(space, PageNo(1));
    assert_eq!([zeros(B), zeros(A)], [true, false]);
    for (call, of) in [
        (Call::ReadPrivate, POOL),
        (Call::PoolRead, POOL),
        (Call::ReadPrivate, sibling),
    ] {
        refuse(&host, call);
        assert!(!like(0, of), "{call:?} was refused");
    }
    refuse(&host, Call::ReadPrivate);
    assert!(!zeros(B));
}

/// Goal: the proof compares bytes, and says when it could not.
#[test]
fn proofs() {
    let host = filled(&[(A, 0, 1), (B, 0, 1), (A, 1, 2), (B, 1, 0)]);
    let equal = |page, of| host.pages_equal(A, PageNo(page), of);
    let sibling = PageRef::Private(B);
    assert_eq!([equal(0, POOL), equal(1, POOL)], [Ok(true), Ok(false)]);
    assert_eq!([equal(0, sibling), equal(1, sibling)], [Ok(true), Ok(false)]);
    for (call, of) in [(Call::ReadPrivate, sibling), (Call::PoolRead, POOL)] {
        refuse(&host, call);
        assert!(equal(0, of).is_err(), "{call:?} was refused");
    }
    let mut bytes = [1; PAGE_SIZE];
    assert_eq!(host.pool_equals(PoolPage(30), &bytes), Ok(true));
    bytes[PAGE_SIZE - 1] = 2;
    assert_eq!(host.pool_equals(PoolPage(30), &bytes), Ok(false));
    refuse(&host, Call::PoolRead);
    assert!(host.pool_equals(PoolPage(30), &bytes).is_err());
}
