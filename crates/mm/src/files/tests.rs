//! Goal: pages of files come in once, go back where they came from, and no store is lost. Method:
//! the manager on the simulated machine, a source that fails when told, and what is in it.

use crate::addr::{Access, PAGE_SIZE, PageBytes, PageNo, SpaceNo};
use crate::host::{Piece, SourceError};
use crate::rig::{
    Harness, harness, limited, map, numbered, open, put, read, run, sound, space, value, write,
};
use crate::{FaultError, OpenFile, Rights, SpaceError};
use memfold_sim::program::Place;
use memfold_sim::{Call, Calls, Lasting, Plan, SimSource, When};

const PAGES: u32 = 12;

/// A file of some pages.
fn source() -> SimSource {
    numbered(PAGES)
}

/// What the file has at a page.
fn stored(source: &SimSource, page: usize) -> u8 {
    source.contents()[page * PAGE_SIZE]
}

fn fails(mm: &Harness, space: SpaceNo, page: u32, access: Access) -> FaultError {
    mm.fault(space, PageNo(page), access).expect_err("it may not")
}

fn refuse(source: &SimSource, call: Call, lasting: Lasting) {
    let (calls, when) = (Calls::only(call), When::Nth(0, lasting));
    source.set_plan(Plan { calls, when });
}

fn end(mm: &Harness, spaces: &[SpaceNo], file: OpenFile) {
    spaces
        .iter()
        .for_each(|&space| mm.drop_space(space).expect("nothing shared is left"));
    mm.files().close(file);
    sound(mm);
    assert_eq!((mm.usage().pool, mm.usage().private, mm.files.used()), (0, 0, 0));
}

/// Goal: a page is read once for all who map it, wherever and however they do.
#[test]
fn a_page_is_read_once() {
    let (mm, source) = (harness(), source());
    let file = open(&mm, &source);
    let [a, b] = [space(&mm, 40), space(&mm, 40)];
    map(&mm, a, (0, 12), &file, 0, Piece::Private);
    map(&mm, b, (20, 4), &file, 5, Piece::Shared);
    map(&mm, b, (3, 7), &file, 5, Piece::Private);
    read(&mm, a, 6);
    read(&mm, b, 21);
    read(&mm, b, 4);
    assert_eq!([value(&mm, a, 6), value(&mm, b, 21), value(&mm, b, 4)], [106; 3]);
    assert_eq!(source.traffic(), (1, 0));
    assert_eq!(
        (mm.files().stats().resident, mm.usage().pool),
        (1, PAGE_SIZE as u64)
    );
    assert_eq!(value(&mm, b, 19), 0);
    sound(&mm);
    end(&mm, &[a, b], file);
}

/// Goal: stores in a private area stay in their space, and its forks' are apart; stores in a shared
/// area are everybody's.
#[test]
fn private_and_shared_stores() {
    let (mm, source) = (harness(), source());
    let file = open(&mm, &source);
    let a = space(&mm, 40);
    map(&mm, a, (0, 12), &file, 0, Piece::Private);
    map(&mm, a, (20, 12), &file, 0, Piece::Shared);
    put(&mm, a, 3, 1);
    let b = mm.fork(a).expect("room");
    put(&mm, b, 3, 2);
    put(&mm, b, 4, 3);
    put(&mm, b, 25, 4);
    let all = |space| [3, 4, 5, 25].map(|page| value(&mm, space, page));
    assert_eq!((all(a), all(b)), ([1, 104, 4, 4], [2, 3, 4, 4]));
    assert_eq!(mm.files().sync(&file, PageNo(0), PAGES), Ok(()));
    assert_eq!([3, 4, 5].map(|page| stored(&source, page)), [103, 104, 4]);
    assert_eq!(source.traffic().1, 1);
    sound(&mm);
    end(&mm, &[a, b], file);
}

/// Goal: a private copy that forks share is never shown in the place of the backing, where the
/// window shows the file.
#[test]
fn copies_that_forks_share() {
    let (mm, source) = (harness(), source());
    let file = open(&mm, &source);
    let a = space(&mm, 16);
    map(&mm, a, (0, 12), &file, 0, Piece::Private);
    (0..12).for_each(|page| put(&mm, a, page, 7));
    let b = mm.fork(a).expect("room");
    (0..12).for_each(|page| read(&mm, b, page));
    let shown = |space, page| mm.host.shown(space, PageNo(page)).map(|bytes| bytes[0]);
    assert_eq!((0..12).filter(|&page| shown(b, page) == Some(7)).count(), 12);
    assert_eq!(mm.areas(b).unmap(run(0, 6)), Ok(()));
    assert_eq!([value(&mm, b, 5), value(&mm, b, 6), value(&mm, a, 5)], [0, 7, 7]);
    sound(&mm);
    end(&mm, &[a, b], file);
}

