//! What of a space the machine serves by itself: plain data, under the space's lock. Filled and
//! read by `native.rs`.

use crate::addr::Run;

/// The native run of a space's window, and what is charged for it beside what its frames are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NativeRun {
    pub run: Run,
    pub charged: u64,
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
