//! What merging did in a run: [`Merged`]. Plain values, filled by `run/merging.rs`.

use serde::Serialize;

/// All that merging did.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Merged {
    /// The round over all clones that began with the first call.
    pub(crate) first: Option<Round>,
    /// Pages that became one with another, or that were zeros, in the background between the
    /// rounds,
    pub(crate) background_pages: u64,
    /// and the processor time for it, of one core. Nothing when the calls ended too soon for a
    /// figure.
    pub(crate) background_cpu_percent: Option<f64>,
    /// The round after the last call.
    pub(crate) last: Option<Round>,
    /// Pages in memory that several clones share at the end,
    pub(crate) shared_pages: u64,
    /// and how many that saves; forks are counted as well.
    pub(crate) saved_pages: u64,
    /// Pages looked at, each as often as it was.
    pub(crate) scanned_pages: u64,
    /// Those that were left alone.
    pub(crate) skipped: Skipped,
    /// Why a round could not be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<String>,
}

/// Why pages were left alone; one that was looked at several times may count several times.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Skipped {
    /// Somebody had the frame in use,
    pub(crate) busy: u64,
    /// or held it against the proof.
    pub(crate) held: u64,
    /// It was pinned.
    pub(crate) pinned: u64,
    /// It is new, or keeps changing; only in the background.
    pub(crate) resting: u64,
    /// It is not what its siblings have,
    pub(crate) different: u64,
    /// or was no more when all bytes were compared.
    pub(crate) changed: u64,
    /// No room in the budget, or the kernel refused.
    pub(crate) refused: u64,
}

/// One round over all clones.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Round {
    /// Pages in memory when it began,
    pub(crate) pages_before: u64,
    /// and when it ended.
    pub(crate) pages_after: u64,
    /// Pages that became one with another.
    pub(crate) merged_pages: u64,
    /// Pages of zeros, which hold no memory any more.
    pub(crate) zero_pages: u64,
    /// How long it took.
    pub(crate) seconds: f64,
    /// Calls that ended meanwhile.
    pub(crate) calls_meanwhile: u64,
}
