//! Pages of large families go with their neighbours.
//!
//! Freeing a pool page costs the machine a look at every window of its backing, however many pages
//! go in one call: 0.125 microseconds for each window, and about as much again for each page in
//! each window that really shows it. So where a batch holds a page of a backing with many spaces,
//! the pages around it that were not used go in one call, the more of them the more spaces there
//! are, and the other pages of such backings wait for a batch of their own. A used page between two
//! that go makes a call more; it goes as well where its way back costs less than that. All frames
//! of a call are locked meanwhile, so what it is expected to cost is bounded: pages that everybody
//! shows go few at a time. Hints throughout: who is taken is looked at again under its lock. The
//! lists of frames and victims are on the heap, one of each for a call, since a fault has little
//! stack; where the machine refuses them, the pages stay until the next round.

use super::age::{Aging, Look};
use super::batch::{BATCH, settle};
use super::evict::{Eviction, Why};
use super::policy::Finding;
use super::queue::Isolated;
use crate::addr::{PageNo, Run};
use crate::backing::BackingNo;
use crate::frame::Residence;
use crate::host::{Host, Store};
use crate::mm::Mm;
use memfold_sync::boxed;

/// Spaces of a backing from which on a page goes with its neighbours.
const FAMILY: u32 = if cfg!(any(loom, shuttle)) { 3 } else { 16 };

/// Spaces for each page of a run: then the look at every window costs about two microseconds a
/// page.
const SPACES: u32 = 16;

/// The longest run, in pages: a power of two, as all runs are.
const LONGEST: u32 = if cfg!(any(loom, shuttle)) { 4 } else { 256 };

/// Spaces whose windows a call looks at in the time in which one fault shows a page again.
const SPACES_A_FAULT: u32 = 20;

/// Faults in whose time a page comes back, before the first window shows it.
const FAULTS_BACK: u32 = 2;

/// What one call may change beside the pool: entries of leaves, and pages shown in windows. About
/// 0.1 microseconds each.
const CHANGES: u32 = 1 << 15;

/// Pages of a large family that may go in one call, in their order.
pub(super) struct Neighbours<'m, H, S> {
    mm: &'m Mm<H, S>,
    taken: Box<[Option<Isolated>]>,
    /// Spaces of their backing.
    spaces: u32,
}

/// How many pages of a backing of so many spaces go together.
fn run_len(spaces: u32) -> u32 {
    let least = (BATCH as u32).min(LONGEST);
    (spaces / SPACES).next_power_of_two().clamp(least, LONGEST)
}

impl<'m, H: Host, S: Store> Neighbours<'m, H, S> {
    /// Takes the pages of large families out of a batch of frames on probation: the first one and
    /// its neighbours are to be evicted together, the others are on probation still and the next to
    /// be looked at.
    pub fn gather(mm: &'m Mm<H, S>, batch: &mut [Option<Isolated>]) -> Option<Self> {
        let mut found: Option<(BackingNo, PageNo, u32)> = None;
        // From the youngest on, so that the oldest is found at last and the others keep their
        // order.
        for isolated in batch.iter_mut().rev() {
            let Some(family) = isolated.as_ref().and_then(|no| family_of(mm, no)) else {
                continue;
            };
            found = Some(family);
            settle(mm, isolated, Finding::Deferred);
        }
        let (backing, page, spaces) = found?;
        let len = run_len(spaces);
        let first = PageNo(page.0 - page.0 % len);
        let taken = Self::take(mm, backing, Run { first, len })?;
        Some(Self { mm, taken, spaces })
    }

    fn take(mm: &Mm<H, S>, backing: BackingNo, around: Run) -> Option<Box<[Option<Isolated>]>> {
        let view = mm.backings.view(backing);
        boxed(0..around.len, |n| {
            let frame_at = view.frame_at(around.first.plus(n))?;
            mm.reclaim.replacer.isolate_beside(&mm.frames, frame_at)
        })
    }

