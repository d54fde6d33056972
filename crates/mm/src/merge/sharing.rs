//! What merging and forking save, found out by walking the tables of all spaces of a domain.

use crate::addr::SpaceNo;
use crate::host::{Domain, Host, Store};
use crate::mm::{Mm, Stop};
use crate::table::Entry;

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
}

impl<H: Host, S: Store> Mm<H, S> {
    /// What the spaces of this domain (or all spaces) share. Takes time in proportion to their
    /// size.
    #[must_use]
    pub fn sharing(&self, domain: Option<Domain>) -> Sharing {
        let mut frames: Vec<u32> = Vec::new();
        let mut sharing = Sharing::default();
        for no in self.spaces.numbers().map(SpaceNo) {
            let Ok(st) = self.lock_space(no) else { continue };
            if domain.is_some_and(|domain| domain != st.domain) {
                continue;
            }
            sharing.spaces += 1;
            let walked: Result<(), Stop> = self.each_page(&st, |_, _, entry| {
                if let Entry::Frame(frame) = entry {
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