/// Goal: clean pages are dropped and read again; dirty ones are written before; the next store is a
/// fault (R31). A page that cannot be written stays, and everybody who has the file open is told
/// once.
#[test]
fn pages_go_back_to_their_file() {
    let (mm, source) = (harness(), source());
    let file = open(&mm, &source);
    let other = mm.files().reopen(&file);
    let a = space(&mm, 16);
    map(&mm, a, (0, 12), &file, 0, Piece::Shared);
    read(&mm, a, 9);
    put(&mm, a, 2, 9);
    assert_eq!((mm.files().stats().resident, mm.files().stats().dirty), (2, 1));
    refuse(&source, Call::SourceWrite, Lasting::FromThenOn);
    mm.reclaim(2);
    assert_eq!((mm.files().stats().resident, mm.files().stats().dirty), (1, 1));
    let error = Err(crate::FileError::Source(SourceError::Os(5)));
    assert_eq!(mm.files().sync(&file, PageNo(5), 1), error, "it was noted");
    assert_eq!(mm.files().sync(&file, PageNo(5), 1), Ok(()), "it is told once");
    assert_eq!(mm.files().sync(&other, PageNo(5), 1), error, "to everybody");
    assert_eq!(mm.files().sync(&other, PageNo(0), 12), error, "and tried again");
    source.set_plan(Plan::NONE);
    put(&mm, a, 2, 10);
    sound(&mm);
    mm.reclaim(1);
    assert_eq!((mm.files().stats().resident, stored(&source, 2)), (0, 10));
    put(&mm, a, 2, 11);
    assert_eq!(value(&mm, a, 2), 11);
    sound(&mm);
    mm.files().close(other);
    end(&mm, &[a], file);
    assert_eq!(stored(&source, 2), 11, "the last one to close writes out");
}

/// Goal: a store between two syncs is in the file after the second.
#[test]
fn a_synced_page_is_stored_to_again() {
    let (mm, source) = (harness(), source());
    let file = open(&mm, &source);
    let a = space(&mm, 16);
    map(&mm, a, (0, 12), &file, 0, Piece::Shared);
    for value in [1, 2, 3] {
        put(&mm, a, 7, value);
        assert_eq!(mm.files().sync(&file, PageNo(7), 1), Ok(()));
        assert_eq!(source.lasting()[7 * PAGE_SIZE], value);
        sound(&mm);
    }
    assert_eq!(source.traffic(), (1, 3));
    end(&mm, &[a], file);
}

/// Goal: what is not allowed is the program's own failure and nothing else; what was stored before
/// is there again when it is allowed again.
#[test]
fn rights() {
    let (mm, source) = (harness(), source());
    let file = open(&mm, &source);
    let a = space(&mm, 32);
    map(&mm, a, (8, 8), &file, 0, Piece::Private);
    map(&mm, a, (16, 8), &file, 0, Piece::Shared);
    for page in [0, 9, 17] {
        put(&mm, a, page, 5);
    }
    read(&mm, a, 10);
    let all = run(0, 32);
    assert_eq!(mm.areas(a).protect(all, Rights::Read), Ok(()));
    for page in [0, 1, 9, 10, 17, 18] {
        let (space, page, access) = (a, PageNo(page), Access::Write);
        assert_eq!(
            fails(&mm, a, page.0, access),
            FaultError::Forbidden { space, page, access }
        );
        let at = Place { page, offset: 0 };
        assert!(mm.host.store(a, at, &[1]).is_err(), "page {page}");
        read(&mm, a, page.0);
    }
    assert_eq!(mm.areas(a).protect(all, Rights::None), Ok(()));
    for page in [0, 1, 9, 10, 17, 18] {
        assert!(mm.host.shown(a, PageNo(page)).is_none(), "page {page}");
        assert!(matches!(
            fails(&mm, a, page, Access::Read),
            FaultError::Forbidden { .. }
        ));
    }
    assert_eq!(mm.failure(a), None);
    sound(&mm);
    let b = mm.fork(a).expect("room");
    assert_eq!(mm.areas(a).protect(all, Rights::ReadWrite), Ok(()));
    assert_eq!([0, 9, 17].map(|page| value(&mm, a, page)), [5; 3]);
    put(&mm, a, 9, 6);
    assert_eq!(mm.areas(b).protect(all, Rights::Read), Ok(()));
    read(&mm, b, 9);
    let at = Place {
        page: PageNo(9),
        offset: 0,
    };
    assert!(mm.host.store(b, at, &[1]).is_err());
    assert_eq!([0, 9, 17].map(|page| value(&mm, b, page)), [5; 3]);
    sound(&mm);
    end(&mm, &[a, b], file);
}

