//! Ageing: was a frame used? (Linux: `shrink_active_list`, `page_referenced`.)
//!
//! A fault that shows, takes over or unprotects a frame marks it as referenced. What a program does
//! with a page that it already sees is not known to us, so ageing makes the next use a fault: a
//! private page that was idle is protected (a store takes it back), a shared frame is hidden in a
//! few of the windows that show it, others each time (a load shows it again). Every question is
//! asked under the frame lock; a frame whose lock is taken counts as used. That a window still
//! shows a frame is a weak sign, and counts a few times in a row (`frame/shown.rs`).

use super::batch::{BATCH, Batch, settle};
use super::policy::Finding;
use super::queue::Isolated;
use crate::addr::{FrameNo, PageNo, Run, SpaceNo};
use crate::frame::{Locked, Owner, Residence};
use crate::host::{Host, Store};
use crate::mm::Mm;
use crate::peek::is_protected;
use crate::rmap::{By, rmap_walk};

/// Windows of a shared frame that are asked at a time, until one says yes.
const ASKED: u32 = 4;

/// How closely it is looked whether a frame was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Windows are asked as well, and one that still shows the frame excuses it.
    Thorough,
    /// Only use that is known for certain counts.
    Hasty,
}

/// A look at frames, close or hasty.
pub(crate) struct Aging<'m, H, S> {
    pub mm: &'m Mm<H, S>,
    pub look: Look,
}

impl<H: Host, S: Store> Aging<'_, H, S> {
    /// Whether the frame was used since this was last asked.
    pub fn page_referenced(&self, locked: &Locked<'_>) -> bool {
        let shown = &locked.frame.shown;
        if locked.frame.test_and_clear_referenced() {
            shown.used();
            return true;
        }
        if self.look == Look::Hasty {
            return false;
        }
        match locked.residence {
            // It does not go; and a window of which the machine serves the page by itself may have
            // stored to it, which to ask would undo.
            Residence::Backing(backing) if self.mm.serves(backing) => return true,
            Residence::Backing(_) | Residence::File(..) => (),
            _ => return false,
        }
        let turn = shown.next_turn();
        let still = match self.ask_windows(locked, turn) {
            // It has fewer mappers: from the first on.
            None if turn != 0 => {
                shown.first_turn();
                self.ask_windows(locked, 0) == Some(true)
            }
            answer => answer == Some(true),
        };
        still && shown.excuse()
    }

    /// Asks the windows whose turn it is, in the order of the reverse map, whether one has used the
    /// page; `None` when there are not so many. Each time others are asked: the newest mappers of a
    /// frame say little about what the many old ones do. A window that may have a private page
    /// there instead cannot be asked: that it shows the frame is all that is known.
    fn ask_windows(&self, locked: &Locked<'_>, turn: u32) -> Option<bool> {
        let skip = turn * ASKED;
        let (mut seen, mut used) = (0, None);
        rmap_walk(self.mm, locked, (skip + ASKED) as usize, &mut |mapper| {
            seen += 1;
            if seen > skip && used != Some(true) {
                let run = Run::one(mapper.page);
                let young = match mapper.by {
                    By::Private => locked.frame.shown.windows() != 0,
                    By::Tables | By::Shared => self.mm.host.test_and_clear_young(mapper.space, run) != 0,
                };
                if young && mapper.by != By::Private {
                    locked.frame.shown.hide();
                }
                used = Some(young);
            }
        });
        used
    }

    /// Asks of the next batch of frames that the policy wants to know it of whether they are used,
    /// and watches the others; returns how many those are.
    pub fn next_batch(&self) -> u32 {
        let mut batch: Batch = [const { None }; BATCH];
        let taken = self
            .mm
            .reclaim
            .replacer
            .isolate_to_age(&self.mm.frames, &mut batch);
        self.mm.counters.scanned.add(taken as u64);
        let most = if self.mm.reclaim.watching.is_worth_it() {
            BATCH
        } else {
            1
        };
        let mut watched: [Option<(SpaceNo, PageNo, Locked<'_>)>; BATCH] = [const { None }; BATCH];
        let mut len = 0;
        for isolated in &mut batch {
            let Some(Isolated { no, .. }) = isolated else {
                continue;
            };
            let locked = self.mm.frames.try_lock(*no);
            let used = locked.as_ref().is_none_or(|l| self.page_referenced(l));
            if used {
                settle(self.mm, isolated, Finding::Used);
                continue;
            }
            let locked = locked.expect("an unused frame is locked");
            if len == most || is_protected(self.mm, &locked) || locked.frame.count.load().pins != 0 {
                continue;
            }
            if let (Residence::Private(space), Owner::Exclusive(at)) =
                (locked.residence, locked.frame.word.load().owner)
            {
                watched[len] = Some((space, self.mm.tables.page_of(at), locked));
                len += 1;
            }
        }
        self.mm.reclaim.watching.watched(len as u32);
        self.watch(&mut watched[..len]);
        drop(watched);
        let mut idle = 0;
        for isolated in &mut batch {
            if isolated.is_some() {
                self.mm.counters.deactivated.one();
                settle(self.mm, isolated, Finding::Idle);
                idle += 1;
            }
        }
        idle
    }

    /// Protects private pages in runs, so that a store to one of them is noticed.
    fn watch(&self, pages: &mut [Option<(SpaceNo, PageNo, Locked<'_>)>]) {
        pages.sort_unstable_by_key(|p| p.as_ref().map(|(space, page, _)| (*space, *page)));
        let follows = |a: &Option<(SpaceNo, PageNo, _)>, b: &Option<(SpaceNo, PageNo, _)>| {
            let (Some((space, page, _)), Some((next_space, next, _))) = (a, b) else {
                return false;
            };
            space == next_space && page.plus(1) == *next
        };
        for run in pages.chunk_by_mut(follows) {
            let Some((space, first, _)) = run[0] else { continue };
            let len = run.len() as u32;
            // A page that stays writable is only less well known.
            if self.mm.host.protect(space, Run { first, len }).is_ok() {
                run.iter_mut()
                    .flatten()
                    .for_each(|(_, _, locked)| locked.protected = true);
            }
        }
    }

    /// Whether the frame was used, or is in use now, for its lock is taken.
    pub fn is_used(&self, no: FrameNo) -> bool {
        let locked = self.mm.frames.try_lock(no);
        locked.is_none_or(|locked| self.page_referenced(&locked))
    }

    /// Puts those of the frames back that were used.
    pub fn keep_used(&self, batch: &mut [Option<Isolated>]) {
        for isolated in batch {
            let Some(Isolated { no, .. }) = isolated else {
                continue;
            };
            if self.is_used(*no) {
                self.keep(isolated);
            }
        }
    }

    /// Puts a frame back that was to go and was used.
    pub fn keep(&self, isolated: &mut Option<Isolated>) {
        self.mm.counters.activated.one();
        settle(self.mm, isolated, Finding::Used);
    }
}
