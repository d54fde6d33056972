//! Pages that their space gave up, and that go when room is needed (Linux: `MADV_FREE`).
//!
//! Until then they have the bytes that they had. Each is protected, so that a store to it is a
//! fault, which says that the page is wanted again (`writable.rs`). So a page that is given up
//! still, and protected, has bytes that nobody needs: it leaves its window, and its entry goes back
//! to what backs the page, all under the frame's lock; nothing is stored. Only a page that one
//! space has for itself can go so: what a fork got of it stays. Called by eviction, for a batch;
//! marked by `area_map/free.rs`.

use super::queue::Isolated;
use crate::addr::Run;
use crate::emptying::Emptying;
use crate::frame::{Locked, Residence};
use crate::host::{Host, Store};
use crate::keep::stays;
use crate::mm::{Mm, put_frame};
use crate::peek::is_protected;
use crate::table::LeafEntry;

/// Drops those of the batch that were given up and that nobody stored to since; how many. The
/// others stay in it.
pub(super) fn drop_given_up<H: Host, S: Store, const N: usize>(
    mm: &Mm<H, S>,
    batch: &mut [Option<Isolated>; N],
) -> u32 {
    if !mm.reclaim.are_given_up() {
        return 0;
    }
    let mut gone = [const { None }; N];
    let mut windows: Emptying<'_, H, N> = Emptying::new(&mm.host);
    for (isolated, gone) in batch.iter().zip(&mut gone) {
        let Some(Isolated { no, .. }) = isolated else {
            continue;
        };
        let Some(locked) = mm.frames.try_lock(*no).filter(|locked| can_go(mm, locked)) else {
            continue;
        };
        let Residence::Private(space) = locked.residence else {
            continue;
        };
        if let Some(at) = locked.frame.word.load().owner.head() {
            windows.add(space, Run::one(mm.tables.page_of(at)));
            *gone = Some(locked);
        }
    }
    windows.finish();
    let mut dropped = 0;
    for (isolated, gone) in batch.iter_mut().zip(&mut gone) {
        let Some(mut locked) = gone.take() else { continue };
        take_apart(mm, &mut locked);
        let no = locked.no;
        drop(locked);
        *isolated = None;
        put_frame(mm, no);
        dropped += 1;
    }
    mm.counters.given_up_dropped.add(dropped.into());
    dropped
}

/// Whether nobody needs the bytes of the frame, which are one space's own.
fn can_go<H: Host, S: Store>(mm: &Mm<H, S>, locked: &Locked<'_>) -> bool {
    locked.given_up && locked.frame.is_exclusive() && is_protected(mm, locked) && !stays(mm, locked)
}

/// The page, which has left its window, is what backs it from now on. Cannot fail.
fn take_apart<H: Host, S: Store>(mm: &Mm<H, S>, locked: &mut Locked<'_>) {
    mm.budget.refund_page(locked.charge.take());
    let replaced = mm.tables.replace_all(locked, LeafEntry::Absent);
    assert_eq!(replaced, 1, "frame {} was one leaf's alone", locked.no);
}
