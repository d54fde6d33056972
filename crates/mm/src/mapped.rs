//! The mappings of a space's areas: what they cost, how their files know them, how a fork gets its
//! own, and how they end with their space.
//!
//! A file lists each area that shows it. An area is on that list before any window shows the file's
//! pages through it, and stays there until none does. Called under the space's lock, or for a space
//! that nobody knows yet or any more; the files' locks are taken here.

use crate::addr::SpaceNo;
use crate::backing::areas::{Area, Areas};
use crate::backing::file::{FileNo, Unreferenced};
use crate::backing::mappings::Mapping;
use crate::budget::{Charge, Class, Need};
use crate::error::Stop;
use crate::host::{Host, Store};
use crate::keep::let_file_go;
use crate::mm::Mm;

/// What a space is charged for its areas, with the machine's records of them.
pub(crate) fn cost<H: Host, S>(mm: &Mm<H, S>, areas: &Areas) -> u64 {
    if areas.is_empty() {
        return 0;
    }
    let files = areas.iter().filter_map(|area| area.mapping(SpaceNo(0)));
    areas.bytes() + files.count() as u64 * mm.host.piece_bytes()
}

/// The mappings of files among some areas of a space.
pub(crate) fn mappings<'a>(
    areas: impl Iterator<Item = &'a Area> + 'a,
    space: SpaceNo,
) -> impl Iterator<Item = (FileNo, Mapping)> + 'a {
    areas.filter_map(move |area| area.mapping(space))
}

/// The areas of a space that nobody knows yet, mapped in its window; dropped before the space has
/// them, they are nobody's again.
pub(crate) struct NewAreas<'m, H: Host, S: Store> {
    mm: &'m Mm<H, S>,
    no: SpaceNo,
    areas: Option<Areas>,
}

impl<'m, H: Host, S: Store> NewAreas<'m, H, S> {
    /// Those of its parent, whose lock is held, for a child whose window is open and empty.
    ///
    /// # Errors
    /// [`Stop::NoRoom`], or what the machine refuses.
    pub fn inherit(mm: &'m Mm<H, S>, parent: &Areas, no: SpaceNo) -> Result<Self, Stop> {
        let areas = Areas::default();
        let mut new = Self {
            mm,
            no,
            areas: Some(areas),
        };
        let bytes = cost(mm, parent);
        let charge = Charge::take(&mm.budget, Class::Tables, bytes, Need::Normal).ok_or(Stop::NoRoom)?;
        for (file, mapping) in mappings(parent.iter(), no) {
            let from = mm.backings.first(mm.files.view(file).backing);
            let from = from.plus(mapping.first.0);
            mm.host.map_piece(no, mapping.run, from, mapping.kind)?;
        }
        for (file, mapping) in mappings(parent.iter(), no) {
            mm.files.lock(file).add(mapping);
        }
        charge.keep();
        new.areas = Some(parent.clone());
        Ok(new)
    }

    /// The space has them from now on.
    pub fn give(mut self) -> Areas {
        self.areas.take().expect("areas are given once")
    }
}

impl<H: Host, S: Store> Drop for NewAreas<'_, H, S> {
    fn drop(&mut self) {
        if let Some(areas) = self.areas.take() {
            let gone = unmap_all(self.mm, self.no, &areas);
            assert!(gone.is_empty(), "the parent maps the same files");
        }
    }
}

/// The pages of a file's mapping, which is gone from the list, need not stay in memory for it any
/// more.
pub(crate) fn end_lock<H: Host, S>(mm: &Mm<H, S>, file: FileNo, mapping: Mapping) {
    if mapping.locked {
        let_file_go(mm, file, (mapping.first, mapping.first.plus(mapping.run.len)));
    }
}

/// The areas end with their space, in whose window nobody is; the files to which nobody refers any
/// more are the caller's to take apart.
pub(crate) fn unmap_all<H: Host, S: Store>(mm: &Mm<H, S>, no: SpaceNo, areas: &Areas) -> Vec<Unreferenced> {
    if areas.is_empty() {
        return Vec::new();
    }
    mm.budget.refund(Class::Tables, cost(mm, areas));
    let leave = |(file, mapping)| {
        mm.files.lock(file).mappings.remove(mapping);
        end_lock(mm, file, mapping);
        mm.files.leave(file)
    };
    mappings(areas.iter(), no).filter_map(leave).collect()
}
