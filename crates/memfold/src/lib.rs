//! Many memory images in one process, inside one hard budget.
//!
//! A [`Memory`] holds [`Space`]s: real ranges of addresses that code reads and writes directly. A
//! space forks copy-on-write in microseconds, whatever its size; forks share what they have in
//! common; pages that are not used go to a compressed store, so that all spaces together never hold
//! more than the budget.
//!
//! ```
//! use memfold::{Memory, SpaceSize};
//!
//! # fn main() -> Result<(), memfold::Error> {
//! let memory = Memory::builder().budget_bytes(16 << 20).build()?;
//! let parent = memory.create(SpaceSize::fixed(1 << 20))?;
//! parent.write(4096, b"warmed up")?;
//!
//! let child = parent.fork()?;
//! child.write(4096, b"CHANGED")?;
//!
//! let mut seen = [0; 9];
//! parent.read(4096, &mut seen)?;
//! assert_eq!(&seen, b"warmed up");
//! child.read(4096, &mut seen)?;
//! assert_eq!(&seen, b"CHANGEDup");
//! # Ok(())
//! # }
//! ```
//!
//! Memory whose contents refer to themselves by offset (a Wasm linear memory, a guest's RAM,
//! database pages) can be forked inside one process. Memory full of absolute pointers cannot: the
//! fork stands at another address.
//!
//! # Processes that call `fork(2)`
//!
//! A child of `fork(2)` inherits the handles, but the memory stays its parent's. In the child:
//!
//! * it may `exec`, exit, unwind and drop everything: drops do nothing, and the parent's memory
//!   stays as it is;
//! * each operation on an inherited [`Memory`], [`Space`] or [`Pinned`] that can fail answers
//!   [`Error::Forked`], without waiting for a lock; those that cannot fail answer with nothing
//!   (`stats` with zeros, `reclaim` with 0), but [`Space::as_ptr`], [`Space::len`] and
//!   [`Space::reserve`], which say what is so in the parent;
//! * the addresses of inherited spaces are not mapped: an access is a segmentation violation;
//! * it may build a [`Memory`] of its own, which works like any other. So it goes on in children of
//!   the child.
//!
//! The child is told before it takes a lock, so it does not matter what other threads of the parent
//! were doing. (That the allocator works in a child of a process with threads is up to the C
//! library: glibc's does.)
#![forbid(unsafe_code)]

mod advice;
mod areas;
mod build;
mod error;
mod files;
mod inner;
mod manager;
mod memory;
mod merger;
#[cfg(feature = "metrics")]
mod metrics;
mod numbers;
mod pin;
mod reclaimer;
mod recorder;
mod reset;
mod sampler;
mod serving;
mod space;
mod stats;
mod timings;
mod warning;
mod worker;
mod writer;

pub use advice::Advice;
pub use areas::{Area, Rights, Through};
pub use build::MemoryBuilder;
pub use error::{BuildError, Error, Failure, SpaceError};
pub use files::MappedFile;
pub use memfold_host::{Domain, PageSource, SourceError};
pub use memfold_linux as linux;
pub use memfold_linux::{Delivery, FileAccess, FileOpenError, ThreadError, check_thread};
pub use memfold_mm::{FileError, FileStats, Merging, Native, OnLoss, PageTables, Replacement};
pub use memfold_record as record;
pub use memory::Memory;
#[cfg(feature = "metrics")]
pub use metrics::MemoryMetrics;
pub use pin::Pinned;
pub use recorder::{Recorder, RecorderBuilder, RecordingError};
pub use space::{Space, SpaceSize};
pub use stats::{Counts, MemoryStats, MergeStep, Sharing, SpaceStats, StoreStats, Usage};
pub use warning::Warning;

/// The examples of the README, as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// Bytes of one page.
pub const PAGE_SIZE: usize = memfold_host::addr::PAGE_SIZE;

/// The longest space, in bytes.
pub const MAX_SPACE_BYTES: u64 = memfold_mm::table::MAX_PAGES as u64 * PAGE_SIZE as u64;
