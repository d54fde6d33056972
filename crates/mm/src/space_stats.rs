//! What one space holds, found out by walking its tables. Under the space lock; other threads may
//! change shared pages meanwhile.

use crate::addr::{PageNo, SpaceNo};
use crate::error::{SpaceError, Stop};
use crate::frame::{Owner, Residence};
use crate::host::{Host, Store};
use crate::mm::Mm;
use crate::table::LeafEntry;

/// What the pages of a space are; counts of pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpaceStats {
    /// Accessible pages.
    pub len: u32,
    /// Pages of its own in memory, that nobody shares.
    pub exclusive: u32,
    /// Pages in memory that relatives may share.
    pub shared: u32,
    /// Of these, pages whose bytes lie in this space's own window.
    pub exported: u32,
    /// Pages whose bytes are in the store.
    pub swapped: u32,
    /// Pages never written: zeros, without memory.
    pub absent: u32,
    /// Pages that are pinned.
    pub pinned: u32,
    /// Pages that are locked.
    pub locked: u32,
    /// Pages that became one with a sibling's, or zeros without memory, since the space was made.
    pub merged: u64,
}

impl SpaceStats {
    /// Counts the pages of a space by what they are. Takes time in proportion to its size.
    ///
    /// # Errors
    /// [`SpaceError::NoSuchSpace`].
    pub fn of<H: Host, S: Store>(mm: &Mm<H, S>, space: SpaceNo) -> Result<Self, SpaceError> {
        let st = mm.lock_space(space)?;
        let mut stats = Self {
            len: st.len,
            pinned: st.pins.len() as u32,
            locked: st.areas.locked_pages() as u32,
            merged: mm.spaces.get(space.0).merged(),
            ..Self::default()
        };
        let walked: Result<(), Stop> = mm
            .tables
            .each_page(&st.tree, PageNo(st.len), |page, leaf, entry| {
                match entry {
                    LeafEntry::Swapped(_) => stats.swapped += 1,
                    LeafEntry::Frame(no) => {
                        let locked = mm.frames.lock(no);
                        if mm.tables.entry(leaf, page) != entry {
                            // Evicted meanwhile.
                            stats.swapped += 1;
                        } else if let Owner::Exclusive(_) = locked.frame.word.load().owner {
                            stats.exclusive += 1;
                        } else {
                            stats.shared += 1;
                            stats.exported += u32::from(locked.residence == Residence::Private(space));
                        }
                    }
                    LeafEntry::Absent => (),
                }
                Ok(())
            });
        walked.expect("counting cannot fail");
        stats.absent = st.len - stats.exclusive - stats.shared - stats.swapped;
        Ok(stats)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
