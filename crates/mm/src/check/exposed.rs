//! Exported frames whose protection the machine took back.
//!
//! A shared frame whose bytes are still a private page of the space that wrote it (*exported*) is
//! everybody's only while stores to that page are faults. Something beside us may end that (a
//! kernel that merges pages of processes forgets who protected them). Whoever hears that it may
//! have happened calls [`audit`]; [`check`](super::check) looks as well. And wherever the bytes of
//! an exported frame go on to others (a copy, the pool, the store, a merge), it is looked at first.

use super::Check;
use crate::addr::{FrameNo, PageNo, Run, SpaceNo};
use crate::error::Stop;
use crate::fault::note_failure;
use crate::host::{Host, HostError, Store};
use crate::mm::Mm;
use crate::peek::{exposed, is_protected, is_writable};
use crate::rmap::rmap_walk;
use crate::space::FaultError;
use crate::table::LeafEntry;
use std::collections::BTreeSet;

/// Looks for exported frames to which their exporter can store without a fault. Their bytes may be
/// anybody's guess: they are protected again, so that they change no further, and each space that
/// maps one of them remembers [`HostError::Unprotected`] as its failure. Returns how many frames
/// there were. Takes time in proportion to the size of all spaces; other threads may run.
pub fn audit<H: Host, S: Store>(mm: &Mm<H, S>) -> u32 {
    let mut exported = BTreeSet::new();
    for no in mm.spaces.numbers().map(SpaceNo) {
        let Ok(st) = mm.lock_space(no) else { continue };
        let walked: Result<(), Stop> = mm.tables.each_page(&st.tree, PageNo(st.len), |_, _, entry| {
            if let LeafEntry::Frame(frame) = entry {
                exported.insert(frame);
            }
            Ok(())
        });
        walked.expect("looking cannot fail");
    }
    let lost = exported.into_iter().filter(|&frame| audit_frame(mm, frame));
    lost.count() as u32
}

fn audit_frame<H: Host, S: Store>(mm: &Mm<H, S>, no: FrameNo) -> bool {
    let mut spoilt = Vec::new();
    let page = {
        let locked = mm.frames.lock(no);
        let Some((exporter, page)) = exposed(mm, &locked) else {
            return false;
        };
        rmap_walk(mm, &locked, usize::MAX, &mut |mapper| spoilt.push(mapper.space));
        // Refused: it is found again next time.
        let _ = mm.host.protect(exporter, Run::one(page));
        page
    };
    for space in spoilt {
        let source = HostError::Unprotected;
        note_failure(mm, space, FaultError::Host { space, page, source });
    }
    true
}

impl<H: Host, S: Store> Check<'_, H, S> {
    pub(super) fn check_exposed(&mut self) {
        let Self { mm, scan, report } = self;
        for &no in scan.mappers.keys() {
            let locked = mm.frames.lock(no);
            let exposed = exposed(mm, &locked);
            report.demand(
                exposed.is_none(),
                "no window shows a shared frame writable",
                || format!("frame {no}: (space, page) {exposed:?}"),
            );
            let open = is_protected(mm, &locked) && is_writable(mm, &locked);
            report.demand(
                !open,
                "a page that is noted as protected cannot be stored to without a fault",
                || format!("frame {no}"),
            );
        }
    }
}