/// Goal: what must be refused is, and changes nothing.
#[test]
fn refusals() {
    let mm = harness();
    let source = SimSource::read_only(1, vec![3; 3 * PAGE_SIZE]);
    let file = open(&mm, &source);
    let a = space(&mm, 16);
    let map = |at, first, kind, rights| mm.areas(a).map(at, &file, PageNo(first), kind, rights);
    let (shared, rw) = (Piece::Shared, Rights::ReadWrite);
    assert!(matches!(
        map(run(0, 4), 0, shared, Rights::Read),
        Err(SpaceError::BadRun { .. })
    ));
    assert!(matches!(
        map(run(15, 2), 0, shared, Rights::Read),
        Err(SpaceError::BadRun { .. })
    ));
    assert_eq!(map(run(0, 3), 0, shared, rw), Err(SpaceError::ReadOnlyFile));
    assert_eq!(map(run(0, 3), 0, shared, Rights::Read), Ok(()));
    assert_eq!(mm.areas(a).protect(run(1, 1), rw), Err(SpaceError::ReadOnlyFile));
    assert_eq!(map(run(4, 3), 0, Piece::Private, rw), Ok(()));
    put(&mm, a, 5, 1);
    assert_eq!(mm.pin(a, run(4, 2)), Ok(()));
    assert!(matches!(
        mm.pin(a, run(0, 1)),
        Err(FaultError::PinOfShared { .. })
    ));
    assert_eq!(mm.areas(a).unmap(run(0, 16)), Err(SpaceError::Pinned(a)));
    mm.unpin(a, run(4, 2));
    assert_eq!(mm.reset(a, a).err(), Some(SpaceError::HasAreas(a)));
    assert_eq!([0, 5, 6].map(|page| value(&mm, a, page)), [3, 1, 3]);
    let plan = |call| Plan {
        calls: Calls::only(call),
        when: When::Nth(0, Lasting::FromThenOn),
    };
    let before = mm.areas(a).list();
    mm.host.under(plan(Call::UnmapPiece), || {
        assert!(mm.areas(a).unmap(run(0, 1)).is_err());
    });
    mm.host.under(plan(Call::MapPiece), || {
        assert!(map(run(8, 1), 0, shared, Rights::Read).is_err());
        assert!(mm.fork(a).is_err());
    });
    assert_eq!(mm.areas(a).list(), before);
    sound(&mm);
    let refused = Plan::ALL;
    source.set_plan(refused);
    mm.reclaim(16);
    assert!(matches!(
        fails(&mm, a, 0, Access::Read),
        FaultError::Source { .. }
    ));
    source.set_plan(Plan::NONE);
    assert!(mm.take_failure(a).is_some());
    read(&mm, a, 0);
    sound(&mm);
    end(&mm, &[a], file);
}

/// Goal: a file that is larger than the budget can be read and stored to, with spaces that map it
/// at different places, and nothing is lost.
#[test]
fn a_file_beyond_the_budget() {
    let mm = limited(2 << 20);
    let pages = 1500;
    let source = SimSource::new(1, vec![0; pages as usize * PAGE_SIZE]);
    let file = open(&mm, &source);
    let [a, b] = [space(&mm, 2000), space(&mm, 2000)];
    map(&mm, a, (0, pages), &file, 0, Piece::Shared);
    map(&mm, b, (100, pages), &file, 0, Piece::Shared);
    for page in 0..pages {
        let (space, at) = if page % 2 == 0 { (a, page) } else { (b, page + 100) };
        put(&mm, space, at, page as u8);
    }
    sound(&mm);
    for page in (0..pages).step_by(7) {
        read(&mm, a, page);
        assert_eq!(value(&mm, a, page), page as u8);
    }
    assert_eq!(mm.files().sync(&file, PageNo(0), pages), Ok(()));
    assert!((0..pages as usize).all(|page| stored(&source, page) == page as u8));
    assert_eq!(source.contents(), source.lasting());
    end(&mm, &[a, b], file);
}

