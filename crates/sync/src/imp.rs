//! Whose atomics we run on: std, or a checker's (`--cfg loom`, `--cfg shuttle`).

#[cfg(loom)]
mod chosen {
    pub use crate::watched as atomic;
    pub use loom::cell::UnsafeCell;
    /// Loom's own, for what is to leave no trace.
    pub use loom::sync::atomic as unwatched;
    pub use loom::sync::{Arc, Mutex, MutexGuard};
    pub use loom::thread;
}

#[cfg(all(shuttle, not(loom)))]
mod chosen {
    pub use shuttle::sync::atomic;
    pub use shuttle::sync::{Arc, Mutex, MutexGuard};
    pub use shuttle::thread;
}

#[cfg(not(any(loom, shuttle)))]
mod chosen {
    pub use std::sync::atomic;
    pub use std::sync::{Arc, Mutex, MutexGuard};
    pub use std::thread;
}

pub use chosen::*;
