//! The audit: everything that must hold between two steps, whatever they were.
//!
//! * all bytes of all spaces, as the manager's tables say and as the windows show them, equal the
//!   oracle's;
//! * the manager's own invariants ([`memfold_mm::check`]);
//! * merge domains and settings, a fork's and a frozen copy's too, are the oracle's; there is no
//!   space besides;
//! * no window lets stores through to a page that is not its space's alone;
//! * memory that the machine gives = pages charged, to the page; its page tables are charged; the
//!   most ever held stays below the budget;
//! * what the store holds = what is charged for it.
//!
//! And what a failed call has left behind: nothing, but for what `unchanged.rs` names.

mod unchanged;

pub use unchanged::{Before, May, unchanged};

use crate::oracle::Oracle;
use crate::stores::Built;
use memfold_host::StoreError;
use memfold_host::addr::{PAGE_SIZE, PageNo, SpaceNo};
use memfold_mm::{FaultError, Mm, Ownership, SpaceError};
use memfold_sim::SimHost;

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
    let private = usage.private..=usage.private + usage.native;
    assert!(
        private.contains(&(memory.private * PAGE)),
        "{} private pages of the machine; {usage:?}",
        memory.private
    );
    assert_eq!(
        memory.pool * PAGE,
        usage.pool,
        "pool pages of the machine, and charged"
    );
    assert!(
        memory.table_bytes <= usage.page_tables + u64::from(mm.stats().standby_pages) * PAGE,
        "page tables of the machine take {} bytes; {usage:?}",
        memory.table_bytes
    );
    assert!(
        memory.peak_bytes <= usage.peak,
        "the machine held {} bytes; {usage:?}",
        memory.peak_bytes
    );
    assert!(
        memory.standby <= u64::from(mm.stats().standby_pages),
        "{} standby pages of the machine, {} stand in",
        memory.standby,
        mm.stats().standby_pages
    );
    let held = mm.store().stats().held_bytes - store_base;
    assert_eq!(held, usage.stored, "bytes that the store holds, and charged");
}

/// Everything.
///
/// # Panics
/// When something does not hold.
pub fn full<S: Built>(mm: &Mm<SimHost, S>, oracle: &Oracle, store_base: u64) {
    quick(mm, store_base);
    for space in oracle.spaces() {
        let holes = mm.host().native_holes(space);
        assert!(
            holes.is_empty(),
            "the machine serves space {space}, but not {holes:?}"
        );
    }
    spaces(mm, oracle);
    for space in oracle.spaces() {
        bytes(mm, oracle, space);
    }
    if let Err(violations) = memfold_mm::check(mm) {
        let all: Vec<String> = violations.iter().map(ToString::to_string).collect();
        panic!("the manager's invariants are broken:\n  {}", all.join("\n  "));
    }
}

/// What is to be told of everything. Looking ends native runs, and what the machine refuses then
/// would be told otherwise the next time; so it refuses nothing.
pub fn digest<S: Built>(mm: &Mm<SimHost, S>) -> memfold_mm::Digest {
    mm.host().at_rest(|| memfold_mm::Digest::of(mm))
}

/// The manager's spaces are those of the oracle, with the oracle's settings, and such as wait for
/// their end; wherever a program stores to a page of its own without a fault, the manager has that
/// page down as its space's alone.
///
/// # Panics
/// When something does not hold.
pub fn spaces<S: Built>(mm: &Mm<SimHost, S>, oracle: &Oracle) {
    let digest = digest(mm);
    for space in oracle.spaces() {
        let found = digest
            .spaces
            .get(&space.0)
            .unwrap_or_else(|| panic!("space {space} is gone"));
        assert_eq!(
            (found.domain, found.merging),
            oracle.sharers(space),
            "the merge domain of space {space}, and whether it takes part"
        );
    }
    assert_eq!(
        digest.spaces.len(),
        oracle.spaces().count() + mm.doomed().count(),
        "spaces that nobody knows of"
    );
    for (&no, space) in &digest.spaces {
        for page in mm.host().stores_go_through(SpaceNo(no)) {
            let whose = space.pages[page.0 as usize].map(|page| page.ownership);
            assert_eq!(
                whose,
                Some(Ownership::Exclusive),
                "a program stores to page {page} of space {no} without a fault"
            );
        }
    }
}

/// Whether a page was given up, since others needed the room that it had on loan.
#[must_use]
pub fn is_called_in(error: SpaceError) -> bool {
    let source = StoreError::CalledIn;
    matches!(error, SpaceError::Fault(FaultError::PageLost { source: found, .. }) if found == source)
}

/// All bytes of one space, but for pages that were called in.
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
        if read.is_err_and(is_called_in) {
            assert_ne!(mm.stats().called_in, 0, "page {no} of space {space} is lost");
            assert!(
                mm.host().shown(space, no).is_none(),
                "a window shows what is lost"
            );
            continue;
        }
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
    // All at once first: most of a simulation's time would go to looking at one byte after another.
    if found == expected {
        return;
    }
    let differs = |&at: &usize| found.get(at) != expected.get(at);
    let at = (0..found.len().max(expected.len())).find(differs).unwrap_or(0);
    panic!(
        "{}: byte {at} is {:x?}, must be {:x?}",
        what(),
        found.get(at),
        expected.get(at)
    );
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
    assert_eq!(mm.store().stats().pages, 0, "pages are stored for no space");
    assert_eq!(mm.host().open_windows(), 0, "windows are open for no space");
}
