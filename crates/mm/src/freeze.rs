//! Freezing: a copy of a space that never runs and forks cheaply; and reading a page without
//! showing it.
//!
//! A fork shares what its parent wrote only page by page, as the fork reads it. `freeze` does that
//! once for all pages: they move to their places in the pool, where every fork can show them. All
//! of it, the protection of what was written included, is done piece by piece, so that the space's
//! threads are not kept waiting for the whole. Where another version stands at a page's place (the
//! space is itself a fork that went its own way), the frozen copy gets a backing of its own and all
//! of its pages are copied there: in time and memory proportional to its size, once.
//!
//! Areas of files go on in the copy as in a fork: a file's pages are shared by whoever maps them,
//! and what was stored to a private area stays where it is, since a window that shows the file
//! there can show no page of the backing. A space with areas is never copied to another backing.

use crate::addr::{PageBytes, PageNo, SpaceNo};
use crate::budget::{Charge, Class, Need};
use crate::copies::Unfinished;
use crate::create::Size;
use crate::error::{SpaceError, Stop};
use crate::fork::Fork;
use crate::frame::{Owner, Residence};
use crate::host::{Host, Store};
use crate::migrate::migrate_around;
use crate::mm::{Mm, PAGE, alloc_frame};
use crate::native::lock_settled;
use crate::path::OwnPath;
use crate::peek::peek_page;
use crate::reclaim::{Origin, now_resident};
use crate::residency::NewPlace;
use crate::space::PIECE;
use crate::space::kin::Made;
use crate::table::{FANOUT, LeafEntry, LeafSlot};

impl<H: Host, S: Store> Mm<H, S> {
    /// A copy of the space whose pages all forks of the copy can share in memory.
    ///
    /// # Errors
    /// [`SpaceError`]; the space is as it was, and there is no copy.
    pub fn freeze(&self, space: SpaceNo) -> Result<SpaceNo, SpaceError> {
        let freeze = Freeze { mm: self, no: space };
        let refused = |stop: Stop| stop.of_space(&self.budget, space, PageNo(0));
        Fork::share_most(self, space, (PIECE as usize / FANOUT).max(1)).map_err(refused)?;
        let copy = Unfinished {
            mm: self,
            no: self.fork(space)?,
        };
        let all = freeze.migrate_all().map_err(refused)?;
        self.lock_space(copy.no)?.kin.made = Made::Frozen;
        if all || !self.lock_space(copy.no)?.areas.is_empty() {
            Ok(copy.finish())
        } else {
            copy_backing(self, copy.no)
        }
    }

    /// Reads a page as the space sees it, without showing it. Stores of running threads may or may
    /// not be in it.
    ///
    /// # Errors
    /// [`SpaceError`]; `out` is then unspecified.
    pub fn read_page(&self, space: SpaceNo, page: PageNo, out: &mut PageBytes) -> Result<(), SpaceError> {
        let read = self.retry(|| peek_page(self, &lock_settled(self, space)?, page, out));
        read.map(|_| ())
            .map_err(|stop| stop.of_space(&self.budget, space, page))
    }
}

/// A space that is being frozen. Nobody's lock is held between two pieces.
struct Freeze<'m, H, S> {
    mm: &'m Mm<H, S>,
    no: SpaceNo,
}

