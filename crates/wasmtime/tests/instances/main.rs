//! Tests of templates, instances and forks on the real manager and the real
//! Wasmtime. `common.rs` has what they share. `cargo xtask programs` builds
//! the programs that some of them run.
#![forbid(unsafe_code)]

mod budget;
mod common;
mod empty;
mod engines;
mod equal;
mod fiber_stack;
mod fibers;
mod files;
mod forks;
mod host_data;
mod host_state;
mod limits;
mod memories;
mod own;
mod programs;
mod reset;
mod state;
