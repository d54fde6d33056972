//! Pages of large families go with their neighbours.
//!
//! Freeing a pool page costs the machine a look at every window of its home, however many pages go in one call: 0.1 to 1.3
//! milliseconds for one page under 1,000 to 10,000 windows, and hardly more for 32 of them. So where a batch holds a
//! page of a home with many spaces, the pages around it that are on probation as well take the place of the other pages
//! of such homes, which wait for a batch of their own. Hints throughout: who is taken is looked at again under its lock.

use super::{BATCH, Batch};
use crate::addr::{PageNo, Run};
use crate::frame::{Locked, Owner, Residence};
use crate::home::HomeNo;
use crate::host::{Host, Store};
use crate::lru::{Isolated, List};
use crate::mm::Mm;

/// Spaces of a home from which on a page goes with its neighbours.
const FAMILY: u32 = if cfg!(any(loom, shuttle)) { 3 } else { 16 };

impl<H: Host, S: Store> Mm<H, S> {
    /// Makes room in a batch of frames on probation for the neighbours of the first one that a large family shares.
    pub(super) fn gather(&self, batch: &mut Batch) {
        let mut found: Option<(HomeNo, Run)> = None;
        for isolated in batch.iter_mut() {
            let Some(Isolated(no)) = *isolated else { continue };
            let Some((home, page)) = self.family_of(&Isolated(no)) else {
                continue;
            };
            let around = Run {
                first: PageNo(page.0 - page.0 % BATCH as u32),
                len: BATCH as u32,
            };
            if *found.get_or_insert((home, around)) != (home, around) {
                self.put_on(isolated, List::Inactive);
            }
        }
        if let Some((home, around)) = found {
            self.take_neighbours(home, around, batch);
        }
    }

    /// The home and the page of a frame that stands at its place in the home of a large family.
    fn family_of(&self, isolated: &Isolated) -> Option<(HomeNo, PageNo)> {
        let locked = Locked::attempt(isolated.0, self.frame(isolated.0))?;
        let (Residence::Home(home), Owner::Shared(at)) = (locked.residence, locked.frame.word.load().owner)
        else {
            return None;
        };
        (self.homes.users(home) >= FAMILY).then(|| (home, self.page_of(at)))
    }

    fn take_neighbours(&self, home: HomeNo, around: Run, batch: &mut Batch) {
        let view = self.homes.view(home);
        let mut room = batch.iter_mut().filter(|place| place.is_none());
        for no in around.pages().filter_map(|page| view.occupant(page)) {
            // Also passes over those that are in the batch: they are on no list.
            let Some(isolated) = self.lru.isolate_from(&self.frames, no, List::Inactive) else {
                continue;
            };
            match room.next() {
                Some(place) => *place = Some(isolated),
                None => {
                    self.put_on(&mut Some(isolated), List::Inactive);
                    return;
                }
            }
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use crate::bare::{Call, read, resident, sound, space, world, write};
    use crate::mm::Mm;

    fn freed(mm: &Mm<crate::bare::Bare, crate::bare::Shelf>) -> Vec<u32> {
        let calls = mm.host.calls();
        let lens = calls.iter().filter_map(|call| match call {
            Call::Free(_, len) => Some(*len),
            _ => None,
        });
        lens.collect()
    }

    /// The lengths of the runs in which the 128 pages go that so many forks share, which came far from each other.
    fn runs(forks: usize) -> Vec<u32> {
        let mm = world();
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
        mm.host.set_young(false);
        mm.host.calls();
        assert_eq!(mm.reclaim(128), 128);
        let runs = freed(&mm);
        assert_eq!((runs.iter().sum(), resident(&mm, a)), (128, vec![]));
        read(&mm, forks[0], 5);
        sound(&mm);
        runs
    }

    /// Goal: pages of a large family go in runs although they came one by one, far from each other; those of a small one go as
    /// they come.
    #[test]
    fn neighbours_go_in_one_call() {
        assert!(runs(4).len() > 64);
        assert_eq!(runs(15), [32; 4]);
    }
}
