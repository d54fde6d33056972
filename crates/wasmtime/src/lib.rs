//! Live copy-on-write forks of Wasmtime instances inside one hard memory budget.
//!
//! | step | by |
//! | --- | --- |
//! | make a module forkable, or learn every reason why not | [`prepare`] |
//! | let an engine take its memories from memfold, and see whether it does | [`configure`], [`check`] |
//! | compile and link once | [`Template::new`] |
//! | make an instance, warm it up | [`Template::instantiate`], [`ForkInstance::call`] |
//! | fork it, or freeze it and make many of it | [`ForkInstance::fork`], [`ForkInstance::freeze`] |
//! | decide what becomes of the host's state and data, and of what was drawn at random | [`ForkInstance::fork_with`], [`Template::with_host_data`], [`Template::with_reseed`] |
//! | use an instance again, as if it were new | [`ForkInstance::reset`] |
//! | let many instances read or store to one file in their memories | [`ForkInstance::map`] |
//! | the same with epochs, fuel or host functions that wait | `call_async`, `fork_async` and their like |
//!
//! The feature `gc`, which is on by default, has [`Template::with_host_data`] and lets engines run
//! what refers to data of the host, as most programs built for JavaScript do. It switches on
//! Wasmtime's features `gc` and `gc-drc`.
//!
//! The feature `async`, which is on by default, has the methods that end in `_async`. It adds
//! Wasmtime's fibers and no runtime: any executor will do.
//!
//! The feature `component` has the same for components of WASI 0.2: `prepare_component`,
//! `ComponentTemplate`, `ForkComponent` and `ComponentSnapshot`. A component is forked, or reset,
//! where it has no handles to resources, and has not changed its tables.
//!
//! A fork takes microseconds whatever its size, shares all memory with its
//! parent until one of them writes, and is a Wasmtime instance like any other.
//! What it takes to be forkable, and what is not copied, stands at [`prepare`]
//! and [`ForkInstance::fork`].
//!
//! ```
//! use memfold_wasmtime::{Template, configure, prepare};
//! use wasmtime::{Config, Engine, Linker, Store};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let memory = memfold::Memory::builder().budget_bytes(64 << 20).build()?;
//! let mut config = Config::new();
//! configure(&mut config, &memory);
//! let engine = Engine::new(&config)?;
//!
//! let counter = wat::parse_str(
//!     r#"(module (memory 1) (global $calls (mut i32) (i32.const 0))
//!         (func (export "call") (result i32)
//!             (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
//!             (global.get $calls)))"#,
//! )?;
//! let template = Template::new(&memory, &Linker::new(&engine), &prepare(&counter)?)?;
//!
//! let mut store = Store::new(&engine, ());
//! let parent = template.instantiate(&mut store)?;
//! let call = parent.instance().get_typed_func::<(), i32>(&mut store, "call")?;
//! assert_eq!(parent.call(&mut store, &call, ())?, 1);
//!
//! let snapshot = parent.freeze(&mut store)?;
//! for _ in 0..10 {
//!     let mut store = Store::new(&engine, ());
//!     let clone = snapshot.instantiate(&mut store)?;
//!     let call = clone.instance().get_typed_func::<(), i32>(&mut store, "call")?;
//!     assert_eq!(clone.call(&mut store, &call, ())?, 2);
//! }
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)]

mod code;
#[cfg(feature = "component")]
mod component;
mod config;
#[allow(unsafe_code, reason = "implements the two unsafe traits of Wasmtime")]
mod creator;
mod error;
#[cfg(feature = "async")]
mod fibers;
mod ground;
mod handoff;
mod held;
mod host_data;
mod instance;
mod layout;
#[allow(unsafe_code, reason = "a file may be changed by others while it is mapped")]
mod mapping;
mod reset;
mod rest;
mod state;
mod template;
mod way;

#[cfg(feature = "component")]
pub use component::{ComponentSnapshot, ComponentTemplate, ForkComponent};
pub use config::{ADDRESSES_PER_MEMORY, check, configure};
pub use error::Error;
pub use held::{InstanceSpace, SnapshotSpace};
pub use instance::{ForkInstance, Snapshot};
pub use memfold_prepare::{
    Addresses, Contents, DropPlan, FunctionPlan, Given, GlobalPlan, MOST_BYTES, MemoryPlan, NotForkable,
    Number, Own, Prepared, Reason, Segment, Site, Slot, TablePlan, prepare, prepare_with,
};
#[cfg(feature = "component")]
pub use memfold_prepare::{Cell, ComponentTable, PreparedComponent, prepare_component};
pub use reset::Irreversible;
pub use state::{Foreign, Place};
pub use template::Template;
