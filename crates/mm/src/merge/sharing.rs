//! What merging and forking save, found out by walking the tables of all spaces of a domain.

use crate::addr::{PageNo, SpaceNo};
use crate::error::Stop;
use crate::host::{Domain, Host, Store};
use crate::mm::Mm;
use crate::table::LeafEntry;

/// What the spaces of a domain share in memory; other threads may change it while it is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sharing {
    /// Spaces.
    pub spaces: u32,
    /// Pages of these that are in memory.
    pub pages: u64,
    /// Frames that hold them.
    pub frames: u64,
    /// Frames among these that several pages share.
    pub shared_frames: u64,
}

impl Sharing {
    /// Pages that need no memory of their own.
    #[must_use]
    pub fn saved_pages(&self) -> u64 {
        self.pages - self.frames
    }

    /// What the spaces of this domain (or all spaces) share. Takes time in proportion to their
    /// size.
    #[must_use]
    pub fn of<H: Host, S: Store>(mm: &Mm<H, S>, domain: Option<Domain>) -> Self {
        let mut frames: Vec<u32> = Vec::new();
        let mut sharing = Self::default();
        for no in mm.spaces.numbers().map(SpaceNo) {
            let Ok(st) = mm.lock_space(no) else { continue };
            if domain.is_some_and(|domain| domain != st.domain) {
                continue;
            }
            sharing.spaces += 1;
            let walked: Result<(), Stop> = mm.tables.each_page(&st.tree, PageNo(st.len), |_, _, entry| {
                if let LeafEntry::Frame(frame) = entry {
                    frames.push(frame.0);
                }
                Ok(())
            });
            walked.expect("counting cannot fail");
        }
        sharing.pages = frames.len() as u64;
        frames.sort_unstable();
        for same in frames.chunk_by(|a, b| a == b) {
            sharing.frames += 1;
            sharing.shared_frames += u64::from(same.len() > 1);
        }
        sharing
    }
}
