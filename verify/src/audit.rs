//! The audit: everything that must hold between two steps, whatever they were.
//!
//! * all bytes of all spaces, as the manager's tables say and as the windows show them, equal the oracle's;
//! * the manager's own invariants ([`Mm::world`]);
//! * memory that the machine gives = pages charged, to the page; its page tables are charged; the most ever held stays below
//!   the budget;
//! * what the store holds = what is charged for it.

use crate::oracle::Oracle;
use crate::stores::Built;
use memfold_mm::addr::{PAGE_SIZE, PageNo, Run, SpaceNo};
use memfold_mm::table::FAN;
use memfold_mm::{Digest, Mm, SpaceDigest};
use memfold_sim::SimHost;
use std::collections::BTreeMap;

const PAGE: u64 = PAGE_SIZE as u64;

/// What can be said without looking at every page; for after each step.
///
/// # Panics
/// When something does not hold.
pub fn quick<S: Built>(mm: &Mm<SimHost, S>, store_base: u64) {
    let (usage, memory) = (mm.usage(), mm.host().memory());
    assert!(
        usage.total <= usage.limit && usage.peak <= usage.limit,
        "over the budget: {usage:?}"
    );
    assert_eq!(
        memory.private * PAGE,
        usage.private,
        "private pages of the machine, and charged"
    );
    assert_eq!(
        memory.pool * PAGE,
        usage.pool,
        "pool pages of the machine, and charged"
    );
    assert!(
        memory.table_bytes <= usage.page_tables,
        "page tables of the machine take {} bytes; {usage:?}",
        memory.table_bytes
    );
    assert!(
        memory.peak_bytes <= usage.peak,
        "the machine held {} bytes; {usage:?}",
        memory.peak_bytes
    );
    let held = mm.store_stats().held_bytes - store_base;
    assert_eq!(held, usage.stored, "bytes that the store holds, and charged");
}

/// Everything.
///
/// # Panics
/// When something does not hold.
pub fn full<S: Built>(mm: &Mm<SimHost, S>, oracle: &Oracle, store_base: u64) {
    quick(mm, store_base);
    for space in oracle.spaces() {
        bytes(mm, oracle, space);
    }
    if let Err(violations) = mm.world() {
        let all: Vec<String> = violations.iter().map(ToString::to_string).collect();
        panic!("the manager's invariants are broken:\n  {}", all.join("\n  "));
    }
}

/// What a failed call may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// Nothing.
    Nothing,
    /// Where the bytes of pages are: reclaim ran.
    Reclaim,
    /// Pages of this run may be their space's own now: a pin failed.
    Own(SpaceNo, Run),
}

/// A call failed: everything is as it was.
///
/// # Panics
/// When something is not.
pub fn unchanged<S: Built>(mm: &Mm<SimHost, S>, before: &Digest, may: May) {
    let after = mm.digest();
    let [now, then] = [&after, before].map(|digest| told(digest, may));
    for (no, space) in &then {
        assert_eq!(
            now.get(no),
            Some(space),
            "a failed operation changed what programs can tell of space {no}"
        );
    }
    assert_eq!(now.len(), then.len(), "a failed operation left a space");
    if may == May::Nothing {
        assert_eq!(after.held, before.held, "a failed operation changed what is held");
    }
}

/// What programs can tell, without what may have changed.
fn told(digest: &Digest, may: May) -> BTreeMap<u32, SpaceDigest> {
    let mut spaces = digest.spaces.clone();
    if let May::Own(no, run) = may {
        let pages = &mut spaces.get_mut(&no.0).expect("it lives").pages;
        // A write fault may make the pages that follow as well, up to the end of the table.
        let end = (run.end().0 as usize).next_multiple_of(FAN).min(pages.len());
        pages[run.first.0 as usize..end].fill(None);
        // Numbers are given in the order in which pages are met.
        let mut known = BTreeMap::new();
        for number in spaces
            .values_mut()
            .flat_map(|space| space.pages.iter_mut().flatten())
        {
            let next = known.len() as u32;
            *number = *known.entry(*number).or_insert(next);
        }
    }
    spaces
}

/// All bytes of one space.
///
/// # Panics
/// When one of them differs.
pub fn bytes<S: Built>(mm: &Mm<SimHost, S>, oracle: &Oracle, space: SpaceNo) {
    assert_eq!(
        mm.len(space),
        Ok(oracle.pages(space)),
        "the length of space {space}"
    );
    let mut page = [0; PAGE_SIZE];
    for no in (0..oracle.pages(space)).map(PageNo) {
        let read = mm
            .host()
            .at_rest(|| mm.store().calm(|| mm.read_page(space, no, &mut page)));
        assert_eq!(read, Ok(()), "page {no} of space {space} cannot be read");
        equal(&page, oracle.page(space, no), || {
            format!("page {no} of space {space}")
        });
        if let Some(shown) = mm.host().shown(space, no) {
            equal(&*shown, oracle.page(space, no), || {
                format!("what the window of space {space} shows at page {no}")
            });
        }
    }
}

fn equal(found: &[u8], expected: &[u8], what: impl Fn() -> String) {
    if let Some(at) = (0..found.len()).find(|&n| found[n] != expected[n]) {
        panic!(
            "{}: byte {at} is {:#x}, must be {:#x}",
            what(),
            found[at],
            expected[at]
        );
    }
}

/// Nothing is left when no space is.
///
/// # Panics
/// When something is.
pub fn empty<S: Built>(mm: &Mm<SimHost, S>, store_base: u64) {
    full(mm, &Oracle::default(), store_base);
    let (usage, stats) = (mm.usage(), mm.stats());
    assert_eq!(
        (usage.private, usage.pool, usage.stored),
        (0, 0, 0),
        "bytes are charged for no space"
    );
    assert_eq!(
        stats.active_frames + stats.inactive_frames,
        0,
        "frames are listed for no space"
    );
    assert_eq!(
        mm.host().memory().table_bytes,
        usage.page_tables,
        "page tables are charged for no window"
    );
    assert_eq!(mm.store_stats().pages, 0, "pages are stored for no space");
    assert_eq!(mm.host().open_windows(), 0, "windows are open for no space");
}
