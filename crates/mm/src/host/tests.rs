//! What a host need not write itself: comparisons made of reads.

use super::*;
use crate::addr::PAGE_SIZE;
use crate::bare::machine;

const A: SpaceNo = SpaceNo(1);
const B: SpaceNo = SpaceNo(2);

/// A page of this space holds these bytes; nothing else is there but a pool page of ones.
fn filled(pages: &[(SpaceNo, u32, u8)]) -> crate::bare::Bare {
    let host = machine();
    for &(space, page, value) in pages {
        host.fill(space, PageNo(page), &[value; PAGE_SIZE], Protection::Protected)
            .expect("never refused");
    }
    host.pool_write(PoolPage(3), &[1; PAGE_SIZE])
        .expect("never refused");
    host
}

/// Goal: pages resemble each other when their bytes are equal; what cannot be read resembles nothing.
#[test]
fn guesses() {
    let host = filled(&[(A, 0, 1), (B, 0, 1), (A, 1, 2), (B, 1, 0), (A, 2, 2)]);
    let like = |page, of| host.resembles(A, PageNo(page), of);
    let (pool, sibling) = (Twin::Pool(PoolPage(3)), Twin::Private(B));
    assert_eq!(
        [like(0, pool), like(1, pool), like(9, pool)],
        [true, false, false]
    );
    assert_eq!(
        [like(0, sibling), like(1, sibling), like(2, sibling)],
        [true, false, false]
    );
    assert!(!like(0, Twin::Pool(PoolPage(4))), "nothing was written there");
    let zeros = |space, page| host.resembles_zeros(space, PageNo(page));
    assert_eq!([zeros(B, 1), zeros(A, 1), zeros(A, 9)], [true, false, false]);
}

/// Goal: the proof compares bytes, and says when it could not.
#[test]
fn proofs() {
    let host = filled(&[(A, 0, 1), (B, 0, 1), (A, 1, 2), (B, 1, 0), (A, 2, 2)]);
    let twin = |page, of| host.is_twin(A, PageNo(page), of);
    let (pool, sibling) = (Twin::Pool(PoolPage(3)), Twin::Private(B));
    assert_eq!([twin(0, pool), twin(1, pool)], [Ok(true), Ok(false)]);
    assert_eq!([twin(0, sibling), twin(1, sibling)], [Ok(true), Ok(false)]);
    assert!(twin(2, sibling).is_err() && twin(9, pool).is_err());
    assert!(twin(0, Twin::Pool(PoolPage(4))).is_err());
    assert_eq!(host.pool_equals(PoolPage(3), &[1; PAGE_SIZE]), Ok(true));
    let mut bytes = [1; PAGE_SIZE];
    bytes[PAGE_SIZE - 1] = 2;
    assert_eq!(host.pool_equals(PoolPage(3), &bytes), Ok(false));
    assert!(host.pool_equals(PoolPage(4), &bytes).is_err());
}

/// Goal: a look at a page that may be stored to is a read of it.
#[test]
fn defaults() {
    let host = filled(&[(A, 0, 7)]);
    let mut bytes = [0; PAGE_SIZE];
    assert_eq!(host.glance(A, PageNo(0), &mut bytes), Ok(()));
    assert_eq!(bytes, [7; PAGE_SIZE]);
    assert!(host.glance(A, PageNo(1), &mut bytes).is_err());
}

/// Goal: a page that others share adds nothing.
#[test]
fn shared_pages_add_nothing() {
    let alone = Cost {
        bytes: 7,
        ..Cost::default()
    };
    let shared = Cost {
        shared: true,
        ..alone
    };
    assert_eq!((alone.adds(), shared.adds()), (7, 0));
}
