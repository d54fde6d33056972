//! [`Memory`]: the manager joined to the Linux host and the compressed store.
//!
//! `Inner` is shared by the handle, every space and the reclaimer's thread. It is also where faults arrive
//! (`FaultSink`): in a signal handler or in the handler thread, so nothing here allocates on that way or waits for a
//! lock that a program could hold.

use crate::build::MemoryBuilder;
use crate::error::Error;
use crate::manager::Manager;
use crate::merger::{Merger, STEP_PAGES};
use crate::reclaimer::Reclaimer;
use crate::space::{Space, SpaceSize};
use crate::stats::MemoryStats;
use memfold_linux::{FaultReply, FaultSink, LinuxHost, LostReply};
use memfold_mm::addr::{Access, PageNo, SpaceNo};
use memfold_mm::host::Domain;
use memfold_mm::{Effort, MergeStep, Merging, Mm, OnLoss, Sharing};
use memfold_stores::CompressedStore;
use std::sync::{Arc, OnceLock, RwLockReadGuard, Weak};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Inner {
    mm: Manager,
    reclaimer: OnceLock<Reclaimer>,
    merger: OnceLock<Merger>,
    merging: Merging,
    on_loss: OnLoss,
}

impl Inner {
    pub fn new(mm: Mm<LinuxHost, CompressedStore>, merging: Merging, on_loss: OnLoss) -> Self {
        Self {
            mm: Manager::new(mm),
            reclaimer: OnceLock::new(),
            merger: OnceLock::new(),
            merging,
            on_loss,
        }
    }

    /// The manager, for one operation.
    pub fn mm(&self) -> RwLockReadGuard<'_, Mm<LinuxHost, CompressedStore>> {
        self.mm.enter()
    }

    /// Frees tables that are not in use, when nobody is in the manager.
    pub fn give_back(&self) {
        self.mm.give_back();
    }

    /// Lets faults arrive, and starts the reclaimer if it is wanted.
    pub fn join(self: &Arc<Self>, background: bool) {
        let weak: Weak<Self> = Arc::downgrade(self);
        self.mm().host().attach(weak.clone());
        if background {
            let _ = self.reclaimer.set(Reclaimer::start(weak));
        }
    }

    /// Starts the thread that merges, with this share of a core; only once.
    pub fn start_merger(self: &Arc<Self>, share: f64) {
        if self.merger.set(Merger::new()).is_ok() {
            Merger::start(Arc::downgrade(self), share);
        }
    }

    /// The merger's work: one step. Whether there is anything to merge at all.
    pub fn merge_step(&self) -> bool {
        let merger = self.merger.get();
        let _working = merger.map(Merger::pause);
        let step = self.mm().merge(STEP_PAGES, Effort::Steady);
        if let Some(merger) = merger {
            merger.note_cpu();
        }
        step.scanned != 0 || !step.round_over
    }

    /// Processor time that the merger has used.
    pub fn merge_cpu(&self) -> Duration {
        self.merger.get().map_or(Duration::ZERO, Merger::cpu)
    }
}

impl Inner {
    /// The reclaimer's work: until the budget is at its high watermark, or nothing more can go.
    pub fn reclaim_ahead(&self) {
        let reclaimer = self.reclaimer.get();
        let _working = reclaimer.map(Reclaimer::pause);
        if let Some(reclaimer) = reclaimer {
            reclaimer.began();
        }
        if self.mm().doomed() != 0 {
            self.mm().drop_doomed();
        }
        if self.mm().wants_reclaim() {
            while self.mm().reclaim_in_background() {}
        }
        self.give_back();
    }
}

impl FaultSink for Inner {
    fn fault(&self, space: SpaceNo, page: PageNo, access: Access) -> FaultReply {
        let reply = match self.mm().fault(space, page, access) {
            Ok(()) => FaultReply::Resolved,
            Err(_) => FaultReply::Failed,
        };
        if let Some(reclaimer) = self.reclaimer.get().filter(|_| self.mm().wants_reclaim()) {
            reclaimer.wake();
        }
        reply
    }

