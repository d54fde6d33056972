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
