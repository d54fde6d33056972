//! Merging of the clones' equal pages while they are called: [`beside`] and [`after`].
//!
//! A round over all clones begins with the first call, on a thread of its own; when it is over, the
//! library's background thread goes on with its share of a core. After the last call comes another
//! round, for what has become equal since. That a round cannot be made is no reason to
//! end a run: the report says it.

use crate::error::Error;
use crate::report::{Merged, Round, Skipped};
use memfold::{Memory, MemoryStats, PAGE_SIZE};
use std::thread;
use std::time::{Duration, Instant};

/// The background thread works in steps, with sleeps between: in so short a time its share means
/// nothing.
const TOO_SHORT: Duration = Duration::from_millis(100);

/// What is known when the calls are over.
#[derive(Debug)]
pub(crate) struct Halfway {
    first: Result<Round, String>,
    /// When the background thread was begun with; its processor time and its pages until then.
    background: (Instant, Duration, u64),
}

/// Does `work` with merging beside it, unless there can be no thread for that; `calls` tells how
/// many calls have ended.
pub(crate) fn beside<T>(
    memory: &Memory,
    percent: f64,
    calls: impl Fn() -> u64 + Send,
    work: impl FnOnce() -> T,
) -> Result<(T, Halfway), Error> {
    thread::scope(|scope| {
        let merging = thread::Builder::new().spawn_scoped(scope, move || {
            let first = round(memory, calls);
            let stats = memory.stats();
            memory.merge_in_background(percent);
            Halfway {
                first,
                background: (Instant::now(), stats.merge_cpu, pages_merged(&stats)),
            }
        });
        let merging = merging.map_err(|source| Error::system("to start a thread for merging", source))?;
        let done = work();
        match merging.join() {
            Ok(halfway) => Ok((done, halfway)),
            Err(broken) => std::panic::resume_unwind(broken),
        }
    })
}

/// The last round, and what all came to.
pub(crate) fn after(memory: &Memory, halfway: Halfway) -> Merged {
    let stats = memory.stats();
    let (begin, cpu, pages) = halfway.background;
    let (time, used) = (begin.elapsed(), stats.merge_cpu.saturating_sub(cpu));
    let last = round(memory, || 0);
    let refused = [&halfway.first, &last]
        .into_iter()
        .find_map(|round| round.as_ref().err().cloned());
    let (sharing, counts) = (memory.sharing(None), memory.stats().counts);
    Merged {
        first: halfway.first.ok(),
        background_pages: pages_merged(&stats) - pages,
        background_cpu_percent: (time > TOO_SHORT).then(|| used.as_secs_f64() / time.as_secs_f64() * 100.0),
        last: last.ok(),
        shared_pages: sharing.shared_frames,
        saved_pages: sharing.saved_pages(),
        scanned_pages: counts.merge_scanned,
        skipped: Skipped {
            busy: counts.merge_busy,
            held: counts.merge_held,
            pinned: counts.merge_pinned,
            resting: counts.merge_resting,
            different: counts.merge_differ,
            changed: counts.merge_changed,
            refused: counts.merge_refused,
        },
        refused,
    }
}

/// Merges all equal pages that there are.
fn round(memory: &Memory, calls: impl Fn() -> u64) -> Result<Round, String> {
    let (before, called) = (pages_held(&memory.stats()), calls());
    let begin = Instant::now();
    let step = memory.merge_now().map_err(|error| error.to_string())?;
    Ok(Round {
        seconds: begin.elapsed().as_secs_f64(),
        pages_before: before,
        pages_after: pages_held(&memory.stats()),
        merged_pages: step.merged,
        zero_pages: step.zeroed,
        calls_meanwhile: calls() - called,
    })
}

fn pages_merged(stats: &MemoryStats) -> u64 {
    stats.counts.merged + stats.counts.merge_zeroed
}

/// In memory: in the pool, or private to a clone.
fn pages_held(stats: &MemoryStats) -> u64 {
    (stats.usage.private + stats.usage.pool) / PAGE_SIZE as u64
}
