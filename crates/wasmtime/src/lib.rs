//! Live copy-on-write forks of Wasmtime instances inside one hard memory budget.
//!
//! | step | by |
//! | --- | --- |
//! | make a module forkable, or learn every reason why not | [`prepare`] |
//! | let an engine take its memories from memfold | [`configure`] |
//! | compile and link once | [`Template::new`] |
//! | make an instance, warm it up | [`Template::instantiate`], [`ForkInstance::call`] |
//! | fork it, or freeze it and make many of it | [`ForkInstance::fork`], [`ForkInstance::freeze`] |
//!
//! A fork takes microseconds whatever its size, shares all memory with its
//! parent until one of them writes, and is a Wasmtime instance like any other.
//! What it takes to be forkable, and what is not copied, stands at [`prepare`]
//! and [`ForkInstance::fork`].
#![deny(unsafe_code)]

mod code;
mod config;
#[allow(unsafe_code, reason = "implements the two unsafe traits of Wasmtime")]
mod creator;
mod error;
mod globals;
mod handoff;
mod instance;
mod prepare;
mod template;

pub use config::configure;
pub use error::Error;
pub use instance::{ForkInstance, Snapshot};
pub use prepare::{GlobalPlan, MemoryPlan, NotForkable, Prepared, Reason, Segment, Site, prepare};
pub use template::Template;
