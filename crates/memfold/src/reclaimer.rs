//! The background reclaimer: a thread that reclaims ahead of need, between the budget's watermarks.
//!
//! It works beside the threads that fault, so that their faults only fill pages, as the kernel's
//! `kswapd` does; where it is too slow they help (`Mm::make_room`). What it takes out of windows
//! interrupts the threads that run, so it takes many pages in one call. It is scheduled as whoever
//! built the memory: faults may wait for what it holds, so it must not come after them.
//!
//! The thread sleeps until somebody has work for it, without a clock: a fault or an operation of
//! the host's that finds the budget low (a flag and an unpark, which is a system call only when the
//! thread sleeps), a space that could not end, tables that nobody uses and that could not be freed
//! at that moment. Only these last two make it come back by itself, at longer and longer intervals,
//! while they last. It holds the manager only weakly while it waits; the manager's end wakes it,
//! and ends it.

use memfold_linux::spawn_quiet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

/// How soon the thread comes back for what it could not do, at first and at last.
const SOON: Duration = Duration::from_millis(100);
const LATE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Reclaimer {
    thread: Option<Thread>,
    wanted: AtomicBool,
    /// Held while the thread works; never by a fault.
    working: Mutex<()>,
}

impl Reclaimer {
    /// Starts the thread; without one (the system refuses) faults reclaim for themselves. `step`
    /// does what there is to do, and says whether something is left that could not be done yet;
    /// nothing when the memory has ended.
    pub fn start(step: impl FnMut() -> Option<bool> + Send + 'static) -> Self {
        let spawned = spawn_quiet("memfold-reclaim", move || run(step));
        Self {
            thread: spawned.ok().map(|handle| handle.thread().clone()),
            wanted: AtomicBool::new(false),
            working: Mutex::new(()),
        }
    }

    /// There is work; whether there is a thread to do it. Async-signal-safe.
    pub fn wake(&self) -> bool {
        let Some(thread) = &self.thread else { return false };
        // Relaxed: a hint; `unpark` orders what matters.
        if !self.wanted.load(Ordering::Relaxed) && !self.wanted.swap(true, Ordering::Relaxed) {
            thread.unpark();
        }
        true
    }

    /// Waits until the thread rests, and keeps it resting while the guard lives.
    pub fn pause(&self) -> MutexGuard<'_, ()> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn began(&self) {
        // Relaxed: a hint.
        self.wanted.store(false, Ordering::Relaxed);
    }
}

impl Drop for Reclaimer {
    fn drop(&mut self) {
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }
}

fn run(mut step: impl FnMut() -> Option<bool>) {
    let mut left = None;
    loop {
        match left {
            None => thread::park(),
            Some(nap) => thread::park_timeout(nap),
        }
        let Some(more) = step() else { return };
        left = more.then(|| left.map_or(SOON, |nap: Duration| (nap * 2).min(LATE)));
    }
}
