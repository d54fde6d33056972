//! A read of a page that has a frame: show it in this window.
//!
//! A shared frame in the pool stands at its own page of the backing, so every window of the backing
//! can show it; up to 16 neighbours are shown with it. A shared frame whose bytes are still the
//! private page of the space that wrote it is moved to the pool first (*migrated*), with its
//! neighbours, and hidden in the writer's window, which shows the pool's page from then on. All
//! frames of a run are locked while the host works on them: nobody can evict or move them
//! meanwhile.

use super::{Fault, Next};
use crate::addr::{Access, FrameNo};
use crate::error::Stop;
use crate::frame::Residence;
use crate::host::{Host, Store};
use crate::migrate::migrate_around;
use crate::neighbours::LockedRun;
use crate::peek::lock_entry;
use crate::table::TableNo;

impl<'m, H: Host, S: Store> Fault<'_, 'm, H, S> {
    pub(super) fn show_frame(&mut self, leaf: TableNo, frame: FrameNo) -> Result<Next, Stop> {
        let Some(locked) = lock_entry(self.mm, leaf, self.page, frame) else {
            return Ok(Next::Retry);
        };
        locked.frame.mark_referenced();
        match locked.residence {
            // Another thread of this space was faster.
            Residence::Private(space) if space == self.space.no => Ok(Next::Done),
            Residence::Private(owner) => {
                if migrate_around(self.mm, (leaf, self.page), locked, owner, self.space.backing)? {
                    Ok(Next::Retry)
                } else {
                    self.mm.counters.copied_on_read.one();
                    Ok(Next::NeedCopy)
                }
            }
            // An area of a file shows the file's page at this place.
            Residence::Backing(backing)
                if backing == self.space.backing && !self.space.areas.is_file(self.page) =>
            {
                let mut held = LockedRun::of(leaf, self.page, locked);
                let run = held.widen(self.mm, |near, locked| {
                    locked.residence == Residence::Backing(backing)
                        && !self.is_stood_in(near)
                        && self.space.areas.own(near, Access::Read)
                });
                self.mm.host.show(self.space.no, run)?;
                held.iter().for_each(|near| near.frame.shown.show());
                self.mm.counters.shown.one();
                Ok(Next::Done)
            }
            Residence::Backing(_) | Residence::Overflow(_) => {
                self.mm.counters.copied_on_read.one();
                Ok(Next::NeedCopy)
            }
            Residence::Nowhere | Residence::File(..) => {
                panic!("frame {frame} is mapped but has no bytes of a space")
            }
        }
    }
}
