//! Goal: the machine says no to what the manager must never ask. Method: one broken duty a test.

use super::*;
use memfold_host::addr::PAGE_SIZE;

const S: SpaceNo = SpaceNo(1);
const P: PageNo = PageNo(2);
const BYTES: PageBytes = [7; PAGE_SIZE];

fn machine() -> Machine {
    let mut m = Machine::default();
    m.pool.reserve(100);
    m.open(S, Window::new(PoolPage(10), 8, 4));
    m
}

fn panics(step: impl FnOnce(&mut Machine)) -> String {
    let mut m = machine();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| step(&mut m)));
    let text = caught.expect_err("the machine should have said no");
    let text = text.downcast_ref::<String>().cloned();
    text.unwrap_or_else(|| "a panic without values".into())
}

#[test]
fn the_pool_is_written_once_and_shown_only_when_written() {
    assert!(panics(|m| m.show(S, P)).contains("holds nothing"));
    assert!(
        panics(|m| {
            m.pool_write(PoolPage(12), &BYTES);
            m.pool_free(PoolPage(12));
            m.show(S, P);
        })
        .contains("holds nothing")
    );
    assert!(
        panics(|m| {
            m.pool_write(PoolPage(12), &BYTES);
            m.pool_write(PoolPage(12), &BYTES);
        })
        .contains("in use")
    );
    assert!(panics(|m| m.pool_write(PoolPage(100), &BYTES)).contains("beyond the pool"));
}

#[test]
fn a_page_is_filled_only_when_empty() {
    assert!(
        panics(|m| {
            m.fill(S, P, &BYTES, true);
            m.fill(S, P, &BYTES, true);
        })
        .contains("a writable private page")
    );
    assert!(panics(|m| m.fill(S, PageNo(4), &BYTES, true)).contains("beyond the window"));
}

#[test]
fn only_protected_private_pages_move() {
    assert!(panics(|m| m.copy_to_pool(S, P, PoolPage(12))).contains("is empty"));
    assert!(
        panics(|m| {
            m.fill(S, P, &BYTES, true);
            m.copy_to_pool(S, P, PoolPage(12));
        })
        .contains("writable private page")
    );
    assert!(panics(|m| m.window_mut(S).set_writable(P, true)).contains("is empty"));
}

#[test]
fn a_held_page_stays() {
    for step in [
        |m: &mut Machine| m.drop_page(S, P),
        |m: &mut Machine| m.window_mut(S).set_writable(P, false),
    ] {
        let said = panics(|m| {
            m.fill(S, P, &BYTES, true);
            m.window_mut(S).hold(P);
            step(m);
        });
        assert!(said.contains("is pinned"), "{said}");
    }
}

#[test]
fn windows_of_two_backings_are_apart() {
    for (backing, reserve) in [(17, 8), (3, 8), (12, 3), (5, 20), (10, 9)] {
        let said = panics(|m| {
            m.open(SpaceNo(2), Window::new(PoolPage(backing), reserve, 1));
        });
        assert!(said.contains("another backing"), "{said}");
    }
    let mut m = machine();
    // A fork of another length, and neighbours.
    m.open(SpaceNo(2), Window::new(PoolPage(10), 8, 8));
    m.open(SpaceNo(3), Window::new(PoolPage(18), 8, 8));
    m.open(SpaceNo(4), Window::new(PoolPage(2), 8, 8));
    m.close(S, 0);
    m.close(SpaceNo(2), 0);
    m.open(S, Window::new(PoolPage(11), 5, 5));
}

#[test]
fn where_stores_go_through_is_told() {
    let mut m = machine();
    m.fill(S, PageNo(0), &BYTES, true);
    m.fill(S, PageNo(1), &BYTES, false);
    m.show_standby(S, P, &BYTES, true);
    m.fill(S, PageNo(3), &BYTES, true);
    let writable = |m: &Machine| m.window(S).writable_pages().collect::<Vec<_>>();
    assert_eq!(writable(&m), [PageNo(0), PageNo(3)]);
    m.window_mut(S).set_writable(PageNo(0), false);
    assert_eq!(writable(&m), [PageNo(3)]);
}

#[test]
fn a_closed_window_is_closed() {
    assert!(
        panics(|m| {
            m.close(S, 0);
            m.drop_page(S, P);
        })
        .contains("no window")
    );
}

