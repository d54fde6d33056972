//! Race models of the whole manager on the smallest machine there is.
//!
//! Goal: for each pair of operations that can meet at one page: no byte is lost, no translation outlives its
//! frame, no two calls of the host concern one page at once, and every invariant of `world` holds afterwards.
//! Method: one or two spaces of two pages; two threads, each in front once; loom interrupts them at every
//! access that matters, within a bound. `machine.rs` is the host, the store and the programs; the models stand in
//! `writes.rs` (faults, forks, drops), `evictions.rs` (what reclaim meets) and `merges.rs`.

mod evictions;
mod machine;
mod merges;
mod writes;
