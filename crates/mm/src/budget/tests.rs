//! The limits of each need, marks, and parts of charges.

use super::*;

/// Goal: the limit holds for each need, and a dropped charge leaves no trace.
#[test]
fn limits_hold() {
    let b = Budget::new(1 << 20);
    let reserve = 128 << 10;
    assert!(!b.charge(Class::Private, (1 << 20) - reserve + 1, Need::Normal));
    let charge = Charge::take(&b, Class::Private, (1 << 20) - reserve, Need::Normal).unwrap();
    assert!(!b.charge(Class::Pool, 1, Need::Normal));
    assert!(b.charge(Class::Stored, reserve, Need::Reclaim));
    assert!(!b.charge(Class::Stored, 1, Need::Reclaim));
    assert!(Charge::take(&b, Class::Private, 1, Need::Normal).is_none());
    assert_eq!(
        b.usage().private,
        (1 << 20) - reserve,
        "a refused charge refunds nothing"
    );
    drop(charge);
    assert_eq!(b.usage().private, 0);
    assert_eq!(b.usage().total, reserve);
    assert_eq!(b.usage().peak, 1 << 20);
}

/// Goal: what comes back from the store may use a quarter of the reserve, on loan one more, and no
/// more.
#[test]
fn refaults_use_half_of_the_reserve() {
    let b = Budget::new(1 << 20);
    let quarter = 32 << 10;
    let line = (1 << 20) - 3 * quarter;
    assert!(!b.charge(Class::Private, line + 1, Need::Refault));
    assert!(b.charge(Class::Private, line, Need::Refault));
    assert!(!b.charge(Class::Private, 1, Need::Refault));
    assert!(!b.charge(Class::Private, quarter + 1, Need::Loan));
    assert!(b.charge(Class::Private, quarter, Need::Loan));
    assert!(!b.charge(Class::Private, 1, Need::Loan));
}

/// Goal: the background reclaimer starts when less than half of a reserve is free, and stops at a
/// whole one. Method: what is free, to the byte, on both sides of each mark.
#[test]
fn marks_are_where_the_header_says() {
    let b = Budget::new(1 << 20);
    let reserve = 128 << 10;
    let states = [reserve, reserve - 1, reserve / 2, reserve / 2 - 1, 0].map(|free| {
        let charge = Charge::take(&b, Class::Pool, (1 << 20) - reserve - free, Need::Normal);
        let _held = charge.expect("it fits");
        assert_eq!(b.free(), free);
        (b.is_low(), b.is_high())
    });
    assert_eq!(
        states,
        [
            (false, true),
            (false, false),
            (false, false),
            (true, false),
            (true, false)
        ]
    );
    assert!(b.charge(Class::Pool, 1 << 20, Need::Reclaim));
    assert_eq!(
        (b.free(), b.limit()),
        (0, 1 << 20),
        "nothing is free in the reserve"
    );
    let unlimited = Budget::new(UNLIMITED);
    assert_eq!((unlimited.is_low(), unlimited.is_high()), (false, true));
    assert!(unlimited.charge(Class::Pool, UNLIMITED, Need::Normal));
    assert_eq!((unlimited.is_low(), unlimited.is_high()), (false, true));
    assert_eq!((unlimited.free(), unlimited.limit()), (0, UNLIMITED));
}

/// Goal: the reserve grows with the limit, between its bounds.
#[test]
fn reserve_is_bounded() {
    let reserve = |limit: u64| limit - Budget::new(limit).free();
    assert_eq!(reserve(256 << 10), 64 << 10);
    assert_eq!(reserve(1 << 20), 128 << 10);
    assert_eq!(reserve(64 << 20), 1 << 20);
    assert_eq!(reserve(1 << 30), 4 << 20);
    assert_eq!(Budget::new(UNLIMITED).free(), UNLIMITED);
}

/// Goal: of a charge, what is kept stays, the rest comes back; the total does not change when a
/// class does.
#[test]
fn parts_are_kept() {
    let b = Budget::new(1 << 20);
    let mut charge = Charge::take(&b, Class::Private, 12, Need::Normal).unwrap();
    charge.split(4).keep();
    charge.split(5).keep();
    drop(charge);
    assert_eq!((b.usage().private, b.usage().total), (9, 9));
    b.reclass(Class::Private, Class::Pool, 2);
    let usage = b.usage();
    assert_eq!((usage.private, usage.pool, usage.total), (7, 2, 9));
    Charge::take(&b, Class::Tables, 3, Need::Normal).unwrap().keep();
    assert_eq!((b.usage().tables, b.usage().total), (3, 12));
}
