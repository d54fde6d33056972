//! Pages that are to stay in memory, and such as need not any more (Linux: `mlock`, `munlock`).
//!
//! Piece by piece, so that the space's threads come in between: first the area says so and the
//! frames that are there are counted, in one hold of the space's lock, so that whatever comes in
//! after that is counted by who brings it in (`keep.rs`); then the pages are brought in, as by an
//! access of each. When one cannot be had, what was locked is unlocked. A page that may be stored
//! to and is not shared with all who map a file is made the space's own, so that no store to it
//! needs room later, until a fork shares it.

use super::{AreaMap, Change, Hide};
use crate::addr::{Access, PageNo, Run};
use crate::backing::areas::{Area, AreaKind, MOST_AREAS, Rights};
use crate::error::{SpaceError, Stop};
use crate::fault::Fault;
use crate::host::{Host, Piece, Store};
use crate::keep::{each_frame, keep, let_go, most_locked};
use crate::mm::Mm;
use crate::native::lock_to_change;
use crate::space::{FaultError, PIECE, SpaceGuard};

/// What becomes of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Become {
    Locked,
    Unlocked,
}

/// What came of a piece: the runs that became others.
type Changed = Result<Vec<Run>, SpaceError>;

impl<H: Host, S: Store> AreaMap<'_, H, S> {
    /// Brings all pages of the run into memory and keeps them there until they are
    /// [unlocked](Self::unlock), mapped or unmapped, or the space ends. Locking does not nest.
    ///
    /// A page that the space may store to becomes its own, unless it is shared with all who map its
    /// file. Forks of the space have no locked pages; a store to a page that a fork shares needs
    /// room for a copy, as any. Takes what as many faults take.
    ///
    /// # Errors
    /// [`SpaceError::BadRun`], [`SpaceError::TooManyAreas`]; [`SpaceError::NoRoomToLock`];
    /// [`SpaceError::OverBudget`] when there is no room for the record; [`SpaceError::Fault`] when
    /// a page allows no access or cannot be had. Then nothing more is locked than before (unless
    /// another thread changes areas of the run meanwhile); pages may have become the space's own.
    pub fn lock(&self, run: Run) -> Result<(), SpaceError> {
        let mut changed = Vec::new();
        let locked = self.lock_all(run, &mut changed);
        if locked.is_err() {
            for run in changed {
                // Refused only where others have changed the areas: then it is theirs.
                let _ = self.unlock(run);
            }
        }
        self.mm.reclaim.something_changed();
        locked
    }

    /// The pages of the run need not stay in memory any more.
    ///
    /// # Errors
    /// [`SpaceError::BadRun`], [`SpaceError::TooManyAreas`], [`SpaceError::OverBudget`] when there
    /// is no room for the record. Pages before that may be unlocked.
    pub fn unlock(&self, run: Run) -> Result<(), SpaceError> {
        for piece in self.pieces(run)? {
            self.make(piece, Become::Unlocked)?;
        }
        self.mm.reclaim.something_changed();
        Ok(())
    }

    fn lock_all(&self, run: Run, changed: &mut Vec<Run>) -> Result<(), SpaceError> {
        let (mm, no) = (self.mm, self.space);
        let pieces = self.pieces(run)?;
        let more = unlocked(&mm.lock_space(no)?, run);
        let refused = || no_room(mm, more as u32);
        if mm.reclaim.locked_pages() + more > most_locked(mm) {
            return Err(refused());
        }
        for piece in pieces {
            changed.extend(self.make(piece, Become::Locked)?);
            for page in piece.pages() {
                mm.retry(|| self.bring_to_stay(page)).map_err(|stop| match stop {
                    Stop::NoRoom => refused(),
                    stop => stop.of_space(&mm.budget, no, page),
                })?;
            }
        }
        Ok(())
    }

    /// The run in pieces, if it is one of the space's.
    fn pieces(&self, run: Run) -> Result<impl Iterator<Item = Run> + use<H, S>, SpaceError> {
        let end = u64::from(run.first.0) + u64::from(run.len);
        if run.len == 0 || end > self.mm.lock_space(self.space)?.len.into() {
            let (first, len) = (run.first, run.len);
            return Err(SpaceError::BadRun { first, len });
        }
        let firsts = (run.first.0..run.end().0).step_by(PIECE as usize);
        Ok(firsts.map(move |first| Run {
            first: PageNo(first),
            len: PIECE.min(run.end().0 - first),
        }))
    }

    /// The pages of a piece are locked or not from now on.
    fn make(&self, piece: Run, to: Become) -> Changed {
        let (mm, no) = (self.mm, self.space);
        let made = mm.retry(|| {
            let mut space = lock_to_change(mm, no)?;
            if piece.end().0 > space.len {
                let (first, len) = (piece.first, piece.len);
                return Ok(Err(SpaceError::BadRun { first, len }));
            }
            Self::make_locked(mm, &mut space, piece, to)
        });
        mm.spaces.get(no.0).let_others();
        made.unwrap_or_else(|stop| Err(stop.of_space(&mm.budget, no, piece.first)))
    }

    /// The same, under the space's lock.
    fn make_locked(
        mm: &Mm<H, S>,
        space: &mut SpaceGuard<'_>,
        piece: Run,
        to: Become,
    ) -> Result<Changed, Stop> {
        let locked = to == Become::Locked;
        let mut parts = space.areas.parts(piece);
        parts.retain(|part| part.locked != locked);
        let none = |part: &&Area| locked && part.rights == Rights::None;
        if let Some(part) = parts.iter().find(none) {
            return Err(Stop::Fault(FaultError::Forbidden {
                space: space.no,
                page: part.run.first,
                access: Access::Read,
            }));
        }
        let Some(change) = Change::prepare(mm, space, piece, |area| Area { locked, ..area })? else {
            return Ok(Err(SpaceError::TooManyAreas(MOST_AREAS as u32)));
        };
        let changed: Vec<Run> = parts.iter().map(|part| part.run).collect();
        let pages: u32 = changed.iter().map(|run| run.len).sum();
        if locked && !mm.reclaim.lock_pages(pages.into(), most_locked(mm)) {
            return Ok(Err(no_room(mm, pages)));
        }
        // From here on nothing fails.
        for run in &changed {
            each_frame(mm, &space.tree, (run.first, run.end()), |frame| match to {
                Become::Locked => keep(mm, frame),
                Become::Unlocked => let_go(mm, frame),
            });
        }
        change.switch(mm, space, Hide::Nothing);
        let gone = change.keep(mm, space);
        assert!(gone.is_empty(), "what is mapped was mapped before");
        Ok(Ok(changed))
    }

    /// One attempt to have a page in memory as it is to stay there.
    fn bring_to_stay(&self, page: PageNo) -> Result<(), Stop> {
        let mut space = self.mm.lock_space(self.space)?;
        let access = match space.areas.parts(Run::one(page))[0] {
            Area {
                rights: Rights::ReadWrite,
                kind:
                    AreaKind::Own
                    | AreaKind::File {
                        kind: Piece::Private, ..
                    },
                ..
            } => Access::Write,
            _ => Access::Read,
        };
        match Fault::resolve(self.mm, &mut space, page, access) {
            // Behind the end of a file there is nothing.
            Err(Stop::BeyondEnd) => Ok(()),
            done => done,
        }
    }
}

/// How many pages of a run are not locked.
fn unlocked(space: &SpaceGuard<'_>, run: Run) -> u64 {
    let parts = space.areas.parts(run);
    let open = parts.iter().filter(|part| !part.locked);
    open.map(|part| u64::from(part.run.len)).sum()
}

fn no_room<H, S>(mm: &Mm<H, S>, pages: u32) -> SpaceError {
    SpaceError::NoRoomToLock {
        pages,
        locked: mm.reclaim.locked_pages(),
        limit: mm.budget.limit(),
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
