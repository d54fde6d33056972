//! What the threads of a model did, step by step: the log from which a failed execution is told.
//!
//! Only under loom. The facade's atomics (`watched.rs`), locks and witnesses write an event for
//! each access, after it happened, so that the log is in the order of the execution; a witness
//! writes before, because the access may be the one that ends it. The log is a thread-local of the
//! real thread that explores, outside of the model: writing it orders nothing. It is kept only
//! while `record` says so, begins anew with each race, and takes the names of words and locks from
//! the model ([`name`]). A [`Timeline`] is made of it.

mod order;

use crate::imp::thread::{self, ThreadId};
use crate::model::Recording;
use crate::rank::Rank;
use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::sync::Once;
use std::sync::atomic::Ordering;

/// What an access did, with the values of the word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Load(u64),
    Store(u64),
    /// Read and written in one step: before, after.
    Change(u64, u64),
    /// An exchange that found something else than it expected: expected, found.
    Refused(u64, u64),
    Locked(Rank),
    /// `try_lock` found it taken.
    Busy(Rank),
    Unlocked(Rank),
    /// Of plain data.
    Read,
    /// Of plain data.
    Write,
    /// Said by the model.
    Note(String),
}

/// Which thread of the race.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Part(usize),
    /// The model's own thread, before or after the race.
    Model,
}

#[derive(Clone, Debug)]
struct Event {
    by: By,
    /// The address of what was accessed.
    on: usize,
    what: What,
    ordering: Option<Ordering>,
    at: &'static Location<'static>,
}

struct Name {
    of: usize,
    name: String,
    show: fn(u64) -> String,
}

#[derive(Default)]
struct Log {
    parts: Vec<&'static str>,
    columns: Vec<(ThreadId, usize)>,
    events: Vec<Event>,
    names: Vec<Name>,
    /// Who panicked first, and where.
    failed: Option<(By, String)>,
}

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
    /// Whether a panic prints nothing.
    static SILENT: Cell<bool> = const { Cell::new(false) };
    static LOG: RefCell<Log> = RefCell::default();
    static PANICKED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What becomes of the executions that follow on this thread.
pub(crate) fn record(recording: Recording) {
    static HOOK: Once = Once::new();
    let silent = recording != Recording::Off;
    if silent {
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                if !SILENT.get() {
                    return before(info);
                }
                let place = info.location().map(show_place);
                PANICKED.with_borrow_mut(|panicked| *panicked = panicked.take().or(place));
            }));
        });
    }
    SILENT.set(silent);
    ON.set(recording == Recording::On);
}

/// A new execution.
pub(crate) fn begin() {
    LOG.with_borrow_mut(|log| *log = Log::default());
    PANICKED.set(None);
}

/// The race begins; what was done before it is forgotten, names are kept.
pub(crate) fn race(parts: Vec<&'static str>) {
    LOG.with_borrow_mut(|log| {
        log.events.clear();
        log.parts = parts;
    });
}

/// The running thread is this part of the race.
pub(crate) fn enter(part: usize) {
    if ON.get() {
        let id = thread::current().id();
        LOG.with_borrow_mut(|log| log.columns.push((id, part)));
    }
}

/// All parts have ended: what follows is the model's.
pub(crate) fn leave() {
    LOG.with_borrow_mut(|log| log.columns.clear());
}

/// A part of the race panicked.
pub(crate) fn failed(part: usize) {
    let place = PANICKED.take().unwrap_or_default();
    LOG.with_borrow_mut(|log| {
        log.failed.get_or_insert((By::Part(part), place));
    });
}

/// An access by the running thread.
#[track_caller]
pub(crate) fn event<T>(on: &T, what: What, ordering: Option<Ordering>) {
    if ON.get() && !std::thread::panicking() {
        add(std::ptr::from_ref(on).addr(), what, ordering, Location::caller());
    }
}

fn add(on: usize, what: What, ordering: Option<Ordering>, at: &'static Location<'static>) {
    let id = thread::current().id();
    LOG.with_borrow_mut(|log| {
        let column = log.columns.iter().find(|(thread, _)| *thread == id);
        log.events.push(Event {
            by: column.map_or(By::Model, |&(_, part)| By::Part(part)),
            on,
            what,
            ordering,
            at,
        });
    });
}

/// Says what the running thread is about to do, or has decided.
#[track_caller]
pub fn note(text: &str) {
    if ON.get() && !std::thread::panicking() {
        add(0, What::Note(text.to_owned()), None, Location::caller());
    }
}

/// Gives a word, a lock or a witness a name, and says how its values are to be shown.
pub fn name<T>(of: &T, name: &str, show: fn(u64) -> String) {
    if ON.get() {
        let of = std::ptr::from_ref(of).addr();
        let name = name.to_owned();
        LOG.with_borrow_mut(|log| log.names.push(Name { of, name, show }));
    }
}

/// Gives a lock or a witness a name: they have no values.
pub fn call<T>(of: &T, called: &str) {
    name(of, called, |_| String::new());
}

/// What a step was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A word was read.
    Load,
    /// A word was written, or changed in one step.
    Store,
    /// An exchange was refused.
    Refused,
    /// A lock was taken, found taken, or let go.
    Lock,
    /// Plain data was read or written.
    Data,
    /// What the thread is about to do, or has decided.
    Note,
}

impl Kind {
    /// A word for programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Store => "store",
            Self::Refused => "refused",
            Self::Lock => "lock",
            Self::Data => "data",
            Self::Note => "note",
        }
    }
}

/// One step of an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which thread of the race (its place in [`Timeline::threads`]); `None` for the model's own,
    /// when the race is over.
    pub thread: Option<usize>,
    /// What it was.
    pub kind: Kind,
    /// The word, lock or data that it was about; empty for a note.
    pub on: String,
    /// A sentence without a subject: the thread is it.
    pub text: String,
    /// File and line; empty where a lock is let go.
    pub at: String,
}

