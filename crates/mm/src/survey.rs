//! Who lives, and what the pages of a space are, for people who look on: read piece by piece, so
//! that the space's threads are not kept waiting.
//!
//! Each call takes the lock of one space for a bounded time, and those of frames and slots below
//! it. Nothing is changed, and no space is asked to be anything else than it is: what the machine
//! serves by itself is told as such. Other threads go on, so that two pieces may be of different
//! moments.

use crate::addr::{PageNo, SpaceNo};
use crate::frame::{Owner, Residence};
use crate::host::{Host, Store};
use crate::mm::Mm;
use crate::space::kin::Kin;
use crate::space::{PIECE, SpaceGuard};
use crate::table::{AtLeaf, FANOUT, LeafEntry, Lookup, TableNo, after_leaf};

/// A space that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Living {
    /// Its number, which another space may have after it.
    pub no: SpaceNo,
    /// Who it is.
    pub kin: Kin,
    /// Accessible pages.
    pub len: u32,
    /// Whether one of its faults has failed, and nobody has taken that yet.
    pub condemned: bool,
}

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PageIs {
    /// Zeros, without memory.
    Absent,
    /// What relatives have there: no table of the space's own says anything of it.
    Inherited,
    /// In memory, the space's own.
    Exclusive,
    /// In memory, in this space's window, and shared.
    Exported,
    /// In memory, in the pool or another's window.
    Shared,
    /// In memory, and several pages that were equal became it.
    Merged,
    /// In the store.
    Swapped,
    /// In memory, the space's own, and pinned.
    Pinned,
    /// A file's.
    File,
    /// The machine serves it by itself: whether it was copied is not known.
    Native,
}

/// Which pages of a space are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// All of them.
    All,
    /// Those of which a table says something that only this space reaches; all others are
    /// inherited. Takes time in proportion to what the space wrote since it was forked, and a
    /// little for the rest.
    Own,
}

/// All spaces that live, in the order of their numbers. Takes time in proportion to how many
/// there are.
#[must_use]
pub fn living<H: Host, S: Store>(mm: &Mm<H, S>) -> Vec<Living> {
    let living = |no| {
        let mut space = mm.lock_space(no).ok()?;
        Some(Living {
            no,
            kin: space.kin,
            len: space.len,
            condemned: space.failure().is_some(),
        })
    };
    mm.spaces.numbers().map(SpaceNo).filter_map(living).collect()
}

/// Tells what the pages of a space are from `first` on, in stretches, as many as are looked at in
/// some tens of microseconds, and says where the next piece begins: `None` inside at the end of
/// the space. `None` when the space of this birth does not live any more.
pub fn survey<H: Host, S: Store>(
    mm: &Mm<H, S>,
    living: &Living,
    depth: Depth,
    first: PageNo,
    mut tell: impl FnMut(PageIs, u32),
) -> Option<Option<PageNo>> {
    let space = mm.lock_space(living.no).ok()?;
    if space.kin.birth != living.kin.birth {
        return None;
    }
    let mut page = first.0;
    // Ends: each turn passes a page.
    for _ in 0..PIECE {
        if page >= space.len {
            return Some(None);
        }
        let leaf_end = after_leaf(page).min(space.len);
        match mm.tables.lookup(&space.tree, PageNo(page)) {
            Lookup::Leaf(at) if depth == Depth::All || !at.shared => {
                tell(look(mm, &space, PageNo(page), at, depth), 1);
                page += 1;
            }
            Lookup::Leaf(_) if !has_native(&space, page) => {
                tell(PageIs::Inherited, leaf_end - page);
                page = leaf_end;
            }
            Lookup::NoLeaf if space.areas.is_empty() && !has_native(&space, page) => {
                tell(PageIs::Absent, leaf_end - page);
                page = leaf_end;
            }
            Lookup::Leaf(_) => {
                tell(without_table(&space, PageNo(page), PageIs::Inherited), 1);
                page += 1;
            }
            Lookup::NoLeaf => {
                tell(without_table(&space, PageNo(page), PageIs::Absent), 1);
                page += 1;
            }
        }
    }
    Some(Some(PageNo(page)).filter(|page| page.0 < space.len))
}

/// Whether the machine serves a page of this page's leaf.
fn has_native(space: &SpaceGuard<'_>, page: u32) -> bool {
    let first = PageNo(page - page % FANOUT as u32);
    space.native.is_some_and(|native| native.in_leaf(first) != 0)
}

/// What a page is of which no table of the space's own says anything.
fn without_table(space: &SpaceGuard<'_>, page: PageNo, otherwise: PageIs) -> PageIs {
    if space.native.is_some_and(|native| native.run.has(page)) {
        PageIs::Native
    } else if space.areas.is_file(page) {
        PageIs::File
    } else {
        otherwise
    }
}

fn look<H: Host, S: Store>(
    mm: &Mm<H, S>,
    space: &SpaceGuard<'_>,
    page: PageNo,
    at: AtLeaf,
    depth: Depth,
) -> PageIs {
    if space.native.is_some_and(|native| native.run.has(page)) {
        return PageIs::Native;
    }
    match at.entry {
        LeafEntry::Absent => without_table(space, page, PageIs::Absent),
        // Of a leaf that only this space reaches: another entry is a relative's.
        LeafEntry::Swapped(slot) => match mm.swap.look(slot) {
            Some(seen) if depth == Depth::Own && seen.count > 1 => PageIs::Inherited,
            _ => PageIs::Swapped,
        },
        LeafEntry::Frame(_) => look_at_frame(mm, space, page, (at.leaf, at.entry)),
    }
}

fn look_at_frame<H: Host, S: Store>(
    mm: &Mm<H, S>,
    space: &SpaceGuard<'_>,
    page: PageNo,
    (leaf, entry): (TableNo, LeafEntry),
) -> PageIs {
    let LeafEntry::Frame(no) = entry else {
        return PageIs::Swapped;
    };
    let locked = mm.frames.lock(no);
    if mm.tables.entry(leaf, page) != entry {
        // Evicted meanwhile.
        return PageIs::Swapped;
    }
    match locked.frame.word.load().owner {
        Owner::Exclusive(_) if space.pins.contains_key(&page) => PageIs::Pinned,
        Owner::Exclusive(_) => PageIs::Exclusive,
        Owner::Merged(_) => PageIs::Merged,
        Owner::File(_) => PageIs::File,
        Owner::Shared(_) | Owner::Nobody if locked.residence == Residence::Private(space.no) => {
            PageIs::Exported
        }
        Owner::Shared(_) | Owner::Nobody => PageIs::Shared,
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
