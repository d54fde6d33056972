//! Live instances and their forks: [`ForkInstance`], [`Snapshot`].
//!
//! A fork needs its parent *at rest*: no frame of it on any stack. The type
//! `&mut Store` says so: a host function has a `Caller`, a suspended call holds
//! the store, and neither gives a `&mut Store`. A suspended call that is dropped
//! gives it back with the program's work half done, which `rest.rs` remembers.

use crate::error::Error;
use crate::ground::Grounds;
use crate::held::{InstanceSpace, SnapshotSpace};
use crate::rest::Rest;
use crate::state::State;
use crate::template::Template;
use crate::way::{Straight, Way, now};
use std::fmt;
use wasmtime::{Instance, Store, TypedFunc, WasmParams, WasmResults};

/// An instance that can be forked.
///
/// It is a handle: the instance lives in its store, like any other of
/// Wasmtime's. Its memories are given back when both are dropped. Every method
/// that takes a store panics when it is not the one of this instance.
pub struct ForkInstance<T: 'static> {
    pub(crate) template: Template<T>,
    pub(crate) instance: Instance,
    pub(crate) grounds: Grounds,
    pub(crate) rest: Rest,
}

impl<T> ForkInstance<T> {
    pub(crate) fn new(template: Template<T>, instance: Instance, grounds: Grounds) -> Self {
        ForkInstance {
            template,
            instance,
            grounds,
            rest: Rest::default(),
        }
    }

    /// Wasmtime's handle, to look up exports.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// The first memory, which for most programs is the only one: its size, its eviction, pins.
    pub fn space(&self) -> InstanceSpace<'_> {
        InstanceSpace(self.grounds.first())
    }

    /// All memories, in the order of their indices in the module; there is at least one.
    pub fn spaces(&self) -> impl ExactSizeIterator<Item = InstanceSpace<'_>> {
        self.grounds.iter().map(InstanceSpace)
    }

    /// Calls a function of the instance, and tells a memory failure from a trap.
    ///
    /// # Errors
    /// [`Error::MemoryLost`] when a page could not be had, whatever the call's
    /// own outcome was; [`Error::Program`] for every other failure.
    pub fn call<P: WasmParams, R: WasmResults>(
        &self,
        store: &mut Store<T>,
        function: &TypedFunc<P, R>,
        params: P,
    ) -> Result<R, Error> {
        let outcome = function.call(&mut *store, params);
        self.check()?;
        outcome.map_err(Error::Program)
    }

    /// Whether all memory could be had since this was last asked. For those
    /// who call by Wasmtime's own means instead of [`call`](ForkInstance::call).
    ///
    /// # Errors
    /// [`Error::MemoryLost`], once for each failure.
    pub fn check(&self) -> Result<(), Error> {
        self.grounds.check()
    }

    /// Makes a copy of the instance, as it is now, in another store.
    ///
    /// Memory is shared until one of the two writes to it. Globals, tables that the program has
    /// changed, and which segments it has dropped, are copied; a reference to a function becomes
    /// one to the copy's, and what references to host data become the host says
    /// ([`Template::with_host_data`]). *Not* copied is what lives outside the program: the data of
    /// the store (files that the program has open among them), fuel, epoch deadline and limits; see
    /// [`fork_with`](ForkInstance::fork_with). What the program drew at random it has twice, unless
    /// it draws anew ([`Template::with_reseed`]).
    ///
    /// The limiter of the child's store, if it has one, is asked twice for each memory: whether a
    /// memory of the module's first size may be made, and whether it may grow to the size that the
    /// parent's has now. Tables that have grown are told to it as well. To drop segments a few
    /// instructions run in the child's store, which takes fuel and heeds its deadline.
    ///
    /// # Errors
    /// [`Error::Held`] when a global or a table refers to something that lives in the store,
    /// [`Error::HostData`] when it is host data and its copying was refused.
    /// [`Error::Memory`] when the budget is spent, [`Error::Instantiate`] and [`Error::StoreLimit`]
    /// when the child's store refuses, [`Error::MemoryLost`] as in [`check`](ForkInstance::check);
    /// [`Error::Program`] when the function for each fork fails; [`Error::HalfDone`] after a call
    /// whose future was dropped, or a reset that failed between two memories.
    ///
    /// # Panics
    /// When `parent` is not the store of this instance, or `child` belongs to
    /// another engine.
    pub fn fork(&self, parent: &mut Store<T>, child: &mut Store<T>) -> Result<ForkInstance<T>, Error> {
        now(self.fork_by::<Straight>(parent, child))
    }

    pub(crate) async fn fork_by<W: Way<T>>(
        &self,
        parent: &mut Store<T>,
        child: &mut Store<T>,
    ) -> Result<ForkInstance<T>, Error> {
        let state = self.at_rest(parent)?;
        let grounds = self.grounds.fork()?;
        self.template.go_on::<W>(child, grounds, &state).await
    }

    /// As [`fork`](ForkInstance::fork), into a store that `make` makes of the parent's.
    ///
    /// `make` says what becomes of what lives outside of the program: the store's data, which only
    /// the host knows how to copy, and fuel, deadline and limiter, which a new store has as
    /// Wasmtime makes them. It may refuse, while a file is open or a request under way that two
    /// cannot have; then there is no fork. It is called when the program's own state can be copied.
    ///
    /// # Errors
    /// [`Error::HostState`] when `make` refuses; as [`fork`](ForkInstance::fork) otherwise.
    ///
    /// # Panics
    /// As [`fork`](ForkInstance::fork).
    ///
    /// ```
    /// # use memfold_wasmtime::{Template, configure, prepare};
    /// # use wasmtime::{Config, Engine, Linker, Store};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let memory = memfold::Memory::builder().budget_bytes(64 << 20).build()?;
    /// # let mut config = Config::new();
    /// # configure(&mut config, &memory).consume_fuel(true);
    /// # let engine = Engine::new(&config)?;
    /// # let wasm = wat::parse_str("(module (memory 1))")?;
    /// # let template = Template::new(&memory, &Linker::new(&engine), &prepare(&wasm)?)?;
    /// struct Tenant { requests: Vec<String> }
    ///
    /// let mut parent_store = Store::new(&engine, Tenant { requests: Vec::new() });
    /// parent_store.set_fuel(1000)?;
    /// let parent = template.instantiate(&mut parent_store)?;
    /// let (store, _fork) = parent.fork_with(&mut parent_store, |parent| {
    ///     if !parent.data().requests.is_empty() {
    ///         return Err(wasmtime::Error::msg("a request is under way"));
    ///     }
    ///     let mut child = Store::new(parent.engine(), Tenant { requests: Vec::new() });
    ///     child.set_fuel(parent.get_fuel()?)?;
    ///     Ok(child)
    /// })?;
    /// assert_eq!(store.get_fuel()?, 1000);
    /// # Ok(())
    /// # }
    /// ```
    pub fn fork_with(
        &self,
        parent: &mut Store<T>,
        make: impl FnOnce(&mut Store<T>) -> wasmtime::Result<Store<T>>,
    ) -> Result<(Store<T>, ForkInstance<T>), Error> {
        let mut child = self.store_of(parent, make)?;
        // What `make` did with the parent counts.
        let fork = self.fork(parent, &mut child)?;
        Ok((child, fork))
    }

    /// The store that the host makes for a fork.
    pub(crate) fn store_of(
        &self,
        parent: &mut Store<T>,
        make: impl FnOnce(&mut Store<T>) -> wasmtime::Result<Store<T>>,
    ) -> Result<Store<T>, Error> {
        self.at_rest(parent)?;
        make(parent).map_err(Error::HostState)
    }

    /// Makes a copy that never runs and from which any number of instances
    /// start. Takes time in proportion to what the instance changed; the
    /// starts then share all of it.
    ///
    /// # Errors
    /// [`Error::Memory`] when the budget is spent, [`Error::Held`] as in
    /// [`fork`](ForkInstance::fork), [`Error::MemoryLost`] as in [`check`](ForkInstance::check).
    ///
    /// # Panics
    /// When `store` is not the store of this instance.
    pub fn freeze(&self, store: &mut Store<T>) -> Result<Snapshot<T>, Error> {
        let state = self.at_rest(store)?;
        let grounds = self.grounds.freeze()?;
        Ok(Snapshot {
            template: self.template.clone(),
            state,
            grounds,
        })
    }

    /// The part of the state that is not in the memory. The store is at rest,
    /// for we have it exclusively.
    fn at_rest(&self, store: &mut Store<T>) -> Result<State<T>, Error> {
        self.demand_own(store);
        self.check()?;
        if !self.rest.is_whole() {
            return Err(Error::HalfDone);
        }
        self.template.read_state(store, &self.instance)
    }

    /// Panics when this is not the instance's store.
    pub(crate) fn demand_own(&self, store: &mut Store<T>) {
        assert_eq!(
            self.template.address(store, &self.instance),
            self.grounds.first().as_ptr(),
            "the instance belongs to another store"
        );
    }
}

