//! The stores that the drivers can run with, behind one trait.

use memfold_host::Store;
use memfold_sim::{Plan, SimStore};
use memfold_stores::CompressedStore;

/// A store that a driver can build from a seed.
pub trait Built: Store + Sized {
    /// What it holds from the start.
    const FIXED_BYTES: u64;

    /// A fresh store.
    fn build(seed: u64) -> Self;

    /// Refuses calls by plan, if the store can.
    fn refuse(&self, plan: Plan);

    /// How many calls were refused under the plan.
    fn refused(&self) -> u64;

    /// Runs `look` without refusals.
    fn calm<R>(&self, look: impl FnOnce() -> R) -> R;
}

impl Built for SimStore {
    const FIXED_BYTES: u64 = 0;

    fn build(seed: u64) -> Self {
        Self::new(seed)
    }

    fn refuse(&self, plan: Plan) {
        self.set_plan(plan);
    }

    fn refused(&self) -> u64 {
        self.plan_counts().1
    }

    fn calm<R>(&self, look: impl FnOnce() -> R) -> R {
        self.at_rest(look)
    }
}

/// The real store refuses only when the budget does.
impl Built for CompressedStore {
    const FIXED_BYTES: u64 = Self::FIXED_BYTES;

    fn build(seed: u64) -> Self {
        Self::with_seed(seed)
    }

    fn refuse(&self, _: Plan) {}

    fn refused(&self) -> u64 {
        0
    }

    fn calm<R>(&self, look: impl FnOnce() -> R) -> R {
        look()
    }
}
