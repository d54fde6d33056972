//! Calls all clones, round by round: call 0 of every clone, then call 1, and so on, so
//! that all of them stay in use.
//!
//! The clones are divided among threads; each store is used by its thread
//! alone. Threads share nothing but the interrupt and the progress bar, and
//! their tallies are added up at the end.

use super::digest::Digest;
use super::entry::Entry;
use super::failure::{Failed, REPORTED, Stop};
use super::instance::Instance;
use super::interrupt::Interrupt;
use super::order::Order;
use crate::args::Before;
use crate::error::Error;
use indicatif::ProgressBar;
use std::sync::OnceLock;
use std::{io, panic, thread};

/// What is to be done.
#[derive(Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub(crate) entry: &'a Entry,
    pub(crate) calls: u32,
    pub(crate) threads: u32,
    pub(crate) order: Order,
    pub(crate) before: Before,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) bar: &'a ProgressBar,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) digest: Digest,
    pub(crate) answered: u64,
    pub(crate) failed: u32,
    /// The first of the failures.
    pub(crate) failures: Vec<Failed>,
}

impl Tally {
    fn fail(&mut self, failed: Failed) {
        self.failed += 1;
        if self.failures.len() < REPORTED {
            self.failures.push(failed);
        }
    }

    fn join(&mut self, other: Tally) {
        self.digest.join(other.digest);
        self.answered += other.answered;
        self.failed += other.failed;
        self.failures.extend(other.failures);
        self.failures.sort_by_key(|failed| (failed.call, failed.clone));
        self.failures.truncate(REPORTED);
    }
}

/// Calls every instance as often as planned, or until it fails or the user wants an end. No call is
/// made if the system refuses a thread.
pub(crate) fn run(instances: &mut [Option<Instance>], plan: Plan<'_>) -> Result<Tally, Error> {
    let threads = usize::try_from(plan.threads).unwrap_or(usize::MAX);
    let share = instances.len().div_ceil(threads).max(1);
    let mut shares = instances.chunks_mut(share);
    let first = shares.next().unwrap_or_default();
    // Whether all threads are there, and the calls begin.
    let begins = OnceLock::new();
    thread::scope(|scope| {
        let start = |share| {
            let begins = &begins;
            thread::Builder::new().spawn_scoped(scope, move || match begins.wait() {
                true => rounds(share, plan),
                false => Tally::default(),
            })
        };
        let others: io::Result<Vec<_>> = shares.map(start).collect();
        let _ = begins.set(others.is_ok());
        let others =
            others.map_err(|source| Error::system("to start as many threads as --threads says", source))?;
        let mut tally = rounds(first, plan);
        for other in others {
            tally.join(other.join().unwrap_or_else(|broken| panic::resume_unwind(broken)));
        }
        Ok(tally)
    })
}

fn rounds(instances: &mut [Option<Instance>], plan: Plan<'_>) -> Tally {
    let mut tally = Tally::default();
    let mut places: Vec<usize> = (0..instances.len()).collect();
    for call in 0..plan.calls {
        plan.order.arrange(&mut places, call);
        for &place in &places {
            if plan.interrupt.wanted() {
                return tally;
            }
            step(&mut instances[place], call, plan, &mut tally);
            plan.bar.inc(1);
        }
    }
    tally
}

/// One call of one instance, if it is still there. One that fails is discarded with all its memory:
/// nobody can say what state it is in, and the others may need the room.
fn step(place: &mut Option<Instance>, call: u32, plan: Plan<'_>, tally: &mut Tally) {
    let Some(instance) = place else { return };
    let evicted = match plan.before {
        Before::Nothing => Ok(()),
        Before::Evict => instance.evict().map_err(Stop::Failed),
    };
    match evicted.and_then(|()| instance.call(plan.entry, call, &mut tally.digest)) {
        Ok(()) => {
            instance.answered += 1;
            tally.answered += 1;
        }
        Err(Stop::Interrupted) => {}
        Err(Stop::Failed(failure)) => {
            tally.fail(Failed::new(instance.number(), Some(call), failure));
            *place = None;
        }
    }
}
