//! The simulated host: the machine behind one lock (rank `Host`), with failures by plan and a
//! trace.
//!
//! Every page of a run is a step of its own, so that other threads come in between as they would on
//! a real machine. A refused call changes nothing, or stops part of the way where the seam allows
//! that, at a page that the plan's seed draws. While the host is *at rest* (no program runs, a test
//! inspects) nothing is refused or traced and unprotected pages may be read.

mod control;
mod seam;
mod young;
mod zeros;

use crate::machine::Machine;
use crate::plan::{Call, Planner};
use crate::race::{Moment, Race};
use crate::requests::{Log, Request};
use crate::state::{Guard, Guarded, Witnesses};
use crate::trace::{Trace, sample};
use memfold_host::addr::{PageBytes, PageNo, Run, SpaceNo};
use memfold_host::{HostError, Protection};
use memfold_sync::Rank;

#[derive(Debug)]
pub(crate) struct State {
    pub machine: Machine,
    planner: Planner,
    trace: Trace,
    pub races: Vec<Race>,
    /// Private pages whose protection something beside the manager took away.
    pub lost: Vec<(SpaceNo, PageNo)>,
    /// No protection was lost so far.
    pub protections_hold: bool,
    /// Private pages that the program emptied.
    pub emptied: Vec<(SpaceNo, PageNo)>,
    pub log: Log,
    at_rest: u32,
    /// A child of `fork(2)` runs, with a copy of everything that the program knows.
    copied: bool,
    keeps_tables: bool,
    /// Whether private pages can be taken out of their windows without a protection before.
    takes: bool,
    /// It never fails to do what it may leave undone.
    willing: bool,
    /// What it answers who asks for pages that were shown, whatever was.
    says_young: Option<bool>,
}

/// The machine made of arrays.
#[derive(Debug)]
pub struct SimHost {
    state: Guarded<State>,
    witnesses: Witnesses,
}

impl SimHost {
    /// A machine without windows whose choices follow `seed`. Where that is odd, pages can be taken
    /// out of windows.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            machine: Machine::default(),
            planner: Planner::new(seed),
            trace: Trace::default(),
            races: Vec::new(),
            lost: Vec::new(),
            protections_hold: true,
            emptied: Vec::new(),
            log: Log::default(),
            at_rest: 0,
            copied: false,
            keeps_tables: false,
            takes: seed % 2 == 1,
            willing: false,
            says_young: None,
        };
        Self {
            state: Guarded::new(Rank::Host, state),
            witnesses: Witnesses::default(),
        }
    }

    pub(crate) fn lock(&self) -> Guard<'_, State> {
        self.state.lock()
    }

    /// Counts a call of one page or none; `Err` when the plan refuses it.
    fn enter(&self, call: Call, words: &[u64]) -> Result<Guard<'_, State>, HostError> {
        let mut state = self.lock();
        state.is_the_parents();
        if state.at_rest != 0 {
            return Ok(state);
        }
        let refused = state.planner.refuses(call);
        state.note(call as u64, words);
        if !refused {
            return Ok(state);
        }
        state.trace.add(&[u64::MAX]);
        Err(match state.planner.below(2) {
            0 => HostError::NoMemory,
            _ => HostError::Os(12),
        })
    }

    /// The same for a page of a window that gets these bytes.
    fn enter_fill(
        &self,
        call: Call,
        (space, page): (SpaceNo, PageNo),
        bytes: &PageBytes,
        protection: Protection,
    ) -> Result<Guard<'_, State>, HostError> {
        let words = [
            u64::from(space.0),
            u64::from(page.0),
            sample(bytes),
            protection as u64,
        ];
        self.witnesses.concerns(space, Run::one(page));
        self.enter(call, &words)
    }

    /// The same for a run that may stop part of the way: how many of its pages are done, and the
    /// error that follows.
    fn enter_run(&self, call: Call, space: SpaceNo, run: Run, more: u64) -> (u32, Result<(), HostError>) {
        self.witnesses.concerns(space, run);
        self.enter_pages(call, space, run, more)
    }

    /// The same where the call does not concern every page of the run.
    fn enter_pages(&self, call: Call, space: SpaceNo, run: Run, more: u64) -> (u32, Result<(), HostError>) {
        let words = [
            u64::from(space.0),
            u64::from(run.first.0),
            u64::from(run.len),
            more,
        ];
        match self.enter(call, &words) {
            Ok(_) => (run.len, Ok(())),
            Err(e) => (self.lock().planner.below(run.len), Err(e)),
        }
    }

    /// Takes pages out of their windows, one after the other: as many as the plan allows, and none
    /// behind one that its program has emptied.
    fn take_some(&self, pages: &[(SpaceNo, PageNo)]) -> Vec<Box<PageBytes>> {
        let words = |&(space, page): &(SpaceNo, PageNo)| [u64::from(space.0), u64::from(page.0)];
        let words: Vec<u64> = pages.iter().flat_map(words).collect();
        let most = match self.enter(Call::Take, &words) {
            Ok(_) => pages.len(),
            Err(_) => self.lock().planner.below(pages.len() as u32) as usize,
        };
        let take = |&(space, page): &(SpaceNo, PageNo)| {
            self.witnesses.concerns(space, Run::one(page));
            let mut state = self.lock();
            state.run_races(Moment::Taken, space, page);
            state.log.add(Request::Take(space, page));
            state.machine.take(space, page)
        };
        pages[..most].iter().map_while(take).collect()
    }

    fn each(&self, run: Run, len: u32, mut step: impl FnMut(&mut Machine, PageNo)) {
        run.pages()
            .take(len as usize)
            .for_each(|page| step(&mut self.lock().machine, page));
    }
}

impl State {
    fn note(&mut self, call: u64, words: &[u64]) {
        self.is_the_parents();
        self.trace.add(&[call]);
        self.trace.add(words);
    }

    /// The second thread's stores.
    fn run_races(&mut self, moment: Moment, space: SpaceNo, page: PageNo) {
        let machine = &mut self.machine;
        self.races.retain(|race| !race.run(machine, moment, space, page));
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod defaults;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
