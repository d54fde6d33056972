//! Which page tables are charged, and when they go.

use super::*;
use crate::SpaceError;
use crate::rig::{Harness, Request, frame_at, harness, limited, read, run, sound, space, write};

/// Bytes of a table of the machine, and pages that it is for.
const TABLE: u64 = 4096;
const PAGES: u32 = 64;

fn with_tables(mm: Harness) -> Harness {
    mm.host.set_tables(crate::host::Tables {
        pages: PAGES,
        bytes: TABLE,
        fixed_bytes: 0,
    });
    mm
}

fn tables(mm: &Harness) -> u64 {
    let usage = mm.usage();
    let own = mm
        .spaces
        .numbers()
        .map(|no| mm.spaces.get(no).lock().window.own_bytes());
    let bytes = usage.page_tables - own.sum::<u64>();
    assert_eq!(bytes % TABLE, 0);
    bytes / TABLE
}

fn freed(mm: &Harness) -> Vec<Run> {
    let calls = mm.host.requests().into_iter();
    calls
        .filter_map(|call| match call {
            Request::FreeTable(_, run) => Some(run),
            _ => None,
        })
        .collect()
}

/// Goal: bits are found again, over the borders of words.
#[test]
fn bits() {
    let mut tables = WindowTables::new(200).expect("memory");
    assert_eq!(
        (tables.own_bytes(), tables.made(), tables.next_made(0)),
        (64, 0, None)
    );
    for table in [0, 63, 64, 199] {
        tables.set_made(table, true);
        tables.mark_used(table);
    }
    assert_eq!(tables.made(), 4);
    let found = std::iter::successors(tables.next_made(0), |&at| tables.next_made(at + 1));
    assert_eq!(found.collect::<Vec<_>>(), [0, 63, 64, 199]);
    assert!(tables.is_made(64) && !tables.is_made(65));
    assert!(tables.test_and_clear_used(199) && !tables.test_and_clear_used(199));
    tables.set_made(64, false);
    assert_eq!(tables.next_made(64), Some(199));
    assert!(tables.test_and_clear_used(63), "one bit only");
}

/// Goal: each range costs a table at its first touch, by a read or a write, in each window by
/// itself, until the window is closed.
#[test]
fn a_range_is_charged_once() {
    let mm = with_tables(harness());
    let a = space(&mm, 400);
    assert_eq!(tables(&mm), 0);
    read(&mm, a, 63);
    assert_eq!(tables(&mm), 1);
    write(&mm, a, 0..64, 1);
    assert_eq!(tables(&mm), 1);
    write(&mm, a, 64..65, 1);
    read(&mm, a, 399);
    assert_eq!(tables(&mm), 3);
    let b = mm.fork(a).expect("room");
    assert_eq!(tables(&mm), 3, "its window is empty");
    read(&mm, b, 5);
    assert_eq!(tables(&mm), 4);
    sound(&mm);
    mm.drop_space(a).expect("it lives");
    assert_eq!(tables(&mm), 1);
    mm.drop_space(b).expect("it lives");
    assert_eq!(mm.usage().page_tables, 0);
    sound(&mm);
}

/// Goal: a table is part of the limit, and no page comes without it; unless tables come on top.
#[test]
fn tables_count_against_the_limit() {
    for counted in [true, false] {
        let mut mm = limited(8 << 20);
        if !counted {
            mm.budget = crate::budget::Budget::with(8 << 20, crate::budget::PageTables::OnTop);
        }
        let mm = with_tables(mm);
        let a = space(&mm, 100);
        write(&mm, a, 0..1, 1);
        mm.pin(a, run(0, 1)).expect("room");
        let free = mm.budget.free();
        // Room for a page, and half a table.
        let held = Charge::take(&mm.budget, Class::Pool, free - TABLE / 2 - 4096, Need::Normal);
        let written = mm.fault(a, PageNo(70), Access::Write);
        assert_eq!(written.is_err(), counted, "{written:?}");
        assert_eq!(frame_at(&mm, a, 70).is_none(), counted);
        drop(held);
        assert_eq!(mm.take_failure(a).is_some(), counted);
        assert!(mm.fault(a, PageNo(70), Access::Write).is_ok());
        assert_eq!(tables(&mm), 2);
        let usage = mm.usage();
        let sum = usage.private + usage.pool + usage.stored + usage.tables;
        let with = if counted { usage.page_tables } else { 0 };
        assert_eq!(usage.total, sum + with);
    }
}

/// Goal: a window whose record finds no room is not opened.
#[test]
fn no_room_for_a_window() {
    let mm = with_tables(limited(8 << 20));
    let a = space(&mm, 100);
    let held = Charge::take(&mm.budget, Class::Pool, mm.budget.free() - 8, Need::Normal).expect("it is free");
    let before = crate::Digest::of(&mm);
    let refused = SpaceError::OverBudget { limit: 8 << 20 };
    assert_eq!(mm.fork(a), Err(refused));
    assert_eq!(crate::Digest::of(&mm), before);
    drop(held);
    assert!(mm.fork(a).is_ok());
    sound(&mm);
}

