//! What a [`Memory`](crate::Memory), its spaces and its threads share: the manager joined to the
//! Linux host and the compressed store.
//!
//! It is also where faults arrive (`FaultSink`): in a signal handler or in the handler thread, so
//! nothing here allocates on that way or waits for a lock that a program could hold.

use crate::error::Error;
use crate::manager::{Entered, Manager};
use crate::merger::{Found, Merger, Merges, STEP_PAGES};
use crate::reclaimer;
use crate::timings::{Step, Timings};
use crate::warning::Warning;
use crate::worker::Worker;
use crate::writer::{self, Work, Writes};
use memfold_host::addr::{Access, PageNo, Run, SpaceNo};
use memfold_host::{FaultReply, FaultSink, LostReply, VacateReply};
use memfold_linux::{LinuxHost, Own, Window};
use memfold_mm::{Door, Effort, Ended, Losses, Merging, Mm, OnLoss};
use memfold_stores::CompressedStore;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Inner {
    // Private, so that everybody asks first whether it is this process's own.
    mm: Own<Manager>,
    pub reclaimer: OnceLock<Worker>,
    pub merger: OnceLock<Merger>,
    pub writer: OnceLock<Worker>,
    /// How long pages of files wait to be written out; not at all written when it is nothing.
    pub write_back: Duration,
    pub merging: Merging,
    pub on_loss: OnLoss,
    /// Found at building.
    pub warnings: Vec<Warning>,
    /// Found since; once.
    pub huge: OnceLock<Warning>,
    pub timings: Timings,
}

/// Bytes of the pool that the kernel may count beyond the account: pages that are moving, as two
/// numbers are read one after the other.
const POOL_SLACK: u64 = 2 << 20;

impl Inner {
    pub fn new(
        mm: Mm<LinuxHost, CompressedStore>,
        merging: Merging,
        on_loss: OnLoss,
        write_back: Duration,
        warnings: Vec<Warning>,
    ) -> Self {
        Self {
            mm: Own::new(mm.host().lineage(), Manager::new(mm)),
            reclaimer: OnceLock::new(),
            merger: OnceLock::new(),
            writer: OnceLock::new(),
            write_back,
            merging,
            on_loss,
            warnings,
            huge: OnceLock::new(),
            timings: Timings::new(),
        }
    }

    /// The manager, for every operation: a child of `fork(2)`, in which its locks may be held for
    /// ever by threads that are not there, does not get it.
    pub fn mm(&self) -> Result<Entered<'_>, Error> {
        Ok(self.pass()?)
    }

    /// The handle of a space is dropped. In a child of `fork(2)` it is the parent's, which goes on
    /// using it.
    pub fn end_space(&self, space: SpaceNo) {
        match Door::end_space(self, space) {
            Ended::Now | Ended::Later(_) => self.ended(),
            Ended::Inherited => self.renounce(),
        }
    }

    /// The handle of a pin is dropped; in a child of `fork(2)` the pin is the parent's.
    pub fn end_pin(&self, space: SpaceNo, run: Run) {
        Door::end_pin(self, space, run);
    }

    /// The window of a living space. A child of `fork(2)` may ask too, and waits for nobody: it may
    /// get `None`.
    pub fn window(&self, space: SpaceNo) -> Option<Window> {
        if self.mm.is_inherited() {
            return self.mm.try_enter()?.host().window(space);
        }
        let window = self.mm.enter().host().window(space);
        Some(window.expect("a living space has a window"))
    }

    /// A child of `fork(2)` closes its copies of the descriptors, if it can have them without
    /// waiting.
    pub fn renounce(&self) {
        if let Some(mm) = self.mm.try_enter() {
            mm.host().renounce();
        }
    }

    /// A space has ended, or could not: frees tables that are not in use, when nobody is in the
    /// manager. What could not be done now the reclaimer does later.
    pub fn ended(&self) {
        let left = self.give_back();
        if let Some(reclaimer) = self.reclaimer.get().filter(|_| left) {
            reclaimer.wake();
        }
    }

    /// Frees tables that are not in use. True when something is left that may be possible a moment
    /// later: more tables, or a space that could not end.
    fn give_back(&self) -> bool {
        self.mm.give_back() || self.mm.enter().doomed().count() != 0
    }

    /// Something was done that may have used memory, or made pages equal: wakes who sleeps until
    /// then, and has work now. A few loads; async-signal-safe.
    pub fn done(&self, mm: &Mm<LinuxHost, CompressedStore>) {
        if let Some(reclaimer) = self.reclaimer.get().filter(|_| mm.wants_reclaim()) {
            reclaimer.wake();
        }
        self.note_writer(mm);
        self.note_merger();
    }

    fn note_writer(&self, mm: &Mm<LinuxHost, CompressedStore>) {
        if let Some(writer) = self.writer.get()
            && mm.files().wants_write_back()
        {
            writer.wake();
        }
    }

    fn note_merger(&self) {
        if let Some(merger) = self.merger.get() {
            merger.note();
        }
    }

    /// Bytes of the pool as the kernel counts them. Where that is more than what is charged, the
    /// machine makes huge pages since the memory was built: that is said, once.
    pub fn pool_bytes(&self, mm: &Mm<LinuxHost, CompressedStore>) -> u64 {
        let before = mm.usage().pool;
        let held = mm.host().pool_bytes().unwrap_or(0);
        let charged = before.max(mm.usage().pool);
        if held > charged + POOL_SLACK && self.huge.get().is_none() {
            mm.host().keep_pages_single();
            let warning = Warning::HugePool { held, charged };
            if self.huge.set(warning).is_ok() {
                warning.log();
            }
        }
        held
    }

    /// Looks after what the machine may have done to windows. Nobody does so by the clock: the
    /// background threads when they work, evictions that were asked for, checks; and each opening
    /// of a window asks by itself.
    pub fn watch(&self) {
        let mm = self.mm.enter();
        if mm.host().watch_ksm() {
            memfold_mm::audit(&mm);
        }
    }

    /// The same after a window was opened, which looks at the machine itself.
    pub fn opened(&self) {
        let mm = self.mm.enter();
        if mm.host().suspects_ksm() {
            memfold_mm::audit(&mm);
        }
        self.done(&mm);
    }

    /// Lets faults arrive, and starts the reclaimer if it is wanted.
    pub fn join(self: &Arc<Self>, background: bool) {
        let weak: Weak<Self> = Arc::downgrade(self);
        self.mm.enter().host().attach(weak.clone());
        if background {
            let step = move || Some(weak.upgrade()?.reclaim_ahead());
            let _ = self.reclaimer.set(reclaimer::start(step));
        }
    }

    /// Starts the thread that merges, with this share of a core; only once.
    pub fn start_merger(self: &Arc<Self>, share: f64) {
        if self.merger.set(Merger::new()).is_ok() {
            Merger::start(Arc::downgrade(self), share);
        }
    }

    /// Starts the thread that writes pages of files out, if it is wanted; only once.
    pub fn start_writer(self: &Arc<Self>) {
        if !self.write_back.is_zero() {
            let weak = Arc::downgrade(self);
            let start = || writer::start(self.write_back, move || weak.upgrade());
            let _ = self.writer.get_or_init(start);
        }
    }

    /// Processor time that the merger has used.
    pub fn merge_cpu(&self) -> Duration {
        self.merger.get().map_or(Duration::ZERO, Merger::cpu)
    }

    /// The reclaimer's work: until the budget is at its high watermark, or nothing more can go.
    /// True when something is left that may be possible a moment later.
    pub fn reclaim_ahead(&self) -> bool {
        self.watch();
        let reclaimer = self.reclaimer.get();
        let _working = reclaimer.map(Worker::pause);
        if let Some(reclaimer) = reclaimer {
            reclaimer.looks();
        }
        if self.mm.enter().doomed().count() != 0 {
            self.mm.enter().doomed().drop_all();
        }
        if self.mm.enter().wants_reclaim() {
            while self.mm.enter().reclaim_in_background() {}
        }
        self.give_back()
    }
}

