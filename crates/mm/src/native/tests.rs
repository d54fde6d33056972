//! Native runs: what forks get, what the manager knows afterwards, what it costs.

use super::*;
use crate::mm::Config;
use crate::rig::{Harness, machine, poke, put, read, resident, run, sound, space, value, write};
use crate::{PageTables, Replacement};
use memfold_sim::program::{Place, load};
use memfold_sim::{Call, Calls, Lasting, Moment, Plan, SimStore, When};

/// A manager with native runs, and room for so much.
fn native(limit_bytes: u64) -> Harness {
    let config = Config {
        limit_bytes,
        machine_bytes: 64 << 20,
        spaces: 16,
        store_bytes: 0,
        page_tables: PageTables::Counted,
        replacement: Replacement::default(),
        native: Native::On,
    };
    Mm::new(machine(), SimStore::priced(), config).expect("the limit holds the tables")
}

/// A frozen space with bytes at pages 8 to 88 of 128.
fn template(mm: &Harness) -> SpaceNo {
    let warm = space(mm, 128);
    write(mm, warm, 8..88, 1);
    let frozen = mm.freeze(warm).expect("room");
    mm.drop_space(warm).expect("it lives");
    frozen
}

fn held(mm: &Harness) -> u64 {
    mm.usage().native
}

/// Goal: the machine serves the longest run of a frozen space's pages in its forks, with no fault;
/// what was stored to there is the fork's own as soon as somebody asks, and costs what it is.
#[test]
fn forks_are_served() {
    let mm = native(UNLIMITED);
    let frozen = template(&mm);
    let forks = [(); 2].map(|()| mm.fork(frozen).expect("room"));
    assert_eq!(held(&mm), 2 * 80 * EACH);
    let faults = mm.stats().faults;
    for (fork, stored) in forks.into_iter().zip([5, 6]) {
        for page in [8, 40, 87] {
            poke(&mm, fork, page, stored);
        }
    }
    assert_eq!((mm.stats().faults, mm.usage().private), (faults, 0));
    assert_eq!(value(&mm, forks[0], 40), 5, "somebody asks");
    assert_eq!((held(&mm), mm.usage().private), (80 * EACH, 3 * PAGE));
    assert_eq!(resident(&mm, forks[0]).len(), 80);
    sound(&mm);
    assert_eq!((held(&mm), mm.usage().private), (0, 6 * PAGE));
    for page in [8, 9, 40, 87] {
        let own = [8, 40, 87].contains(&page);
        let expected = |stored| if own { stored } else { 1 };
        assert_eq!(value(&mm, forks[0], page), expected(5));
        assert_eq!(value(&mm, forks[1], page), expected(6));
        assert_eq!(value(&mm, frozen, page), 1);
    }
    let stats = mm.stats();
    assert_eq!(
        (stats.native_forks, stats.native_ended, stats.native_copied),
        (2, 2, 6)
    );
}

/// Goal: no step for a page touches those that the machine serves, be they of the same leaf; they
/// touch nothing either. Method: the simulated machine demands it; one page is in the store when
/// the fork is made.
#[test]
fn served_pages_are_left_alone() {
    let mm = native(UNLIMITED);
    let frozen = template(&mm);
    assert_eq!(mm.evict(frozen, run(40, 1)), Ok(1));
    let fork = mm.fork(frozen).expect("room");
    assert_eq!(held(&mm), 47 * EACH, "pages 41 to 88");
    poke(&mm, fork, 41, 5);
    poke(&mm, fork, 87, 6);
    for page in [40, 39, 88, 100] {
        read(&mm, fork, page);
    }
    write(&mm, fork, 88..91, 7);
    write(&mm, fork, 38..41, 8);
    assert_eq!((mm.stats().native_ended, mm.usage().private), (0, 6 * PAGE));
    let expected = [
        (37, 1),
        (38, 8),
        (40, 8),
        (41, 5),
        (42, 1),
        (87, 6),
        (88, 7),
        (90, 7),
        (91, 0),
    ];
    assert_eq!(
        expected.map(|(page, _)| value(&mm, fork, page)),
        expected.map(|(_, value)| value)
    );
    sound(&mm);
}

