//! All clones, and how they came to be: [`Clones`].

use super::body::Frozen;
use super::failure::{CloneFailure, Failed, Kind, REPORTED, Stop};
use super::instance::Instance;
use super::interrupt::Interrupt;
use super::program::Program;
use super::progress::{Phase, Progress};
use super::times::Times;
use crate::args::{Making, RunOptions};
use crate::error::Error;
use std::time::Instant;

/// Forks of the bare memory that are made and dropped again to see what they cost.
const BARE_FORKS: u32 = 16;

/// The clones of a run.
#[derive(Default)]
pub(crate) struct Clones {
    /// Those that failed later are gone.
    pub(crate) instances: Vec<Option<Instance>>,
    /// How long it took to make each: a fork with its instance, or a warm-up.
    pub(crate) starts: Times,
    /// How long the fork of the memories alone takes.
    pub(crate) bare_forks: Times,
    /// Bytes held before the first clone was made.
    pub(crate) base_bytes: u64,
    /// Clones that could not be made.
    pub(crate) failed: u32,
    /// The first of these.
    pub(crate) failures: Vec<Failed>,
}

impl Clones {
    /// Makes all clones, or as many as there can be.
    pub(crate) fn make(
        program: &Program,
        options: &RunOptions,
        interrupt: &Interrupt,
        progress: &mut Progress,
    ) -> Result<Self, Error> {
        let mut made = Clones::default();
        let mut snapshot = None;
        if options.making() == Making::Fork {
            progress.begin(Phase::Warm, 1);
            snapshot = match warm(program) {
                Ok(snapshot) => snapshot,
                Err(Stop::Interrupted) => return Ok(made),
                Err(Stop::Failed(failure)) => return Err(warm_error(failure)),
            };
        }
        made.base_bytes = program.memory().map_or(0, |memory| memory.stats().usage.total);
        let clones = options.clones.get();
        let phase = snapshot.as_ref().map_or(Phase::Warm, |_| Phase::Fork);
        progress.begin(phase, u64::from(clones));
        if let Some(snapshot) = &snapshot {
            made.fork_bare(snapshot, clones.min(BARE_FORKS));
        }
        for number in 0..clones {
            if interrupt.wanted() {
                break;
            }
            let goes_on = made.start(program, snapshot.as_ref(), number, clones);
            progress.bar().inc(1);
            if goes_on == GoesOn::No {
                break;
            }
        }
        Ok(made)
    }

    /// Makes one clone.
    fn start(&mut self, program: &Program, snapshot: Option<&Frozen>, number: u32, clones: u32) -> GoesOn {
        let begin = Instant::now();
        let made = match snapshot {
            Some(snapshot) => Instance::forked(program, snapshot, number),
            None => Instance::warmed(program, number).map(|instance| (instance, begin.elapsed())),
        };
        match made {
            Ok((instance, time)) => {
                self.starts.push(time);
                self.instances.push(Some(instance));
                GoesOn::Yes
            }
            Err(Stop::Interrupted) => GoesOn::No,
            Err(Stop::Failed(failure)) => {
                // Without room for this one there is none for those after it.
                let all = match failure.kind {
                    Kind::Budget => snapshot.is_some(),
                    kind => kind == Kind::Machine,
                };
                self.failed += if all { clones - number } else { 1 };
                if self.failures.len() < REPORTED {
                    self.failures.push(Failed::new(number, None, failure));
                }
                if all { GoesOn::No } else { GoesOn::Yes }
            }
        }
    }

    /// A failure here says nothing yet: the clones will meet it, too.
    fn fork_bare(&mut self, snapshot: &Frozen, times: u32) {
        for _ in 0..times {
            let begin = Instant::now();
            let forks = snapshot.fork_bare();
            if forks.is_ok() {
                self.bare_forks.push(begin.elapsed());
            }
        }
    }
}

/// Whether the next clone is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GoesOn {
    Yes,
    No,
}

/// Warms one instance up and freezes it; the instance itself is not needed any more.
fn warm(program: &Program) -> Result<Option<Frozen>, Stop> {
    Instance::warmed(program, 0)?.freeze()
}

fn warm_error(CloneFailure { kind, message }: CloneFailure) -> Error {
    match kind {
        Kind::Budget => Error::WarmBudget(message),
        Kind::Machine => Error::WarmMachine(message),
        _ => Error::Warm(message),
    }
}