impl<H: Host, S: Store> Freeze<'_, H, S> {
    /// Moves all exported pages of the space to their places; false when one is taken by another
    /// version. Piece by piece: the space's threads are not kept waiting for the whole of it.
    fn migrate_all(&self) -> Result<bool, Stop> {
        let Self { mm, no } = *self;
        let mut all = true;
        let mut next = Some(PageNo(0));
        while let Some(first) = next {
            let (piece, after) = mm.retry(|| self.migrate_piece(first))?;
            all &= piece;
            next = after;
            mm.spaces.get(no.0).let_others();
        }
        Ok(all)
    }

    /// The same for the pages of one piece; also says where the next one begins.
    fn migrate_piece(&self, first: PageNo) -> Result<(bool, Option<PageNo>), Stop> {
        let Self { mm, no } = *self;
        let Ok(st) = mm.lock_space(no) else {
            return Ok((true, None));
        };
        let mut all = true;
        let end = PageNo(first.0.saturating_add(PIECE).min(st.len));
        let walked: Result<(), Stop> = mm.tables.each_page_of(&st.tree, first, end, |page, leaf, entry| {
            let LeafEntry::Frame(frame) = entry else {
                return Ok(());
            };
            if st.areas.is_file(page) {
                return Ok(());
            }
            let locked = mm.frames.lock(frame);
            if mm.tables.entry(leaf, page) != entry {
                return Ok(());
            }
            let shared = locked.frame.is_shared();
            match locked.residence {
                Residence::Private(owner) if shared => {
                    all &= migrate_around(mm, (leaf, page), locked, owner, st.backing)?;
                }
                Residence::Overflow(_) => all = false,
                _ => (),
            }
            Ok(())
        });
        walked?;
        Ok((all, Some(end).filter(|end| end.0 < st.len)))
    }
}

/// A space with the same bytes at a backing of its own.
fn copy_backing<H: Host, S: Store>(mm: &Mm<H, S>, from: SpaceNo) -> Result<SpaceNo, SpaceError> {
    let (size, domain, kin) = {
        let st = mm.lock_space(from)?;
        let (len, reserve) = (st.len, st.reserve);
        (Size { len, reserve }, st.domain, st.kin)
    };
    let to = Unfinished {
        mm,
        no: mm.create(size, domain)?,
    };
    let (new, old) = (mm.spaces.get(to.no.0), mm.spaces.get(from.0));
    new.set_merging(old.merging());
    new.set_on_loss(old.on_loss());
    {
        let new = &mut mm.lock_space(to.no)?.kin;
        (new.parent, new.made) = (kin.parent, kin.made);
    }
    let mut bytes = Box::new([0; crate::addr::PAGE_SIZE]);
    for page in (0..size.len).map(PageNo) {
        let copied = mm.retry(|| {
            let there = peek_page(mm, &mm.lock_space(from)?, page, &mut bytes)?;
            if there {
                place_page(mm, to.no, page, &bytes)?;
            }
            Ok(())
        });
        copied.map_err(|stop| stop.of_space(&mm.budget, from, page))?;
    }
    Ok(to.finish())
}

/// Gives an absent page of a frozen copy its frame, at its place in the pool.
fn place_page<H: Host, S: Store>(
    mm: &Mm<H, S>,
    no: SpaceNo,
    page: PageNo,
    bytes: &PageBytes,
) -> Result<(), Stop> {
    let mut space = mm.lock_space(no)?;
    let mut charge = Charge::take(&mm.budget, Class::Pool, PAGE, Need::Normal).ok_or(Stop::NoRoom)?;
    let leaf = OwnPath::take(mm, &mut space, page, Need::Normal)?.keep();
    let frame = alloc_frame(mm, Need::Normal)?;
    let mut locked = mm.frames.lock(frame);
    let placed = NewPlace::own(mm, space.backing, page, &locked, Need::Normal).and_then(|place| {
        let place = place.expect("nobody else stands at a page of a space that is being made");
        place.write(bytes)?;
        place.keep(&mut locked);
        Ok(())
    });
    if let Err(stop) = placed {
        drop(locked);
        mm.frames.free(frame.0);
        return Err(stop);
    }
    locked.charge = Some(charge.page());
    locked.frame.begin();
    let slot = LeafSlot::of(leaf.0, page);
    mm.tables.map_new(&locked, Owner::Shared(slot));
    mm.tables.set_entry(slot, LeafEntry::Frame(frame));
    drop(locked);
    now_resident(mm, frame, Origin::New);
    Ok(())
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
