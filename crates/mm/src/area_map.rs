//! Areas of a space: mapping a file, unmapping, moving, changing what accesses are allowed.
//!
//! A change is worked out on a copy of the list (`area_map/change.rs`), whose room is charged
//! before anything else is done. Where the pages become others, what the space stored to them goes
//! first, by the steps of a discard. Then, under each file's lock, the pages leave the window and
//! the file's list of mappings changes, so that a walk meets a mapping as long as a window may let
//! stores through, and no longer. The machine's piece is changed last; where it refuses, the lists
//! are as they were. The space's lock is held throughout, so that no fault of the space comes in
//! between. A right that is taken away is taken from the window at once; one that is given, a fault
//! gives.

mod change;
mod free;
mod lock;
mod locked_run;
mod populate;
mod remap;
mod shrink;

use crate::addr::{Access, PageNo, Run, SpaceNo};
use crate::backing::areas::{Area, AreaKind, InFork, MOST_AREAS, Rights};
use crate::backing::file::Unreferenced;
use crate::backing::read_ahead::Order;
use crate::drop::give_away_frame;
use crate::error::{SpaceError, Stop};
use crate::files::{OpenFile, take_apart};
use crate::frame::{Locked, Owner, Residence};
use crate::host::{Host, HostError, Piece, Store};
use crate::mm::Mm;
use crate::peek::lock_entry;
use crate::reset::Reset;
use crate::space::SpaceGuard;
use crate::table::{LeafEntry, LeafSlot, Lookup, after_leaf};
use change::{Change, Hide};

/// The areas of one space. May be used from any thread that holds no lock of the manager; threads
/// may run in the space.
#[derive(Debug)]
pub struct AreaMap<'m, H, S> {
    mm: &'m Mm<H, S>,
    space: SpaceNo,
}

impl<H: Host, S: Store> Mm<H, S> {
    /// The areas of a space.
    pub fn areas(&self, space: SpaceNo) -> AreaMap<'_, H, S> {
        AreaMap { mm: self, space }
    }
}

