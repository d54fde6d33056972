//! What backs a page, and lists of areas that are cut and put together.

use super::*;

fn run(first: u32, len: u32) -> Run {
    let first = PageNo(first);
    Run { first, len }
}

fn file(first: u32, kind: Piece) -> AreaKind {
    AreaKind::File {
        file: FileNo(3),
        first: PageNo(first),
        kind,
    }
}

/// Goal: no area, no cost; and everything may be stored to.
#[test]
fn none() {
    let areas = Areas::default();
    assert_eq!(areas.of(PageNo(7)), BackedBy::Zeros);
    assert!(BackedBy::Zeros.is(&[0; PAGE_SIZE]) && !BackedBy::Zeros.is(&[1; PAGE_SIZE]));
    assert!(areas.rights(PageNo(7)).allow(Access::Write));
    assert_eq!((areas.bytes(), areas.is_empty()), (0, true));
}

/// Goal: areas are cut, keep the file's pages that they show, and are one again where they go
/// on.
#[test]
fn split_and_merged() {
    let kind = file(100, Piece::Shared);
    let areas = Areas::default()
        .changed(run(10, 20), |area| Area { kind, ..area })
        .unwrap();
    let page = |areas: &Areas, page: u32| match areas.of(PageNo(page)) {
        BackedBy::File(at) => Some(at.page.0),
        BackedBy::Zeros => None,
    };
    let pages = |areas: &Areas| [9, 10, 29, 30].map(|n| page(areas, n));
    assert_eq!(pages(&areas), [None, Some(100), Some(119), None]);
    let rights = |rights| move |area| Area { rights, ..area };
    let cut = areas.changed(run(15, 3), rights(Rights::None)).unwrap();
    assert_eq!(
        cut.iter().map(|a| a.run).collect::<Vec<_>>(),
        [run(10, 5), run(15, 3), run(18, 12)]
    );
    assert_eq!([15, 18].map(|n| page(&cut, n)), [Some(105), Some(108)]);
    assert!(!cut.rights(PageNo(17)).allow(Access::Read) && cut.rights(PageNo(18)).allow(Access::Write));
    let one = cut.changed(run(15, 3), rights(Rights::ReadWrite)).unwrap();
    assert_eq!(one.iter().collect::<Vec<_>>(), areas.iter().collect::<Vec<_>>());
    let own = |area| Area {
        kind: AreaKind::Own,
        ..area
    };
    let holed = one.changed(run(12, 2), own).unwrap();
    assert_eq!(
        [11, 12, 13, 14].map(|n| page(&holed, n)),
        [Some(101), None, None, Some(104)]
    );
    let guard = holed.changed(run(0, 60), rights(Rights::Read)).unwrap();
    assert_eq!(guard.iter().count(), 5);
    let all = guard.changed(run(0, 60), own).unwrap();
    let all = all.changed(run(0, 60), rights(Rights::ReadWrite)).unwrap();
    assert!(all.is_empty());
}

/// Goal: there is a bound.
#[test]
fn too_many_are_refused() {
    let mut areas = Areas::default();
    let rights = |area| Area {
        rights: Rights::None,
        ..area
    };
    for n in 0..MOST_AREAS as u32 {
        areas = areas.changed(run(2 * n, 1), rights).unwrap();
    }
    assert!(areas.changed(run(2 * MOST_AREAS as u32, 1), rights).is_none());
    assert_eq!(areas.bytes(), (MOST_AREAS * 2 * size_of::<Area>()) as u64);
}
