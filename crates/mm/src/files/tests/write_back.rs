//! Write-back: which pages a pass writes out, and what is left for later.

use super::*;

fn dirty(mm: &Harness) -> u64 {
    mm.files().stats().dirty
}

/// Goal: a page waits for one pass and is written by the next, with all that is dirty of its file
/// by then; who waits is known to whoever makes the passes; a store after that is noticed again.
#[test]
fn a_page_waits_for_one_pass() {
    let (mm, source) = (harness(), source());
    let file = open(&mm, &source);
    let a = space(&mm, 16);
    map(&mm, a, (0, 12), &file, 0, Piece::Shared);
    assert!(!mm.files().wants_write_back() && !mm.files().write_back());
    put(&mm, a, 2, 1);
    assert!(mm.files().wants_write_back());
    assert!(mm.files().write_back(), "it waits");
    assert_eq!((stored(&source, 2), dirty(&mm)), (102, 1));
    put(&mm, a, 3, 2);
    assert!(!mm.files().wants_write_back(), "there will be a pass");
    assert!(!mm.files().write_back());
    assert_eq!([2, 3].map(|page| stored(&source, page)), [1, 2]);
    assert!(dirty(&mm) == 0 && mm.files().stats().resident >= 2, "they stay");
    sound(&mm);
    put(&mm, a, 2, 3);
    assert!(mm.files().wants_write_back());
    assert!(mm.files().write_back(), "it waits as long as the first");
    assert!(!mm.files().write_back());
    assert_eq!((stored(&source, 2), source.traffic().1), (3, 3));
    assert_eq!(value(&mm, a, 2), 3);
    sound(&mm);
    end(&mm, &[a], file);
}

/// Goal: what a file refuses waits for a later pass, and is told to who syncs; a file that nobody
/// refers to any more is left alone.
#[test]
fn what_is_refused_is_tried_again() {
    let (mm, source) = (harness(), source());
    let file = open(&mm, &source);
    let a = space(&mm, 16);
    map(&mm, a, (0, 12), &file, 0, Piece::Shared);
    put(&mm, a, 2, 1);
    refuse(&source, Call::SourceWrite, Lasting::FromThenOn);
    assert!(mm.files().write_back() && mm.files().write_back() && mm.files().write_back());
    assert_eq!((dirty(&mm), mm.stats().file_write_errors), (1, 2));
    let error = Err(crate::FileError::Source(SourceError::Os(5)));
    assert_eq!(mm.files().sync(&file, PageNo(5), 1), error);
    source.set_plan(Plan::NONE);
    assert!(!mm.files().write_back());
    assert_eq!((dirty(&mm), stored(&source, 2)), (0, 1));
    sound(&mm);
    end(&mm, &[a], file);
    assert!(!mm.files().write_back());
}

/// Goal: where more than a tenth of the budget waits, nothing is left for later, and that is known
/// at once; memory that spaces share has nowhere to go.
#[test]
fn many_pages_do_not_wait() {
    const MANY: u32 = (1 << 20) / PAGE_SIZE as u32 / 10;
    let (mm, pages) = (limited(1 << 20), 2 * MANY);
    let source = SimSource::new(1, vec![0; pages as usize * PAGE_SIZE]);
    let file = open(&mm, &source);
    let a = space(&mm, pages);
    map(&mm, a, (0, pages), &file, 0, Piece::Shared);
    put(&mm, a, 0, 1);
    assert!(mm.files().write_back() && !mm.files().wants_write_back());
    (1..MANY).for_each(|page| put(&mm, a, page, 1));
    assert!(mm.files().wants_write_back() && mm.files().much_waits());
    assert!(!mm.files().write_back());
    assert_eq!((dirty(&mm), source.traffic().1), (0, u64::from(MANY)));
    let ring = mm.files().share(4, crate::host::Domain(1)).expect("room");
    let b = space(&mm, 8);
    map(&mm, b, (0, 4), &ring, 0, Piece::Shared);
    put(&mm, b, 1, 7);
    assert!(!mm.files().wants_write_back() && !mm.files().write_back());
    assert_eq!((dirty(&mm), value(&mm, b, 1)), (1, 7));
    sound(&mm);
    mm.drop_space(b).expect("it lives");
    mm.files().close(ring);
    end(&mm, &[a], file);
}
