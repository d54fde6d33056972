//! Locked pages: who keeps which frame in memory, and that none is kept without a reason. Called by
//! [`check`](super::check).

use super::Check;
use crate::addr::{FrameNo, SpaceNo};
use crate::host::{Host, Store};
use crate::keep::stays;
use crate::table::LeafEntry;
use std::collections::BTreeMap;

impl<H: Host, S: Store> Check<'_, H, S> {
    /// A frame counts the locked pages that name it, none of which is in the store; and who cannot
    /// go is set aside for as long as that is so, and no longer.
    pub(super) fn check_kept(&mut self) {
        let Self { mm, scan, report } = self;
        let mut found: BTreeMap<FrameNo, u32> = BTreeMap::new();
        let mut pages = 0;
        for no in mm.spaces.numbers().map(SpaceNo) {
            let Ok(st) = mm.lock_space(no) else { continue };
            pages += st.areas.locked_pages();
            for area in st.areas.iter().filter(|area| area.locked) {
                for page in area.run.pages() {
                    match mm.tables.lookup(&st.tree, page).entry() {
                        LeafEntry::Frame(frame) => *found.entry(frame).or_default() += 1,
                        LeafEntry::Swapped(_) => {
                            report.demand(false, "a locked page is in memory", || {
                                format!("page {page} of space {no} is in the store")
                            });
                        }
                        LeafEntry::Absent => (),
                    }
                }
            }
        }
        let says = mm.reclaim.locked_pages();
        report.demand(says == pages, "locked pages are counted", || {
            format!("{says} are counted, the areas have {pages}")
        });
        for &frame in scan.mappers.keys().chain(scan.files.keys()) {
            let keepers = mm.frames.lock(frame).keepers;
            let found = found.get(&frame).copied().unwrap_or(0);
            report.demand(keepers == found, "a frame counts its locked pages", || {
                format!("frame {frame} counts {keepers}, the scan found {found}")
            });
        }
        for frame in mm.reclaim.set_aside_now(&mm.frames) {
            let stays = stays(mm, &mm.frames.lock(frame));
            report.demand(stays, "what is set aside cannot go", || format!("frame {frame}"));
        }
    }
}
