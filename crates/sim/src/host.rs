//! The simulated host: the machine behind one lock (rank `Host`), with failures by plan and a trace.
//!
//! Every page of a run is a step of its own, so that other threads come in between as they would on a real
//! machine. A refused call changes nothing, or stops part of the way where the seam allows that, at
//! a page that the plan's seed draws. While the host is *at rest* (no program runs, a test inspects) nothing is
//! refused or traced and unprotected pages may be read.

mod control;

use crate::machine::{GEOMETRY, Machine, Shown, Window, most_window_bytes};
use crate::plan::{Call, Planner};
use crate::race::{Moment, Race};
use crate::trace::{Trace, sample};
use memfold_host::addr::{PAGE_SIZE, PageBytes, PageNo, PoolPage, Run, SpaceNo};
use memfold_host::{Host, HostError, Protection, Tables};
use memfold_sync::{Mutex, MutexGuard, Rank};

#[derive(Debug)]
pub(crate) struct State {
    pub machine: Machine,
    planner: Planner,
    trace: Trace,
    pub races: Vec<Race>,
    /// Private pages whose protection something beside the manager took away.
    pub lost: Vec<(SpaceNo, PageNo)>,
    at_rest: u32,
    /// A child of `fork(2)` runs, with a copy of everything that the program knows.
    copied: bool,
    keeps_tables: bool,
}

/// The machine made of arrays.
#[derive(Debug)]
pub struct SimHost {
    state: Mutex<State>,
}

