//! Whether it is worth it to bring pages back, or to copy them, before they are asked for: learned,
//! space by space.
//!
//! Nothing tells whether a page that was brought back ahead of need was read. So now and then one
//! of the neighbours that would come along is left out and watched: if it is asked for while it is
//! watched, its neighbours probably were worth their trouble. A program that touches pages in no
//! order soon reads ahead no more, and one that comes back to whole leaves does so again, because
//! one neighbour is watched then too. Used by `swap_in.rs`.
//!
//! Copies are memory, so shared pages are copied ahead of stores only behind a run of stores that
//! came page after page, and at most half as many as the run has ([`Stores`]). Used by `write.rs`.
//! Both live in a space's state, under its lock.

use crate::addr::{PageNo, Run};
use crate::table::FANOUT;

/// Pages that are watched at a time. One is watched until another takes its place, or its neighbour
/// comes back once more.
const WATCHED: usize = 16;

/// Of this many swap-ins one leaves a neighbour out, while it reads ahead.
const SAMPLED: u8 = 4;

/// The same where nearly all neighbours were asked for: each that is left out costs a fault.
const SAMPLED_SURE: u8 = 16;

/// The worth of a space whose every neighbour was asked for.
const WORTH_MOST: u16 = 1 << 12;

/// The part of the worth that one answer changes.
const WEIGHT: u16 = 16;

/// What a space knows about its neighbours.
#[derive(Debug)]
pub(crate) struct Ahead {
    /// Pages that were left out, as tags; 0: none. Each leaf has its place.
    watched: [u16; WATCHED],
    worth: u16,
    turn: u8,
}

impl Ahead {
    /// Reads ahead, until it is known better.
    pub const fn new() -> Self {
        Self {
            watched: [0; WATCHED],
            worth: WORTH_MOST - WORTH_MOST / 4,
            turn: 0,
        }
    }

    /// What a fork begins with: what its parent has learned.
    pub fn inherited(&self) -> Self {
        Self {
            worth: self.worth,
            ..Self::new()
        }
    }

    /// A page is asked for and comes back. Says what becomes of its neighbours.
    pub fn asked(&mut self, page: PageNo) -> Plan {
        let watched = &mut self.watched[place(page)];
        if *watched == tag(page) {
            *watched = 0;
            self.worth += (WORTH_MOST - self.worth) / WEIGHT;
        }
        if self.worth < WORTH_MOST / 2 {
            return Plan::Watch;
        }
        let sure = self.worth >= WORTH_MOST - WORTH_MOST / 8;
        self.turn = (self.turn + 1) % if sure { SAMPLED_SURE } else { SAMPLED };
        match self.turn {
            0 => Plan::BringButOne,
            _ => Plan::Bring,
        }
    }

    /// A neighbour that could have come along did not.
    pub fn watch(&mut self, page: PageNo) {
        let before = std::mem::replace(&mut self.watched[place(page)], tag(page));
        if before != 0 {
            // Rounded up, so that it gets to nothing.
            self.worth -= self.worth.div_ceil(WEIGHT);
        }
    }
}

/// What becomes of the neighbours of a page that comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// They come along.
    Bring,
    /// They come along, but for one that is watched.
    BringButOne,
    /// They stay, and one is watched.
    Watch,
}

/// The neighbour that is watched: the other one of a pair.
pub(crate) fn sample_of(page: PageNo) -> PageNo {
    PageNo(page.0 ^ 1)
}

/// What is remembered of a page: enough to know it again at its place, in half the bytes. Never 0.
/// Far apart, two pages can have the same; then a guess is wrong.
fn tag(page: PageNo) -> u16 {
    let (leaf, slot) = (page.0 as usize / FANOUT / WATCHED, page.0 as usize % FANOUT);
    ((leaf * FANOUT + slot) as u16) | 1 << 15
}

/// Leaves that lie beside one another have different places.
fn place(page: PageNo) -> usize {
    page.0 as usize / FANOUT % WATCHED
}

/// Runs of stores to shared pages that are under way at a time: each thread may have one.
const RUNS: usize = 4;

/// Such runs: page after page, without a gap.
#[derive(Debug, Default)]
pub(crate) struct Stores {
    /// The one that went on last stands first.
    runs: [StoreRun; RUNS],
}

#[derive(Clone, Copy, Debug, Default)]
struct StoreRun {
    /// The page after the last one that was copied.
    next: u32,
    /// Pages that were copied without a gap before it; 0: no run.
    len: u32,
}