/// Goal: a store after the look is a fault, and the fork's.
#[test]
fn a_later_store_is_a_fault() {
    let mm = native(UNLIMITED);
    let fork = mm.fork(template(&mm)).expect("room");
    poke(&mm, fork, 20, 5);
    mm.pin(fork, run(100, 1)).expect("room");
    mm.unpin(fork, run(100, 1));
    for page in [20, 21] {
        let at = Place {
            page: PageNo(page),
            offset: 0,
        };
        assert!(mm.host.store(fork, at, &[7]).is_err(), "page {page}");
        put(&mm, fork, page, 7);
    }
    assert_eq!([20, 21, 22].map(|page| value(&mm, fork, page)), [7, 7, 1]);
    sound(&mm);
}

/// Goal: a store that comes just when it was asked what was stored to is a fault, or is found.
#[test]
fn no_store_comes_after_the_look() {
    let mm = native(UNLIMITED);
    let fork = mm.fork(template(&mm)).expect("room");
    poke(&mm, fork, 20, 5);
    mm.host.arm_race(Moment::Scanned, fork, PageNo(30), 0, 7);
    let child = mm.fork(fork).expect("room");
    assert_eq!(mm.host.disarm_races(), 1, "it went through");
    assert_eq!([20, 30].map(|page| value(&mm, child, page)), [5, 1]);
    assert_eq!([20, 30].map(|page| value(&mm, fork, page)), [5, 1]);
    sound(&mm);
}

/// Goal: a fork of a fork sees what was stored to with nobody's knowledge, and neither sees the
/// other's later stores.
#[test]
fn a_fork_of_a_fork_sees_it() {
    let mm = native(UNLIMITED);
    let fork = mm.fork(template(&mm)).expect("room");
    poke(&mm, fork, 20, 5);
    let child = mm.fork(fork).expect("room");
    put(&mm, fork, 20, 6);
    put(&mm, child, 21, 7);
    assert_eq!([20, 21].map(|page| value(&mm, fork, page)), [6, 1]);
    assert_eq!([20, 21].map(|page| value(&mm, child, page)), [5, 7]);
    sound(&mm);
}

/// Goal: where less than half of the budget would be left, forks get none; and when room is needed,
/// native runs end before anything is evicted.
#[test]
fn room_comes_first() {
    let mm = native(8 << 20);
    let frozen = template(&mm);
    let fork = mm.fork(frozen).expect("room");
    assert_ne!(held(&mm), 0);
    poke(&mm, fork, 20, 5);
    let other = space(&mm, 1024);
    write(&mm, other, 0..1000, 2);
    assert_ne!(held(&mm), 0, "there is room beside it");
    let plain = mm.fork(frozen).expect("room");
    assert_eq!(mm.stats().native_forks, 1);
    write(&mm, space(&mm, 1024), 0..900, 3);
    assert_eq!(held(&mm), 0);
    assert_eq!((value(&mm, fork, 20), value(&mm, plain, 20)), (5, 1));
    sound(&mm);
}

/// Goal: as long as a window is native no page leaves its place, and afterwards they do.
#[test]
fn pages_stay_as_long_as_need_be() {
    let mm = native(UNLIMITED);
    let frozen = template(&mm);
    let fork = mm.fork(frozen).expect("room");
    poke(&mm, fork, 20, 5);
    let backing = mm.lock_space(frozen).expect("it lives").backing;
    assert!(mm.backings.stays(backing));
    assert_eq!(mm.evict(frozen, run(0, 128)), Ok(80), "who asks for it ends them");
    assert!(!mm.backings.stays(backing));
    assert_eq!([20, 21].map(|page| value(&mm, fork, page)), [5, 1]);
    read(&mm, fork, 21);
    let again = mm.fork(frozen).expect("room");
    assert_eq!(held(&mm), 0, "most of its pages are in the store");
    assert_eq!(value(&mm, again, 20), 1);
    sound(&mm);
}

