//! What can go wrong with templates and forks, in one type. Plain values.

use crate::reset::Irreversible;
use crate::state::{Foreign, Place};
use std::fmt;

/// Why a template, an instance, a fork or a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine does not take its memories from memfold.
    #[error(
        "the engine does not take its memories from memfold: \
         call `memfold_wasmtime::configure` on its configuration, after all other settings"
    )]
    NotConfigured,
    /// A setting of the engine was changed after [`configure`](crate::configure).
    #[error(
        "the engine's setting `{setting}` is {found}, and memfold needs {wanted}: \
         call `memfold_wasmtime::configure` on its configuration, after all other settings"
    )]
    Setting {
        /// The method of [`wasmtime::Config`] that sets it.
        setting: &'static str,
        /// What the engine has.
        found: String,
        /// What it must have.
        wanted: String,
    },
    /// The module was not compiled from the prepared one, but perhaps from another one.
    #[error(
        "the compiled module is not the prepared one (it has no export {export:?}): \
         compile `Prepared::wasm` of the same module, prepared by the same version of memfold"
    )]
    WrongModule {
        /// The export that it should have. Its name ends with a fingerprint of the module.
        export: String,
    },
    /// The engine cannot compile the module.
    #[error("the module cannot be compiled: {0:#}")]
    Compile(wasmtime::Error),
    /// The linker lacks an import, or has it with another type.
    #[error("the module's imports cannot be linked: {0:#}")]
    Link(wasmtime::Error),
    /// The store refused the instance.
    #[error("the instance cannot be made: {0:#}")]
    Instantiate(wasmtime::Error),
    /// The host made no store for a fork ([`fork_with`](crate::ForkInstance::fork_with)), or did
    /// not copy its data into it ([`with_host_data`](crate::Template::with_host_data)).
    #[error("the host does not make its part of the fork: {0:#}")]
    HostState(wasmtime::Error),
    /// There is no such function to be called in each fork.
    #[error(
        "the module has no export {export:?} that is a function without parameters and results, \
         which is what can be called in each fork"
    )]
    Reseed {
        /// The export's name.
        export: String,
    },
    /// The limiter of the fork's store refused a memory as large as the fork's. As with any
    /// instance that Wasmtime could not finish, what there is of it goes with the store.
    #[error(
        "the store's limits refuse a memory of {bytes} bytes, which the fork has from its parent: \
         allow as much in the fork's store ({reason:#})"
    )]
    StoreLimit {
        /// Bytes of the fork's memory.
        bytes: u64,
        /// What the limiter, or Wasmtime for it, said.
        reason: wasmtime::Error,
    },
    /// The instance is in a state that cannot be copied into another store.
    #[error(
        "the instance cannot be forked as it is: {place}{} holds {what}, which lives in its store only; {}",
        Called(name.as_deref()),
        what.help()
    )]
    Held {
        /// Where.
        place: Place,
        /// What the module calls the global or the table, if it exports or imports it.
        name: Option<String>,
        /// What stands there.
        what: Foreign,
    },
    /// The embedder's function for host data refused
    /// ([`with_host_data`](crate::Template::with_host_data)).
    #[error(
        "the instance cannot be forked as it is: {place}{} holds a reference to data of the host, which is not copied: \
         {reason:#}",
        Called(name.as_deref())
    )]
    HostData {
        /// Where.
        place: Place,
        /// What the module calls the global or the table, if it exports or imports it.
        name: Option<String>,
        /// What the function said.
        reason: wasmtime::Error,
    },
    /// The instance has done since what cannot be undone in its store; it is as it was.
    #[error(
        "the instance cannot be reset: {0}; drop it with its store, and make another one of the snapshot"
    )]
    Irreversible(Irreversible),
    /// The future of a call or of a reset was dropped before it had ended (of a component: also of
    /// a fork or a freeze), or a reset failed between two memories.
    #[error(
        "a call or a reset of the instance has not come to its end, and what was being done is half done: \
         reset the instance, or drop it with its store"
    )]
    HalfDone,
    /// There are handles in the store of a component that is to be forked or reset: resources that
    /// it owns or has borrowed, streams of WASI among them, or some that the host has of it. They
    /// live in their store, and nobody knows how to copy them or what they were.
    #[cfg(feature = "component")]
    #[error(
        "the component cannot be forked or reset as it is: there are handles in its store (resources, streams), which live in \
         that store only; fork it before it has any, or drop them first"
    )]
    Handles,
    /// The code of a component has changed a table.
    #[cfg(feature = "component")]
    #[error(
        "the component cannot be forked or reset as it is: its code has changed the table {}{} of its core module {}, \
         which cannot be copied; fork it before it does",
        .0.table,
        Called(.0.name.as_deref()),
        .0.module
    )]
    ChangedTable(memfold_prepare::ComponentTable),
    /// A call in the component's store has trapped, after which no component in it can be entered.
    #[cfg(feature = "component")]
    #[error(
        "the component cannot be entered any more: a call in its store has trapped, and what was being done is half \
         done; drop it with its store"
    )]
    CannotEnter,
    /// A fault has too little room on the stacks of the engine's fibers.
    #[error(
        "{left} bytes of a fiber's stack are left beside what programs may use (`async_stack_size` less \
         `max_wasm_stack`), and memfold needs {needed} to answer a fault there: set a larger `async_stack_size`"
    )]
    FiberStack {
        /// Bytes that there are.
        left: usize,
        /// Bytes that there should be.
        needed: usize,
    },
    /// The program trapped, or a host function that it called failed.
    #[error("the program failed: {0:#}")]
    Program(wasmtime::Error),
    /// A page of a memory could not be had while the program ran. What the
    /// call did is unknown; discard the instance.
    #[error("the instance lost memory: {failure}")]
    MemoryLost {
        /// What happened to which page.
        failure: memfold::Failure,
    },
    /// There are too many templates at once.
    #[error(transparent)]
    TooManyTemplates(#[from] memfold::linux::GuestTableFull),
    /// The manager refused: most often, the budget is spent.
    #[error(transparent)]
    Memory(#[from] memfold::Error),
}

/// A name in brackets, if there is one.
struct Called<'a>(Option<&'a str>);

impl fmt::Display for Called<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |name| write!(f, " ({name:?})"))
    }
}