    fn lost(&self, space: SpaceNo, page: PageNo) -> LostReply {
        match self.mm().on_loss(space) {
            OnLoss::Signal => LostReply::Signal,
            OnLoss::Abort => LostReply::Abort,
            OnLoss::Sink if self.mm().sink(space, page).is_ok() => LostReply::Repeat,
            OnLoss::Sink => LostReply::Signal,
        }
    }

    fn vacate(&self, space: SpaceNo, page: PageNo) -> bool {
        self.mm().vacate(space, page) == Ok(true)
    }
}

/// Many memory images inside one budget; a handle that can be cloned and sent to other threads.
///
/// The images live until their [`Space`]s are dropped, also when no `Memory` handle is left.
#[derive(Clone, Debug)]
pub struct Memory(pub(crate) Arc<Inner>);

impl Memory {
    /// A builder with the defaults: no budget, faults in the faulting thread.
    #[must_use]
    pub fn builder() -> MemoryBuilder {
        MemoryBuilder::default()
    }

    /// A new space of zeros. Its pages are never shared with those of other spaces but its forks.
    ///
    /// # Errors
    /// [`Error::BadSize`]; [`Error::Space`] when there is no room for it, or no addresses.
    pub fn create(&self, size: SpaceSize) -> Result<Space, Error> {
        self.create_in(size, Domain::default())
    }

    /// The same in a merge domain: only pages of one domain are ever stored once. Spaces made by
    /// [`create`](Self::create) are all in domain 0.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_in(&self, size: SpaceSize, domain: Domain) -> Result<Space, Error> {
        let no = self.0.mm().create(size.pages()?, domain)?;
        let space = Space::new(self.0.clone(), no);
        space.set_merging(self.0.merging)?;
        space.set_on_loss(self.0.on_loss)?;
        Ok(space)
    }

    /// What is held and what was done so far.
    #[must_use]
    pub fn stats(&self) -> MemoryStats {
        MemoryStats::read(&self.0)
    }

    /// Moves up to `pages` frames to the store now; returns how many went.
    pub fn reclaim(&self, pages: u32) -> u32 {
        self.0.mm().reclaim(pages)
    }

    /// Looks at every page of every space that takes part, now, and merges what is equal.
    ///
    /// # Errors
    /// [`Error::Space`] when the budget has no room for the list of spaces.
    pub fn merge_now(&self) -> Result<MergeStep, Error> {
        Ok(self.0.mm().merge_round(None)?)
    }

    /// Starts the thread that merges, as [`MemoryBuilder::merge_cpu_percent`] would have: for who has something to do first. Does
    /// nothing when it runs already.
    ///
    /// # Panics
    /// When `percent` is negative, or not a number.
    pub fn merge_in_background(&self, percent: f64) {
        assert!(percent >= 0.0, "{percent} per cent of a core");
        if percent > 0.0 {
            self.0.start_merger((percent / 100.0).min(1.0));
        }
    }

    /// What the spaces of a domain, or all spaces, share in memory, by merging and by forks. Takes time in proportion to
    /// their size.
    #[must_use]
    pub fn sharing(&self, domain: Option<Domain>) -> Sharing {
        self.0.mm().sharing(domain)
    }

    /// Checks every invariant of the manager by a full scan; call it when no thread uses any space. The
    /// background threads rest meanwhile.
    ///
    /// # Errors
    /// A line for each invariant that does not hold: memfold has a bug, or memory was corrupted.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let _resting = self.0.reclaimer.get().map(Reclaimer::pause);
        let _merged = self.0.merger.get().map(Merger::pause);
        self.0
            .mm()
            .world()
            .map_err(|all| all.iter().map(ToString::to_string).collect())
    }
}
