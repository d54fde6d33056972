//! Batches of frames that are off their queues: how they are taken from a space, and how they go
//! back.
//!
//! Between the two each has a reference of its own and no lock. The frame goes back to its queue
//! before the reference does, so that the last holder can still take it off (`replacer.rs`). Called
//! by ageing and eviction, and by the doors of the room.

use super::policy::Finding;
use super::queue::Isolated;
use crate::addr::{FrameNo, PageNo, Run, SpaceNo};
use crate::backing::areas::BackedBy;
use crate::error::SpaceError;
use crate::host::{Host, Store};
use crate::keep::stays;
use crate::mm::{Mm, put_frame};
use crate::space::{PIECE, SpaceGuard};
use crate::table::{LeafEntry, Lookup, after_leaf};

/// Frames worked on at a time: one change of protection or drop serves many.
pub(crate) const BATCH: usize = if cfg!(any(loom, shuttle)) { 2 } else { 32 };

/// The same in the background, where there is stack, and where each call interrupts the threads for
/// which it is done.
pub(crate) const WIDE: usize = if cfg!(any(loom, shuttle)) { 2 } else { 64 };

/// A batch of frames taken off their queues.
pub(crate) type Batch = [Option<Isolated>; BATCH];

/// Puts a frame back under the policy's care, and says what was found about it.
pub(crate) fn settle<H, S>(mm: &Mm<H, S>, isolated: &mut Option<Isolated>, found: Finding) {
    if let Some(isolated) = isolated.take() {
        let no = mm.reclaim.replacer.settle(&mm.frames, isolated, found);
        put_frame(mm, no);
    }
}

/// Puts a frame back that did not go: not as the next again at once. The frame lock, where it is
/// free, keeps it from being unpinned or stored to meanwhile.
pub(super) fn put_back<H: Host, S: Store>(mm: &Mm<H, S>, isolated: &mut Option<Isolated>) {
    let Some(Isolated { no, .. }) = isolated else {
        return;
    };
    let locked = mm.frames.try_lock(*no);
    let stays = locked.as_ref().is_some_and(|locked| stays(mm, locked));
    if !stays {
        settle(mm, isolated, Finding::Stayed);
    } else if let Some(isolated) = isolated.take() {
        let no = mm.reclaim.replacer.settle_aside(&mm.frames, isolated);
        put_frame(mm, no);
    }
}

/// The frame that the space shows at a page, if that is in memory: its own, one that it shares, or
/// a file's.
fn frame_of<H, S>(mm: &Mm<H, S>, st: &SpaceGuard<'_>, page: PageNo, found: Lookup) -> Option<FrameNo> {
    match found.entry() {
        LeafEntry::Frame(no) => Some(no),
        LeafEntry::Absent => match st.areas.of(page) {
            BackedBy::File(at) => mm.backings.frame_at(mm.files.view(at.file).backing, at.page),
            _ => None,
        },
        _ => None,
    }
}

/// Isolates the frames that the space maps in a range, batch by batch, without the space lock
/// during `step`. That lock is held for a [`PIECE`] of the range at the most.
pub(super) fn each_batch<H: Host, S: Store>(
    mm: &Mm<H, S>,
    space: SpaceNo,
    run: Run,
    mut step: impl FnMut(&mut Batch),
) -> Result<(), SpaceError> {
    let mut page = run.first.0;
    let mut batch: Batch = [const { None }; BATCH];
    loop {
        let mut len = 0;
        {
            let st = mm.lock_space(space)?;
            let end = run.end().0.min(st.len);
            let piece = end.min(page.saturating_add(PIECE));
            while page < piece && len < BATCH {
                let found = mm.tables.lookup(&st.tree, PageNo(page));
                if let Some(no) = frame_of(mm, &st, PageNo(page), found) {
                    batch[len] = mm.reclaim.replacer.isolate(&mm.frames, no);
                    len += usize::from(batch[len].is_some());
                }
                page = match found {
                    Lookup::Leaf(_) => page + 1,
                    Lookup::NoLeaf if !st.areas.is_empty() => page + 1,
                    Lookup::NoLeaf => after_leaf(page),
                };
            }
            if page >= end && len == 0 {
                return Ok(());
            }
        }
        if len > 0 {
            step(&mut batch);
        }
    }
}
