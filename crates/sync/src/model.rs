//! Race models: a closure that loom runs on every interleaving of its threads, within a bound.
//!
//! Only under loom. A model either [`holds`], explored to the end, or is [`caught`]: its defect
//! must fail with the words that say so. Both print one line, past the capture of the test harness,
//! with the bound, the number of executions and the time. A [`Rule`] is a model with its defects,
//! which tests [`prove`](Rule::prove) and `memfold explain` tells. [`explore`] is below all of
//! them: it says how often a model was executed, and, if it failed, what its threads did until
//! then. Campaigns go further: `MEMFOLD_DEEPER` adds so many preemptions to each bound,
//! `MEMFOLD_SECONDS` ends each exploration after that time. [`Outside`] is state that the model
//! does not see: the machine around the manager, a tally of outcomes.
//!
//! A blind spot of loom 0.7, and why [`race`] exists: of each atomic it remembers only the last
//! access. Where a thread loads a word and then stores to it, its own load hides an earlier load by
//! another thread, and the order 'store first' is not explored from there. `race` therefore
//! explores the model once for each of its parts, each time with another part in front: the
//! order that is lost with the loading thread in front is found with the storing one there.

use crate::trace::{self, Timeline};
use crate::{Arc, thread};
use std::cell::Cell;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
/// The right to work on what stands [`Outside`].
pub use std::sync::MutexGuard as OutsideGuard;
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

impl Preemptions {
    /// As many more as `MEMFOLD_DEEPER` says.
    fn deeper(self) -> Self {
        match self {
            Preemptions::All => self,
            Preemptions::UpTo(most) => {
                Preemptions::UpTo(most + number("MEMFOLD_DEEPER").unwrap_or(0) as usize)
            }
        }
    }
}

/// How long one exploration may take, if that is limited.
fn time_most() -> Option<Duration> {
    number("MEMFOLD_SECONDS").map(Duration::from_secs)
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text:?}")),
    )
}

/// Steps of one execution; more are taken for a loop without an end.
const STEPS: usize = 100_000;

/// What one thread of a [`race`] does.
pub struct Part {
    name: &'static str,
    step: Box<dyn FnOnce() + Send>,
}

/// A thread that does `step` to the scene.
pub fn part<S: Send + Sync + 'static>(scene: &Arc<S>, step: impl FnOnce(&S) + Send + 'static) -> Part {
    let scene = scene.clone();
    Part {
        name: "a thread",
        step: Box::new(move || step(&scene)),
    }
}

impl Part {
    /// The same, with a name in the log of an execution.
    #[must_use]
    pub fn called(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// Runs as the `n`th part of its race.
    fn run(self, n: usize) {
        trace::enter(n);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(self.step)) {
            trace::failed(n);
            resume_unwind(panic);
        }
    }
}

thread_local! {
    /// Which part of a race goes in front, and how many parts there are.
    static FRONT: Cell<(usize, usize)> = const { Cell::new((0, 1)) };
}

/// Runs the parts at the same time and waits for all. At most once in a model.
pub fn race<const N: usize>(parts: [Part; N]) {
    let (front, _) = FRONT.get();
    FRONT.set((front, N));
    trace::race(parts.iter().map(|part| part.name).collect());
    let mut others = Vec::new();
    let mut first = None;
    for (n, part) in parts.into_iter().enumerate() {
        if n == front {
            first = Some(part);
        } else {
            others.push(thread::spawn(move || part.run(n)));
        }
    }
    first.into_iter().for_each(|part| part.run(front));
    others.into_iter().for_each(|other| other.join().unwrap());
    trace::leave();
}

/// Explores the model to the end.
///
/// # Panics
/// When an execution fails.
pub fn holds(title: &str, bound: Preemptions, model: impl Fn() + Send + Sync + 'static) {
    check_holds(title, bound, &shared(model));
}

fn check_holds(title: &str, bound: Preemptions, model: &Model) {
    let bound = bound.deeper();
    let explored = explore(bound, model, Recording::Off);
    let executions = explored.executions;
    let Some(Failure { message, .. }) = explored.failure else {
        let cut = if explored.cut {
            ", not explored to the end"
        } else {
            ""
        };
        return report(
            title,
            bound,
            &format!("{executions} executions{cut}"),
            explored.time,
        );
    };
    report(
        title,
        bound,
        &format!("FAILED at execution {executions}: {message}"),
        explored.time,
    );
    // The same executions in the same order; this time each is logged.
    let told = explore(bound, model, Recording::On).failure;
    let timeline = told.map(|failure| failure.timeline).unwrap_or_default();
    panic!("{title}: failed at execution {executions}: {message}\n{timeline}");
}

/// Explores a model with a defect in it until it fails.
///
/// # Panics
/// When no execution fails, or one fails with other words than `with`.
pub fn caught(title: &str, bound: Preemptions, with: &str, model: impl Fn() + Send + Sync + 'static) {
    check_caught(title, bound, with, &shared(model));
}