impl<T> fmt::Debug for ForkInstance<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForkInstance")
            .field("space", self.grounds.first().space())
            .finish_non_exhaustive()
    }
}

/// The state of an instance at one moment. Cheap to clone; may be used from
/// several threads at once, each with its own store.
pub struct Snapshot<T: 'static> {
    pub(crate) template: Template<T>,
    pub(crate) state: State<T>,
    pub(crate) grounds: Grounds,
}

impl<T> Snapshot<T> {
    /// Makes an instance that goes on from the snapshot.
    ///
    /// # Errors
    /// [`Error::Memory`] when the budget is spent, [`Error::Instantiate`] and [`Error::StoreLimit`]
    /// when the store's limits refuse, as in [`fork`](ForkInstance::fork).
    ///
    /// # Panics
    /// When the store belongs to another engine.
    pub fn instantiate(&self, store: &mut Store<T>) -> Result<ForkInstance<T>, Error> {
        now(self.instantiate_by::<Straight>(store))
    }

    pub(crate) async fn instantiate_by<W: Way<T>>(
        &self,
        store: &mut Store<T>,
    ) -> Result<ForkInstance<T>, Error> {
        let grounds = self.grounds.fork()?;
        self.template.go_on::<W>(store, grounds, &self.state).await
    }

    /// The frozen first memory, to be looked at.
    pub fn space(&self) -> SnapshotSpace<'_> {
        SnapshotSpace(self.grounds.first())
    }

    /// All frozen memories, in the order of their indices in the module.
    pub fn spaces(&self) -> impl ExactSizeIterator<Item = SnapshotSpace<'_>> {
        self.grounds.iter().map(SnapshotSpace)
    }
}

impl<T> Clone for Snapshot<T> {
    fn clone(&self) -> Self {
        Snapshot {
            template: self.template.clone(),
            state: self.state.clone(),
            grounds: self.grounds.clone(),
        }
    }
}

impl<T> fmt::Debug for Snapshot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("space", self.grounds.first().space())
            .finish_non_exhaustive()
    }
}