/// Goal: who reads page after page has the next ones read along, who reads here and there does not.
#[test]
fn reading_ahead() {
    let mm = harness();
    let source = SimSource::new(1, vec![1; 200 * PAGE_SIZE]);
    let file = open(&mm, &source);
    let a = space(&mm, 200);
    map(&mm, a, (0, 200), &file, 0, Piece::Private);
    (0..60).for_each(|page| read(&mm, a, page));
    assert!(
        source.traffic().0 > 60 && source.traffic().0 <= 64,
        "{:?}",
        source.traffic()
    );
    let before = source.traffic().0;
    [150, 110, 190].iter().for_each(|&page| read(&mm, a, page));
    assert_eq!(source.traffic().0, before + 3);
    write(&mm, a, 120..121, 3);
    let mut bytes: PageBytes = [0; PAGE_SIZE];
    assert_eq!(mm.read_page(a, PageNo(121), &mut bytes), Ok(()));
    assert_eq!(bytes[0], 1);
    sound(&mm);
    end(&mm, &[a], file);
}

/// Goal: behind the end of a file that became shorter there is nothing, no private copy either
/// (R52); what comes when it is longer again is zeros.
#[test]
fn a_file_becomes_shorter() {
    let (mm, source) = (harness(), source());
    let file = open(&mm, &source);
    let a = space(&mm, 40);
    map(&mm, a, (0, 12), &file, 0, Piece::Private);
    map(&mm, a, (20, 12), &file, 0, Piece::Shared);
    for page in [2, 3, 9, 22, 23, 29] {
        put(&mm, a, page, 5);
    }
    let b = mm.fork(a).expect("room");
    let bytes = 3 * PAGE_SIZE as u64 + 10;
    refuse(&source, Call::SourceResize, Lasting::Once);
    assert!(mm.files().resize(&file, bytes).is_err());
    assert_eq!((value(&mm, a, 9), value(&mm, b, 29)), (5, 5));
    mm.pin(a, run(9, 1)).expect("it is its own");
    assert_eq!(mm.files().resize(&file, bytes), Err(crate::FileError::Pinned(a)));
    mm.unpin(a, run(9, 1));
    assert_eq!(mm.files().resize(&file, bytes), Ok(()));
    for (space, page) in [(a, 9), (b, 9), (a, 29), (b, 24), (b, 4)] {
        let page = PageNo(page);
        let gone = FaultError::BeyondEnd { space, page };
        assert_eq!(fails(&mm, space, page.0, Access::Read), gone);
        assert!(mm.host.shown(space, page).is_none());
    }
    assert_eq!((mm.failure(a), value(&mm, b, 3), value(&mm, a, 22)), (None, 5, 5));
    let mut bytes: PageBytes = [1; PAGE_SIZE];
    assert_eq!(mm.read_page(b, PageNo(23), &mut bytes), Ok(()));
    assert_eq!((bytes[9], bytes[10]), (5, 0));
    assert_eq!(mm.files().resize(&file, 12 * PAGE_SIZE as u64), Ok(()));
    assert_eq!([9, 29].map(|page| value(&mm, a, page)), [0, 0]);
    assert!(mm.files().resize(&file, 12 * PAGE_SIZE as u64 + 1).is_err());
    sound(&mm);
    end(&mm, &[a, b], file);
    assert_eq!(source.contents()[3 * PAGE_SIZE + 9..][..2], [5, 0]);
}

/// Goal: host code that reads behind the end of a file that others made shorter goes on where
/// losses are sunk, and its space is told; nothing stands in for a page that all who map the file
/// share.
#[test]
fn accesses_behind_the_end_are_sunk() {
    let (mm, source) = (harness(), source());
    let file = open(&mm, &source);
    let [a, b] = [space(&mm, 16), space(&mm, 16)];
    map(&mm, a, (0, 12), &file, 0, Piece::Private);
    map(&mm, b, (0, 12), &file, 0, Piece::Shared);
    refuse(&source, Call::SourceRead, Lasting::FromThenOn);
    let losses = crate::Losses::of(&mm);
    assert_eq!(
        (losses.sink(a, PageNo(3)), mm.failure(a)),
        (Ok(()), None),
        "it may come"
    );
    source.set_plan(Plan::NONE);
    source.change(|bytes| bytes.truncate(4 * PAGE_SIZE));
    for space in [a, b] {
        let page = PageNo(9);
        let gone = FaultError::BeyondEnd { space, page };
        assert_eq!(fails(&mm, space, 9, Access::Read), gone);
        let sunk = if space == a { Ok(()) } else { Err(gone) };
        assert_eq!(losses.sink(space, page), sunk);
        assert_eq!(mm.take_failure(space), Some(gone));
        assert_eq!(value(&mm, space, 3), 103);
    }
    sound(&mm);
    end(&mm, &[a, b], file);
}

mod lists;
mod write_back;
