//! Pages that stay in memory (Linux: `mlock`).
//!
//! An area says that its pages are locked. A frame that a space's tables name counts such pages
//! (`FrameState::keepers`), under its lock: a page is counted where its space gets the frame and
//! where it lets go of it, all of which is done under the space's lock by faults, by who changes
//! areas and at the space's end; nobody else changes the entry of a page that stays. A page of a
//! file stays while one of the file's mappings is locked, which is asked of the file. So nothing is
//! remembered that could be forgotten: whoever looks for victims finds out here, and puts the frame
//! aside, and the last one that lets go brings it back. Called with a frame locked.

use crate::addr::PageNo;
use crate::backing::areas::Areas;
use crate::backing::file::FileNo;
use crate::frame::{Locked, Owner, Residence};
use crate::mm::{Mm, PAGE};
use crate::table::{LeafEntry, TableNo, Tree};
use std::convert::Infallible;

/// Whether a locked page keeps the frame in memory.
pub(crate) fn is_kept<H, S>(mm: &Mm<H, S>, locked: &Locked<'_>) -> bool {
    match locked.residence {
        Residence::File(no, page) if mm.reclaim.locked_pages() != 0 => {
            let state = mm.files.lock(no);
            state.mappings.of(page).any(|(mapping, _)| mapping.locked)
        }
        _ => locked.keepers != 0,
    }
}

/// Whether the frame cannot go as it is, so that nobody need look at it.
pub(crate) fn stays<H, S>(mm: &Mm<H, S>, locked: &Locked<'_>) -> bool {
    let frame = locked.frame;
    let own = frame.count.load().pins != 0 || frame.is_incompressible() || frame.on_loan().is_some();
    own || is_kept(mm, locked)
}

/// A reason is gone for which the frame could not go: it can again, unless there is another.
pub(crate) fn may_go<H, S>(mm: &Mm<H, S>, locked: &Locked<'_>) {
    if !stays(mm, locked) && mm.reclaim.bring_back(&mm.frames, locked.no) {
        mm.reclaim.something_changed();
    }
}

/// The bytes are about to change: whether they compress is not known any more.
pub(crate) fn may_compress<H, S>(mm: &Mm<H, S>, locked: &Locked<'_>) {
    if locked.frame.is_incompressible() {
        locked.frame.mark_incompressible(false);
        if !stays(mm, locked) && mm.reclaim.doubt(&mm.frames, locked.no) {
            mm.reclaim.something_changed();
        }
    }
}

/// A locked page names the frame from now on.
pub(crate) fn keep<H, S>(mm: &Mm<H, S>, locked: &mut Locked<'_>) {
    locked.keepers += 1;
    mm.reclaim.set_aside(&mm.frames, locked.no);
}

/// A locked page is about to name the frame no more, or is locked no more.
pub(crate) fn let_go<H, S>(mm: &Mm<H, S>, locked: &mut Locked<'_>) {
    let left = locked.keepers.checked_sub(1);
    locked.keepers = left.expect("a locked page was not counted");
    may_go(mm, locked);
}

/// Runs `step` on the frames that the tables name for the pages of the locked areas, or of all,
/// before `end`, from `first` on. The lock of their space is held, or it is dead.
pub(crate) fn each_frame<H, S>(
    mm: &Mm<H, S>,
    tree: &Tree,
    (first, end): (PageNo, PageNo),
    mut step: impl FnMut(&mut Locked<'_>),
) {
    let each = |page: PageNo, leaf: TableNo, entry: LeafEntry| -> Result<(), Infallible> {
        if let LeafEntry::Frame(no) = entry {
            let mut locked = mm.frames.lock(no);
            // Otherwise it went to the store meanwhile.
            if mm.tables.entry(leaf, page) == entry {
                step(&mut locked);
            }
        }
        Ok(())
    };
    let Ok(()) = mm.tables.each_page_of(tree, first, end, each);
}

/// A space with these tables and areas is dead: its pages are locked no more.
pub(crate) fn let_all_go<H, S>(mm: &Mm<H, S>, tree: &Tree, areas: &Areas) {
    for area in areas.iter().filter(|area| area.locked) {
        let pages = (area.run.first, area.run.end());
        each_frame(mm, tree, pages, |locked| let_go(mm, locked));
    }
    mm.reclaim.unlock_pages(areas.locked_pages());
}

/// A locked mapping of these pages of a file is gone: those that are in memory may go, unless there
/// is another.
pub(crate) fn let_file_go<H, S>(mm: &Mm<H, S>, no: FileNo, (first, end): (PageNo, PageNo)) {
    let backing = mm.files.view(no).backing;
    for (page, frame) in mm.backings.view(backing).standing(first, end) {
        let locked = mm.frames.lock(frame);
        let there = locked.residence == Residence::File(no, page);
        if there && locked.frame.word.load().owner == Owner::File(no) {
            may_go(mm, &locked);
        }
    }
}

/// How many pages can be locked at the most: what the budget has beside its reserve and the
/// manager's own tables. Whether there is room for them all is seen when they are brought in.
pub(crate) fn most_locked<H, S>(mm: &Mm<H, S>) -> u64 {
    let usage = mm.budget.usage();
    let taken = mm.budget.reserve() + usage.tables;
    usage.limit.saturating_sub(taken) / PAGE
}