/// Goal: where all pages of a range went to the store its table goes too, and is charged again when
/// one comes back.
#[test]
fn evicted_ranges_give_their_table_back() {
    let mm = with_tables(harness());
    let a = space(&mm, 200);
    write(&mm, a, 0..1, 1);
    write(&mm, a, 64..66, 1);
    write(&mm, a, 190..200, 1);
    mm.pin(a, run(65, 1)).expect("room");
    assert_eq!(tables(&mm), 4);
    mm.host.requests();
    assert_eq!(mm.evict(a, run(0, 200)), Ok(12));
    assert_eq!(
        freed(&mm),
        [run(0, 64), run(128, 64), run(192, 8)],
        "one page is pinned"
    );
    assert_eq!((tables(&mm), mm.stats().tables_freed), (1, 3));
    sound(&mm);
    read(&mm, a, 3);
    write(&mm, a, 199..200, 2);
    assert_eq!(tables(&mm), 3);
    mm.unpin(a, run(65, 1));
    sound(&mm);
}

/// Goal: a table that only shows shared pages can go; not so that of the space in whose window they
/// lie, until a read by the fork has moved them to the pool.
#[test]
fn shown_pages_do_not_hold_a_table() {
    let mm = with_tables(harness());
    let a = space(&mm, 64);
    write(&mm, a, 0..4, 1);
    let b = mm.fork(a).expect("room");
    Windows::of(&mm).free_idle(a, run(0, 64));
    assert_eq!(freed(&mm), []);
    read(&mm, b, 0);
    assert_eq!(tables(&mm), 2);
    Windows::of(&mm).free_idle(b, run(0, 64));
    Windows::of(&mm).free_idle(a, run(0, 64));
    assert_eq!(freed(&mm), [run(0, 64), run(0, 64)]);
    assert_eq!(tables(&mm), 0);
    sound(&mm);
}

/// Goal: reclaim passes over a table that was used since it last passed, and over a space that
/// somebody works on or whose fault failed; where no page goes it goes on until a table has gone,
/// and looks again only after something has changed.
#[test]
fn the_hand_gives_a_second_chance() {
    let mm = with_tables(limited(32 << 20));
    let spaces: Vec<_> = (0..4).map(|_| space(&mm, 64)).collect();
    spaces.iter().for_each(|&s| read(&mm, s, 9));
    assert_eq!((Windows::of(&mm).shrink(0), tables(&mm)), (0, 4));
    read(&mm, spaces[2], 10);
    let busy = mm.lock_space(spaces[0]).expect("it lives");
    let freed: u32 = (0..40)
        .map(|_| Windows::of(&mm).shrink(0))
        .take_while(|&freed| freed == 1)
        .sum();
    drop(busy);
    assert_eq!((freed, tables_made(&mm, &spaces)), (3, vec![1, 0, 0, 0]));
    read(&mm, spaces[2], 10);
    mm.lock_space(spaces[2]).expect("it lives").failure =
        Some(crate::space::FaultError::NoSuchSpace(spaces[2]));
    assert_eq!(Windows::of(&mm).shrink(0) + Windows::of(&mm).shrink(0), 1);
    assert_eq!(tables_made(&mm, &spaces), [0, 0, 1, 0]);
    assert_eq!(Windows::of(&mm).shrink(0), 0);
    mm.take_failure(spaces[2]);
    assert_eq!(Windows::of(&mm).shrink(0), 0, "nothing has changed");
    read(&mm, spaces[0], 3);
    assert_eq!((Windows::of(&mm).shrink(0), Windows::of(&mm).shrink(0)), (0, 1));
    assert_eq!(Windows::of(&mm).shrink(0), 1);
    assert_eq!(tables_made(&mm, &spaces), [0; 4]);
    sound(&mm);
}

fn tables_made(mm: &Harness, spaces: &[SpaceNo]) -> Vec<u64> {
    let made = |&no| mm.lock_space(no).expect("it lives").window.made();
    spaces.iter().map(made).collect()
}

/// Goal: a fault that finds no room for its table takes that of an idle window, though no page can
/// go.
#[test]
fn a_fault_takes_an_idle_table() {
    let mm = with_tables(limited(8 << 20));
    let (idle, busy) = (space(&mm, 64), space(&mm, 200));
    read(&mm, idle, 0);
    read(&mm, busy, 0);
    write(&mm, busy, 1..2, 1);
    mm.pin(busy, run(1, 1)).expect("room");
    let room = mm.budget.free() - 3 * TABLE / 2;
    let held = Charge::take(&mm.budget, Class::Pool, room, Need::Normal).expect("it is free");
    mm.fault(busy, PageNo(100), Access::Write)
        .expect("the idle table goes");
    assert_eq!(tables_made(&mm, &[idle, busy]), [0, 2]);
    drop(held);
    mm.unpin(busy, run(1, 1));
    sound(&mm);
}

/// Goal: `check` notices a table that is charged and not noted, and one that is noted and not
/// charged.
#[test]
fn the_check_counts_tables() {
    let mm = with_tables(harness());
    let a = space(&mm, 64);
    read(&mm, a, 0);
    sound(&mm);
    mm.lock_space(a).expect("it lives").window.set_made(0, false);
    let wrong = crate::check(&mm).expect_err("one is missing");
    assert_eq!(wrong[0].invariant, "charged page tables = those of windows");
    mm.lock_space(a).expect("it lives").window.set_made(0, true);
    sound(&mm);
}
