//! A thread of memfold's that sleeps until there is work: what faults and checks see of it.
//!
//! A fault that finds work sets a flag, and wakes the thread: a system call only where nobody has
//! done so since the thread last looked. Whoever needs quiet takes the lock under which the thread
//! works. The end of it all wakes the thread, which finds then for whom it worked gone. What it
//! does, and when, is in `reclaimer.rs` and `writer.rs`.

use memfold_linux::spawn_quiet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Thread;

#[derive(Debug)]
pub(crate) struct Worker {
    thread: Option<Thread>,
    wanted: AtomicBool,
    /// Held while the thread works; never by a fault.
    working: Mutex<()>,
}

impl Worker {
    /// Starts a thread of this name, unless the system refuses one.
    pub fn start(name: &'static str, run: impl FnOnce() + Send + 'static) -> Self {
        let spawned = spawn_quiet(name, run);
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

    /// The thread is awake, and looks at what there is to do.
    pub fn looks(&self) {
        // Relaxed: a hint.
        self.wanted.store(false, Ordering::Relaxed);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }
}
