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

/// Goal: where nobody makes passes, who stores writes pages out himself, so that not more than a
/// fifth of the budget waits; a file that refuses holds nobody up, and has all stores in the end.
#[test]
fn who_stores_too_much_writes() {
    const MOST: u64 = 2 * ((4 << 20) / PAGE_SIZE as u64 / 10) + 1;
    let mm = limited(4 << 20);
    let sources = [1, 2].map(|seed| SimSource::new(seed, vec![0; 300 * PAGE_SIZE]));
    let files = sources.each_ref().map(|source| open(&mm, source));
    let a = space(&mm, 600);
    map(&mm, a, (0, 300), &files[0], 0, Piece::Shared);
    map(&mm, a, (300, 300), &files[1], 0, Piece::Shared);
    let b = space(&mm, 16);
    let mut most = 0;
    for page in (0..600).map(|n| n * 7 % 600) {
        put(&mm, a, page, 1);
        most = most.max(dirty(&mm));
    }
    assert_eq!(most, MOST);
    let held = mm.stats().file_stores_held;
    assert!((20..60).contains(&held) && mm.stats().file_writes > 300, "{held}");
    assert!(sources.iter().all(|source| source.traffic().1 > 50), "by turns");
    sound(&mm);
    sources
        .iter()
        .for_each(|source| refuse(source, Call::SourceWrite, Lasting::FromThenOn));
    let refused = mm.stats().file_write_errors;
    (0..400).for_each(|page| put(&mm, a, page, 2));
    assert!(dirty(&mm) > MOST);
    let refused = mm.stats().file_write_errors - refused;
    assert!((100..2000).contains(&refused), "{refused}");
    // One of the two can be written again.
    sources[1].set_plan(Plan::NONE);
    put(&mm, a, 500, 2);
    assert!(sources[1].traffic().1 > 100);
    sources[0].set_plan(Plan::NONE);
    files
        .iter()
        .for_each(|file| _ = mm.files().sync(file, PageNo(0), 300));
    assert_eq!([0, 299].map(|page| stored(&sources[0], page)), [2, 2]);
    assert_eq!(
        [0, 99, 100, 200].map(|page| stored(&sources[1], page)),
        [2, 2, 1, 2]
    );
    sound(&mm);
    // Who stores to no file is not held.
    for page in (0..600).cycle().take(5000) {
        if dirty(&mm) == MOST {
            break;
        }
        put(&mm, a, page, 3);
    }
    assert_eq!(dirty(&mm), MOST);
    let held = mm.stats().file_stores_held;
    (2..12).for_each(|page| put(&mm, b, page, 1));
    assert_eq!(mm.stats().file_stores_held, held);
    [a, b]
        .iter()
        .for_each(|&space| mm.drop_space(space).expect("it lives"));
    files.into_iter().for_each(|file| mm.files().close(file));
    sound(&mm);
}
