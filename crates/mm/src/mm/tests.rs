//! What the manager's parts are built of, and how an operation that finds no room is repeated.

use super::*;
use crate::rig::{harness, limited, run, space, write};

/// Goal: an operation without room is repeated as long as reclaim frees something, and given up
/// soon after.
#[test]
fn no_room_ends() {
    let mm = harness();
    let tries = std::cell::Cell::new(0);
    let step = || {
        tries.set(tries.get() + 1);
        Err::<(), _>(Stop::NoRoom)
    };
    assert_eq!(mm.retry(step), Err(Stop::NoRoom));
    assert_eq!(tries.take(), 4, "three times in vain");
    let a = space(&mm, 100);
    write(&mm, a, 0..64, 1);
    assert_eq!(mm.retry(step), Err(Stop::NoRoom));
    assert_eq!(tries.take(), 6, "two batches went");
    assert_eq!(mm.stats().direct_reclaims, 3 + 5);
    assert_eq!(mm.stats().evictions, 64);
}

/// Goal: the eviction clock counts frames, which is what refault distances are compared with.
#[test]
fn the_clock_counts_evictions() {
    let mm = harness();
    let a = space(&mm, 100);
    write(&mm, a, 0..40, 1);
    assert_eq!(mm.reclaim.clock(), 0);
    assert_eq!(mm.evict(a, run(3, 33)), Ok(33));
    assert_eq!(mm.reclaim.clock(), 33);
}

/// Goal: what the manager itself holds is charged at once, and no budget is too small to say so.
#[test]
fn tables_are_charged_from_the_start() {
    let usage = limited(8 << 20).usage();
    let base = usage.tables;
    assert!(base > Scratch::BYTES && base <= 2 << 20, "{usage:?}");
    assert_eq!((usage.total, usage.peak, usage.limit), (base, base, 8 << 20));
    let built = |limit_bytes, store_bytes| {
        let config = Config {
            replacement: crate::Replacement::default(),
            native: crate::Native::Off,
            limit_bytes,
            machine_bytes: 64 << 20,
            spaces: 16,
            store_bytes,
            page_tables: PageTables::Counted,
        };
        Mm::new(crate::rig::machine(), crate::rig::SimStore::priced(), config).map(|mm| mm.usage().tables)
    };
    let with = |more| built(8 << 20, more);
    assert_eq!(with(1000), Ok(base + 1000));
    let least = (base + (1 << 20)) * 4;
    let refused = BuildError::BudgetTooSmall {
        limit: 8 << 20,
        least: (base + (2 << 20)) * 4,
    };
    assert_eq!(with(2 << 20), Err(refused));
    assert!(least < 8 << 20 && with(1 << 20).is_ok());
    let least = LEAST_LIMIT;
    let tiny = BuildError::BudgetTooSmall {
        limit: least - 1,
        least,
    };
    assert_eq!(built(least - 1, 0), Err(tiny));
    assert!(built(least, 0).is_ok());
}
