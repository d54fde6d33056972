//! Race models: a closure that loom runs on every interleaving of its threads, within a bound.
//!
//! Only under `--cfg loom`. A model either [`holds`], explored to the end, or is [`caught`]: its
//! defect must fail with the words that say so. Both print one line, past the capture of the
//! test harness, with the bound, the number of executions and the time. [`Outside`] is state
//! that the model does not see: the machine around the manager, a tally of outcomes.
//!
//! A blind spot of loom 0.7, and why [`race`] exists: of each atomic it remembers only the last
//! access. Where a thread loads a word and then stores to it, its own load hides an earlier load by
//! another thread, and the order 'store first' is not explored from there. `race` therefore
//! explores the model once for each of its parts, each time with another part in front: the
//! order that is lost with the loading thread in front is found with the storing one there.

use crate::{Arc, thread};
use std::cell::Cell;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many times a running thread may be interrupted in one execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preemptions {
    /// Any number: every interleaving there is.
    All,
    /// So many at most.
    UpTo(usize),
}

/// Steps of one execution; more are taken for a loop without an end.
const STEPS: usize = 100_000;

/// What one thread of a [`race`] does.
pub type Part = Box<dyn FnOnce() + Send>;

/// A thread that does `step` to the scene.
pub fn part<S: Send + Sync + 'static>(scene: &Arc<S>, step: impl FnOnce(&S) + Send + 'static) -> Part {
    let scene = scene.clone();
    Box::new(move || step(&scene))
}

thread_local! {
    /// Which part of a race goes in front, and how many parts there are.
    static FRONT: Cell<(usize, usize)> = const { Cell::new((0, 1)) };
}

/// Runs the parts at the same time and waits for all. At most once in a model.
pub fn race<const N: usize>(parts: [Part; N]) {
    let (front, _) = FRONT.get();
    FRONT.set((front, N));
    let mut parts = parts.map(Some);
    let first = parts[front].take();
    let others: Vec<_> = parts.into_iter().flatten().map(thread::spawn).collect();
    first.into_iter().for_each(|step| step());
    others.into_iter().for_each(|other| other.join().unwrap());
}

/// Explores the model to the end.
///
/// # Panics
/// When an execution fails.
pub fn holds(title: &str, bound: Preemptions, model: impl Fn() + Send + Sync + 'static) {
    let (executions, time, failure) = explore(bound, model);
    if let Some(why) = failure {
        report(
            title,
            bound,
            &format!("FAILED at execution {executions}: {why}"),
            time,
        );
        panic!("{title}: failed at execution {executions}: {why}");
    }
    report(title, bound, &format!("{executions} executions"), time);
}

/// Explores a model with a defect in it until it fails.
///
/// # Panics
/// When no execution fails, or one fails with other words than `with`.
pub fn caught(title: &str, bound: Preemptions, with: &str, model: impl Fn() + Send + Sync + 'static) {
    let (executions, time, failure) = explore(bound, model);
    let Some(why) = failure else {
        panic!("{title}: not caught in {executions} executions");
    };
    assert!(
        why.contains(with),
        "{title}: failed, but with {why:?} in place of {with:?}"
    );
    report(title, bound, &format!("caught at execution {executions}"), time);
}

fn explore(bound: Preemptions, model: impl Fn() + Send + Sync + 'static) -> (u64, Duration, Option<String>) {
    let begin = Instant::now();
    let model = std::sync::Arc::new(model);
    let mut executions = 0;
    FRONT.set((0, 1));
    loop {
        let (more, failure) = explore_from(bound, model.clone());
        executions += more;
        let (front, parts) = FRONT.get();
        if failure.is_some() || front + 1 == parts {
            return (executions, begin.elapsed(), failure);
        }
        FRONT.set((front + 1, parts));
    }
}

fn explore_from(
    bound: Preemptions,
    model: std::sync::Arc<impl Fn() + Send + Sync + 'static>,
) -> (u64, Option<String>) {
    let executions = std::sync::Arc::new(AtomicU64::new(0));
    let count = executions.clone();
    let mut builder = loom::model::Builder::new();
    builder.max_branches = STEPS;
    builder.preemption_bound = match bound {
        Preemptions::All => None,
        Preemptions::UpTo(most) => Some(most),
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        builder.check(move || {
            // Relaxed: executions follow one another.
            count.fetch_add(1, Ordering::Relaxed);
            model();
        });
    }));
    let failure = outcome.err().map(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        text.or_else(|| payload.downcast_ref::<&str>().map(|&text| text.to_owned()))
            .unwrap_or_else(|| "a panic without words".to_owned())
    });
    // Relaxed: the exploration is over.
    (executions.load(Ordering::Relaxed), failure)
}

fn report(title: &str, bound: Preemptions, what: &str, time: Duration) {
    let bound = match bound {
        Preemptions::All => "every interleaving".to_owned(),
        Preemptions::UpTo(most) => format!("up to {most} preemptions"),
    };
    // Not `println!`: the line is to be seen for models that pass, too.
    let line = format!("model {title}: {bound}, {what}, {:.2} s\n", time.as_secs_f64());
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
}

/// State that the model does not see: reading and changing it orders nothing and
/// is no step at which threads could be interrupted.
#[derive(Debug, Default)]
pub struct Outside<T>(Mutex<T>);

impl<T> Outside<T> {
    /// Such state.
    pub fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Works on it; `step` must not call into the model.
    pub fn with<R>(&self, step: impl FnOnce(&mut T) -> R) -> R {
        step(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
