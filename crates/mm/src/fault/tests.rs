//! What a fault makes, shows and brings in besides the page that was asked for.

use crate::addr::{Access, PAGE_SIZE, PageNo, SpaceNo};
use crate::error::SpaceError;
use crate::mm::PAGE;
use crate::reclaim::batch::settle;
use crate::reclaim::policy::Finding;
use crate::reclaim::tests::isolate;
use crate::rig::{
    Harness, Request, frame_at, harness, limited, read, resident, run, sound, space, value, write,
};
use crate::space::FaultError;
use memfold_sim::Moment;

/// Goal: writes that go on where earlier ones ended get as many pages ahead as were written before,
/// to the end of the leaf.
#[test]
fn pages_ahead_grow() {
    let mm = harness();
    let a = space(&mm, 60);
    let mut made = Vec::new();
    for page in 0..60 {
        if frame_at(&mm, a, page).is_none() {
            mm.fault(a, PageNo(page), Access::Write).expect("room");
            made.push((page, resident(&mm, a).len()));
        }
    }
    let expected = [
        (0, 1),
        (1, 2),
        (2, 4),
        (4, 8),
        (8, 16),
        (16, 32),
        (32, 48),
        (48, 60),
    ];
    assert_eq!(made, expected);
    assert_eq!((mm.stats().new_pages, mm.stats().faults), (60, 8));
    sound(&mm);
}

