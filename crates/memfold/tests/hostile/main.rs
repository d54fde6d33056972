//! The promises under hostile settings: one test for each thing that a process or a machine may do
//! to memfold.
//!
//! Each test's body runs in a process of its own (`child.rs`) and is judged from outside: by bytes
//! that were stamped before, by how processes end, by the kernel's own counts. A machine setting
//! that a test changes is put back.

mod child;
#[path = "../common/child.rs"]
mod common;
mod cost;
mod descriptors;
mod emptied;
mod files;
mod filter;
mod forks;
mod idle;
mod ksm;
mod limits;
mod memory;
mod protection;
mod refused;
mod settings;
mod signals;
mod stamps;
mod turns;
