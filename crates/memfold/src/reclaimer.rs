//! The background reclaimer: a thread that reclaims ahead of need, between the budget's watermarks.
//!
//! Woken by faults that find the budget low (from signal handlers: a flag and an unpark, nothing else). It
//! holds the manager only weakly while it waits, so that the last handle ends it.

use crate::memory::Inner;
use memfold_linux::spawn_quiet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

/// How long the thread sleeps when nobody wakes it: bounds how long it outlives its manager.
const NAP: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Reclaimer {
    thread: Option<Thread>,
    wanted: AtomicBool,
    /// Held while the thread works; never by a fault.
    working: Mutex<()>,
}

impl Reclaimer {
    /// Starts the thread; without one (the system refuses) faults reclaim for themselves.
    pub fn start(inner: Weak<Inner>) -> Self {
        let spawned = spawn_quiet("memfold-reclaim", move || run(&inner));
        Self {
            thread: spawned.ok().map(|handle| handle.thread().clone()),
            wanted: AtomicBool::new(false),
            working: Mutex::new(()),
        }
    }

    /// There is work. Async-signal-safe.
    pub fn wake(&self) {
        // Relaxed: a hint; `unpark` orders what matters.
        if self.wanted.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
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

fn run(inner: &Weak<Inner>) {
    loop {
        thread::park_timeout(NAP);
        let Some(inner) = inner.upgrade() else { return };
        inner.reclaim_ahead();
    }
}
