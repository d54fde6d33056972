//! Pages that their space gave up: each is what it was, or what backs it, until it is stored to.
//!
//! The model says which may be gone. That a page went is seen in the manager's tables, where no
//! entry speaks of it any more; what a step did that made it go half-way is found out from the
//! bytes, which must be one or the other.

use super::{LEN, World};
use memfold_host::Piece;
use memfold_host::addr::{PAGE_SIZE, PageNo, Run, SpaceNo};
use memfold_mm::{Digest, SpaceError};

impl World {
    /// The space gives up a range.
    pub(super) fn give_up(&mut self, space: SpaceNo, run: Run) -> Result<(), SpaceError> {
        let done = self.mm.areas(space).free(run);
        for page in run.pages() {
            let model = self.page(space, page.0);
            let shared = matches!(model.file, Some((_, _, Piece::Shared)));
            if !shared && !model.locked {
                model.given_up |= model.own.is_some();
            }
        }
        done
    }

    /// Which of the pages that were given up have gone.
    pub(super) fn find_given_up(&mut self) {
        let given_up = |page: &super::Page| page.given_up;
        if !self.spaces.values().flatten().any(given_up) {
            return;
        }
        let digest = Digest::of(&self.mm);
        for (no, pages) in &mut self.spaces {
            let there = &digest.spaces[no].pages;
            for (page, model) in pages.iter_mut().enumerate().filter(|(_, page)| page.given_up) {
                if there[page].is_none() {
                    (model.own, model.given_up) = (None, false);
                }
            }
        }
    }

    /// A page was stored to, or looked at, that may have gone a moment before: what it has now is
    /// what it had, or what backs it; `change` is what was stored since.
    pub(super) fn settle_given_up(
        &mut self,
        space: SpaceNo,
        page: u32,
        change: impl Fn(&mut [u8; PAGE_SIZE]),
    ) {
        let model = self.page(space, page).clone();
        if !model.given_up {
            return;
        }
        let with = |model: &super::Page| {
            let mut value = self.value(model)?;
            change(&mut value);
            Some(value)
        };
        let gone = super::Page {
            own: None,
            ..model.clone()
        };
        let is = self.read(space, PageNo(page));
        if is == with(&model) {
            return;
        }
        assert_eq!(
            is,
            with(&gone),
            "page {page} of space {space} is neither: {model:?}"
        );
        self.page(space, page).own = None;
    }

    /// A page was stored to: what it has now stays.
    pub(super) fn keep_given_up(&mut self, space: SpaceNo, page: u32) {
        assert!(page < LEN);
        self.page(space, page).given_up = false;
    }
}