impl SimHost {
    /// A machine without windows whose choices follow `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            machine: Machine::default(),
            planner: Planner::new(seed),
            trace: Trace::default(),
            races: Vec::new(),
            lost: Vec::new(),
            at_rest: 0,
            copied: false,
            keeps_tables: false,
        };
        Self {
            state: Mutex::new(Rank::Host, state),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Counts a call of one page or none; `Err` when the plan refuses it.
    fn enter(&self, call: Call, words: &[u64]) -> Result<MutexGuard<'_, State>, HostError> {
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

    /// The same for a run that may stop part of the way: how many of its pages are done, and the error that follows.
    fn enter_run(&self, call: Call, space: SpaceNo, run: Run, more: u64) -> (u32, Result<(), HostError>) {
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

/// What the trace calls those that cannot fail.
const CLOSE: u64 = 100;
const DROP_PAGES: u64 = 101;
const POOL_FREE: u64 = 102;
const YOUNG: u64 = 103;
const FREE_TABLE: u64 = 104;

impl Host for SimHost {
    fn reserve_pool(&self, pages: u64) -> Result<(), HostError> {
        self.enter(Call::ReservePool, &[pages])?
            .machine
            .pool
            .reserve(pages);
        Ok(())
    }

    fn open(&self, space: SpaceNo, home: PoolPage, reserve: u32, len: u32) -> Result<u64, HostError> {
        let words = [u64::from(space.0), home.0, u64::from(reserve), u64::from(len)];
        let mut state = self.enter(Call::Open, &words)?;
        Ok(state.machine.open(space, Window::new(home, reserve, len)))
    }

    fn close(&self, space: SpaceNo) -> u64 {
        let mut state = self.lock();
        state.note(CLOSE, &[u64::from(space.0)]);
        state.machine.close(space)
    }

    fn resize(&self, space: SpaceNo, len: u32) -> Result<u64, HostError> {
        let words = [u64::from(space.0), u64::from(len)];
        Ok(self.enter(Call::Resize, &words)?.machine.resize(space, len))
    }

    fn page_tables(&self) -> Tables {
        GEOMETRY
    }

    fn most_window_bytes(&self, pages: u32) -> u64 {
        most_window_bytes(pages)
    }

    fn windows_held(&self) -> u64 {
        self.lock().machine.windows_held()
    }

    fn free_table(&self, space: SpaceNo, run: Run) -> bool {
        let mut state = self.lock();
        let words = [u64::from(space.0), u64::from(run.first.0), u64::from(run.len)];
        state.note(FREE_TABLE, &words);
        if state.keeps_tables {
            return false;
        }
        // Now and then the machine does not, and has hidden some pages all the same.
        if state.planner.below(16) == 0 {
            let len = state.planner.below(run.len + 1);
            run.pages()
                .take(len as usize)
                .for_each(|page| state.machine.hide(space, page));
            return false;
        }
        state.machine.free_table(space, run);
        true
    }

    fn show(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        let (_, result) = self.enter_run(Call::Show, space, run, 0);
        result?;
        self.each(run, run.len, |m, page| m.show(space, page));
        Ok(())
    }

    fn show_zero(&self, space: SpaceNo, run: Run) -> Result<u64, HostError> {
        assert!(run.len <= 64, "zeros are shown on {} pages at once", run.len);
        self.enter_run(Call::ShowZero, space, run, 0).1?;
        self.each(run, run.len, |m, page| {
            m.populate(space, page);
            let shown = m.window_mut(space).page_mut(page);
            match shown {
                Shown::Empty => *shown = Shown::Zero { protected: false },
                Shown::Zero { .. } => (),
                other => panic!("zeros are shown at page {page} of space {space}, but it is {other}"),
            }
        });
        let mut written = 0;
        for page in run.pages() {
            let mut state = self.lock();
            if matches!(
                state.machine.window(space).page(page),
                Shown::Zero { protected: false }
            ) {
                state.run_races(Moment::ZerosShown, space, page);
            }
            let stored = state.machine.window_mut(space).protect_zero(page);
            written |= u64::from(stored) << (page.0 - run.first.0);
        }
        Ok(written)
    }

    fn fill(
        &self,
        space: SpaceNo,
        page: PageNo,
        bytes: &PageBytes,
        protection: Protection,
    ) -> Result<(), HostError> {
        let words = [
            u64::from(space.0),
            u64::from(page.0),
            sample(bytes),
            protection as u64,
        ];
        let mut state = self.enter(Call::Fill, &words)?;
        state
            .machine
            .fill(space, page, bytes, protection == Protection::Writable);
        Ok(())
    }

    fn show_standby(
        &self,
        space: SpaceNo,
        page: PageNo,
        bytes: &PageBytes,
        protection: Protection,
    ) -> Result<(), HostError> {
        let words = [
            u64::from(space.0),
            u64::from(page.0),
            sample(bytes),
            protection as u64,
        ];
        let mut state = self.enter(Call::ShowStandby, &words)?;
        state
            .machine
            .show_standby(space, page, bytes, protection == Protection::Writable);
        Ok(())
    }

    fn fill_zero(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        let (len, result) = self.enter_run(Call::FillZero, space, run, 0);
        self.each(run, len, |m, page| m.fill(space, page, &[0; PAGE_SIZE], true));
        result
    }

    fn copy_from_pool(&self, space: SpaceNo, page: PageNo, from: PoolPage) -> Result<(), HostError> {
        let words = [u64::from(space.0), u64::from(page.0), from.0];
        match self.enter(Call::CopyFromPool, &words) {
            Ok(mut state) => state.machine.copy_from_pool(space, page, from),
            Err(e) => {
                // The page is as it was, or empty.
                let mut state = self.lock();
                if state.planner.below(2) == 0 {
                    state.machine.drop_page(space, page);
                }
                return Err(e);
            }
        }
        Ok(())
    }

    fn protect(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        let (len, result) = self.enter_run(Call::Protect, space, run, 0);
        self.lock().find_lost(space, run);
        self.each(run, len, |m, page| {
            // A protection of an empty page needs a place as well.
            m.populate(space, page);
            m.window_mut(space).set_writable(page, false);
        });
        result
    }

    fn unprotect(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        let (len, result) = self.enter_run(Call::Unprotect, space, run, 0);
        self.each(run, len, |m, page| m.window_mut(space).set_writable(page, true));
        result
    }

    fn writable(&self, space: SpaceNo, run: Run) -> u64 {
        assert!(run.len <= 64, "one bit a page: {run:?}");
        let state = self.lock();
        let window = state.machine.window(space);
        let writable =
            |&(_, page): &(usize, PageNo)| matches!(window.page(page), Shown::Private { writable: true, .. });
        run.pages()
            .enumerate()
            .filter(writable)
            .map(|(bit, _)| 1 << bit)
            .sum()
    }

    fn drop_pages(&self, space: SpaceNo, run: Run) {
        let words = [u64::from(space.0), u64::from(run.first.0), u64::from(run.len)];
        self.lock().note(DROP_PAGES, &words);
        self.each(run, run.len, |m, page| m.drop_page(space, page));
    }

    fn read_private(&self, space: SpaceNo, page: PageNo, out: &mut PageBytes) -> Result<(), HostError> {
        let state = self.enter(Call::ReadPrivate, &[u64::from(space.0), u64::from(page.0)])?;
        let window = state.machine.window(space);
        // At rest: a test looks, or no program was ever inside. And a fork copies a pinned page for the child
        // although it is writable: what the kernel stores meanwhile may or may not be in the copy.
        let unprotected_is_fine = state.at_rest != 0 || !window.entered || window.may_be_pinned(page);
        match window.page(page) {
            Shown::Private { bytes, writable } => {
                assert!(
                    !writable || unprotected_is_fine,
                    "page {page} of space {space} is read while stores go through"
                );
                *out = **bytes;
                Ok(())
            }
            other => panic!("page {page} of space {space} is read as private, but it is {other}"),
        }
    }

    fn read_racy(&self, space: SpaceNo, page: PageNo, out: &mut PageBytes) -> Result<(), HostError> {
        let mut state = self.enter(Call::ReadPrivate, &[u64::from(space.0), u64::from(page.0)])?;
        match state.machine.window(space).page(page) {
            Shown::Private { bytes, .. } => *out = **bytes,
            other => panic!("page {page} of space {space} is looked at as private, but it is {other}"),
        }
        state.run_races(Moment::LookedAt, space, page);
        Ok(())
    }

    fn copy_to_pool(&self, space: SpaceNo, run: Run, to: PoolPage) -> Result<(), HostError> {
        self.vouch(space, run)?;
        let (len, result) = self.enter_run(Call::CopyToPool, space, run, to.0);
        self.each(run, len, |m, page| {
            m.copy_to_pool(space, page, to.plus(page.0 - run.first.0))
        });
        result
    }

    fn pool_write(&self, at: PoolPage, bytes: &PageBytes) -> Result<(), HostError> {
        self.enter(Call::PoolWrite, &[at.0, sample(bytes)])?
            .machine
            .pool_write(at, bytes);
        Ok(())
    }

    fn pool_read(&self, at: PoolPage, out: &mut PageBytes) -> Result<(), HostError> {
        *out = *self.enter(Call::PoolRead, &[at.0])?.machine.pool.read(at);
        Ok(())
    }

    fn pool_free(&self, first: PoolPage, len: u32) {
        self.lock().note(POOL_FREE, &[first.0, u64::from(len)]);
        (0..len).for_each(|n| self.lock().machine.pool_free(first.plus(n)));
    }

    fn test_and_clear_young(&self, space: SpaceNo, run: Run) -> u64 {
        assert!(run.len <= 64, "{} pages are asked about at once", run.len);
        let words = [u64::from(space.0), u64::from(run.first.0), u64::from(run.len)];
        self.lock().note(YOUNG, &words);
        let mut young = 0;
        self.each(run, run.len, |m, page| {
            let shown = m.window_mut(space).page_mut(page);
            match shown {
                // Who looks at a standby page faults again, and finds another.
                Shown::Empty | Shown::Standby { .. } => (),
                Shown::Pool => {
                    young |= 1 << (page.0 - run.first.0);
                    *shown = Shown::Empty;
                }
                other => {
                    panic!("page {page} of space {space} is asked whether it was shown, but it is {other}")
                }
            }
        });
        self.lock().trace.add(&[young]);
        young
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod defaults;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
