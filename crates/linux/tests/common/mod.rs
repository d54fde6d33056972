//! What the host's tests share: a tiny sink, and windows as slices of atomics.
#![allow(dead_code, reason = "each test file uses its own part")]

pub mod child;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::time::Duration;

use memfold_host::addr::{Access, PAGE_SIZE, PageBytes, PageNo, PoolPage, Run, SpaceNo};
use memfold_host::{FaultReply, FaultSink, LostReply, VacateReply};
use memfold_host::{Host, Protection};
use memfold_linux::{Builder, Delivery, LinuxHost};

// Relaxed: counters, flags, and words that one thread writes; locks and joins order the rest.
pub const COUNT: Ordering = Ordering::Relaxed;

/// What the sink does about a fault; runs under one lock, as a manager's faults of one page would.
pub type Rule = Box<dyn FnMut(&LinuxHost, SpaceNo, PageNo, Access) -> FaultReply + Send>;

/// A sink that counts, and follows a rule.
pub struct Sink {
    host: Arc<LinuxHost>,
    rule: Mutex<Rule>,
    pub faults: AtomicU64,
}

impl FaultSink for Sink {
    fn fault(&self, space: SpaceNo, page: PageNo, access: Access) -> FaultReply {
        self.faults.fetch_add(1, COUNT);
        (self.rule.lock().expect("no rule panics"))(&self.host, space, page, access)
    }

    /// Host code goes on with zeros that go nowhere.
    fn lost(&self, space: SpaceNo, page: PageNo) -> LostReply {
        let shown = self
            .host
            .show_standby(space, page, &[0; PAGE_SIZE], Protection::Writable);
        assert_eq!(shown, Ok(()));
        LostReply::Repeat
    }

    fn vacate(&self, space: SpaceNo, page: PageNo) -> VacateReply {
        self.host.drop_pages(space, run(page.0, 1));
        VacateReply::Vacated
    }
}

/// A host with a sink.
pub struct Harness {
    pub host: Arc<LinuxHost>,
    pub sink: Arc<Sink>,
}

impl Harness {
    /// A pool page gets the [stamped] bytes of a value.
    pub fn stamp_pool(&self, at: PoolPage, value: u64) {
        self.host.pool_write(at, &stamped(value)).expect("memory");
    }

    pub fn new(builder: Builder) -> Self {
        let host = builder
            .build()
            .unwrap_or_else(|error| panic!("these tests need userfaultfd: {error}"));
        let host = Arc::new(host);
        let rule: Rule =
            Box::new(|_, space, page, access| panic!("unexpected {access:?} fault of {space}, page {page}"));
        let sink = Arc::new(Sink {
            host: Arc::clone(&host),
            rule: Mutex::new(rule),
            faults: AtomicU64::new(0),
        });
        let weak: Weak<Sink> = Arc::downgrade(&sink);
        host.attach(weak);
        Self { host, sink }
    }

    pub fn with(delivery: Delivery) -> Self {
        Self::new(LinuxHost::builder().delivery(delivery))
    }

    /// From now on faults are decided so.
    pub fn rule(&self, rule: impl FnMut(&LinuxHost, SpaceNo, PageNo, Access) -> FaultReply + Send + 'static) {
        *self.sink.rule.lock().expect("no rule panics") = Box::new(rule);
    }

    /// Decides a fault as the sink would, and holds other faults off meanwhile.
    pub fn locked<R>(&self, step: impl FnOnce(&LinuxHost) -> R) -> R {
        let _rule = self.sink.rule.lock().expect("no rule panics");
        step(&self.host)
    }

    pub fn faults(&self) -> u64 {
        self.sink.faults.swap(0, COUNT)
    }

    /// An open window of `len` pages, as words.
    pub fn open(&self, space: u32, backing: u64, len: u32) -> View {
        self.host
            .open(SpaceNo(space), PoolPage(backing), len, len)
            .expect("a window");
        self.view(space)
    }

    pub fn view(&self, space: u32) -> View {
        let window = self.host.window(SpaceNo(space)).expect("it is open");
        View {
            base: window.base.as_ptr() as usize,
        }
    }
}

/// The words of a window; access may fault.
#[derive(Clone, Copy, Debug)]
pub struct View {
    pub base: usize,
}

impl View {
    fn word(&self, page: u32, word: usize) -> &AtomicU64 {
        let addr = self.base + page as usize * PAGE_SIZE + word * 8;
        // SAFETY: the tests name pages of open windows only, and use them as atomics only.
        unsafe { &*(addr as *const AtomicU64) }
    }

    pub fn get(&self, page: u32, word: usize) -> u64 {
        self.word(page, word).load(COUNT)
    }

    pub fn set(&self, page: u32, word: usize, value: u64) {
        self.word(page, word).store(value, COUNT);
    }

    pub fn add(&self, page: u32, word: usize, value: u64) -> u64 {
        self.word(page, word).fetch_add(value, COUNT)
    }
}

/// A page whose words are `stamp`, `stamp + 1`, ...
pub fn stamped(stamp: u64) -> PageBytes {
    let mut page = [0; PAGE_SIZE];
    for (n, word) in page.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&(stamp + n as u64).to_ne_bytes());
    }
    page
}

pub fn run(first: u32, len: u32) -> Run {
    Run {
        first: PageNo(first),
        len,
    }
}

/// Runs the test in its own thread and gives up after a minute: no test hangs.
pub fn bounded(test: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
        let _ = done.send(());
        outcome
    });
    wait.recv_timeout(Duration::from_secs(60))
        .expect("the test hangs");
    if let Err(panic) = thread.join().expect("the panic was caught") {
        std::panic::resume_unwind(panic);
    }
}
