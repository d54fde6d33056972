//! What of a space the machine serves by itself: plain data, under the space's lock. Filled and
//! read by `native.rs`.

use crate::addr::{PageNo, Run};
use crate::table::{FANOUT, slot_of};

/// The native run of a space's window, and what is charged for it beside what its frames are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NativeRun {
    pub run: Run,
    pub charged: u64,
}

impl NativeRun {
    /// Which pages of the leaf that begins with this page are in the run: a bit for each.
    pub fn in_leaf(&self, first: PageNo) -> u16 {
        let end = first.plus(FANOUT as u32);
        let pages = self.run.within(first, end).into_iter().flat_map(Run::pages);
        pages.fold(0, |bits, page| bits | 1 << slot_of(page, 0))
    }
}

/// The run of a space's pages that forks of it may show as native runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Steady {
    /// Nobody has looked, or the space has changed since.
    #[default]
    Unknown,
    /// There is none.
    Nothing,
    /// These pages: all stand at their places of the pool, and stay there.
    Run(Run),
}
