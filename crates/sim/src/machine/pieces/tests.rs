//! Goal: pieces show the pages they are about, and the machine says no to what must not be asked of
//! them. Method: one window, two pieces on one page of the pool.

use super::*;
use crate::machine::{Miss, Window};
use memfold_host::addr::{PAGE_SIZE, PageBytes};

const S: SpaceNo = SpaceNo(1);
const BYTES: PageBytes = [7; PAGE_SIZE];
/// The pool page that all of them show.
const AT: PoolPage = PoolPage(42);

fn run(first: u32, len: u32) -> Run {
    let first = PageNo(first);
    Run { first, len }
}

/// Pages 2 to 5 are a shared piece, pages 8 to 11 a private one; pages 4 and 10 can show `AT`.
fn machine() -> Machine {
    let mut m = Machine::default();
    m.pool.reserve(100);
    m.open(S, Window::new(PoolPage(10), 20, 20));
    m.map_piece(S, run(2, 4), PoolPage(40), Piece::Shared);
    m.map_piece(S, run(8, 4), PoolPage(40), Piece::Private);
    m.pool_write(AT, &BYTES);
    m
}

fn load(m: &mut Machine, page: u32) -> Result<u8, Miss> {
    let mut byte = [0];
    m.load(S, PageNo(page), 9, &mut byte).map(|()| byte[0])
}

fn store(m: &mut Machine, page: u32) -> bool {
    m.store(S, PageNo(page), 9, &[8]).is_ok()
}

/// Goal: a store through a shared piece is seen through every window of the page, and not by a
/// private copy that was made before.
#[test]
fn stores_go_to_the_pool_page() {
    let mut m = machine();
    m.show(S, PageNo(4));
    m.show(S, PageNo(10));
    assert!(!store(&mut m, 4) && !store(&mut m, 10));
    m.show_writable(S, PageNo(4));
    assert!(store(&mut m, 4));
    assert_eq!([load(&mut m, 4), load(&mut m, 10)], [Ok(8); 2]);
    m.copy_from_pool(S, PageNo(10), AT);
    m.window_mut(S).set_writable(PageNo(4), false);
    assert!(!store(&mut m, 4) && store(&mut m, 10));
    m.pool_free(AT);
    assert!(load(&mut m, 4).is_err());
    assert_eq!(load(&mut m, 10), Ok(8), "a private copy survives a hole");
}

/// Goal: the middle of a piece goes, and both ends stay what they are.
#[test]
fn a_piece_is_cut() {
    let mut m = machine();
    m.unmap_piece(S, run(3, 1));
    let pages = |m: &Machine| [2, 3, 4, 5, 6].map(|page| m.window(S).pool_page(PageNo(page)).0);
    assert_eq!(pages(&m), [40, 13, 42, 43, 16]);
    m.map_piece(S, run(5, 2), PoolPage(60), Piece::Private);
    assert_eq!(pages(&m), [40, 13, 42, 60, 61]);
    assert_eq!(m.window(S).places_of(AT), [PageNo(4), PageNo(10)]);
    assert_eq!(m.window(S).places_of(PoolPage(12)), [], "a piece lies over it");
}

/// Goal: duties of the seam that the manager must not break.
#[test]
fn broken_duties() {
    let says = |step: &dyn Fn(&mut Machine)| {
        let mut m = machine();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| step(&mut m)));
        let text = caught.expect_err("the machine should have said no");
        text.downcast_ref::<String>()
            .cloned()
            .expect("it is said in words")
    };
    assert!(says(&|m| m.show_writable(S, PageNo(10))).contains("no shared piece"));
    assert!(says(&|m| m.fill(S, PageNo(4), &BYTES, true)).contains("lies in a shared piece"));
    assert!(says(&|m| m.copy_from_pool(S, PageNo(4), AT)).contains("lies in a shared piece"));
    assert!(says(&|m| m.show_standby(S, PageNo(4), &BYTES, true)).contains("lies in a shared piece"));
    let shown = |m: &mut Machine| {
        m.show_writable(S, PageNo(4));
        m.unmap_piece(S, run(4, 1));
    };
    assert!(says(&shown).contains("begins or ends at page 4"));
    let read = |m: &mut Machine| {
        m.show_writable(S, PageNo(4));
        m.check_still(AT);
    };
    assert!(says(&read).contains("is read while space 1 stores to it"));
}
