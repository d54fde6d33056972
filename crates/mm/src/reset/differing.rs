//! Which pages a space has that a relative has not: [`Mm::differing`].
//!
//! The relative's tables are held as for a reset; the space's lock is held for the walk, which
//! passes over all that the two share.

use super::{Model, differing};
use crate::addr::{PageNo, Run, SpaceNo};
use crate::error::SpaceError;
use crate::host::{Host, Store};
use crate::mm::Mm;
use crate::native::lock_settled;
use std::convert::Infallible;

impl<H: Host, S: Store> Mm<H, S> {
    /// The runs of pages, in order, that are not the same in the space as in `of`: one of the two
    /// has stored to them since they were, or discarded them. Every page whose bytes differ is
    /// among them; others may be, those of which the same was stored. Takes time in proportion to
    /// what the two do not share, and to what `of` wrote since its last fork.
    ///
    /// Threads may run in both: what they store meanwhile may be among it.
    ///
    /// # Errors
    /// [`SpaceError::NotRelated`], [`SpaceError::Pinned`] when a page of `of` is,
    /// [`SpaceError::HasAreas`], [`SpaceError::Fault`] as in [`reset`](Self::reset).
    pub fn differing(&self, space: SpaceNo, of: SpaceNo) -> Result<Vec<Run>, SpaceError> {
        let done = self.retry(|| {
            let model = match Model::hold(self, of)? {
                Ok(model) => model,
                Err(refused) => return Ok(Err(refused)),
            };
            let st = lock_settled(self, space)?;
            if let Err(refused) = model.demand_related(&st) {
                return Ok(Err(refused));
            }
            let mut runs: Vec<Run> = Vec::new();
            let roots = (st.tree.root, model.root);
            let walked: Result<(), Infallible> =
                self.tables.each_difference(roots, st.tree.levels, &mut |at| {
                    for slot in differing(self, at) {
                        let page = at.first.plus(slot.into());
                        match runs.last_mut().filter(|run| run.end() == page) {
                            Some(run) => run.len += 1,
                            None => runs.push(Run::one(page)),
                        }
                    }
                    Ok(())
                });
            let Ok(()) = walked;
            Ok(Ok(runs))
        });
        done.unwrap_or_else(|stop| Err(stop.of_space(&self.budget, space, PageNo(0))))
    }
}
