//! Tests of components: templates, instances and forks on the real manager and the real Wasmtime.
//! `common.rs` has what they share, and the components that they own.
#![forbid(unsafe_code)]

mod common;
mod fibers;
mod forks;
mod refused;
mod reset;
mod state;
