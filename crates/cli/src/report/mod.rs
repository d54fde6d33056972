//! What a run says at its end: [`Report`], one object for programs (`--json`) and, by `text.rs`,
//! for people.
//!
//! Plain values. Bytes are what memfold's budget counts, unless a field says otherwise.

mod chart;
mod held;
mod merged;
mod text;

pub(crate) use held::{Held, StockMemory};
pub(crate) use merged::{Merged, Round, Skipped};

use crate::run::failure::Failed;
use crate::run::progress::Seconds;
use serde::Serialize;

/// A run, in numbers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// The module's file name.
    pub(crate) program: String,
    /// `fork`, `independent` or `stock`.
    pub(crate) mode: &'static str,
    /// How many clones were asked for.
    pub(crate) clones: u32,
    /// Clones that answered every call.
    pub(crate) completed: u32,
    /// Clones that failed, those that could not be made included.
    pub(crate) failed: u32,
    /// Whether the user ended the run before its end.
    pub(crate) interrupted: bool,
    /// Calls that were answered.
    pub(crate) calls_answered: u64,
    /// Over all answers, independent of their order.
    pub(crate) digest: String,
    /// The sizes of the memories of all clones that did not fail, added up as if nothing were
    /// shared.
    pub(crate) logical_bytes: u64,
    /// The budget; null for none.
    pub(crate) budget_bytes: Option<u64>,
    /// The most that was held at any time. For stock instances: by how much the process's anonymous
    /// memory grew.
    pub(crate) peak_bytes: u64,
    /// What is held at the end, by kind. Not for stock instances.
    #[serde(flatten)]
    pub(crate) held: Option<Held>,
    /// What merging did; left out without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) merge: Option<Merged>,
    /// Bytes that each clone added, on average.
    pub(crate) bytes_per_clone: Option<u64>,
    /// How many such clones would fit into the budget, or into the machine without one.
    pub(crate) would_fit: Option<u64>,
    #[serde(flatten)]
    pub(crate) times: Times,
    /// Seconds in all.
    pub(crate) seconds: f64,
    /// Seconds by phase.
    pub(crate) phase_seconds: Seconds,
    /// What may go wrong later, as `Memory::warnings` says it. People saw it on stderr.
    pub(crate) warnings: Vec<String>,
    /// The first failures.
    pub(crate) failures: Vec<Failed>,
    /// The files in one clone's memory; the other clones have the same. Left out without any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) areas: Vec<Area>,
}

/// A range of a clone's memory that shows a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Area {
    /// Its first byte in the memory.
    pub(crate) start: u64,
    /// The byte after its last one.
    pub(crate) end: u64,
    pub(crate) file: String,
    /// The byte of the file that its first byte shows.
    pub(crate) file_offset: u64,
    /// What becomes of stores: `ro`, `private`, `shared`.
    pub(crate) stores: &'static str,
}

/// How long it took to make clones, in microseconds. What does not apply is left out.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Times {
    /// One fork with its instance: the median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fork_us: Option<f64>,
    /// The same again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fork_us_p50: Option<f64>,
    /// What 99 of 100 forks did not exceed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fork_us_p99: Option<f64>,
    /// The fork of the memory alone: the median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) space_fork_us_p50: Option<f64>,
    /// One instance that was warmed up by itself: the median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) start_us_p50: Option<f64>,
    /// What 99 of 100 of these did not exceed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) start_us_p99: Option<f64>,
}

impl Report {
    /// One object, without line breaks.
    pub(crate) fn json(&self) -> String {
        // Numbers, texts and lists of them: there is nothing that could fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Text for people.
    pub(crate) fn text(&self) -> String {
        text::render(self)
    }
}

#[cfg(test)]
mod tests;
