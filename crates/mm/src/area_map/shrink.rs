//! A space becomes shorter: [`AreaMap::shrink`].
//!
//! What stands behind the new end goes as in a discard, piece by piece, so that no fault of the
//! space waits for all of it; areas there end. What comes in meanwhile goes at last, under the one
//! hold of the space's lock in which the window becomes shorter. Called with no lock held.

use super::AreaMap;
use crate::addr::{PageNo, Run};
use crate::backing::areas::Area;
use crate::error::SpaceError;
use crate::host::{Host, Store};
use crate::reset::{Reset, demand_unheld};
use crate::space::SpaceState;

impl<H: Host, S: Store> AreaMap<'_, H, S> {
    /// Makes the space so many pages long. What stood behind them holds no memory any more, areas
    /// there end, and accesses there are as beyond the end of any space; when it grows again, that
    /// is zeros. Takes time in proportion to what goes. Whoever stores there meanwhile loses the
    /// store.
    ///
    /// # Errors
    /// [`SpaceError::BadSize`] when it is not as long as that, or for no page at all;
    /// [`SpaceError::Pinned`] and [`SpaceError::Locked`] when a page behind the new end is; then
    /// the space is as it was. [`SpaceError::HasAreas`] when another thread mapped something there
    /// meanwhile; and as [`discard`](crate::Mm::discard). Then the length stands, and pages behind
    /// the new end may be zeros.
    pub fn shrink(&self, len: u32) -> Result<(), SpaceError> {
        let (mm, no) = (self.mm, self.space);
        let tail = {
            let st = mm.lock_space(no)?;
            if len == 0 || len > st.len {
                let (pages, most) = (len.into(), st.len.into());
                return Err(SpaceError::BadSize { pages, most });
            }
            let tail = behind(&st, len);
            if tail.len == 0 {
                return Ok(());
            }
            demand_unheld(&st, tail)?;
            tail
        };
        mm.discard(no, tail)?;
        if !mm.lock_space(no)?.areas.is_empty() {
            self.unmap(tail)?;
        }
        self.cut(len)?;
        mm.reclaim.something_changed();
        Ok(())
    }

    /// The same, when next to nothing stands there any more.
    fn cut(&self, len: u32) -> Result<(), SpaceError> {
        let (mm, no) = (self.mm, self.space);
        let done = mm.retry(|| {
            let mut reset = Reset::lock(mm, no)?;
            let tail = behind(&reset.space, len);
            if tail.len == 0 {
                return Ok(Ok(()));
            }
            if let Err(refused) = demand_unheld(&reset.space, tail) {
                return Ok(Err(refused));
            }
            let parts = reset.space.areas.parts(tail);
            if parts.iter().any(|area| *area != Area::plain(area.run)) {
                return Ok(Err(SpaceError::HasAreas(no)));
            }
            let mut next = tail.first;
            reset.discard_piece(&mut next, tail.end())?;
            mm.host.shrink(no, len);
            reset.space.len = len;
            Ok(Ok(()))
        });
        done.unwrap_or_else(|stop| Err(stop.of_space(&mm.budget, no, PageNo(len))))
    }
}

/// The pages behind so many; none where it has no more.
fn behind(space: &SpaceState, len: u32) -> Run {
    Run {
        first: PageNo(len),
        len: space.len.saturating_sub(len),
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
