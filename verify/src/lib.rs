//! What holds the manager to its word: an oracle, workloads, and drivers that run the real manager
//! on the simulated host and compare.
//!
//! [`oracle`] is what is right: one byte array a space. [`workload`] is the one generator of
//! operations, for property tests, fuzzing and simulation alike. [`harness`] runs operations on
//! both sides and compares every read; [`audit`] compares everything else: all bytes, the manager's
//! invariants, memory and budget. [`run`] strings them together by seed, [`bytes`] by what a
//! fuzzer came upon; [`campaign`] is what a seed means in a long run, and the lines in which long
//! runs say how much they did. [`files`] has generator, oracle and driver of its own. Nothing
//! depends on this package but the fuzz targets.
#![forbid(unsafe_code)]

pub mod audit;
pub mod bytes;
pub mod campaign;
pub mod files;
pub mod harness;
pub mod oracle;
pub mod run;
#[cfg(shuttle)]
pub mod schedules;
pub mod script;
pub mod stores;
pub mod workload;