impl Door for Inner {
    type Host = LinuxHost;
    type Store = CompressedStore;
    type Entered<'a> = Entered<'a>;

    fn is_inherited(&self) -> bool {
        self.mm.is_inherited()
    }

    fn enter(&self) -> Entered<'_> {
        self.mm.enter()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // In a child of fork(2) the manager is not dropped; its descriptors need not stay.
        self.renounce();
    }
}

impl Merges for Inner {
    fn merger(&self) -> Option<&Merger> {
        self.merger.get()
    }

    fn merge_step(&self) -> Found {
        self.watch();
        let merger = self.merger.get();
        let _working = merger.map(Merger::pause);
        let mm = self.mm.enter();
        let unsettled = || {
            let now = mm.stats();
            now.merge_resting + now.merge_changed + now.merge_busy
        };
        let before = unsettled();
        let step = mm.merge(STEP_PAGES, Effort::Steady);
        let found = Found {
            round_over: step.round_over,
            busy: step.merged + step.zeroed != 0 || unsettled() != before,
        };
        drop(mm);
        if let Some(merger) = merger {
            merger.note_cpu();
        }
        found
    }
}

impl Writes for Arc<Inner> {
    fn work(&self) -> Work {
        if let Some(writer) = self.writer.get() {
            writer.looks();
        }
        let mm = self.mm.enter();
        // Heard once: otherwise each fault would wake the thread until the pass is due.
        match (mm.files().hear_of_stores(), mm.files().much_waits()) {
            (false, _) => Work::None,
            (true, false) => Work::Later,
            (true, true) => Work::Now,
        }
    }

    fn pass(&self) -> bool {
        let _working = self.writer.get().map(Worker::pause);
        self.mm.enter().files().write_back()
    }
}

impl FaultSink for Inner {
    fn fault(&self, space: SpaceNo, page: PageNo, access: Access) -> FaultReply {
        let begun = self.timings.begin();
        let mm = self.mm.enter();
        mm.make_room(space, || self.reclaimer.get().is_some_and(Worker::wake));
        let reply = match mm.fault(space, page, access) {
            Ok(()) => FaultReply::Resolved,
            Err(_) => FaultReply::Failed,
        };
        self.note_writer(&mm);
        self.note_merger();
        let step = match access {
            Access::Read => Step::Load,
            Access::Write => Step::Store,
        };
        self.timings.end(step, begun);
        reply
    }

    fn stuck(&self, space: SpaceNo, page: PageNo) {
        self.mm.enter().lost(space, page);
    }

    fn lost(&self, space: SpaceNo, page: PageNo) -> LostReply {
        let mm = self.mm.enter();
        let losses = Losses::of(&mm);
        match losses.on_loss(space) {
            OnLoss::Signal => LostReply::Signal,
            OnLoss::Abort => LostReply::Abort,
            OnLoss::Sink if losses.sink(space, page).is_ok() => LostReply::Repeat,
            OnLoss::Sink => LostReply::Signal,
        }
    }

    fn vacate(&self, space: SpaceNo, page: PageNo) -> VacateReply {
        let mm = self.mm.enter();
        Losses::of(&mm).vacate(space, page).unwrap_or(VacateReply::Kept)
    }
}
