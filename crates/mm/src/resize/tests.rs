//! Files that others change meanwhile.

use crate::addr::{Access, PAGE_SIZE, PageNo, SpaceNo};
use crate::host::{Piece, SourceError};
use crate::rig::{Harness, harness, poke, read, run, sound, space, value};
use crate::space::FaultError;
use crate::{FileError, OpenFile, Rights};
use memfold_sim::{Call, Calls, Lasting, Plan, SimSource, When};

/// A file of ten pages of sevens, mapped shared from page 0 on and private from page 20 on.
fn mapped() -> (Harness, SimSource, OpenFile, SpaceNo) {
    let mm = harness();
    let source = SimSource::new(1, vec![7; 10 * PAGE_SIZE]);
    let file = mm.files().open(Box::new(source.clone())).expect("room");
    let a = space(&mm, 40);
    for (at, kind) in [(0, Piece::Shared), (20, Piece::Private)] {
        let areas = mm.areas(a);
        let mapped = areas.map(run(at, 10), &file, PageNo(0), kind, Rights::ReadWrite);
        assert_eq!(mapped, Ok(()));
    }
    (mm, source, file, a)
}

fn store(mm: &Harness, space: SpaceNo, page: u32, value: u8) {
    mm.fault(space, PageNo(page), Access::Write).expect("it may");
    poke(mm, space, page, value);
}

fn end(mm: &Harness, space: SpaceNo, file: OpenFile) {
    sound(mm);
    mm.drop_space(space).expect("it lives");
    mm.files().close(file);
    sound(mm);
}

/// Goal: where others made the file shorter, an access behind its end is a failure of that access
/// and of nothing else, and no zeros; what is in memory stays; longer again, it goes on.
#[test]
fn others_make_it_shorter() {
    let (mm, source, file, a) = mapped();
    read(&mm, a, 9);
    source.change(|bytes| bytes.truncate(4 * PAGE_SIZE + 9));
    for page in [5, 25] {
        let refused = mm.fault(a, PageNo(page), Access::Read);
        assert!(
            matches!(refused, Err(FaultError::BeyondEnd { .. })),
            "{refused:?}"
        );
        let refused = mm.fault(a, PageNo(page), Access::Write);
        assert!(
            matches!(refused, Err(FaultError::BeyondEnd { .. })),
            "{refused:?}"
        );
    }
    assert_eq!((mm.failure(a), value(&mm, a, 9), value(&mm, a, 3)), (None, 7, 7));
    read(&mm, a, 4);
    sound(&mm);
    source.change(|bytes| bytes.resize(10 * PAGE_SIZE, 8));
    assert_eq!((value(&mm, a, 5), value(&mm, a, 25)), (8, 8));
    end(&mm, a, file);
}

/// Goal: a file that is loaded again is what others made of it, its length included, with what was
/// stored through it and not written out yet; private copies stay, but for those behind its end.
#[test]
fn loaded_again() {
    let (mm, source, file, a) = mapped();
    (0..10).for_each(|page| read(&mm, a, page));
    store(&mm, a, 2, 22);
    store(&mm, a, 21, 33);
    store(&mm, a, 27, 44);
    source.change(|bytes| bytes.fill(9));
    assert_eq!([0, 2, 22].map(|page| value(&mm, a, page)), [7, 22, 22]);
    assert_eq!(mm.files().reload(&file), Ok(()));
    assert_eq!(
        [0, 2, 22, 21, 27].map(|page| value(&mm, a, page)),
        [9, 22, 22, 33, 44]
    );
    source.change(|bytes| bytes.truncate(6 * PAGE_SIZE));
    assert_eq!(mm.files().reload(&file), Ok(()));
    assert_eq!(mm.files().bytes(&file), 6 * PAGE_SIZE as u64);
    for page in [7, 27] {
        let refused = mm.fault(a, PageNo(page), Access::Read);
        assert!(
            matches!(refused, Err(FaultError::BeyondEnd { .. })),
            "{refused:?}"
        );
    }
    source.change(|bytes| bytes.resize(20 * PAGE_SIZE, 5));
    assert_eq!(mm.files().reload(&file), Ok(()));
    assert_eq!(
        mm.files().bytes(&file),
        10 * PAGE_SIZE as u64,
        "as long as it was opened"
    );
    assert_eq!([7, 27, 21].map(|page| value(&mm, a, page)), [5, 5, 33]);
    end(&mm, a, file);
}

/// Goal: a file that refuses a write is not loaded again in part: what was stored is kept.
#[test]
fn not_loaded_again() {
    let (mm, source, file, a) = mapped();
    store(&mm, a, 2, 22);
    for call in [Call::SourceBytes, Call::SourceWrite] {
        let (calls, when) = (Calls::only(call), When::Nth(0, Lasting::FromThenOn));
        source.set_plan(Plan { calls, when });
        let refused = mm.files().reload(&file);
        assert_eq!(refused, Err(FileError::Source(SourceError::Os(5))));
        assert_eq!(value(&mm, a, 2), 22);
        sound(&mm);
    }
    source.set_plan(Plan::NONE);
    assert_eq!(mm.files().reload(&file), Ok(()));
    assert_eq!(source.contents()[2 * PAGE_SIZE], 22);
    end(&mm, a, file);
}