/// Goal: reclaim ends runs that nobody else ends, and pages can go then.
#[test]
fn reclaim_ends_them() {
    let mm = native(UNLIMITED);
    let frozen = template(&mm);
    let fork = mm.fork(frozen).expect("room");
    poke(&mm, fork, 20, 5);
    assert_eq!(Natives::of(&mm).give_way(), 2, "the fork, and the promise to it");
    assert_eq!(mm.reclaim(100), 81);
    assert_eq!([20, 21].map(|page| value(&mm, fork, page)), [5, 1]);
    sound(&mm);
}

/// Goal: what the machine keeps of a fork's window is charged, and the next fork has it for
/// nothing; reclaim gives it back before anything else goes.
#[test]
fn kept_windows_are_charged() {
    let mm = native(8 << 20);
    mm.host.set_tables(memfold_host::Tables {
        pages: 32,
        bytes: PAGE,
        fixed_bytes: 0,
    });
    let frozen = template(&mm);
    let other = space(&mm, 40);
    let before = mm.usage().page_tables;
    let live = || {
        let fork = mm.fork(frozen).expect("room");
        poke(&mm, fork, 20, 5);
        let held = mm.usage().page_tables;
        mm.drop_space(fork).expect("it lives");
        held
    };
    live();
    assert_eq!(
        mm.usage().page_tables,
        before + 3 * PAGE,
        "pages 16 to 80 take three"
    );
    live();
    assert_eq!(
        mm.usage().page_tables,
        before + 4 * PAGE,
        "no more than the window has"
    );
    sound(&mm);
    let held = live();
    assert!(
        held >= before + 7 * PAGE,
        "the fork's own are charged besides: {held}"
    );
    assert_eq!(mm.host.windows_held(), 4 * PAGE);
    let free = mm.budget.free();
    assert!(mm.budget.charge(Class::Pool, free, Need::Normal));
    write(&mm, other, 3..4, 1);
    assert_eq!((mm.stats().evictions, mm.host.windows_held()), (0, 0));
    mm.budget.refund(Class::Pool, free);
    sound(&mm);
}

/// Goal: who looks for pages that nobody uses asks no window for those that the machine serves by
/// itself: the fork may have stored to them, and the question would undo that. Method: the
/// simulated machine demands it.
#[test]
fn what_is_served_is_not_asked() {
    let mm = native(UNLIMITED);
    let frozen = template(&mm);
    let fork = mm.fork(frozen).expect("room");
    (8..88).for_each(|page| poke(&mm, fork, page, 5));
    for _ in 0..4 {
        assert_eq!(mm.reclaim(8), 0);
    }
    assert_eq!(mm.stats().native_ended, 0);
    assert_eq!([8, 40, 87].map(|page| value(&mm, fork, page)), [5; 3]);
    sound(&mm);
}

/// Goal: who ends takes all of it along: charges, the place in the queue, what keeps pages.
#[test]
fn nothing_is_left() {
    let mm = native(UNLIMITED);
    let frozen = template(&mm);
    let before = mm.usage();
    for _ in 0..3 {
        let fork = mm.fork(frozen).expect("room");
        poke(&mm, fork, 20, 5);
        mm.drop_space(fork).expect("it lives");
    }
    assert_eq!((mm.usage().total, mm.natives.len()), (before.total, 1));
    mm.drop_space(frozen).expect("it lives");
    assert_eq!((mm.natives.len(), mm.usage().pool), (0, 0));
    sound(&mm);
}

/// Goal: a parent that changed gives its forks no run that it does not have any more; a template
/// that is stored to keeps its forks as they were.
#[test]
fn a_changed_parent_is_looked_at_again() {
    let mm = native(UNLIMITED);
    let frozen = template(&mm);
    let first = mm.fork(frozen).expect("room");
    put(&mm, frozen, 40, 9);
    let second = mm.fork(frozen).expect("room");
    assert_eq!(held(&mm), 80 * EACH, "it was stored to");
    let third = mm.fork(frozen).expect("room");
    assert!(held(&mm) < 2 * 80 * EACH, "page 40 is not at its place");
    for (fork, expected) in [(first, 1), (second, 9), (third, 9)] {
        assert_eq!([39, 40].map(|page| value(&mm, fork, page)), [1, expected]);
    }
    mm.discard(frozen, run(16, 64)).expect("room");
    let fourth = mm.fork(frozen).expect("room");
    assert_eq!((value(&mm, fourth, 20), value(&mm, third, 20)), (0, 1));
    sound(&mm);
}

