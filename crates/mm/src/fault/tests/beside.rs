//! What comes back from the store along with a page that is asked for.

use super::*;
use memfold_sim::{Call, Calls, Lasting, Plan, When};

/// Goal: pages of the leaf that went at about the same time come back together; others, and shared
/// ones, do not.
#[test]
fn neighbours_come_back_together() {
    let (mm, a) = gone(250, 0);
    write(&mm, a, 4..5, 3);
    mm.evict(a, run(4, 1)).expect("it lives");
    write(&mm, a, 300..310, 3);
    mm.evict(a, run(300, 10)).expect("it lives");
    write(&mm, a, 5..6, 3);
    mm.evict(a, run(5, 1)).expect("it lives");
    let evicted = |page| {
        let st = mm.lock_space(a).expect("it lives");
        match mm.tables.lookup(&st.tree, PageNo(page)).entry() {
            crate::table::LeafEntry::Swapped(slot) => mm.swap.look(slot).expect("in use").evicted_at,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!([0, 4, 5].map(evicted), [0, 254, 265]);
    mm.fault(a, PageNo(1), Access::Write).expect("room");
    assert_eq!(resident(&mm, a), [0, 1, 2, 3, 4]);
    assert_eq!((mm.stats().swapped_in, mm.stats().read_ahead), (1, 4));
    assert_eq!(
        [0, 1, 2, 3, 4, 5].map(|page| value(&mm, a, page)),
        [1, 1, 1, 1, 3, 3]
    );
    sound(&mm);
    // The machine refuses one of them: those before it are back, and the others whole in the store.
    mm.evict(a, run(0, 5)).expect("it lives");
    mm.host.set_plan(Plan {
        calls: Calls::only(Call::Fill),
        when: When::Nth(3, Lasting::Once),
    });
    mm.fault(a, PageNo(3), Access::Write).expect("room");
    mm.host.set_plan(Plan::NONE);
    assert_eq!(resident(&mm, a), [0, 1, 3]);
    sound(&mm);
    assert_eq!([2, 4].map(|page| value(&mm, a, page)), [1, 3]);
    sound(&mm);
    // The other way round: the page asked for went last.
    let (mm, a) = gone(250, 0);
    write(&mm, a, 4..5, 3);
    mm.evict(a, run(4, 1)).expect("it lives");
    mm.fault(a, PageNo(4), Access::Write).expect("room");
    assert_eq!(resident(&mm, a), [0, 1, 2, 3, 4]);
    // Pages that a fork shares are its business too.
    let (mm, a) = gone(0, 0);
    let b = mm.fork(a).expect("room");
    mm.fault(b, PageNo(1), Access::Write).expect("room");
    assert_eq!((resident(&mm, b), resident(&mm, a)), (vec![1], vec![]));
    sound(&mm);
}

/// A template of pages 0 to 7 that were evicted one after another, and a fork of it.
fn shared(mm: &Harness) -> (crate::addr::SpaceNo, crate::addr::SpaceNo) {
    let a = space(mm, 64);
    write(mm, a, 0..8, 1);
    let b = mm.fork(a).expect("room");
    (0..8).for_each(|page| read(mm, b, page));
    for page in 0..8 {
        mm.evict(a, run(page, 1)).expect("it lives");
    }
    assert_eq!(resident(mm, b), []);
    (a, b)
}

/// Goal: the first who reads a shared page brings the pages beside it that are shared as well, for
/// all who share them, and shows all by one call; a page that only he has, or that is away for
/// another reason, stays.
#[test]
fn shared_neighbours_come_back_for_all() {
    let mm = harness();
    let (a, b) = shared(&mm);
    write(&mm, a, 5..6, 2);
    mm.evict(a, run(5, 1)).expect("it lives");
    mm.host.requests();
    let before = mm.stats();
    read(&mm, a, 2);
    assert_eq!(resident(&mm, a), [0, 1, 2, 3, 4, 6, 7]);
    let now = mm.stats();
    assert_eq!(now.swapped_in_shared - before.swapped_in_shared, 1);
    assert_eq!(now.read_ahead - before.read_ahead, 6);
    assert_eq!(mm.host.requests(), [Request::Show(a, run(0, 5))]);
    // Another finds them through the slots, without the store.
    read(&mm, b, 6);
    assert_eq!(mm.stats().swapped_in_shared, now.swapped_in_shared);
    assert_eq!([2, 5, 6].map(|page| value(&mm, a, page)), [1, 2, 1]);
    assert_eq!([2, 5, 6].map(|page| value(&mm, b, page)), [1, 1, 1]);
    sound(&mm);
}

/// Goal: what is shared comes ahead of need while there is room without reclaim, not from the
/// reserve.
#[test]
fn shared_neighbours_need_room() {
    let mm = limited(8 << 20);
    let (_, b) = shared(&mm);
    let rest = mm.budget.free() - 3 * PAGE;
    let need = crate::budget::Need::Normal;
    assert!(mm.budget.charge(crate::budget::Class::Stored, rest, need));
    read(&mm, b, 2);
    let came = resident(&mm, b);
    assert!(came.contains(&2) && came.len() <= 4, "{came:?}");
    sound(&mm);
    // With nothing left, the one that is asked for comes from what is kept for that.
    let rest = mm.budget.free();
    assert!(mm.budget.charge(crate::budget::Class::Stored, rest, need));
    read(&mm, b, 7);
    assert_eq!(resident(&mm, b).len(), came.len() + 1);
    sound(&mm);
}
