//! What can go wrong with one clone while the others go on. Plain values.

use memfold::Failure;
use memfold_wasmtime::Error as GlueError;
use serde::Serialize;
use std::fmt;
use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

/// Clones whose failure is reported one by one; the others are only counted.
pub(crate) const REPORTED: usize = 5;

/// What kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The program trapped.
    Trap,
    /// The program ended itself, and should not have, or not with that status.
    Exit,
    /// The budget had no room for a page that the program needed.
    Budget,
    /// A page could not be had for another reason.
    Memory,
    /// The machine had no memory, addresses or mappings for the clone.
    Machine,
    /// A host function failed, or the engine.
    Host,
    /// The clone could not even be made.
    Start,
}

/// Why a clone stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CloneFailure {
    pub(crate) kind: Kind,
    pub(crate) message: String,
}

/// A clone that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Failed {
    pub(crate) clone: u32,
    /// Nothing if it failed before its first call.
    pub(crate) call: Option<u32>,
    pub(crate) kind: Kind,
    pub(crate) message: String,
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The user wants the run to end.
    Interrupted,
    Failed(CloneFailure),
}

impl Failed {
    pub(crate) fn new(clone: u32, call: Option<u32>, CloneFailure { kind, message }: CloneFailure) -> Self {
        Failed {
            clone,
            call,
            kind,
            message,
        }
    }
}

impl CloneFailure {
    fn new(kind: Kind, message: impl fmt::Display) -> Self {
        CloneFailure {
            kind,
            message: message.to_string(),
        }
    }

    /// A page could not be had.
    pub(crate) fn page(failure: &Failure) -> Self {
        let kind = match failure {
            Failure::OverBudget { .. } => Kind::Budget,
            _ => Kind::Memory,
        };
        CloneFailure::new(kind, failure)
    }

    /// The manager refused something before the call.
    pub(crate) fn memory(error: &memfold::Error) -> Self {
        match error {
            memfold::Error::Space(memfold::SpaceError::OverBudget { .. }) => {
                CloneFailure::new(Kind::Budget, error)
            }
            memfold::Error::Space(memfold::SpaceError::Host(_)) => CloneFailure::new(Kind::Machine, error),
            memfold::Error::Fault(failure) => CloneFailure::page(failure),
            _ => CloneFailure::new(Kind::Memory, error),
        }
    }
}

impl From<GlueError> for Stop {
    fn from(error: GlueError) -> Self {
        match error {
            GlueError::MemoryLost { failure } => Stop::Failed(CloneFailure::page(&failure)),
            GlueError::Memory(error) => Stop::Failed(CloneFailure::memory(&error)),
            GlueError::Program(error) => Stop::from(error),
            other => Stop::Failed(CloneFailure::new(Kind::Start, other)),
        }
    }
}

impl From<wasmtime::Error> for Stop {
    fn from(error: wasmtime::Error) -> Self {
        if let Some(I32Exit(status)) = error.downcast_ref::<I32Exit>() {
            return Stop::Failed(CloneFailure::new(
                Kind::Exit,
                format!("it ended itself with status {status}"),
            ));
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => Stop::Interrupted,
            Some(trap) => {
                let trap = trap.to_string();
                let what = trap.strip_prefix("wasm trap: ").unwrap_or(&trap);
                Stop::Failed(CloneFailure::new(Kind::Trap, format!("{what}{}", place(&error))))
            }
            // What a host function said comes before where it was called.
            None => Stop::Failed(CloneFailure::new(
                Kind::Host,
                match place(&error) {
                    place if place.is_empty() => format!("{error:#}"),
                    place => format!("{}{place}", error.root_cause()),
                },
            )),
        }
    }
}

/// In which function of the program it happened.
fn place(error: &wasmtime::Error) -> String {
    let frame = error
        .downcast_ref::<WasmBacktrace>()
        .and_then(|trace| trace.frames().first());
    frame.map_or_else(String::new, |frame| match frame.func_name() {
        Some(name) => format!(" (in {name})"),
        None => format!(" (in function {})", frame.func_index()),
    })
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "clone {}", self.clone)?;
        if let Some(call) = self.call {
            write!(f, ", call {call}")?;
        }
        let kind = match self.kind {
            Kind::Trap => "trap",
            Kind::Exit => "exit",
            Kind::Budget => "over budget",
            Kind::Memory => "memory",
            Kind::Machine => "machine",
            Kind::Host => "host",
            Kind::Start => "not started",
        };
        write!(f, ": {kind}: {}", self.message)
    }
}
