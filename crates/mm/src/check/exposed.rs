//! Lent frames whose protection the machine took back.
//!
//! A shared frame whose bytes are still a private page of the space that wrote it (*lent*) is
//! everybody's only while stores to that page are faults. Something beside us may end that (a
//! kernel that merges pages of processes forgets who protected them). Whoever hears that it may
//! have happened calls [`audit`]; [`check`](super::check) looks as well. And wherever the bytes of
//! a lent frame go on to others (a copy, the pool, the store, a merge), it is looked at first.

use super::Check;
use crate::addr::{FrameNo, PageBytes, PageNo, Run, SpaceNo};
use crate::error::Stop;
use crate::frame::{Locked, Owner, Residence};
use crate::host::{Host, HostError, Store};
use crate::mm::Mm;
use crate::space::FaultError;
use crate::table::LeafEntry;
use std::collections::BTreeSet;

/// Looks for lent frames to which their lender can store without a fault. Their bytes may be
/// anybody's guess: they are protected again, so that they change no further, and each space that
/// maps one of them remembers [`HostError::Unprotected`] as its failure. Returns how many frames
/// there were. Takes time in proportion to the size of all spaces; other threads may run.
pub fn audit<H: Host, S: Store>(mm: &Mm<H, S>) -> u32 {
    let mut lent = BTreeSet::new();
    for no in mm.spaces.numbers().map(SpaceNo) {
        let Ok(st) = mm.lock_space(no) else { continue };
        let walked: Result<(), Stop> = mm.each_page(&st, |_, _, entry| {
            if let LeafEntry::Frame(frame) = entry {
                lent.insert(frame);
            }
            Ok(())
        });
        walked.expect("looking cannot fail");
    }
    let lost = lent.into_iter().filter(|&frame| audit_frame(mm, frame));
    lost.count() as u32
}

fn audit_frame<H: Host, S: Store>(mm: &Mm<H, S>, no: FrameNo) -> bool {
    let mut spoilt = Vec::new();
    let page = {
        let locked = mm.lock_frame(no);
        let Some((lender, page)) = mm.exposed(&locked) else {
            return false;
        };
        mm.rmap_walk(&locked, usize::MAX, &mut |space| spoilt.push(space));
        // Refused: it is found again next time.
        let _ = mm.host.protect(lender, Run::one(page));
        page
    };
    for space in spoilt {
        let source = HostError::Unprotected;
        mm.note_failure(space, FaultError::Host { space, page, source });
    }
    true
}

impl<H: Host, S: Store> Mm<H, S> {
    /// The lender and the page of a lent frame, if the lender can store to it without a fault.
    pub(crate) fn exposed(&self, locked: &Locked<'_>) -> Option<(SpaceNo, PageNo)> {
        let Owner::Shared(at) = locked.frame.word.load().owner else {
            return None;
        };
        let Residence::Private(lender) = locked.residence else {
            return None;
        };
        if locked.frame.count.load().pins != 0 {
            // A fork is about to give the child its copy of a pinned page, which stays the
            // lender's.
            return None;
        }
        let page = self.page_of(at);
        (self.host.writable(lender, Run::one(page)) != 0).then_some((lender, page))
    }

    /// Reads the frame's bytes for `reader` out of the window of `owner`, which may have lent it.
    pub(crate) fn read_window(
        &self,
        reader: SpaceNo,
        owner: SpaceNo,
        locked: &Locked<'_>,
        page: PageNo,
        out: &mut PageBytes,
    ) -> Result<(), HostError> {
        // What a space stored itself is right for itself.
        if reader != owner && self.exposed(locked).is_some() {
            return Err(HostError::Unprotected);
        }
        let read = self.host.read_private(owner, page, out);
        read.inspect_err(|&error| self.hear_of_emptied(locked, page, error))
    }
}

impl<H: Host, S: Store> Check<'_, H, S> {
    pub(super) fn check_exposed(&mut self) {
        let Self { mm, scan, report } = self;
        for &no in scan.mappers.keys() {
            let exposed = mm.exposed(&mm.lock_frame(no));
            report.demand(
                exposed.is_none(),
                "no window shows a shared frame writable",
                || format!("frame {no}: (space, page) {exposed:?}"),
            );
        }
    }
}
