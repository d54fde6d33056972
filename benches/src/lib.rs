//! What the benchmarks share: medians, and whether this is a real run.
#![forbid(unsafe_code)]

use std::time::Duration;

/// True when the benchmark was started by `cargo test`, which only wants to see it build and run: a tiny run then.
#[must_use]
pub fn is_smoke_test() -> bool {
    !std::env::args().any(|arg| arg == "--bench")
}

/// The median and the 99th percentile of some times, in microseconds.
///
/// # Panics
/// When there are none.
#[must_use]
pub fn percentiles(times: &mut [Duration]) -> (f64, f64) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    (at(0.5), at(0.99))
}
