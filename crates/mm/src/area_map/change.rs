//! Another list of areas for a space, and what the files that it shows hear of it.
//!
//! A list is worked out on a copy (`backing/areas.rs`), and its room is charged, before anything is
//! changed ([`Change`]). What becomes other for the files ([`Remapping`]) is a list of mappings
//! that end and of such as begin. A file keeps the references of those that ended until the change
//! is kept, so that it can be undone. Used by all that changes areas, under the space's lock; the
//! files' locks are taken here.

use crate::addr::{Run, SpaceNo};
use crate::backing::areas::{Area, Areas};
use crate::backing::file::{FileNo, Unreferenced};
use crate::backing::mappings::Mapping;
use crate::budget::{Charge, Class, Need};
use crate::error::Stop;
use crate::host::{Host, Store};
use crate::mapped::{cost, end_lock, mappings};
use crate::mm::Mm;
use crate::space::SpaceGuard;
use std::collections::BTreeSet;

/// Whether the run of a change stands in the window meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hide {
    /// Nothing of it does when the files know of the change; of the space's own pages, none may
    /// before.
    All,
    /// It stays as it is.
    Nothing,
}

/// Mappings of files that end with a change of a space's areas, and such as begin.
pub(super) struct Remapping {
    run: Run,
    ends: Vec<(FileNo, Mapping)>,
    begins: Vec<(FileNo, Mapping)>,
}

impl Remapping {
    /// What differs between two lists of areas of a space, in a run and in areas that reach into
    /// it.
    pub fn between(no: SpaceNo, from: &Areas, to: &Areas, run: Run) -> Self {
        let not_in = |other: &'_ Areas, area: &Area| !other.iter().any(|known| known == area);
        let ends = from.iter().filter(|area| not_in(to, area));
        let begins = to.iter().filter(|area| not_in(from, area));
        let ends = mappings(ends, no).collect();
        let begins = mappings(begins, no).collect();
        Self { run, ends, begins }
    }

    /// The files know the new mappings, and not the old ones, from now on; the space has the old
    /// areas still.
    pub fn switch<H: Host, S: Store>(&self, mm: &Mm<H, S>, space: &SpaceGuard<'_>, hide: Hide) {
        let parts = space.areas.parts(self.run);
        let hidden = |file: Option<FileNo>| {
            let of = move |part: &&Area| part.mapping(space.no).map(|(of, _)| of) == file;
            parts
                .iter()
                .filter(move |part| hide == Hide::All && of(part))
                .map(|part| part.run)
        };
        let changed = self.ends.iter().chain(&self.begins).map(|(file, _)| *file);
        let shown = mappings(parts.iter(), space.no).map(|(file, _)| file);
        let files: BTreeSet<FileNo> = changed.chain(shown).collect();
        for file in files {
            let mut state = mm.files.lock(file);
            // Walks wait: none finds the mapping gone while the window lets stores through.
            hidden(Some(file)).for_each(|part| mm.host.drop_pages(space.no, part));
            let of = |list: &[(FileNo, Mapping)]| {
                let list = list.iter().filter(|(of, _)| *of == file);
                list.map(|(_, mapping)| *mapping).collect::<Vec<_>>()
            };
            of(&self.ends)
                .into_iter()
                .for_each(|gone| state.mappings.remove(gone));
            of(&self.begins).into_iter().for_each(|new| state.add(new));
        }
        hidden(None).for_each(|part| mm.host.drop_pages(space.no, part));
    }

    /// The files know the mappings of before again.
    pub fn switch_back<H: Host, S: Store>(&self, mm: &Mm<H, S>) {
        for &(file, mapping) in &self.begins {
            mm.files.lock(file).mappings.remove(mapping);
            let gone = mm.files.leave(file);
            assert!(gone.is_none(), "whoever maps a file has it open");
        }
        for &(file, mapping) in &self.ends {
            mm.files.lock(file).mappings.insert(mapping);
        }
    }

    /// It is not undone any more. The answer is which files nobody refers to any more.
    pub fn keep<H: Host, S: Store>(self, mm: &Mm<H, S>) -> impl Iterator<Item = Unreferenced> {
        self.ends.into_iter().filter_map(move |(file, mapping)| {
            end_lock(mm, file, mapping);
            mm.files.leave(file)
        })
    }
}

/// Another list of areas for a space, whose room is charged; dropped before it is kept, that is
/// given back.
pub(super) struct Change<'m> {
    to: Areas,
    charge: Option<Charge<'m>>,
    remapping: Remapping,
}

impl<'m> Change<'m> {
    /// The areas as they are when `change` is made to each part of the run; `None` when they would
    /// be too many.
    pub fn prepare<H: Host, S: Store>(
        mm: &'m Mm<H, S>,
        space: &SpaceGuard<'_>,
        run: Run,
        change: impl Fn(Area) -> Area,
    ) -> Result<Option<Self>, Stop> {
        let Some(to) = space.areas.changed(run, change) else {
            return Ok(None);
        };
        let charge = charge_more(mm, cost(mm, &space.areas), cost(mm, &to))?;
        let remapping = Remapping::between(space.no, &space.areas, &to, run);
        Ok(Some(Self {
            to,
            charge,
            remapping,
        }))
    }

    /// The files know the new mappings, and not the old ones, from now on.
    pub fn switch<H: Host, S: Store>(&self, mm: &Mm<H, S>, space: &SpaceGuard<'_>, hide: Hide) {
        self.remapping.switch(mm, space, hide);
    }

    /// The files know the mappings of before again.
    pub fn switch_back<H: Host, S: Store>(&self, mm: &Mm<H, S>) {
        self.remapping.switch_back(mm);
    }

    /// The space has the areas from now on. The answer is which files nobody refers to any more.
    pub fn keep<H: Host, S: Store>(self, mm: &Mm<H, S>, space: &mut SpaceGuard<'_>) -> Vec<Unreferenced> {
        let less = cost(mm, &space.areas).saturating_sub(cost(mm, &self.to));
        self.charge.into_iter().for_each(Charge::keep);
        if less != 0 {
            mm.budget.refund(Class::Tables, less);
        }
        let fewer = space.areas.locked_pages().saturating_sub(self.to.locked_pages());
        mm.reclaim.unlock_pages(fewer);
        space.areas = self.to;
        self.remapping.keep(mm).collect()
    }
}

/// Charges for what a list of areas costs more than another one.
pub(super) fn charge_more<H, S>(mm: &Mm<H, S>, from: u64, to: u64) -> Result<Option<Charge<'_>>, Stop> {
    match to.saturating_sub(from) {
        0 => Ok(None),
        more => {
            let charge = Charge::take(&mm.budget, Class::Tables, more, Need::Normal);
            charge.map(Some).ok_or(Stop::NoRoom)
        }
    }
}
