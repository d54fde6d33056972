//! The facade over std, loom and shuttle, and the few shared structures built on it.
//!
//! [`imp`](self) is the one place that chooses whose atomics, locks and threads the manager runs
//! on; nothing in `mm` or `sim` names `std::sync`. On top of it stand the ranked lock ([`Mutex`],
//! whose order is the table in `rank.rs`), the fixed arrays with a free list ([`Slots`]) and the
//! [`Witness`], a piece of plain data that lets a checker see whether a lock or a publishing store
//! does its work; [`Revocable`] stands before what fault handlers look up; [`Reserved`] is memory
//! that the system may refuse. Built bottom-up: `imp`, `rank`, `lock`, `witness`, `reserved`,
//! `slots`, `revocable`.
#![deny(unsafe_code)]

mod imp;
mod lock;
#[cfg(loom)]
pub mod model;
#[cfg(all(test, loom))]
mod races;
mod rank;
mod reserved;
mod revocable;
mod slots;
#[cfg(loom)]
pub mod trace;
#[cfg(loom)]
pub mod watched;
mod witness;

pub use imp::{Arc, atomic, thread};
pub use lock::{Mutex, MutexGuard};
pub use rank::Rank;
pub use reserved::{Reserved, boxed};
pub use revocable::{Inside, Revocable};
pub use slots::{Giving, Slots};
/// Written once, then read by anybody; std's own also under the checkers.
pub use std::sync::OnceLock;
pub use witness::Witness;