    /// Evicts those of the pages that were not used, in as few calls as are bearable; returns how
    /// many went.
    pub fn evict(mut self, look: Look) -> u32 {
        let mm = self.mm;
        let mut taken = std::mem::take(&mut self.taken);
        self.keep_used(&mut taken, look);
        let Some(mut victims) = boxed(0..taken.len(), |_| None) else {
            taken.iter_mut().for_each(|no| settle(mm, no, Finding::Spared));
            return 0;
        };
        let (mut rest, mut evicted) = (&mut taken[..], 0);
        // Ends: a part has one place at the least.
        while !rest.is_empty() {
            if evicted >= BATCH as u32 {
                // Whoever asked for a batch does not pay for more calls.
                rest.iter_mut().for_each(|no| settle(mm, no, Finding::Spared));
                break;
            }
            let (part, later) = rest.split_at_mut(self.bearable(rest));
            evicted += Eviction::new(mm, Why::Pressure, part, &mut victims).run();
            rest = later;
        }
        evicted
    }

    /// Puts those of the pages back that were used, but for such as lie between two that go and
    /// come back for less than it costs to go around them.
    fn keep_used(&self, taken: &mut [Option<Isolated>], look: Look) {
        let aging = Aging { mm: self.mm, look };
        let mut used = [false; LONGEST as usize];
        for (used, isolated) in used.iter_mut().zip(&*taken) {
            *used = isolated
                .as_ref()
                .is_some_and(|isolated| aging.is_used(isolated.no));
        }
        let mut end = 0;
        for alike in used[..taken.len()].chunk_by(|a, b| a == b) {
            let first = end;
            end += alike.len();
            if !alike[0] {
                continue;
            }
            let goes = |page: Option<&Option<Isolated>>| page.is_some_and(Option::is_some);
            let between = goes(taken[..first].last()) && goes(taken.get(end));
            if !between || self.faults_back(&taken[first..end]) > self.spaces / SPACES_A_FAULT {
                taken[first..end].iter_mut().for_each(|page| aging.keep(page));
            }
        }
    }

    /// Faults in whose time these pages come back to where they are shown.
    fn faults_back(&self, pages: &[Option<Isolated>]) -> u32 {
        let shown = |isolated: &Isolated| self.mm.frames.at(isolated.no).shown.windows();
        pages
            .iter()
            .flatten()
            .map(|isolated| FAULTS_BACK + shown(isolated))
            .sum()
    }

    /// How many of the pages change no more than one call may, and twice as many as there are
    /// windows; the first in any case.
    fn bearable(&self, pages: &[Option<Isolated>]) -> usize {
        let spaces = self.spaces;
        let most = CHANGES.max(spaces.saturating_mul(2));
        let mut changes = 0_u32;
        let more = |isolated: &Option<Isolated>| {
            let Some(Isolated { no, .. }) = isolated else {
                return true;
            };
            let frame = self.mm.frames.at(*no);
            let each = frame.count.load().maps + frame.shown.windows().min(spaces);
            changes = changes.saturating_add(each);
            changes <= most
        };
        pages.iter().map(more).take_while(|&fits| fits).count().max(1)
    }
}

