//! SIGINT: what it does depends on how far the run is.
//!
//! ```text
//!  nothing to report yet --SIGINT--> the process ends with status 130
//!  in order              --SIGINT--> wanted: no new call begins, running calls trap
//!  wanted                --SIGINT--> the process ends with status 130
//! ```
//!
//! Running calls trap because the engine's epoch, which stands still otherwise,
//! passes the deadline that every store has ([`DEADLINE`]). Compiled code
//! compares the two at each loop and function entry; nothing else is needed.
//! The signal arrives at a thread of its own, so anything may be done there.

use crate::error::{Error, Exit};
use crate::output;
use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use wasmtime::Engine;

/// Epochs until a store's calls trap: the next one.
pub(crate) const DEADLINE: u64 = 1;

const NOTHING_YET: u8 = 0;
const IN_ORDER: u8 = 1;
const WANTED: u8 = 2;

/// Whether the user wants the run to end; shared by all its threads.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    // Atomic: one of the three constants above, which only grows.
    state: Arc<AtomicU8>,
}

impl Interrupt {
    /// Watches for SIGINT from now on. Once in a process.
    pub(crate) fn watch(engine: &Engine) -> Result<Self, Error> {
        let refused = |source| Error::system("to watch for SIGINT", source);
        let interrupt = Interrupt {
            state: Arc::new(AtomicU8::new(NOTHING_YET)),
        };
        let mut signals = Signals::new([SIGINT]).map_err(refused)?;
        let (watched, engine) = (interrupt.clone(), engine.clone());
        thread::Builder::new()
            .name("memfold-sigint".into())
            .spawn(move || signals.forever().for_each(|_| watched.signal(&engine)))
            .map_err(refused)?;
        Ok(interrupt)
    }

    /// From now on there is something to report.
    pub(crate) fn in_order(&self) {
        // Relaxed: nothing else is published by it.
        self.state.fetch_max(IN_ORDER, Ordering::Relaxed);
    }

    /// Whether no new call must begin.
    pub(crate) fn wanted(&self) -> bool {
        // Relaxed: a call that begins too late still traps at its first check of the epoch.
        self.state.load(Ordering::Relaxed) == WANTED
    }

    fn signal(&self, engine: &Engine) {
        let swap = |from, to| {
            // Relaxed: nothing else is published by it; the engine orders its epoch.
            let swapped = self
                .state
                .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
            swapped.is_ok()
        };
        if swap(IN_ORDER, WANTED) {
            engine.increment_epoch();
            output::complain(&"interrupted, finishing (once more ends it at once)");
        } else {
            output::complain(&"interrupted");
            process::exit(i32::from(Exit::Interrupted.code()));
        }
    }
}