impl<H: Host, S: Store> AreaMap<'_, H, S> {
    /// From now on the run shows the pages of a file from `first` on. What was there is gone, as
    /// after [`unmap`](Self::unmap). Takes time in proportion to the run, and more for what the
    /// space stored to it.
    ///
    /// # Errors
    /// [`SpaceError::BadRun`], [`SpaceError::ReadOnlyFile`], [`SpaceError::TooManyAreas`],
    /// [`SpaceError::Pinned`]; [`SpaceError::Host`] when the machine refuses, for want of mappings
    /// for instance; [`SpaceError::OverBudget`]. The areas are as they were; pages of the run may
    /// have lost what the space stored to them.
    pub fn map(
        &self,
        run: Run,
        file: &OpenFile,
        first: PageNo,
        kind: Piece,
        rights: Rights,
    ) -> Result<(), SpaceError> {
        let view = self.mm.files.view(file.no);
        let end = u64::from(first.0) + u64::from(run.len);
        if end > view.bytes.div_ceil(crate::mm::PAGE) {
            let (first, len) = (run.first, run.len);
            return Err(SpaceError::BadRun { first, len });
        }
        let stores = kind == Piece::Shared && rights.allow(Access::Write);
        if stores && !view.source.is_writable() {
            return Err(SpaceError::ReadOnlyFile);
        }
        let file = file.no;
        self.remake(run, |area| Area {
            kind: AreaKind::File {
                file,
                first: first.plus(area.run.first.0 - run.first.0),
                kind,
            },
            rights,
            ..Area::plain(area.run)
        })
    }

    /// From now on the pages of the run are zeros of the space's own, which may be stored to.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn unmap(&self, run: Run) -> Result<(), SpaceError> {
        self.remake(run, |area| Area::plain(area.run))
    }

    /// Changes which accesses the pages of the run allow. An access that is not allowed is a
    /// failure of whoever makes it ([`FaultError::Forbidden`](crate::FaultError::Forbidden)), and
    /// of nobody else. Costs the machine no mapping.
    ///
    /// # Errors
    /// [`SpaceError::BadRun`], [`SpaceError::ReadOnlyFile`], [`SpaceError::TooManyAreas`],
    /// [`SpaceError::Pinned`], [`SpaceError::OverBudget`], [`SpaceError::Host`]. The areas are as
    /// they were.
    pub fn protect(&self, run: Run, rights: Rights) -> Result<(), SpaceError> {
        self.run(run, |mm, reset| {
            let space = &mut reset.space;
            let wanted = |area| Area { rights, ..area };
            let parts = space.areas.parts(run);
            if rights.allow(Access::Write) && parts.iter().any(|part| is_shared_read_only(mm, part)) {
                return Ok(Err(SpaceError::ReadOnlyFile));
            }
            let Some(change) = Change::prepare(mm, space, run, wanted)? else {
                return Ok(Err(SpaceError::TooManyAreas(MOST_AREAS as u32)));
            };
            if parts.iter().any(|part| loses_its_pages(part, rights)) {
                return Ok(Err(SpaceError::Locked(space.no)));
            }
            take_rights(mm, space, run, rights)?;
            let hide = match rights {
                Rights::None => Hide::All,
                Rights::Read | Rights::ReadWrite => Hide::Nothing,
            };
            change.switch(mm, space, hide);
            Ok(Ok(change.keep(mm, space)))
        })
    }

    /// Says in which order the pages of the run are going to be used: how far files are read ahead.
    ///
    /// # Errors
    /// As [`protect`](Self::protect).
    pub fn set_order(&self, run: Run, order: Order) -> Result<(), SpaceError> {
        self.note(run, |area| Area { order, ..area })
    }

    /// Says what forks of the space get of the run from now on. What they do not get as it is, a
    /// fork takes time for in proportion to what was stored to it.
    ///
    /// # Errors
    /// As [`protect`](Self::protect).
    pub fn set_in_fork(&self, run: Run, in_fork: InFork) -> Result<(), SpaceError> {
        self.note(run, |area| Area { in_fork, ..area })
    }

    /// Changes what is known of the run, and nothing of what its pages are and allow.
    fn note(&self, run: Run, noted: impl Fn(Area) -> Area) -> Result<(), SpaceError> {
        self.run(run, |mm, reset| {
            let space = &mut reset.space;
            let Some(change) = Change::prepare(mm, space, run, &noted)? else {
                return Ok(Err(SpaceError::TooManyAreas(MOST_AREAS as u32)));
            };
            change.switch(mm, space, Hide::Nothing);
            Ok(Ok(change.keep(mm, space)))
        })
    }

    /// The areas, in order; pages in none of them are the space's own and may be stored to.
    ///
    /// # Errors
    /// [`SpaceError::NoSuchSpace`].
    pub fn list(&self) -> Result<Vec<Area>, SpaceError> {
        let space = self.mm.lock_space(self.space)?;
        Ok(space.areas.iter().copied().collect())
    }

    /// The pages of the run are others from now on.
    fn remake(&self, run: Run, remade: impl Fn(Area) -> Area) -> Result<(), SpaceError> {
        self.run(run, |mm, reset| {
            let Some(change) = Change::prepare(mm, &reset.space, run, &remade)? else {
                return Ok(Err(SpaceError::TooManyAreas(MOST_AREAS as u32)));
            };
            let mut next = run.first;
            reset.discard_piece(&mut next, run.end())?;
            let space = &mut reset.space;
            change.switch(mm, space, Hide::All);
            let had_file = space.areas.has_file(run);
            if let Err(refused) = lay(mm, space.no, &remade(Area::plain(run)), had_file) {
                change.switch_back(mm);
                return Err(refused.into());
            }
            Ok(Ok(change.keep(mm, space)))
        })
    }

    /// Runs a step on the locked space; frees the files that nobody refers to any more afterwards.
    fn run(
        &self,
        run: Run,
        mut step: impl FnMut(&Mm<H, S>, &mut Reset<'_, H, S>) -> Done,
    ) -> Result<(), SpaceError> {
        let (mm, no) = (self.mm, self.space);
        let done = mm.retry(|| {
            let mut reset = Reset::lock(mm, no)?;
            let space = &reset.space;
            let end = u64::from(run.first.0) + u64::from(run.len);
            if run.len == 0 || end > space.len.into() {
                let (first, len) = (run.first, run.len);
                return Ok(Err(SpaceError::BadRun { first, len }));
            }
            if space.has_pins(run) {
                return Ok(Err(SpaceError::Pinned(no)));
            }
            step(mm, &mut reset)
        });
        let gone = done.unwrap_or_else(|stop| Err(stop.of_space(&mm.budget, no, run.first)))?;
        gone.into_iter().for_each(|file| take_apart(mm, file));
        mm.reclaim.something_changed();
        Ok(())
    }
}