#[test]
fn memory_is_counted_with_its_peak() {
    let mut m = machine();
    m.fill(S, P, &BYTES, false);
    m.copy_to_pool(S, P, PoolPage(12));
    m.drop_page(S, P);
    m.show(S, P);
    // Two pages, and as much for tables as there is now.
    let tables = m.memory().table_bytes;
    let peak_bytes = 2 * 4096 + tables;
    assert_eq!(
        m.memory(),
        Memory {
            private: 0,
            pool: 1,
            standby: 0,
            table_bytes: tables,
            peak_bytes
        }
    );
    let mut out = [0; 4];
    assert_eq!(m.load(S, P, 8, &mut out), Ok(()));
    assert_eq!(out, [7; 4]);
    assert_eq!(
        m.store(S, P, 8, &[1]),
        Err(Miss {
            page: P,
            access: Access::Write
        })
    );
    m.copy_from_pool(S, P, PoolPage(12));
    assert_eq!(m.store(S, P, 8, &[1]), Ok(()));
    m.pool_free(PoolPage(12));
    assert_eq!(m.load(S, P, 7, &mut out), Ok(()));
    assert_eq!(out, [7, 1, 7, 7]);
    m.close(S, 0);
    assert_eq!(
        m.memory(),
        Memory {
            private: 0,
            pool: 0,
            standby: 0,
            table_bytes: m.geometry().fixed_bytes,
            peak_bytes
        }
    );
}

/// Goal: what the machine holds for windows is what it said when they were opened, grew and were
/// closed, and a page table for each range in which anything was shown. Method: neighbours that
/// share an upper table, closed in both orders.
#[test]
fn page_tables_are_counted() {
    let mut m = Machine::default();
    m.pool.reserve(1000);
    let base = m.memory().table_bytes;
    let open = |m: &mut Machine, no| m.open(SpaceNo(no), Window::new(PoolPage(0), 300, 40));
    let (first, second) = (open(&mut m, 4), open(&mut m, 5));
    assert!(
        first > second && first <= m.most_window_bytes(40),
        "{first}, {second}"
    );
    m.fill(SpaceNo(5), PageNo(31), &BYTES, true);
    m.fill(SpaceNo(5), PageNo(30), &BYTES, true);
    m.fill(SpaceNo(5), PageNo(32), &BYTES, true);
    let held = |m: &Machine| m.memory().table_bytes - base;
    assert_eq!(held(&m), first + second + 2 * m.geometry().bytes);
    let grown = m.resize(SpaceNo(5), 65);
    assert!(grown > 0 && grown <= m.most_window_bytes(25));
    m.drop_page(SpaceNo(5), PageNo(32));
    assert_eq!(
        held(&m),
        first + second + grown + 2 * m.geometry().bytes,
        "the table stays"
    );
    let run = Run {
        first: PageNo(32),
        len: 32,
    };
    m.free_table(SpaceNo(5), run);
    assert_eq!(held(&m), first + second + grown + m.geometry().bytes);
    assert_eq!(m.windows_held(), first + second + grown);
    let left = m.close(SpaceNo(4), 0);
    assert!(left < first, "its neighbour still uses the upper table");
    assert_eq!(left + m.close(SpaceNo(5), 0), first + second + grown);
    assert_eq!(held(&m), 0);
}

/// Goal: a table that holds a private page is not freed.
#[test]
#[should_panic(expected = "is freed, but it is a writable private page")]
fn a_table_with_private_pages_stays() {
    let mut m = machine();
    m.fill(S, P, &BYTES, true);
    m.free_table(
        S,
        Run {
            first: PageNo(0),
            len: 8,
        },
    );
}

#[test]
fn a_store_between_showing_zeros_and_protecting_them_is_kept() {
    let mut m = machine();
    *m.window_mut(S).page_mut(P) = Shown::Zero { protected: false };
    assert_eq!(m.store(S, P, 0, &[9]), Ok(()));
    assert!(m.window_mut(S).protect_zero(P));
    assert_eq!(
        m.store(S, P, 0, &[9]),
        Err(Miss {
            page: P,
            access: Access::Write
        })
    );
    assert_eq!(m.memory().private, 1);
}