/// An execution, as it went until it failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// The threads that raced.
    pub threads: Vec<&'static str>,
    /// What they did: in an order that is an interleaving, if there is one, else as it happened
    /// under weak memory.
    pub steps: Vec<Step>,
    /// How many of the steps stand before the failure.
    pub failed_after: usize,
    /// Which thread failed; `None` when the model did, after the race.
    pub failed: Option<usize>,
    /// File and line of what noticed.
    pub failed_at: String,
}

/// The log of the execution that has just failed.
pub(crate) fn timeline() -> Timeline {
    let log = LOG.take();
    let count = log.events.len();
    let order = order::interleaving(&log.events);
    let weak = order.is_none();
    let order = order.unwrap_or_else(|| (0..count).collect());
    let steps: Vec<Step> = order.iter().map(|&n| log.step(n, weak)).collect();
    let last = order.iter().position(|&n| n + 1 == count);
    let (by, place) = log
        .failed
        .clone()
        .unwrap_or_else(|| (By::Model, PANICKED.take().unwrap_or_default()));
    // A checker's own panic says where the checker stands; the step that it ended says more.
    let failed_at = match last {
        Some(last) if !place.starts_with("crates/") => steps[last].at.clone(),
        _ => place,
    };
    Timeline {
        threads: log.parts,
        failed_after: last.map_or(0, |last| last + 1),
        steps,
        failed: by.part(),
        failed_at,
    }
}

impl By {
    fn part(self) -> Option<usize> {
        match self {
            By::Part(part) => Some(part),
            By::Model => None,
        }
    }
}

impl Event {
    fn of_model(&self) -> bool {
        self.by == By::Model
    }
}

impl Log {
    /// An event in words; whether what is older than the newest is to be said.
    fn step(&self, n: usize, weak: bool) -> Step {
        let event = &self.events[n];
        let name = self.names.iter().find(|name| name.of == event.on);
        let called = name.map_or_else(|| event.what.thing(), |name| name.name.clone());
        let show = |value: u64| name.map_or_else(|| format!("{value:#x}"), |name| (name.show)(value));
        let (kind, mut text) = event.what.tell(&called, show);
        if let (What::Load(value), true) = (&event.what, weak) {
            let earlier = self.events[..n].iter().rev().filter(|e| e.on == event.on);
            let newest = earlier.filter_map(|e| e.what.leaves()).next();
            if newest.is_some_and(|newest| newest != *value) {
                text += ", no longer the newest";
            }
        }
        if let Some(ordering) = event.ordering {
            text += &format!(" ({})", format!("{ordering:?}").to_lowercase());
        }
        Step {
            thread: event.by.part(),
            kind,
            on: match kind {
                Kind::Note => String::new(),
                _ => called,
            },
            text,
            at: match event.what {
                // A guard that is dropped does not say where.
                What::Unlocked(_) => String::new(),
                _ => show_place(event.at),
            },
        }
    }
}

impl What {
    /// What a thing without a name is called.
    fn thing(&self) -> String {
        match self {
            What::Locked(rank) | What::Busy(rank) | What::Unlocked(rank) => format!("a {rank:?} lock"),
            What::Read | What::Write => "plain data".to_owned(),
            _ => "a word".to_owned(),
        }
    }

    /// The value that the word has after it, if it is known.
    fn leaves(&self) -> Option<u64> {
        match *self {
            What::Store(value) | What::Change(_, value) => Some(value),
            _ => None,
        }
    }

    fn tell(&self, name: &str, show: impl Fn(u64) -> String) -> (Kind, String) {
        match self {
            What::Load(value) => (Kind::Load, format!("reads {name}: {}", show(*value))),
            What::Store(value) => (Kind::Store, format!("writes {name}: {}", show(*value))),
            What::Change(before, after) => (
                Kind::Store,
                format!("changes {name}: {} -> {}", show(*before), show(*after)),
            ),
            What::Refused(expected, found) => (
                Kind::Refused,
                format!("refused by {name}: {}, not {}", show(*found), show(*expected)),
            ),
            What::Locked(_) => (Kind::Lock, format!("takes {name}")),
            What::Busy(_) => (Kind::Lock, format!("finds {name} taken")),
            What::Unlocked(_) => (Kind::Lock, format!("lets {name} go")),
            What::Read => (Kind::Data, format!("reads {name}")),
            What::Write => (Kind::Data, format!("writes {name}")),
            What::Note(text) => (Kind::Note, text.clone()),
        }
    }
}

/// File and line, from the root of the workspace.
fn show_place(at: &Location<'_>) -> String {
    // A source that is compiled for another package than its own is named by a detour.
    let file = match at.file().rsplit_once("/../") {
        Some((_, file)) => format!("crates/{file}"),
        None => at
            .file()
            .rsplit_once("/crates/")
            .map_or_else(|| at.file().to_owned(), |(_, file)| format!("crates/{file}")),
    };
    format!("{file}:{}", at.line())
}

impl std::fmt::Display for Timeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by = |thread: Option<usize>| thread.map_or("afterwards", |part| self.threads[part]);
        let fails = |f: &mut std::fmt::Formatter<'_>| {
            writeln!(f, "  {:>24}  FAILS  [{}]", by(self.failed), self.failed_at)
        };
        for (n, step) in self.steps.iter().enumerate() {
            if n == self.failed_after {
                fails(f)?;
            }
            writeln!(f, "  {:>24}  {}  [{}]", by(step.thread), step.text, step.at)?;
        }
        if self.failed_after == self.steps.len() {
            fails(f)?;
        }
        Ok(())
    }
}
