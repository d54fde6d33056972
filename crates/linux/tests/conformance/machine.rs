//! How a program and the kernel use a window, on each host.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, Weak};

use memfold_host::addr::{Access, PAGE_SIZE, PageNo, Run, SpaceNo};
use memfold_host::{FaultReply, FaultSink, LostReply, VacateReply};
use memfold_host::{Host, Store};
use memfold_linux::{Delivery, LinuxHost};
use memfold_mm::{Config, FaultError, Losses, Mm};
use memfold_sim::SimHost;
use memfold_sim::program::{self, Place};

// Relaxed: one thread uses the windows.
const BYTE: Ordering = Ordering::Relaxed;

/// What the suite needs of a host beside the manager's seam.
pub trait Machine: Host + Sized + 'static {
    /// A manager on such a host.
    fn manager<S: Store + 'static>(store: S, config: Config, delivery: Delivery) -> Arc<Mm<Self, S>>;

    /// A program loads bytes of one page.
    fn load<S: Store>(
        mm: &Mm<Self, S>,
        space: SpaceNo,
        page: PageNo,
        at: usize,
        out: &mut [u8],
    ) -> Result<(), FaultError>;

    /// A program stores bytes to one page.
    fn store<S: Store>(
        mm: &Mm<Self, S>,
        space: SpaceNo,
        page: PageNo,
        at: usize,
        data: &[u8],
    ) -> Result<(), FaultError>;

    /// The kernel begins or ends to use pinned pages.
    fn hold(&self, _space: SpaceNo, _run: Run) {}
    fn let_go(&self, _space: SpaceNo, _run: Run) {}

    /// Runs `look` while no program runs.
    fn at_rest<R>(&self, look: impl FnOnce() -> R) -> R {
        look()
    }

    /// The kernel stores to a pinned page.
    fn kernel_store(&self, space: SpaceNo, page: PageNo, at: usize, data: &[u8]);
}

impl Machine for SimHost {
    fn manager<S: Store + 'static>(store: S, config: Config, delivery: Delivery) -> Arc<Mm<Self, S>> {
        let host = Self::new(1);
        host.let_take(delivery == Delivery::InThread);
        // On Linux a table is for more pages than these spaces have.
        host.keep_tables();
        Arc::new(Mm::new(host, store, config).expect("room"))
    }

    fn load<S: Store>(
        mm: &Mm<Self, S>,
        space: SpaceNo,
        page: PageNo,
        at: usize,
        out: &mut [u8],
    ) -> Result<(), FaultError> {
        let loaded = program::load(mm, space, Place { page, offset: at }, out);
        let _ = mm.take_failure(space);
        loaded
    }

    fn store<S: Store>(
        mm: &Mm<Self, S>,
        space: SpaceNo,
        page: PageNo,
        at: usize,
        data: &[u8],
    ) -> Result<(), FaultError> {
        let stored = program::store(mm, space, Place { page, offset: at }, data);
        let _ = mm.take_failure(space);
        stored
    }

    fn at_rest<R>(&self, look: impl FnOnce() -> R) -> R {
        Self::at_rest(self, look)
    }

    fn hold(&self, space: SpaceNo, run: Run) {
        Self::hold(self, space, run);
    }

    fn let_go(&self, space: SpaceNo, run: Run) {
        Self::let_go(self, space, run);
    }

    fn kernel_store(&self, space: SpaceNo, page: PageNo, at: usize, data: &[u8]) {
        Self::kernel_store(self, space, Place { page, offset: at }, data);
    }
}

/// Faults of the Linux host go to the manager.
struct Sink<S>(Arc<Mm<LinuxHost, S>>);

impl<S: Store> FaultSink for Sink<S> {
    fn fault(&self, space: SpaceNo, page: PageNo, access: Access) -> FaultReply {
        match self.0.fault(space, page, access) {
            Ok(()) => FaultReply::Resolved,
            Err(_) => FaultReply::Failed,
        }
    }

    fn lost(&self, space: SpaceNo, page: PageNo) -> LostReply {
        match Losses::of(&self.0).sink(space, page) {
            Ok(()) => LostReply::Repeat,
            Err(_) => LostReply::Abort,
        }
    }

    fn vacate(&self, space: SpaceNo, page: PageNo) -> VacateReply {
        Losses::of(&self.0)
            .vacate(space, page)
            .unwrap_or(VacateReply::Kept)
    }
}

/// The bytes of a page, where they are; an access may fault.
fn bytes(host: &LinuxHost, space: SpaceNo, page: PageNo, at: usize, len: usize) -> &[AtomicU8] {
    let window = host.window(space).expect("it is open");
    assert!(
        page.0 < window.len && at + len <= PAGE_SIZE,
        "page {page} of {window:?}"
    );
    let first = window.base.as_ptr() as usize + page.0 as usize * PAGE_SIZE + at;
    // SAFETY: inside the window, which is open while the suite uses it, by atomics only.
    unsafe { std::slice::from_raw_parts(first as *const AtomicU8, len) }
}

/// The child ends with its managers: nobody takes a sink away from under a fault.
static SINKS: Mutex<Vec<Arc<dyn FaultSink>>> = Mutex::new(Vec::new());

impl Machine for LinuxHost {
    fn manager<S: Store + 'static>(store: S, config: Config, delivery: Delivery) -> Arc<Mm<Self, S>> {
        let host = Self::builder().delivery(delivery).build();
        let host = host.unwrap_or_else(|error| panic!("this suite needs userfaultfd: {error}"));
        let mm = Arc::new(Mm::new(host, store, config).expect("room"));
        let sink: Arc<dyn FaultSink> = Arc::new(Sink(Arc::clone(&mm)));
        let weak: Weak<dyn FaultSink> = Arc::downgrade(&sink);
        mm.host().attach(weak);
        SINKS.lock().expect("nobody panics with it").push(sink);
        mm
    }

    fn load<S: Store>(
        mm: &Mm<Self, S>,
        space: SpaceNo,
        page: PageNo,
        at: usize,
        out: &mut [u8],
    ) -> Result<(), FaultError> {
        let len = out.len();
        for (to, from) in out.iter_mut().zip(bytes(mm.host(), space, page, at, len)) {
            *to = from.load(BYTE);
        }
        mm.take_failure(space).map_or(Ok(()), Err)
    }

    fn store<S: Store>(
        mm: &Mm<Self, S>,
        space: SpaceNo,
        page: PageNo,
        at: usize,
        data: &[u8],
    ) -> Result<(), FaultError> {
        for (to, &from) in bytes(mm.host(), space, page, at, data.len()).iter().zip(data) {
            to.store(from, BYTE);
        }
        mm.take_failure(space).map_or(Ok(()), Err)
    }

    fn kernel_store(&self, space: SpaceNo, page: PageNo, at: usize, data: &[u8]) {
        self.write_pinned(space, page, at, data).expect("it is pinned");
    }
}
