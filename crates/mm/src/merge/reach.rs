//! Where in a space pages can be that may go.
//!
//! A page that may go is a private page of its space, or stands in the overflow range. Private
//! pages have exclusive frames, whose leaves are on the space's list of dirty leaves, or are
//! exported. So in a space that has exported nothing, while nothing stands in the overflow range, a
//! round looks at dirty leaves only, which a family's clones have few of. Under the space's lock.

use crate::addr::PageNo;
use crate::frame::Frame;
use crate::mm::Mm;
use crate::space::SpaceGuard;
use crate::table::{FANOUT, Table, TableEntry, TableNo, Tables, first_of, slot_of};

/// Which leaves of a space may name a page that can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those on the list of dirty leaves, and of what they name the exclusive frames.
    Dirty,
    /// All.
    All,
}

impl Reach {
    pub fn of<H, S>(mm: &Mm<H, S>, space: &SpaceGuard<'_>) -> Self {
        match (space.slot.exported(), mm.backings.overflow_used()) {
            (0, 0) => Self::Dirty,
            _ => Self::All,
        }
    }

    pub fn has(self, leaf: &Table) -> bool {
        self == Self::All || leaf.is_dirty()
    }

    /// Whether the frame may be one: a hint, until it is locked.
    pub fn may_have(self, frame: &Frame) -> bool {
        self == Self::All || frame.is_exclusive()
    }

    /// The first page from `from` on for which there is such a leaf below the table of this level.
    /// Ends: one level down each time.
    pub fn next_leaf(self, tables: &Tables, (at, level): (TableNo, u8), from: PageNo) -> Option<PageNo> {
        let table = tables.at(at);
        if first_of(from, level) != table.first_page() {
            return None;
        }
        // A fork shares what it finds exclusive, so nothing below a shared table is.
        if self == Self::Dirty && table.refs() > 1 {
            return None;
        }
        if level == 0 {
            return Some(from).filter(|_| self.has(table));
        }
        (slot_of(from, level)..FANOUT as u8).find_map(|n| {
            let TableEntry::Table(child) = table.slot(n).entry.table() else {
                return None;
            };
            let child_first = tables.at(child).first_page();
            self.next_leaf(tables, (child, level - 1), PageNo(from.0.max(child_first.0)))
        })
    }
}
