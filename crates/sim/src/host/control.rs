//! What tests say to the machine, and ask it, beside the seam: plans, races, counts, rest.

use super::{SimHost, State};
use crate::machine::Memory;
use crate::plan::Plan;
use memfold_host::Tables;

impl SimHost {
    /// A machine without page tables, which does all that it may leave undone, for tests that look
    /// inside the manager.
    #[must_use]
    pub fn plain() -> Self {
        let host = Self::new(0);
        host.set_tables(Tables::default());
        host.lock().willing = true;
        host
    }

    /// From now on there are such page tables, and nothing else is held for windows.
    ///
    /// # Panics
    /// When a window is open.
    pub fn set_tables(&self, tables: Tables) {
        self.lock().machine.set_tables(tables);
    }

    /// From now on this is the answer to who asks whether pages were shown, whatever was.
    pub fn say_young(&self, young: bool) {
        self.lock().says_young = Some(young);
    }

    /// From now on calls are refused as the plan says; counts begin at 0.
    pub fn set_plan(&self, plan: Plan) {
        self.lock().planner.set(plan);
    }

    /// Runs `step` while calls are refused by another plan; counts go on.
    pub fn under<R>(&self, plan: Plan, step: impl FnOnce() -> R) -> R {
        let before = self.lock().planner.exchange(plan);
        let result = step();
        self.lock().planner.exchange(before);
        result
    }

    /// From now on page tables are not given back before their window is closed, as by a machine
    /// that cannot.
    pub fn keep_tables(&self) {
        self.lock().keeps_tables = true;
    }

    /// From now on pages can be taken out of windows, or not.
    pub fn let_take(&self, takes: bool) {
        self.lock().takes = takes;
    }

    /// Calls that the plan was about, and how many of them were refused.
    pub fn plan_counts(&self) -> (u64, u64) {
        self.lock().planner.counts()
    }

    /// One number for everything that was asked of this machine so far.
    pub fn trace_hash(&self) -> u64 {
        self.lock().trace.hash()
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.lock().trace.calls()
    }

    /// Memory held now, and the most ever.
    pub fn memory(&self) -> Memory {
        self.lock().machine.memory()
    }

    /// Runs `life` in a child of `fork(2)`: a copy of the program, whose machine is the parent's.
    ///
    /// # Panics
    /// When the child asks the machine for anything.
    pub fn as_copy<R>(&self, life: impl FnOnce() -> R) -> R {
        self.lock().copied = true;
        let result = life();
        self.lock().copied = false;
        result
    }

    /// Whether a child of `fork(2)` is what runs.
    pub fn is_inherited(&self) -> bool {
        self.lock().copied
    }

    /// Windows that are open.
    pub fn open_windows(&self) -> usize {
        self.lock().machine.open_windows()
    }

    /// Runs `look` while no program runs: nothing is refused or traced, and private pages may be
    /// read as they are.
    pub fn at_rest<R>(&self, look: impl FnOnce() -> R) -> R {
        self.lock().at_rest += 1;
        let result = look();
        self.lock().at_rest -= 1;
        result
    }
}

impl State {
    /// Who asks the machine for something is no child of `fork(2)`.
    pub(super) fn is_the_parents(&self) {
        assert!(
            !self.copied,
            "a child of fork(2) asks its parent's machine for something"
        );
    }
}
