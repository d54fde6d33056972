//! What is fuzzed, as functions of bytes that panic when something is wrong.
//!
//! `targets` has one module for each; `fuzz_targets/` hands them to libFuzzer, and tests of the
//! workspace replay the corpus (`fuzz/corpus/`) through the same files, so that a find stays found
//! without cargo-fuzz. `prepare` and the sizes are compiled here from their own files: around them
//! stands an engine whose instrumented build would take half an hour.
#![forbid(unsafe_code)]

extern crate self as memfold_cli;
extern crate self as memfold_wasmtime;

#[allow(dead_code, reason = "parts of it are for the package that it belongs to")]
#[path = "../../crates/wasmtime/src/prepare/mod.rs"]
mod module;
#[allow(dead_code, reason = "parts of it are for the package that it belongs to")]
#[path = "../../crates/cli/src/size.rs"]
pub mod size;
pub mod smith;
pub mod targets;

pub use module::{Given, NotForkable, Number, Prepared, prepare, prepare_with};
