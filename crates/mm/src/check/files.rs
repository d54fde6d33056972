//! Files: their pages, who maps them, and what it costs. Called by [`check`](super::check).

use super::{Check, Report};
use crate::addr::{FrameNo, PageNo, Run};
use crate::backing::areas::AreaKind;
use crate::backing::file::FileNo;
use crate::backing::mappings::Mapping;
use crate::budget::{Class, PageCharge};
use crate::files::kind_of;
use crate::frame::{Locked, Owner, Residence};
use crate::host::{Host, Piece, Store};
use crate::mapped::{cost, mappings};
use crate::mm::Mm;
use crate::reclaim::state::Kind;
use crate::table::LeafEntry;
use std::collections::BTreeMap;

impl<H: Host, S: Store> Check<'_, H, S> {
    /// What stands in the files' places of the pool.
    pub(super) fn scan_files(&mut self) {
        let mm = self.mm;
        for no in mm.files.numbers() {
            let backing = mm.files.view(no).backing;
            let all = mm.backings.view(backing);
            for (page, frame) in all.standing(PageNo(0), PageNo(u32::MAX)) {
                self.scan.files.insert(frame, (no, page));
            }
        }
    }

    pub(super) fn check_files(&mut self) {
        let Self { mm, scan, report } = self;
        let mut dirty = 0;
        let mut each: BTreeMap<FileNo, u32> = BTreeMap::new();
        for (&frame, &(no, page)) in &scan.files {
            let locked = mm.frames.lock(frame);
            check_frame(mm, &locked, (no, page), report);
            dirty += u64::from(locked.dirty);
            *each.entry(no).or_default() += u32::from(locked.dirty);
        }
        let (resident, says) = mm.files.pages();
        report.demand(
            (resident, says) == (scan.files.len() as u64, dirty),
            "pages of files are counted",
            || {
                format!(
                    "{resident} in memory, {says} dirty; found {}, {dirty}",
                    scan.files.len()
                )
            },
        );
        for (no, found) in each {
            let says = mm.files.lock(no).dirty();
            report.demand(says == found, "a file counts its dirty pages", || {
                format!("file {no:?} counts {says}, the scan found {found}")
            });
        }
        self.check_mappings();
    }

    /// Files know the areas that the spaces have, and nothing else; areas that are shared have no
    /// pages of their own.
    fn check_mappings(&mut self) {
        let Self { mm, report, .. } = self;
        let mut found: BTreeMap<FileNo, Vec<Mapping>> = BTreeMap::new();
        for no in mm.spaces.numbers().map(crate::addr::SpaceNo) {
            let Ok(st) = mm.lock_space(no) else { continue };
            for (file, mapping) in mappings(st.areas.iter(), no) {
                found.entry(file).or_default().push(mapping);
            }
            for area in st.areas.iter() {
                let AreaKind::File {
                    kind: Piece::Shared, ..
                } = area.kind
                else {
                    continue;
                };
                let own = area.run.pages().find(|&page| {
                    let entry = mm.tables.lookup(&st.tree, page).entry();
                    entry != LeafEntry::Absent
                });
                report.demand(own.is_none(), "no table names a page of a shared area", || {
                    format!("page {own:?} of space {no}")
                });
            }
        }
        for no in mm.files.numbers() {
            let state = mm.files.lock(no);
            let key = |mapping: &Mapping| (mapping.space, mapping.run.first);
            let (mut says, mut areas) = (state.mappings.all(), found.remove(&no).unwrap_or_default());
            says.sort_by_key(key);
            areas.sort_by_key(key);
            report.demand(says == areas, "a file knows who maps it", || {
                format!("file {no:?} says {says:?}, the scan found {areas:?}")
            });
            report.demand(
                state.refs() as usize >= says.len(),
                "a mapping refers to its file",
                || format!("file {no:?} counts {}, {} map it", state.refs(), says.len()),
            );
        }
        report.demand(found.is_empty(), "what is mapped is a file", || {
            format!("{found:?}")
        });
    }

    /// What is charged for areas.
    pub(super) fn areas_cost(&self) -> u64 {
        let of = |no| cost(self.mm, &self.mm.spaces.get(no).lock().areas);
        self.mm.spaces.numbers().map(of).sum()
    }
}

/// A page of a file in memory is the file's, and nobody's else.
fn check_frame<H: Host, S: Store>(
    mm: &Mm<H, S>,
    locked: &Locked<'_>,
    (no, page): (FileNo, PageNo),
    report: &mut Report,
) {
    let frame: FrameNo = locked.no;
    let owner = locked.frame.word.load().owner;
    let stands = owner == Owner::File(no) && locked.residence == Residence::File(no, page);
    report.demand(stands, "a file's frame says so", || {
        format!(
            "frame {frame} at page {page} of {no:?} is {owner:?}, {:?}",
            locked.residence
        )
    });
    let counts = locked.frame.count.load();
    report.demand(
        (counts.maps, counts.refs, counts.pins) == (1, 1, 0),
        "a file's frame is named by its index",
        || format!("frame {frame}: {counts:?}"),
    );
    let charged = locked.charge.as_ref().map(PageCharge::class);
    report.demand(
        charged == Some(Class::Pool),
        "a file's frame is charged for",
        || format!("frame {frame}: {charged:?}"),
    );
    let (kind, says) = (kind_of(&mm.files.view(no)), Kind::of(locked.frame));
    report.demand(kind == says, "a file's frame is among those of its kind", || {
        format!("frame {frame} is {kind:?} and listed as {says:?}")
    });
    if !locked.dirty {
        let state = mm.files.lock(no);
        for (mapping, page) in state.mappings.of(page) {
            let open = mapping.kind == Piece::Shared && mm.host.writable(mapping.space, Run::one(page)) != 0;
            report.demand(
                !open,
                "no window lets stores through to a clean page of a file",
                || format!("frame {frame}, page {page} of space {}", mapping.space),
            );
        }
    }
}