/// Goal: whatever the machine refuses, at whichever call, no byte is lost: the operation fails, or
/// the fork is one without a native run.
#[test]
fn refusals_lose_nothing() {
    for call in [Call::Open, Call::Manage, Call::StoredTo] {
        for nth in 0..3 {
            let mm = native(UNLIMITED);
            let frozen = template(&mm);
            let forks = [(); 2].map(|()| mm.fork(frozen).expect("room"));
            (8..88).for_each(|page| poke(&mm, forks[0], page, page as u8));
            let (calls, when) = (Calls::only(call), When::Nth(nth, Lasting::Once));
            mm.host.set_plan(Plan { calls, when });
            let child = mm.fork(forks[0]);
            let other = mm.fork(frozen);
            mm.host.set_plan(Plan::NONE);
            let mut bytes = [0; crate::addr::PAGE_SIZE];
            for page in 8..88 {
                let of_page = [forks[0]].into_iter().chain(child.ok());
                for fork in of_page {
                    mm.read_page(fork, PageNo(page), &mut bytes).expect("it is calm");
                    assert_eq!(bytes[0], page as u8, "{call:?} {nth}, page {page} of {fork:?}");
                }
                for fork in [forks[1], frozen].into_iter().chain(other.ok()) {
                    assert_eq!(value(&mm, fork, page), 1, "{call:?} {nth}");
                }
            }
            sound(&mm);
        }
    }
}

/// Goal: a reset takes back what was stored to in a native run, unseen, and the machine serves the
/// run as before. Method: pages outside of the run, of its leaves too, are stored to as well.
#[test]
fn a_reset_keeps_the_run() {
    let mm = native(UNLIMITED);
    let frozen = template(&mm);
    assert_eq!(mm.evict(frozen, run(40, 1)), Ok(1));
    let fork = mm.fork(frozen).expect("room");
    let before = (held(&mm), mm.usage().private);
    for _ in 0..2 {
        poke(&mm, fork, 41, 5);
        poke(&mm, fork, 87, 6);
        for page in [2, 39, 40, 88, 100] {
            put(&mm, fork, page, 7);
        }
        mm.reset(fork, frozen).expect("related");
        assert_eq!((held(&mm), mm.usage().private), before);
        assert_eq!(mm.host.shown(fork, PageNo(41)), None);
    }
    poke(&mm, fork, 42, 8);
    assert_eq!(mm.stats().native_ended, 0);
    let expected = [0, 1, 1, 1, 8, 1, 0, 0];
    assert_eq!(
        [2, 39, 40, 41, 42, 87, 88, 100].map(|page| value(&mm, fork, page)),
        expected
    );
    sound(&mm);
}

/// Goal: a reset to a relative that has other pages in the run ends the run.
#[test]
fn a_reset_to_another_ends_the_run() {
    let mm = native(UNLIMITED);
    let frozen = template(&mm);
    let [fork, other] = [(); 2].map(|()| mm.fork(frozen).expect("room"));
    poke(&mm, other, 40, 5);
    poke(&mm, fork, 41, 6);
    mm.reset(fork, other).expect("related");
    let seen = [40, 41].map(|page| {
        let (at, mut byte) = (PageNo(page), [0]);
        let at = Place { page: at, offset: 0 };
        load(&mm, fork, at, &mut byte).expect("it is there");
        byte[0]
    });
    assert_eq!(seen, [5, 1], "what a program sees");
    assert_eq!((held(&mm), mm.stats().native_ended), (0, 2));
    sound(&mm);
}
