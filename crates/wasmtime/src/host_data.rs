//! Data of the host that a program refers to, in forks: `some.rs` where there can be any, `none.rs`
//! without the feature `gc`, where no program has a reference to it.
//!
//! Called by `state.rs` and `reset.rs`.

#[cfg(not(feature = "gc"))]
mod none;
#[cfg(feature = "gc")]
mod some;

#[cfg(not(feature = "gc"))]
pub(crate) use none::{Copies, Hooks, Placed, Uncopied, scope};
#[cfg(feature = "gc")]
pub(crate) use some::{Copies, Hooks, Placed, Uncopied, scope};