/// What came of a step: the files that nobody refers to any more.
type Done = Result<Result<Vec<Unreferenced>, SpaceError>, Stop>;

/// Whether it is an area through which stores would reach a file that cannot be written.
fn is_shared_read_only<H, S>(mm: &Mm<H, S>, area: &Area) -> bool {
    match area.kind {
        AreaKind::File {
            file,
            kind: Piece::Shared,
            ..
        } => !mm.files.view(file).source.is_writable(),
        _ => false,
    }
}

/// Whether an area is locked and shows pages of a file for which it is going to have copies
/// instead: those that it has not yet would stay nowhere.
fn loses_its_pages(area: &Area, rights: Rights) -> bool {
    let now = Area { rights, ..*area };
    area.locked && now.has_copies() && !area.has_copies()
}

/// The window of a space shows in the run of an area, which is empty, what that says; whether there
/// were pieces of the machine's before.
fn lay<H: Host, S: Store>(mm: &Mm<H, S>, no: SpaceNo, area: &Area, had_file: bool) -> Result<(), HostError> {
    match area.kind {
        AreaKind::File { file, first, kind } => {
            let at = mm.backings.first(mm.files.view(file).backing);
            mm.host.map_piece(no, area.run, at.plus(first.0), kind)
        }
        AreaKind::Own if had_file => mm.host.unmap_piece(no, area.run),
        AreaKind::Own => Ok(()),
    }
}

/// What the window of the space lets programs do with the pages of the run, and these rights do
/// not allow, is a fault from now on. Pages that allow nothing leave it, bytes and all.
fn take_rights<H: Host, S: Store>(
    mm: &Mm<H, S>,
    space: &SpaceGuard<'_>,
    run: Run,
    rights: Rights,
) -> Result<(), Stop> {
    if rights == Rights::ReadWrite {
        return Ok(());
    }
    for part in space.areas.parts(run) {
        if let Some((file, mapping)) = part.mapping(space.no)
            && mapping.kind == Piece::Shared
        {
            let _walks_wait = mm.files.lock(file);
            mm.host.drop_pages(space.no, part.run);
        }
    }
    let mut page = run.first;
    while page < run.end() {
        let Lookup::Leaf(found) = mm.tables.lookup(&space.tree, page) else {
            page = PageNo(after_leaf(page.0));
            continue;
        };
        if let LeafEntry::Frame(frame) = found.entry
            && let Some(locked) = lock_entry(mm, found.leaf, page, frame)
            && locked.residence == Residence::Private(space.no)
        {
            take_own(mm, space, LeafSlot::of(found.leaf, page), locked, rights)?;
        }
        page = page.plus(1);
    }
    Ok(())
}

/// The same for a page whose bytes are in the window of the space.
fn take_own<H: Host, S: Store>(
    mm: &Mm<H, S>,
    space: &SpaceGuard<'_>,
    at: LeafSlot,
    mut locked: Locked<'_>,
    rights: Rights,
) -> Result<(), Stop> {
    let page = mm.tables.page_of(at);
    if locked.frame.is_exclusive() {
        mm.host.protect(space.no, Run::one(page))?;
        locked.protected = true;
        if rights == Rights::None {
            space.slot.export();
            locked.set_owner(Owner::Shared(at));
        }
    }
    match rights {
        Rights::None => give_away_frame(mm, space, (at.leaf, page), locked),
        Rights::Read | Rights::ReadWrite => Ok(()),
    }
}
