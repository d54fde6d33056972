//! The seams between memfold's manager and a machine: plain numbers, traits and errors, and nothing
//! that decides.
//!
//! [`Host`] is the machine whose page tables the manager fills (real memory, or arrays in the
//! simulator), [`Store`] is where the bytes of cold pages go, [`PageSource`] where the pages of a
//! file come from, [`Ledger`] is whom a store asks for memory, and [`FaultSink`] is whom a host
//! asks to resolve a page fault. The manager (`memfold-mm`) and the machines (`memfold-linux`,
//! `memfold-sim`, `memfold-stores`) depend on this package, and not on one another; `memfold` joins
//! them.
#![forbid(unsafe_code)]

pub mod addr;
mod fault;
mod host;
mod refused;
mod source;
mod store;
mod terms;

pub use fault::{FaultReply, FaultSink, LostReply, Resolve, VacateReply};
pub use host::Host;
pub use refused::{HostError, Limit};
pub use source::{PageSource, SourceError};
pub use store::{Cost, Domain, Ledger, PUT_MOST, Store, StoreError, StoreStats, Stored};
pub use terms::{PageRef, Piece, Protection, SAMPLES, Tables, Taken};
