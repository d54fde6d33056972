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

/// Goal: areas of one run stand in another as well, as far as is said, cut where the runs begin and
/// end, with the pages of the file that they show; the source is as it was until it is changed.
#[test]
fn moved() {
    let file_at = |first, len, page| Area {
        kind: file(page, Piece::Private),
        ..Area::plain(run(first, len))
    };
    let list = |areas: &Areas| areas.iter().copied().collect::<Vec<_>>();
    let areas = Areas::default()
        .changed(run(4, 8), |area| Area {
            kind: file(50 + area.run.first.0 - 4, Piece::Private),
            ..area
        })
        .and_then(|areas| {
            areas.changed(run(32, 4), |area| Area {
                rights: Rights::Read,
                ..area
            })
        })
        .unwrap();
    let read_only = |first, len| Area {
        rights: Rights::Read,
        ..Area::plain(run(first, len))
    };
    let moved = |to, end| areas.with_moved(run(2, 8), PageNo(to), PageNo(end)).unwrap();
    assert_eq!(
        list(&moved(28, 36)),
        [file_at(4, 8, 50), file_at(30, 6, 50)],
        "what was there is gone"
    );
    assert_eq!(
        list(&moved(28, 33)),
        [file_at(4, 8, 50), file_at(30, 3, 50), read_only(33, 3)]
    );
    assert_eq!(list(&moved(28, 28)), list(&areas));
    assert_eq!(
        list(&moved(34, 42)),
        [file_at(4, 8, 50), read_only(32, 2), file_at(36, 6, 50)]
    );
    // Where it goes on it is one area.
    let onward = areas.with_moved(run(4, 4), PageNo(0), PageNo(4)).unwrap();
    assert_eq!(list(&onward)[..2], [file_at(0, 4, 50), file_at(4, 8, 50)]);
    let after = moved(34, 42)
        .changed(run(2, 8), |area| Area::plain(area.run))
        .unwrap();
    assert_eq!(
        list(&after),
        [file_at(10, 2, 56), read_only(32, 2), file_at(36, 6, 50)]
    );
}
