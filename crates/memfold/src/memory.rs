//! [`Memory`]: the handle of what spaces and threads share (`inner.rs`), and what is asked of the
//! whole.
//!
//! Nothing here holds a lock; each call enters the manager like any other.

use crate::error::Error;
use crate::inner::Inner;
use crate::merger::Merger;
use crate::space::{Space, SpaceSize};
use crate::stats::MemoryStats;
use crate::warning::Warning;
use crate::worker::Worker;
use memfold_host::Domain;
use memfold_mm::{MergeStep, Sharing};
use std::sync::Arc;

/// Many memory images inside one budget; a handle that can be cloned and sent to other threads.
///
/// The images live until their [`Space`]s are dropped, also when no `Memory` handle is left.
#[derive(Clone, Debug)]
pub struct Memory(pub(crate) Arc<Inner>);

impl Memory {
    /// What may go wrong later: what was found at building, and what was found since or is found
    /// now. For people; each was also an event of `tracing` (target `memfold`) when it was found.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        if let Ok(mm) = self.0.mm() {
            self.0.pool_bytes(&mm);
        }
        self.0.warnings.iter().chain(self.0.huge.get()).copied().collect()
    }

    /// A new space of zeros. Its pages are never shared with those of other spaces but its forks.
    ///
    /// # Errors
    /// [`Error::BadSize`]; [`Error::Space`] when there is no room for it, or no addresses;
    /// [`Error::Forked`].
    pub fn create(&self, size: SpaceSize) -> Result<Space, Error> {
        self.create_in(size, Domain::default())
    }

    /// The same in a merge domain: only pages of one domain are ever stored once. Spaces made by
    /// [`create`](Self::create) are all in domain 0.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_in(&self, size: SpaceSize, domain: Domain) -> Result<Space, Error> {
        let no = self.0.mm()?.create(size.pages()?, domain)?;
        let space = Space::new(self.0.clone(), no);
        self.0.opened();
        space.set_merging(self.0.merging)?;
        space.set_on_loss(self.0.on_loss)?;
        Ok(space)
    }

    /// What is held and what was done so far. All zeros in a child of `fork(2)`.
    #[must_use]
    pub fn stats(&self) -> MemoryStats {
        MemoryStats::read(&self.0)
    }

    /// Moves up to `pages` frames to the store now; returns how many went. None in a child of
    /// `fork(2)`.
    pub fn reclaim(&self, pages: u32) -> u32 {
        self.0.mm().map_or(0, |mm| mm.reclaim(pages))
    }

    /// Looks at every page of every space that takes part, now, and merges what is equal.
    ///
    /// # Errors
    /// [`Error::Space`] when the budget has no room for the list of spaces; [`Error::Forked`].
    pub fn merge_now(&self) -> Result<MergeStep, Error> {
        Ok(self.0.mm()?.merge_round(None)?)
    }

    /// Starts the thread that merges, as
    /// [`MemoryBuilder::merge_cpu_percent`](crate::MemoryBuilder::merge_cpu_percent) would have:
    /// for who has something to do first. Does nothing when it runs already, and nothing in a child
    /// of `fork(2)`.
    ///
    /// # Panics
    /// When `percent` is negative, or not a number.
    pub fn merge_in_background(&self, percent: f64) {
        assert!(percent >= 0.0, "{percent} per cent of a core");
        if percent > 0.0 && self.0.mm().is_ok() {
            self.0.start_merger((percent / 100.0).min(1.0));
        }
    }

    /// What the spaces of a domain, or all spaces, share in memory, by merging and by forks. Takes
    /// time in proportion to their size. Nothing in a child of `fork(2)`.
    #[must_use]
    pub fn sharing(&self, domain: Option<Domain>) -> Sharing {
        self.0
            .mm()
            .map(|mm| memfold_mm::Sharing::of(&mm, domain))
            .unwrap_or_default()
    }

    /// Checks every invariant of the manager by a full scan; call it when no thread uses any space.
    /// The background threads rest meanwhile.
    ///
    /// # Errors
    /// A line for each invariant that does not hold: memfold has a bug, or memory was corrupted. In
    /// a child of `fork(2)` the text of [`Error::Forked`].
    pub fn check(&self) -> Result<(), Vec<String>> {
        let mm = self.0.mm().map_err(|forked| vec![forked.to_string()])?;
        let _resting = self.0.reclaimer.get().map(Worker::pause);
        let _merged = self.0.merger.get().map(Merger::pause);
        let _written = self.0.writer.get().map(Worker::pause);
        let found = memfold_mm::check(&mm);
        // What was lost is a failure of the spaces, besides.
        self.0.watch();
        found.map_err(|all| all.iter().map(ToString::to_string).collect())
    }
}