fn check_caught(title: &str, bound: Preemptions, with: &str, model: &Model) {
    let explored = explore(bound, model, Recording::Off);
    let executions = explored.executions;
    let Some(Failure { message, .. }) = explored.failure else {
        panic!("{title}: not caught in {executions} executions");
    };
    assert!(
        message.contains(with),
        "{title}: failed, but with {message:?} in place of {with:?}"
    );
    report(
        title,
        bound,
        &format!("caught at execution {executions}"),
        explored.time,
    );
}

/// What is executed again and again.
pub type Model = std::sync::Arc<dyn Fn() + Send + Sync>;

fn shared(model: impl Fn() + Send + Sync + 'static) -> Model {
    std::sync::Arc::new(model)
}

/// One rule of memfold's, and the ways to break it.
#[derive(Clone)]
pub struct Rule {
    /// What races with what.
    pub title: &'static str,
    /// How far it is explored; its defects, too.
    pub bound: Preemptions,
    /// It as memfold has it.
    pub model: Model,
    /// It as others had it, or as it would be without the rule.
    pub defects: Vec<Defect>,
}

/// One way to break a rule.
#[derive(Clone)]
pub struct Defect {
    /// A short name, with dashes.
    pub name: &'static str,
    /// What is different.
    pub title: &'static str,
    /// Which decision goes wrong by it, in sentences.
    pub wrong: &'static str,
    /// Words in which the failure must say it.
    pub fails_with: &'static str,
    /// It with the defect.
    pub model: Model,
}

impl Rule {
    /// A rule without defects.
    pub fn new(title: &'static str, bound: Preemptions, model: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            title,
            bound,
            model: shared(model),
            defects: Vec::new(),
        }
    }

    /// One more way to break it: its name and title, what goes wrong by it, words of its failure.
    #[must_use]
    pub fn defect(
        mut self,
        [name, title]: [&'static str; 2],
        wrong: &'static str,
        fails_with: &'static str,
        model: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        self.defects.push(Defect {
            name,
            title,
            wrong,
            fails_with,
            model: shared(model),
        });
        self
    }

    /// Explores the rule to the end, and each defect until it is caught.
    ///
    /// # Panics
    /// When the rule does not hold, or a defect is not caught.
    pub fn prove(&self) {
        check_holds(self.title, self.bound, &self.model);
        for defect in &self.defects {
            check_caught(defect.title, self.bound, defect.fails_with, &defect.model);
        }
    }
}

/// Whether executions are logged, which costs time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// A failure has a timeline, and its panic prints nothing.
    On,
    /// No timeline, and a panic prints nothing.
    Silent,
    /// No timeline.
    Off,
}

/// How an execution failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The words of its panic.
    pub message: String,
    /// What its threads did until then; empty without [`Recording::On`].
    pub timeline: Timeline,
}

/// What came of an exploration.
#[derive(Clone, Debug)]
pub struct Explored {
    /// How often the model was executed, the failed execution included.
    pub executions: u64,
    /// How long it took.
    pub time: Duration,
    /// Whether its time was up before it had seen all there is.
    pub cut: bool,
    /// The first failure, which ended it.
    pub failure: Option<Failure>,
}

/// Executes the model on every interleaving within the bound, until one fails.
pub fn explore(bound: Preemptions, model: &Model, recording: Recording) -> Explored {
    let begin = Instant::now();
    let (mut executions, mut cut) = (0, false);
    FRONT.set((0, 1));
    trace::record(recording);
    let failure = loop {
        let began = Instant::now();
        let (more, failure) = explore_from(bound, model.clone());
        executions += more;
        cut |= time_most().is_some_and(|most| began.elapsed() >= most);
        let (front, parts) = FRONT.get();
        if failure.is_some() || front + 1 == parts {
            break failure;
        }
        FRONT.set((front + 1, parts));
    };
    trace::record(Recording::Off);
    Explored {
        executions,
        time: begin.elapsed(),
        cut,
        failure,
    }
}

fn explore_from(bound: Preemptions, model: Model) -> (u64, Option<Failure>) {
    let executions = std::sync::Arc::new(AtomicU64::new(0));
    let count = executions.clone();
    let mut builder = loom::model::Builder::new();
    builder.max_branches = STEPS;
    builder.preemption_bound = match bound {
        Preemptions::All => None,
        Preemptions::UpTo(most) => Some(most),
    };
    if let Some(most) = time_most() {
        builder.max_duration = Some(most);
        // Loom looks at the clock where it would write a checkpoint.
        builder.checkpoint_interval = 100;
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        builder.check(move || {
            // Relaxed: executions follow one another.
            count.fetch_add(1, Ordering::Relaxed);
            trace::begin();
            model();
        });
    }));
    let failure = outcome.err().map(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|&text| text.to_owned()));
        Failure {
            message: text.unwrap_or_else(|| "a panic without words".to_owned()),
            timeline: trace::timeline(),
        }
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
        step(&mut self.lock())
    }

    /// The same for as long as the guard lives; until then nobody may call into the model.
    pub fn lock(&self) -> OutsideGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