/// The backing, the page and the number of relatives of a frame that stands at its place in the
/// backing of a large family.
fn family_of<H: Host, S: Store>(mm: &Mm<H, S>, isolated: &Isolated) -> Option<(BackingNo, PageNo, u32)> {
    let locked = mm.frames.try_lock(isolated.no)?;
    let at = locked.frame.word.load().owner.shared_head()?;
    let Residence::Backing(backing) = locked.residence else {
        return None;
    };
    let spaces = mm.backings.users(backing);
    (spaces >= FAMILY).then(|| (backing, mm.tables.page_of(at), spaces))
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::addr::SpaceNo;
    use crate::rig::{
        Harness, Request, SimHost, SimStore, frame_at, read, resident, roomy, sound, space, write,
    };

    fn freed(mm: &Mm<SimHost, SimStore>) -> Vec<u32> {
        let calls = mm.host.requests();
        let lens = calls.iter().filter_map(|call| match call {
            Request::Free(_, len) => Some(*len),
            _ => None,
        });
        lens.collect()
    }

    /// 128 pages in the pool that so many forks share, which came far from each other, and that
    /// nobody has used since.
    fn family(forks: usize) -> (Harness, SpaceNo, Vec<SpaceNo>) {
        let mm = roomy(64 << 20, forks as u32 + 1);
        let a = space(&mm, 256);
        // No two neighbours follow each other on the list.
        let scattered = || (0..128).map(|n| n * 37 % 128);
        for page in scattered() {
            write(&mm, a, page..page + 1, 1);
        }
        let forks: Vec<_> = (0..forks).map(|_| mm.fork(a).expect("room")).collect();
        for page in scattered().filter(|page| page % 16 == 0) {
            read(&mm, forks[0], page);
        }
        assert_eq!(mm.stats().promoted, 128);
        for no in mm.frames.numbers() {
            let _ = mm.frames.get(no).test_and_clear_referenced();
        }
        mm.host.say_young(false);
        mm.host.requests();
        (mm, a, forks)
    }

    /// The lengths of the runs in which they go.
    fn runs(forks: usize) -> Vec<u32> {
        let (mm, a, forks) = family(forks);
        assert_eq!(mm.reclaim(128), 128);
        let runs = freed(&mm);
        assert_eq!((runs.iter().sum(), resident(&mm, a)), (128, vec![]));
        read(&mm, forks[0], 5);
        sound(&mm);
        runs
    }

    /// Goal: pages of a large family go in runs although they came one by one, far from each other;
    /// those of a small one go as they come.
    #[test]
    fn neighbours_go_in_one_call() {
        assert!(runs(4).len() > 64);
        assert_eq!(runs(15), [32; 4]);
    }

    /// Goal: the more spaces there are, the more pages go in one call, within bounds.
    #[test]
    fn runs_are_as_long_as_families_are_large() {
        assert_eq!(runs(1023), [64; 2]);
        let lens = [FAMILY, 600, 1_000, 3_000, 10_000, u32::MAX].map(run_len);
        assert_eq!(lens, [32, 64, 64, 256, 256, 256]);
    }

    /// Goal: a used page between two that go goes with them where few windows show it, and stays
    /// where many do; so does one at the end of a run.
    #[test]
    fn used_pages_between_go_while_few_show_them() {
        let runs = |page: u32, windows: u32| {
            let (mm, a, _) = family(400);
            let no = frame_at(&mm, a, page).expect("it is in memory");
            let frame = mm.frames.get(no.0);
            frame.mark_referenced();
            frame.shown.begin();
            (0..windows).for_each(|_| frame.shown.show());
            let Some(found) = Neighbours::take(
                &mm,
                mm.spaces.get(a.0).backing(),
                Run {
                    first: PageNo(0),
                    len: 32,
                },
            ) else {
                panic!("there are pages");
            };
            let all = Neighbours {
                mm: &mm,
                taken: found,
                spaces: 401,
            };
            let went = all.evict(Look::Thorough);
            sound(&mm);
            (went, freed(&mm))
        };
        assert_eq!(runs(5, 18), (32, vec![32]));
        assert_eq!(runs(5, 19), (31, vec![5, 26]));
        assert_eq!(runs(0, 1), (31, vec![31]));
        assert_eq!(runs(31, 1), (31, vec![31]));
    }

    /// Goal: one call does not change windows without a bound. Method: 128 pages, each of which
    /// many windows show.
    #[test]
    fn what_many_show_goes_few_at_a_time() {
        let (mm, _, _) = family(1023);
        for no in mm.frames.numbers() {
            (0..1023).for_each(|_| mm.frames.get(no).shown.show());
        }
        assert_eq!(mm.reclaim(128), 128);
        let runs = freed(&mm);
        assert!(runs.iter().all(|&len| len <= CHANGES / 1024), "{runs:?}");
        assert_eq!(runs.iter().sum::<u32>(), 128);
        sound(&mm);
    }
}
