//! Pages that move inside a space, on both sides, and what a move that was refused may leave.

use super::{LEN, Page, World};
use memfold_host::addr::{PageNo, Run, SpaceNo};
use memfold_mm::{Area, AreaKind, InFork, Order, Rights, SpaceError};
use memfold_sim::Plan;

impl World {
    /// Pages move, and leave zeros; or the move is refused by name.
    pub(super) fn remap(&mut self, space: SpaceNo, from: Run) -> Result<(), SpaceError> {
        let to = Run {
            first: PageNo(self.rng.below(LEN)),
            len: from.len,
        };
        let was = self.mm.areas(space).list()?;
        let areas = self.mm.areas(space);
        // What a refusal leaves is undone by calls that are refused as well.
        let done = match self.refusing && self.rng.below(2) == 0 {
            true => (self.mm.host()).under(Plan::chance(9000), || areas.remap(from, to.first)),
            false => areas.remap(from, to.first),
        };
        let overlap = from.first < to.end() && to.first < from.end();
        match done {
            Err(SpaceError::BadRun { .. }) => assert!(to.end().0 > LEN),
            Err(SpaceError::Overlap { .. }) => assert!(to.end().0 <= LEN && overlap),
            _ => {
                assert!(to.end().0 <= LEN && !overlap, "{from:?} moved to {to:?}");
                let moved = self.pages(space, from).to_vec();
                for (page, (left, model)) in to.pages().zip(from.pages().zip(moved)) {
                    match done {
                        Ok(()) => {
                            *self.page(space, page.0) = model;
                            *self.page(space, left.0) = Page::default();
                            self.settle_given_up(space, page.0, |_| ());
                        }
                        Err(_) => self.half_moved(space, &was, (page, left)),
                    }
                }
                if done.is_err() {
                    self.look_again(space, to);
                }
                self.tally.moved += u64::from(done.is_ok());
                return done;
            }
        }
        Ok(())
    }

    /// After a move that was refused a page of the destination is in the area that it was in, or,
    /// where the machine refused to take that back, in one like that of the page that was to move.
    fn half_moved(&mut self, space: SpaceNo, was: &[Area], (page, from): (PageNo, PageNo)) {
        let now = self.mm.areas(space).list().expect("it lives");
        let [before, now, of_source] = [(was, page), (&now, page), (was, from)].map(|(list, page)| {
            // What is in no area is as what is in one that says nothing of it.
            let none = (
                None,
                Rights::default(),
                Order::default(),
                InFork::default(),
                false,
            );
            list.iter().find(|area| area.run.has(page)).map_or(none, |area| {
                let kind = match area.kind {
                    AreaKind::File { file, first, kind } => {
                        Some((file, first.0 + page.0 - area.run.first.0, kind))
                    }
                    AreaKind::Own => None,
                };
                (kind, area.rights, area.order, area.in_fork, area.locked)
            })
        });
        if now != before {
            assert!(self.refusing, "page {page} of space {space} was not taken back");
            assert_eq!(
                now, of_source,
                "page {page} of space {space}, {from} was to move there"
            );
            self.tally.half_moved += 1;
            let own = None;
            let model = self.page(space, from.0).clone();
            *self.page(space, page.0) = Page { own, ..model };
        }
    }
}
