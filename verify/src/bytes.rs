//! Any bytes as a history: what fuzzing calls, and the test that replays its corpus. The manager on
//! the simulated host against the oracle, every byte and every invariant compared on the way.
//!
//! The first byte chooses mix and store, the next the size of the spaces; then come operations,
//! eight bytes each.

use crate::run::words;
use crate::workload::{MIXES, Mix};
use memfold_sim::SimStore;
use memfold_stores::CompressedStore;

/// Longer histories cost more than they find.
const STEPS_MAX: usize = 300;

/// Runs the history.
///
/// # Panics
/// When manager and oracle differ.
pub fn check(data: &[u8]) {
    let [which, pages, data @ ..] = data else { return };
    let which = usize::from(*which);
    let mix = Mix {
        pages: (3, 4 + u32::from(*pages) % 40),
        audit_every: 8,
        ..MIXES[which / 2 % MIXES.len()]
    };
    let (history, _) = data.as_chunks::<8>();
    let history: Vec<_> = history
        .iter()
        .take(STEPS_MAX)
        .map(|word| u64::from_le_bytes(*word))
        .collect();
    match which % 2 {
        0 => words::<SimStore>(&mix, &history),
        _ => words::<CompressedStore>(&mix, &history),
    };
}