impl Stores {
    /// The run that goes on with this page.
    fn with(&self, page: PageNo) -> Option<usize> {
        self.runs.iter().position(|run| run.len > 0 && run.next == page.0)
    }

    /// How many pages from this one on are worth a copy, now that there is a store to it.
    pub fn ahead(&self, page: PageNo) -> u32 {
        self.with(page)
            .map_or(1, |n| (self.runs[n].len / 2).clamp(1, FANOUT as u32))
    }

    /// These were copied.
    pub fn copied(&mut self, run: Run) {
        let found = self.with(run.first);
        let before = found.map_or(0, |n| self.runs[n].len);
        self.runs[..=found.unwrap_or(RUNS - 1)].rotate_right(1);
        self.runs[0] = StoreRun {
            next: run.end().0,
            len: before.saturating_add(run.len),
        };
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    //! Goal: who comes back to whole leaves reads ahead, who does not stops, and both change their
    //! minds. Method: made-up faults.
    use super::*;

    /// Faults on pages that are all in the store, each leaf's neighbours as the plan says.
    fn fault(ahead: &mut Ahead, page: PageNo) -> Plan {
        let plan = ahead.asked(page);
        if plan != Plan::Bring {
            ahead.watch(sample_of(page));
        }
        plan
    }

    fn in_no_order(ahead: &mut Ahead) -> Plan {
        let pages = (0..4_000_u32).map(|n| PageNo(n.wrapping_mul(2_654_435_761) >> 8));
        pages.map(|page| fault(ahead, page)).last().expect("some")
    }

    fn whole_leaves(ahead: &mut Ahead) -> Plan {
        let mut last = Plan::Bring;
        for leaf in 0..400 {
            last = fault(ahead, PageNo(leaf * FANOUT as u32));
            if last != Plan::Bring {
                fault(ahead, PageNo(leaf * FANOUT as u32 + 1));
            }
        }
        last
    }

    #[test]
    fn it_learns_and_forgets() {
        let mut ahead = Ahead::new();
        assert_ne!(whole_leaves(&mut ahead), Plan::Watch);
        assert_eq!(in_no_order(&mut ahead), Plan::Watch);
        assert_eq!(ahead.inherited().asked(PageNo(0)), Plan::Watch);
        assert_ne!(whole_leaves(&mut ahead), Plan::Watch);
    }

    /// Goal: a neighbour that is never asked for counts each time that its page comes back, however
    /// few pages there are.
    #[test]
    fn few_pages_are_enough_to_learn() {
        let mut ahead = Ahead::new();
        let plans = (0..1_000).map(|n| fault(&mut ahead, PageNo(n % 4 * FANOUT as u32)));
        assert_eq!(plans.last(), Some(Plan::Watch));
    }

    /// Goal: a long run of stores is copied leaf by leaf; a short one, one with gaps and one in no
    /// order page by page, and never more than half as much again as was stored to.
    #[test]
    fn runs_of_stores_grow() {
        let copies = |pages: &[u32]| {
            let mut stores = Stores::default();
            let (mut faults, mut copied) = (0, std::collections::BTreeSet::new());
            for &page in pages {
                if copied.contains(&page) {
                    continue;
                }
                let len = stores.ahead(PageNo(page));
                let run = Run {
                    first: PageNo(page),
                    len,
                };
                stores.copied(run);
                copied.extend(page..page + len);
                faults += 1;
            }
            (faults, copied.len())
        };
        for n in 1..200_u32 {
            let (_, copied) = copies(&(7..7 + n).collect::<Vec<_>>());
            assert!(copied as u32 <= n + n / 2, "{copied} copies for {n} stores");
        }
        assert!(copies(&(0..1024).collect::<Vec<_>>()).0 < 80);
        let gaps: Vec<u32> = (0..512).map(|n| n * 2).collect();
        assert_eq!(copies(&gaps), (512, 512));
        let backwards: Vec<u32> = (0..512).rev().collect();
        assert_eq!(copies(&backwards), (512, 512));
        // Threads that store to parts of their own have runs of their own, but not any number.
        let threads = |n: u32| -> Vec<u32> {
            let turns = (0..512).flat_map(|page| (0..n).map(move |thread| thread << 16 | page));
            turns.collect()
        };
        assert!(copies(&threads(RUNS as u32)).0 < RUNS * 60);
        assert_eq!(copies(&threads(RUNS as u32 + 1)).0, 512 * (RUNS + 1));
    }
}
