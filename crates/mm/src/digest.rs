//! The digest: what a failed operation must leave as it was.
//!
//! Two halves. *What programs can tell*: which spaces there are, their lengths and settings, their
//! pins, which pages were written, which pages are one and whose they are (the bytes themselves are
//! for the caller to compare). That half also holds when reclaim ran in between, but for pages that
//! are in the store since. *What is held*: numbers and bytes. Where the bytes of a page are
//! (window, pool), what is protected, shown or listed where is no part of it: the host's pages and
//! the lists are caches, and so is a frame whose bytes the store has too. Nor are arrays that grew:
//! they keep what they were given. Call it when nothing else runs.

use crate::addr::{PageNo, SpaceNo};
use crate::backing::areas::Area;
use crate::error::Stop;
use crate::frame::Owner;
use crate::host::{Domain, Host, Store};
use crate::mm::{Mm, PAGE};
use crate::native::settle_all;
use crate::space::Merging;
use crate::swap::SwapRef;
use crate::table::LeafEntry;
use std::collections::BTreeMap;

/// What a space is to its programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceDigest {
    /// Accessible pages.
    pub len: u32,
    /// Pages of addresses.
    pub reserve: u32,
    /// The merge domain.
    pub domain: Domain,
    /// Whether the space takes part in merging.
    pub merging: Merging,
    /// Its areas.
    pub areas: Vec<Area>,
    /// The pinned pages, and how often.
    pub pins: Vec<(PageNo, u32)>,
    /// What is known of each page; `None`: never written.
    pub pages: Vec<Option<PageDigest>>,
}

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageDigest {
    /// A number that it has in common with the pages of other spaces that are one with it.
    pub content: u32,
    /// Whose it is.
    pub ownership: Ownership,
}

/// Whose a page is: whether a store may go through to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Its space's own, in its space's window: stores go through, or do so after a fault that
    /// copies nothing.
    Exclusive,
    /// Others may see it, or could until now: a store is a fault, and copies unless nobody else is
    /// left.
    Shared,
    /// The store has the bytes, and memory at most a copy that is never stored to.
    Stored,
}

/// What is held, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Frames whose bytes are nowhere else.
    pub frames: u64,
    /// Files that are open or mapped.
    pub files: u32,
    /// Tables.
    pub tables: u32,
    /// Swap slots.
    pub slots: u32,
    /// Backings.
    pub backings: u32,
    /// Pages that the store has.
    pub stored_pages: u64,
    /// Bytes charged for them.
    pub stored_bytes: u64,
    /// Bytes charged for pages in memory that are nowhere else.
    pub page_bytes: u64,
}

/// Both halves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// The spaces that live, by number.
    pub spaces: BTreeMap<u32, SpaceDigest>,
    /// What is held for them, added up.
    pub totals: Totals,
}

/// What makes two pages one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Content {
    Frame(u32),
    Slot(SwapRef),
}

impl Digest {
    /// Takes the digest. In time proportional to all spaces.
    #[must_use]
    pub fn of<H: Host, S: Store>(mm: &Mm<H, S>) -> Self {
        settle_all(mm);
        let mut known: BTreeMap<Content, u32> = BTreeMap::new();
        let mut spaces = BTreeMap::new();
        for no in mm.spaces.numbers().map(SpaceNo) {
            let Ok(st) = mm.lock_space(no) else { continue };
            let mut pages = vec![None; st.len as usize];
            let walked: Result<(), Stop> = mm.tables.each_page(&st.tree, PageNo(st.len), |page, _, entry| {
                let next = known.len() as u32;
                pages[page.0 as usize] = content(mm, entry).map(|(content, ownership)| PageDigest {
                    content: *known.entry(content).or_insert(next),
                    ownership,
                });
                Ok(())
            });
            walked.expect("looking cannot fail");
            let digest = SpaceDigest {
                len: st.len,
                reserve: st.reserve,
                domain: st.domain,
                merging: mm.spaces.get(no.0).merging(),
                areas: st.areas.iter().copied().collect(),
                pins: st.pins.iter().map(|(&page, &times)| (page, times)).collect(),
                pages,
            };
            spaces.insert(no.0, digest);
        }
        let totals = totals(mm);
        Self { spaces, totals }
    }
}

fn content<H: Host, S: Store>(mm: &Mm<H, S>, entry: LeafEntry) -> Option<(Content, Ownership)> {
    match entry {
        LeafEntry::Absent => None,
        LeafEntry::Swapped(slot) => Some((Content::Slot(slot), Ownership::Stored)),
        LeafEntry::Frame(no) => {
            let locked = mm.frames.lock(no);
            // Some sharers may name the frame, others still the slot that it caches.
            if let Some(slot) = locked.cached {
                return Some((Content::Slot(slot), Ownership::Stored));
            }
            let ownership = match locked.frame.word.load().owner {
                Owner::Exclusive(_) => Ownership::Exclusive,
                Owner::Shared(_) | Owner::Merged(_) | Owner::File(_) | Owner::Nobody => Ownership::Shared,
            };
            Some((Content::Frame(no.0), ownership))
        }
    }
}

fn totals<H: Host, S: Store>(mm: &Mm<H, S>) -> Totals {
    let usage = mm.usage();
    let slots = mm.swap.in_use();
    // What is in memory of a file is in the file as well, or will be.
    let (files, _) = mm.files.pages();
    let cached = slots.iter().filter(|(_, says)| says.frame.is_some()).count() as u64;
    Totals {
        frames: u64::from(mm.frames.used()) - cached - files,
        files: mm.files.used(),
        tables: mm.tables.used(),
        slots: mm.swap.used(),
        backings: mm.backings.used(),
        stored_pages: mm.store.stats().pages,
        stored_bytes: usage.stored,
        page_bytes: usage.private + usage.pool - (cached + files) * PAGE,
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
