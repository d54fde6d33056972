//! memfold's manager: every decision about frames, and nothing else.
//!
//! No system call, no `unsafe`, no clock, no randomness: what the manager needs of the
//! machine comes through [`host::Host`], so that the same code runs on real memory and in the
//! simulator, where every schedule of it can be replayed.
#![forbid(unsafe_code)]

pub mod addr;
pub mod host;
