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

use crate::worker::Worker;
use std::thread;
use std::time::Duration;

/// How soon the thread comes back for what it could not do, at first and at last.
const SOON: Duration = Duration::from_millis(100);
const LATE: Duration = Duration::from_secs(10);

/// Starts the thread; without one (the system refuses) faults reclaim for themselves. `step` does
/// what there is to do, and says whether something is left that could not be done yet; nothing when
/// the memory has ended.
pub(crate) fn start(step: impl FnMut() -> Option<bool> + Send + 'static) -> Worker {
    Worker::start("memfold-reclaim", move || run(step))
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
