//! Goal: refusals leave what the seam promises, and the same calls give the same trace. Method: a
//! few calls.

use super::*;
use crate::plan::Plan;
use crate::plan::{Calls, Lasting, When};
use memfold_host::Host;
use memfold_host::addr::{PAGE_SIZE, PoolPage};

const S: SpaceNo = SpaceNo(1);

fn host() -> SimHost {
    let host = SimHost::new(3);
    host.reserve_pool(64).unwrap();
    host.open(S, PoolPage(8), 16, 16).unwrap();
    host
}

/// The next call of this kind is refused.
pub(super) fn refuse(host: &SimHost, call: Call) {
    host.set_plan(Plan {
        calls: Calls::only(call),
        when: When::Nth(0, Lasting::Once),
    });
}

#[test]
fn a_refused_run_of_new_pages_is_undone_by_dropping_it() {
    let host = host();
    let run = Run {
        first: PageNo(0),
        len: 8,
    };
    refuse(&host, Call::FillZero);
    assert!(host.fill_zero(S, run).is_err());
    assert!(host.memory().private < 8);
    host.drop_pages(S, run);
    assert_eq!(host.memory().private, 0);
    assert_eq!(host.fill_zero(S, run), Ok(()));
    assert_eq!(host.memory().private, 8);
}

#[test]
fn a_refused_copy_to_the_pool_is_undone_by_freeing_it() {
    let host = host();
    let run = Run {
        first: PageNo(0),
        len: 4,
    };
    host.fill_zero(S, run).unwrap();
    host.protect(S, run).unwrap();
    refuse(&host, Call::CopyToPool);
    assert!(host.copy_to_pool(S, run, PoolPage(8)).is_err());
    host.pool_free(PoolPage(8), 4);
    assert_eq!(host.memory().pool, 0);
    assert_eq!(host.memory().private, 4);
    assert_eq!(host.plan_counts(), (1, 1));
}

#[test]
fn hidden_pages_are_young_when_shown_again() {
    let host = host();
    let run = Run {
        first: PageNo(1),
        len: 2,
    };
    host.pool_write(PoolPage(9), &[1; PAGE_SIZE]).unwrap();
    host.pool_write(PoolPage(10), &[2; PAGE_SIZE]).unwrap();
    host.show(S, run).unwrap();
    assert_eq!(host.test_and_clear_young(S, run), 0b11);
    assert_eq!(host.test_and_clear_young(S, run), 0);
    host.show(S, Run::one(PageNo(2))).unwrap();
    assert_eq!(host.test_and_clear_young(S, run), 0b10);
}

#[test]
fn a_second_thread_may_store_while_zeros_are_shown() {
    let host = host();
    host.arm_race(crate::Moment::ZerosShown, S, PageNo(3), 5, 77);
    assert_eq!(
        host.show_zero(
            S,
            Run {
                first: PageNo(2),
                len: 3
            }
        ),
        Ok(0b010)
    );
    assert_eq!(host.disarm_races(), 0);
    let mut out = [0];
    host.lock().machine.load(S, PageNo(3), 5, &mut out).unwrap();
    assert_eq!(out, [77]);
    assert_eq!(host.memory().private, 1);
}

#[test]
fn same_calls_same_hash() {
    let run = Run::one(PageNo(0));
    let hash = |twice: bool| {
        let host = host();
        host.fill_zero(S, run).unwrap();
        if twice {
            host.protect(S, run).unwrap();
        }
        host.at_rest(|| host.read_private(S, PageNo(0), &mut [0; PAGE_SIZE]).unwrap());
        host.trace_hash()
    };
    assert_eq!(hash(false), hash(false));
    assert_ne!(hash(false), hash(true));
}

#[test]
#[should_panic(expected = "read while stores go through")]
fn a_writable_page_is_not_read() {
    let host = host();
    host.fill_zero(S, Run::one(PageNo(0))).unwrap();
    assert!(
        host.read_private(S, PageNo(0), &mut [0; PAGE_SIZE]).is_ok(),
        "nobody was inside yet"
    );
    host.lock().machine.store(S, PageNo(0), 0, &[1]).unwrap();
    let _ = host.read_private(S, PageNo(0), &mut [0; PAGE_SIZE]);
}
