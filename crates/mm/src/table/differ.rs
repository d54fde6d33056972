//! Where the trees of two spaces differ: a walk down both at once that passes over every table that
//! both lead to, whatever its size. So it costs what one of them wrote since they were the same.
//!
//! The lock of the space of one tree is held, and a reference to the root of the other: neither can
//! lose a table meanwhile. Entries of leaves may change under the frames' locks, as in any walk.

use super::{BITS, FANOUT, TableNo, Tables};
use crate::addr::PageNo;

/// The range of a leaf for which two trees have different ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Difference {
    /// The first page of the range.
    pub first: PageNo,
    /// The leaf in the tree whose space is locked.
    pub ours: Option<TableNo>,
    /// The leaf in the other tree.
    pub theirs: Option<TableNo>,
    /// Whether another space shares any table on the path to `ours`.
    pub shared: bool,
}

impl Tables {
    /// Calls `step` with each leaf's range for which the two trees have different leaves, in page
    /// order. `ours` and `theirs` are their roots; the trees have so many levels.
    ///
    /// # Errors
    /// The first of `step`'s.
    pub fn each_difference<E>(
        &self,
        (ours, theirs): (Option<TableNo>, Option<TableNo>),
        levels: u8,
        step: &mut impl FnMut(Difference) -> Result<(), E>,
    ) -> Result<(), E> {
        let all = Difference {
            first: PageNo(0),
            ours,
            theirs,
            shared: false,
        };
        self.differ(all, levels - 1, step)
    }

    /// The same below two tables of this level. As deep as trees are.
    fn differ<E>(
        &self,
        mut at: Difference,
        level: u8,
        step: &mut impl FnMut(Difference) -> Result<(), E>,
    ) -> Result<(), E> {
        if at.ours == at.theirs {
            return Ok(());
        }
        at.shared |= at.ours.is_some_and(|table| self.at(table).refs() > 1);
        if level == 0 {
            return step(at);
        }
        for slot in 0..FANOUT as u8 {
            let child = |table: Option<TableNo>| self.at(table?).slot(slot).entry.table().child();
            let below = Difference {
                first: at.first.plus(u32::from(slot) << (BITS * u32::from(level))),
                ours: child(at.ours),
                theirs: child(at.theirs),
                ..at
            };
            self.differ(below, level - 1, step)?;
        }
        Ok(())
    }
}
