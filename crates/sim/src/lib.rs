//! memfold's simulated machine: the seams of the manager on arrays.
//!
//! [`SimHost`] is a machine whose page tables are maps and whose memory is counted page by page; it
//! holds the manager to every duty of [`Host`](memfold_host::Host) and panics, in words, when one
//! is broken. Programs are [`program`]: loads and stores that miss and come back after a fault.
//! [`SimStore`] keeps exact copies, [`SimSource`] is a file. All can fail, and stored bytes rot, by
//! [`Plan`]; everything is a function of its seed, and the trace hash says whether two runs were
//! the same. A child of `fork(2)` is a copy that must not ask the machine for anything
//! ([`SimHost::as_copy`]). The manager's own unit tests and race models run here too, on a
//! [plain](SimHost::plain) machine whose [requests](SimHost::requests) they read and in a store
//! whose [prices](SimStore::priced) they set. Bottom-up: `state`, `rng`, `trace`, `plan`,
//! `requests`, `machine/`, `host`, `program`, `store`, `source`.
#![forbid(unsafe_code)]

mod host;
mod machine;
mod plan;
pub mod program;
mod race;
mod requests;
mod rng;
mod source;
mod state;
mod store;
mod trace;

pub use host::SimHost;
pub use machine::{Memory, Miss};
pub use plan::{Call, Calls, Lasting, Plan, When};
pub use race::Moment;
pub use requests::Request;
pub use rng::Rng;
pub use source::SimSource;
pub use store::{Prices, SimStore};