/// Goal: no page is made over one that is there, and none for a write that stands alone.
#[test]
fn pages_ahead_stop() {
    let mm = harness();
    let a = space(&mm, 60);
    write(&mm, a, 7..8, 1);
    write(&mm, a, 0..3, 1);
    mm.evict(a, run(7, 1)).expect("it lives");
    mm.fault(a, PageNo(3), Access::Write).expect("room");
    assert_eq!(resident(&mm, a), [0, 1, 2, 3, 4, 5]);
    mm.fault(a, PageNo(6), Access::Write).expect("room");
    assert_eq!(resident(&mm, a), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(value(&mm, a, 7), 1);
    mm.fault(a, PageNo(30), Access::Write).expect("room");
    assert_eq!(resident(&mm, a).len(), 8);
}

/// Goal: pages ahead are left out when there is no room for them; the page itself is not.
#[test]
fn pages_ahead_need_room() {
    let mm = limited(8 << 20);
    let a = space(&mm, 60);
    write(&mm, a, 0..8, 1);
    let rest = mm.budget.free() - 3 * PAGE;
    assert!(
        mm.budget
            .charge(crate::budget::Class::Stored, rest, crate::budget::Need::Normal)
    );
    mm.fault(a, PageNo(8), Access::Write).expect("room for one");
    assert_eq!(resident(&mm, a), (0..9).collect::<Vec<_>>());
    sound(&mm);
}

/// Goal: a shared page is shown with its neighbours: those of its leaf, in the pool, without a gap.
#[test]
fn neighbours_are_shown() {
    let mm = harness();
    let a = space(&mm, 60);
    write(&mm, a, 14..16, 1);
    write(&mm, a, 16..20, 1);
    write(&mm, a, 21..24, 1);
    write(&mm, a, 30..34, 1);
    let b = mm.fork(a).expect("room");
    write(&mm, a, 17..18, 2);
    write(&mm, b, 32..33, 2);
    mm.host.requests();
    // What moves to the pool at its place, hidden in the writer's window, and what is shown of it
    // then.
    for (page, moved, shown) in [
        (22, (21, 3), (21, 3)),
        (18, (18, 2), (17, 3)),
        (31, (30, 2), (30, 2)),
        (33, (33, 1), (33, 1)),
        (15, (14, 2), (14, 2)),
        (16, (16, 1), (16, 4)),
    ] {
        read(&mm, b, page);
        let (moved, shown) = (run(moved.0, moved.1), run(shown.0, shown.1));
        assert_eq!(
            mm.host.requests(),
            [Request::Drop(a, moved), Request::Show(b, shown)]
        );
    }
    assert_eq!(mm.stats().promoted, 11);
    sound(&mm);
}

/// Goal: the first fault that could not be resolved is remembered until somebody asks, and those
/// after it fail with it at once; one beyond the end is not.
#[test]
fn the_first_failure_is_remembered() {
    let mm = limited(4 << 20);
    let a = space(&mm, 2000);
    let beyond = mm.fault(a, PageNo(2000), Access::Read);
    assert!(matches!(beyond, Err(FaultError::OutOfRange { len: 2000, .. })));
    assert_eq!(mm.take_failure(a), None);
    let full = (0..2000)
        .find(|&page| mm.pin(a, run(page, 1)).is_err())
        .expect("it ends");
    let failed = |page| FaultError::OverBudget {
        space: a,
        page: PageNo(page),
        limit: 4 << 20,
    };
    assert_eq!(mm.take_failure(a), None, "a pin says so itself");
    assert_eq!(mm.fault(a, PageNo(full), Access::Write), Err(failed(full)));
    let tried = mm.stats().direct_reclaims;
    for (page, access) in [(full + 1, Access::Write), (0, Access::Read)] {
        assert_eq!(mm.fault(a, PageNo(page), access), Err(failed(full)));
    }
    assert_eq!(mm.pin(a, run(0, 1)), Err(failed(full)));
    assert_eq!(mm.fork(a), Err(SpaceError::Fault(failed(full))));
    assert_eq!(
        mm.stats().direct_reclaims,
        tried,
        "nobody reclaims for a condemned space"
    );
    assert_eq!(
        (mm.failure(a), mm.take_failure(a)),
        (Some(failed(full)), Some(failed(full)))
    );
    assert_eq!(mm.take_failure(a), None);
    assert_eq!(mm.take_failure(crate::addr::SpaceNo(9)), None);
    let nobody = crate::addr::SpaceNo(9);
    assert_eq!(
        mm.fault(nobody, PageNo(0), Access::Read),
        Err(FaultError::NoSuchSpace(nobody))
    );
    sound(&mm);
}

/// A space of which pages 0 to 3 went, then so many others.
fn gone(others: u32, left: u32) -> (Harness, crate::addr::SpaceNo) {
    let mm = harness();
    let a = space(&mm, 1000);
    write(&mm, a, 0..4, 1);
    write(&mm, a, 16..16 + others + left, 2);
    mm.evict(a, run(0, 4)).expect("it lives");
    mm.evict(a, run(16, others)).expect("it lives");
    (mm, a)
}

/// Goal: a page that comes back before as many others went as are held was wanted: it goes to the
/// active list.
#[test]
fn early_refaults_are_active() {
    // Page 3 is the last of the four to go: its distance is that of the others, and one.
    for (others, left, active) in [(40, 41, 1), (40, 40, 0), (0, 1, 1), (0, 0, 0)] {
        let (mm, a) = gone(others, left);
        mm.fault(a, PageNo(3), Access::Write).expect("room");
        let stats = mm.stats();
        assert_eq!(
            (stats.active_frames, stats.refaults),
            (active, u64::from(active)),
            "{others} {left}"
        );
        let frame = frame_at(&mm, a, 3).expect("back");
        let mut candidate = isolate(&mm, frame);
        assert_eq!(candidate.is_none(), active == 1);
        settle(&mm, &mut candidate, Finding::Spared);
        sound(&mm);
    }
}

/// Goal: zeros are shown around the page: in its leaf, up to the end, without a gap; the page alone
/// when room is short.
#[test]
fn zeros_are_shown_around() {
    let mm = limited(8 << 20);
    let a = space(&mm, 25);
    write(&mm, a, 17..18, 1);
    mm.host.requests();
    read(&mm, a, 20);
    read(&mm, a, 3);
    let zeros = |first, len| Request::ShowZero(a, run(first, len));
    assert_eq!(mm.host.requests(), [zeros(18, 7), zeros(0, 16)]);
    let rest = mm.budget.free() - 6 * PAGE;
    assert!(
        mm.budget
            .charge(crate::budget::Class::Stored, rest, crate::budget::Need::Normal)
    );
    read(&mm, a, 20);
    assert_eq!(mm.host.requests(), [zeros(20, 1)]);
    assert_eq!(resident(&mm, a), [17], "zeros cost nothing");
    sound(&mm);
}

fn first_byte(mm: &Harness, space: SpaceNo, page: u32) -> u8 {
    let mut bytes = [99; PAGE_SIZE];
    mm.read_page(space, PageNo(page), &mut bytes)
        .expect("it can be read");
    bytes[0]
}

/// Goal: a page to which another thread stored before it was protected is that space's own from
/// then on.
#[test]
fn a_store_in_between_is_kept() {
    let mm = harness();
    let a = space(&mm, 25);
    for page in [17, 20, 23] {
        mm.host.arm_race(Moment::ZerosShown, a, PageNo(page), 0, 1);
    }
    read(&mm, a, 20);
    assert_eq!(resident(&mm, a), [17, 20, 23]);
    assert_eq!(
        [16, 17, 20, 23, 24].map(|page| first_byte(&mm, a, page)),
        [0, 1, 1, 1, 0]
    );
    assert_eq!((mm.usage().private, mm.stats().new_pages), (3 * PAGE, 3));
    sound(&mm);
}

/// Goal: a load of a page that is there already changes nothing.
#[test]
fn a_late_load_changes_nothing() {
    let mm = harness();
    let a = space(&mm, 25);
    write(&mm, a, 3..5, 1);
    let digest = crate::Digest::of(&mm);
    mm.host.requests();
    read(&mm, a, 3);
    assert_eq!((mm.host.requests(), mm.stats().promoted), (vec![], 0));
    assert_eq!(crate::Digest::of(&mm), digest);
    sound(&mm);
}

/// Goal: where there is no room to move a page's neighbours to the pool with it, it moves alone.
#[test]
fn promoted_alone_when_room_is_short() {
    let mm = limited(8 << 20);
    let a = space(&mm, 60);
    write(&mm, a, 0..4, 1);
    write(&mm, a, 40..41, 1);
    let b = mm.fork(a).expect("room");
    // The records of the backing's places are there from now on.
    read(&mm, b, 40);
    let usage = mm.usage();
    let rest = usage.limit - usage.total - PAGE;
    assert!(
        mm.budget
            .charge(crate::budget::Class::Stored, rest, crate::budget::Need::Reclaim)
    );
    mm.host.requests();
    read(&mm, b, 1);
    assert_eq!(
        mm.host.requests(),
        [Request::Drop(a, run(1, 1)), Request::Show(b, run(1, 1))]
    );
    assert_eq!(resident(&mm, b), [0, 1, 2, 3, 40]);
    mm.budget.refund(crate::budget::Class::Stored, rest);
    sound(&mm);
}

/// A frozen space of so many pages, and a fork of it.
fn clone_of(mm: &Harness, pages: u32) -> (SpaceNo, SpaceNo) {
    let root = space(mm, pages);
    write(mm, root, 0..pages, 1);
    let template = mm.freeze(root).expect("room");
    mm.drop_space(root).expect("it lives");
    (template, mm.fork(template).expect("room"))
}

/// Goal: stores that come page after page find copies ahead of them, of this space's pages only,
/// and not in the next leaf; stores with gaps find none, and take no page more.
#[test]
fn copies_go_ahead_of_runs() {
    let mm = harness();
    let (template, a) = clone_of(&mm, 64);
    let (copied, private) = (mm.stats().copied, mm.usage().private);
    let pages = |mm: &Harness| (mm.usage().private - private) / PAGE;
    for page in (0..64).step_by(3) {
        mm.fault(a, PageNo(page), Access::Write).expect("room");
    }
    assert_eq!((mm.stats().copied - copied, pages(&mm)), (22, 22));
    let (_, b) = (template, mm.fork(template).expect("room"));
    let mut copies = Vec::new();
    for page in 0..64 {
        let before = mm.stats().copied;
        if mm
            .frames
            .at(frame_at(&mm, b, page).expect("in memory"))
            .is_shared()
        {
            mm.fault(b, PageNo(page), Access::Write).expect("room");
            copies.push(mm.stats().copied - before);
        }
        crate::rig::poke(&mm, b, page, 2);
    }
    assert_eq!(copies, [1, 1, 1, 1, 2, 3, 4, 3, 8, 8, 16, 16]);
    sound(&mm);
    let values = [template, a, b].map(|s| value(&mm, s, 33));
    assert_eq!(values, [1, 1, 2]);
}

/// Goal: what stands elsewhere, is in use or is the space's own ends a run; where there is no room
/// for more, or the machine does less, the page itself is copied and no other.
#[test]
fn copies_ahead_stop() {
    let mm = harness();
    let (template, a) = clone_of(&mm, 64);
    // Page 21 of a fork of a fork stands in the overflow range.
    write(&mm, a, 21..22, 3);
    let b = mm.fork(a).expect("room");
    write(&mm, a, 21..22, 4);
    let go = |s, pages: std::ops::Range<u32>| {
        for page in pages {
            mm.fault(s, PageNo(page), Access::Write).expect("room");
        }
    };
    go(b, 0..16);
    let own = |s| {
        (0..64)
            .filter(|&p| !mm.frames.at(frame_at(&mm, s, p).expect("in memory")).is_shared())
            .count()
    };
    assert_eq!(own(b), 16);
    go(b, 16..17);
    assert_eq!((own(b), value(&mm, b, 21)), (21, 3));
    sound(&mm);
    let c = mm.fork(template).expect("room");
    go(c, 0..16);
    mm.host.set_plan(memfold_sim::Plan {
        calls: memfold_sim::Calls::only(memfold_sim::Call::CopyFromPool),
        when: memfold_sim::When::Nth(3, memfold_sim::Lasting::Once),
    });
    go(c, 16..17);
    mm.host.set_plan(memfold_sim::Plan::NONE);
    assert_eq!(own(c), 19);
    go(c, 17..20);
    assert_eq!([16, 18, 19, 20].map(|page| value(&mm, c, page)), [1; 4]);
    sound(&mm);
}

mod beside;
mod read_only;
