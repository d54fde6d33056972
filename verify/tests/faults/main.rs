//! Goal: whatever call of the machine or the store fails, or charge or allocation of the manager,
//! whenever it does: no panic, no leak, no changed byte, and a stated error or none; and an
//! operation that fails leaves the digest of the whole system as it was. Method: scripted
//! scenarios; in each, every n-th call in turn fails once, and then every n-th and all later ones
//! do; likewise a budget with 0, 1, 2... pages left. The digest before and after each failed call,
//! a full audit after each operation. An operation that failed is repeated at once, and the system
//! is then what it is where nothing failed; then the same operations again without failures.
//!
//! The method stands in `sweep.rs`; the scenarios stand by what they are about.
#![cfg(not(shuttle))]

mod alone;
mod merging;
mod paging;
mod sharing;
mod sweep;
mod wholes;
