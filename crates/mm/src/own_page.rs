//! A frame becomes a page that one space has for itself.
//!
//! What every step does that gives a space a private page: a fault that makes, copies or brings in
//! one, and the end of a native run, which finds one. The bytes stand in the space's window
//! already. Under the space lock, without a frame lock.

use crate::addr::{FrameNo, PageNo};
use crate::budget::PageCharge;
use crate::frame::{Locked, Owner, Residence};
use crate::mm::Mm;
use crate::space::SpaceGuard;
use crate::table::{LeafEntry, LeafSlot, OwnLeaf};

/// Gives an own leaf's empty slot a fresh frame, whose stores go through. The frame is still
/// locked; it is on no list of the replacer's yet.
pub(crate) fn own_page<'m, H, S>(
    mm: &'m Mm<H, S>,
    space: &mut SpaceGuard<'_>,
    (leaf, page): (OwnLeaf, PageNo),
    frame: FrameNo,
    charge: PageCharge,
) -> Locked<'m> {
    let slot = LeafSlot::of(leaf.0, page);
    let mut locked = mm.frames.lock(frame);
    locked.residence = Residence::Private(space.no);
    locked.charge = Some(charge);
    locked.let_stores_through();
    locked.frame.begin();
    mm.tables.map_new(&locked, Owner::Exclusive(slot));
    mm.tables.set_entry(slot, LeafEntry::Frame(frame));
    mm.tables.mark_dirty(&mut space.tree, leaf);
    locked
}
