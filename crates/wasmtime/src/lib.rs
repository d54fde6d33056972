//! Live copy-on-write forks of Wasmtime instances inside one hard memory budget.
//!
//! The way in is [`prepare`]: it takes a module and gives one whose instances
//! can be forked, or every [`Reason`] why not.
#![forbid(unsafe_code)]

mod prepare;

pub use prepare::{Global, Memory, NotForkable, Prepared, Reason, Segment, Site, prepare};
