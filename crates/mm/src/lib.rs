//! memfold's manager: every decision about frames, and nothing else.
//!
//! No system call, no `unsafe`, no clock, no randomness: what the manager needs of the machine
//! comes through [`memfold_host::Host`], so that the same code runs on real memory and in the
//! simulator, where every schedule of it can be replayed. Bottom-up: `frame`, `budget`, `swap`,
//! `table`, `backing`, `space`, `window`, `rmap`, then the operations of [`Mm`].
#![forbid(unsafe_code)]

mod area_map;
mod backing;
mod budget;
mod check;
mod copies;
mod create;
mod digest;
mod door;
mod drop;
mod emptied;
mod emptying;
mod error;
mod fault;
mod files;
mod fork;
pub mod frame;
mod freeze;
mod giving;
mod keep;
mod loans;
mod mapped;
mod merge;
mod migrate;
mod mm;
mod native;
mod neighbours;
mod own_page;
mod path;
mod peek;
mod pin;
#[cfg(all(loom, any(test, feature = "explored")))]
mod races;
mod reclaim;
mod reset;
mod residency;
mod resize;
#[cfg(all(test, not(any(loom, shuttle))))]
mod rig;
mod rmap;
mod scratch;
mod space;
mod space_stats;
mod stalled;
mod standby;
mod stats;
mod survey;
pub mod swap;
pub mod table;
mod window;
mod window_tables;
mod writable;

// Every file below names the seams so.
use memfold_host::{self as host, addr};

pub use area_map::AreaMap;
pub use backing::BackingNo;
pub use backing::areas::{Area, AreaKind, InFork, Rights};
pub use backing::file::FileNo;
pub use backing::read_ahead::Order;
pub use budget::{PageTables, UNLIMITED, Usage};
#[cfg(feature = "faults")]
pub use budget::{Refusals, Refuse};
pub use check::{Violation, audit, check};
pub use create::Size;
pub use digest::{Digest, Ownership, PageDigest, SpaceDigest, Totals};
pub use door::{Door, Ended, Forked};
pub use drop::Doomed;
pub use error::{BuildError, SpaceError};
pub use files::{FileDoor, FileError, FileStats, OpenFile};
pub use giving::{give_back_tables, has_spare_tables};
pub use memfold_sync::Giving;
pub use merge::{Effort, MergeStep, Sharing};
pub use mm::{Config, LEAST_LIMIT, Mm};
pub use native::Native;
#[cfg(all(loom, feature = "explored"))]
pub use races::rules;
pub use reclaim::state::Replacement;
pub use space::kin::{Kin, Made};
pub use space::{FaultError, Merging, OnLoss};
pub use space_stats::SpaceStats;
pub use standby::Losses;
pub use stats::Stats;
pub use survey::{Depth, Living, PageIs, living, survey};
