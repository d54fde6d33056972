//! memfold's Linux host: real memory behind the manager's [`Host`](memfold_host::Host) trait.
//!
//! A [`LinuxHost`] is one pool (a memfd), any number of windows onto it, and one userfaultfd
//! through which their faults reach the [`FaultSink`](memfold_host::FaultSink) that the manager
//! attached. It decides nothing about frames.
//!
//! This crate is one of the two rooms with `unsafe` (the other is the facade's cell): every system
//! call stands in `sys.rs` and its children, memory is named by `Span`s only. From the bottom up:
//! `abi` (the kernel's structures), `inject` (faults on purpose), `span`, `sys`, `scan` and `uffd`
//! (what the kernel's page table holds, and how it is changed), `pages` and `look` (the steps of
//! the trait), `filling` (one page), `sharing` (pages of shared pieces), `emptying` (many ranges),
//! `sparse`, `pool`, `arena`, `keep` (descriptors that stay), `source` (files), `ksm` (the kernel's
//! merging), `lineage` (parents and children of `fork(2)`), `pieces` (of windows), `table` (address
//! to window), `fault` (the sink), `context`, `stack` (for handlers), `again` (faults that come
//! again), `present` (what a fault says of its page), `guest`, `guard` (reads that a fault ends),
//! `chain`, `sigbus`, `fitness` (of a thread), `thread` (how faults arrive), `reading` (windows, by
//! the host), `windows`, `opening`, `group` (control groups),
//! `probe`, `error`, and `builder` and `host`, which join them.

mod abi;
mod again;
mod arena;
mod builder;
mod chain;
mod context;
mod emptying;
mod error;
mod fault;
mod filling;
mod fitness;
mod group;
mod guard;
mod guest;
mod host;

pub mod inject;
mod keep;
mod kept;
mod ksm;
mod limits;
mod lineage;
mod look;
mod opening;
mod pages;
mod pagetables;
mod pieces;
mod pool;
mod present;
mod probe;
mod reading;
mod scan;
mod sharing;
mod sigbus;
mod source;
mod span;
mod sparse;
mod stack;
mod sys;
mod table;
mod taking;
mod thread;
mod uffd;
mod windows;

pub use builder::Builder;
pub use error::OpenError;
pub use fault::Delivery;
pub use fitness::{FAULT_STACK_BYTES, ThreadError, check_thread};
pub use guest::{GUEST_RANGES, GuestCode, GuestTableFull, register_guest_code};
pub use host::{LinuxHost, Window};
pub use lineage::{Lineage, Own};
pub use opening::{Door, FEATURES, Feature, UserMode};
pub use probe::{Huge, Overcommit, Report, group_memory_bytes, memory_bytes, probe};
pub use source::{FileAccess, FileOpenError, FileSource};
pub use sys::clock::thread_cpu_time;
pub use thread::spawn_quiet;
