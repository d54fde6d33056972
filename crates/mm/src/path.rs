//! The path to a page, made a space's own for a step.
//!
//! Tables know how paths are copied and taken back (`table/own.rs`), and the sweep what becomes of
//! what leaves name (`rmap.rs`); here they meet. Under the space lock, without a frame lock.

use crate::addr::PageNo;
use crate::budget::Need;
use crate::error::Stop;
use crate::host::{Host, Store};
use crate::mm::Mm;
use crate::rmap::Sweep;
use crate::space::{SpaceGuard, SpaceState};
use crate::table::{AtLeaf, Lookup, OwnLeaf, Split, Trees};

/// A path that is a space's own, and what changed for that: to be [settled](Self::settle) when it
/// is known whether the step that needed it succeeds.
#[must_use]
pub(crate) struct OwnPath<'m, H, S> {
    mm: &'m Mm<H, S>,
    /// The page's leaf.
    pub leaf: OwnLeaf,
    split: Option<Split>,
}

impl<'m, H: Host, S: Store> OwnPath<'m, H, S> {
    /// Makes the path to a page this space's own.
    ///
    /// # Errors
    /// [`Stop::NoRoom`] when there is no room for the tables; nothing is changed.
    pub fn take(
        mm: &'m Mm<H, S>,
        space: &mut SpaceGuard<'_>,
        page: PageNo,
        need: Need,
    ) -> Result<Self, Stop> {
        let found = mm.tables.lookup(&space.tree, page);
        if let Lookup::Leaf(AtLeaf {
            leaf, shared: false, ..
        }) = found
        {
            let (leaf, split) = (OwnLeaf(leaf), None);
            return Ok(Self { mm, leaf, split });
        }
        let no = space.no;
        let mut sweep = Sweep::new(mm);
        let (leaf, split) = Trees::new(&mm.tables, &mm.spaces)
            .own_path((no, &mut space.tree), page, &mm.budget, need, &mut sweep)
            .ok_or(Stop::NoRoom)?;
        Ok(Self { mm, leaf, split })
    }

    /// The path stays.
    pub fn keep(self) -> OwnLeaf {
        if let Some(split) = self.split {
            Trees::new(&self.mm.tables, &self.mm.spaces).keep_split(split, &mut Sweep::new(self.mm));
        }
        self.leaf
    }

    /// The path stays when the step succeeded; otherwise the tables are as they were. A step that
    /// failed has put nothing into the leaf, and holds no frame lock any more.
    pub fn settle<T>(self, space: &mut SpaceState, done: Result<T, Stop>) -> Result<T, Stop> {
        if done.is_ok() {
            self.keep();
        } else if let Some(split) = self.split {
            let trees = Trees::new(&self.mm.tables, &self.mm.spaces);
            trees.take_back(&mut space.tree, split, &mut Sweep::new(self.mm));
        }
        done
    }
}
