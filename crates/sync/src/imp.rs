//! Whose atomics we run on: std, or a checker's (`--cfg loom`, `--cfg shuttle`).

#[cfg(loom)]
mod chosen {
    pub use loom::cell::UnsafeCell;
    pub use loom::sync::atomic;
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
