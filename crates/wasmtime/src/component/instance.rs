//! Live instances of components and their forks: [`ForkComponent`], [`ComponentSnapshot`].
//!
//! As for modules (`crate::instance`), a fork needs its parent at rest, and the type `&mut Store`
//! says that no frame of it is on any stack. A call that trapped in the middle is known to
//! Wasmtime, which lets nobody enter the store's components any more; so nobody can fork them
//! either. What was begun on a fiber and dropped is remembered here (`crate::rest`).

use super::accessor::entered;
use super::way::Way;
use super::{Cells, ComponentTemplate};
use crate::error::Error;
use crate::ground::Grounds;
use crate::held::{InstanceSpace, SnapshotSpace};
use crate::rest::Rest;
use crate::way::{Straight, now};
use std::fmt;
use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, Instance, Lift, Lower, TypedFunc};

/// An instance of a component that can be forked.
///
/// It is a handle: the instance lives in its store, like any other of Wasmtime's. Its memories are
/// given back when both are dropped. Every method that takes a store panics when it is not the one
/// of this instance.
pub struct ForkComponent<T: 'static> {
    pub(super) template: ComponentTemplate<T>,
    pub(super) instance: Instance,
    pub(super) grounds: Grounds,
    pub(super) rest: Rest,
}

impl<T> ForkComponent<T> {
    pub(super) fn new(template: ComponentTemplate<T>, instance: Instance, grounds: Grounds) -> Self {
        ForkComponent {
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

    /// All memories, in the order in which the core instances that define them are made; there is
    /// at least one.
    pub fn spaces(&self) -> impl ExactSizeIterator<Item = InstanceSpace<'_>> {
        self.grounds.iter().map(InstanceSpace)
    }

    /// Calls a function of the instance, and tells a memory failure from a trap.
    ///
    /// # Errors
    /// [`Error::MemoryLost`] when a page could not be had, whatever the call's own outcome was;
    /// [`Error::CannotEnter`] when an earlier call in this store has trapped; [`Error::Program`]
    /// for every other failure.
    pub fn call<P, R>(&self, store: &mut Store<T>, function: &TypedFunc<P, R>, params: P) -> Result<R, Error>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let outcome = entered(function.call(&mut *store, params));
        self.check()?;
        outcome
    }

    /// Whether all memory could be had since this was last asked. For those who call by Wasmtime's
    /// own means instead of [`call`](ForkComponent::call).
    ///
    /// # Errors
    /// [`Error::MemoryLost`], once for each failure.
    pub fn check(&self) -> Result<(), Error> {
        self.grounds.check()
    }

    /// Makes a copy of the instance, as it is now, in another store.
    ///
    /// Memory is shared until one of the two writes to it. The globals of its core instances, and
    /// which segments they have dropped, are copied. *Not* copied is what lives outside of the
    /// component: the data of the store, fuel, epoch deadline and limits; see
    /// [`fork_with`](ForkComponent::fork_with). Handles to resources and streams cannot be copied:
    /// there must be none, in the whole store.
    ///
    /// Some instructions run in both stores, which take no fuel and heed the epoch deadline: where
    /// the parent's has passed, the call traps, and nobody can enter the parent any more.
    ///
    /// The limiter of the child's store, if it has one, is asked twice for each memory, as in
    /// [`ForkInstance::fork`](crate::ForkInstance::fork).
    ///
    /// # Errors
    /// [`Error::Handles`] when there are handles in the parent's store, [`Error::ChangedTable`]
    /// when the program has changed a table, [`Error::CannotEnter`] after a trap. [`Error::Memory`]
    /// when the budget is spent, [`Error::Instantiate`] and [`Error::StoreLimit`] when the child's
    /// store refuses, [`Error::MemoryLost`] as in [`check`](ForkComponent::check);
    /// [`Error::Program`] when the function for each fork fails; [`Error::HalfDone`] after a call
    /// or the like whose future was dropped, or a reset that failed between two memories.
    ///
    /// # Panics
    /// When `parent` is not the store of this instance, or `child` belongs to another engine.
    pub fn fork(&self, parent: &mut Store<T>, child: &mut Store<T>) -> Result<ForkComponent<T>, Error> {
        now(self.fork_by::<Straight>(parent, child))
    }

    pub(super) async fn fork_by<W: Way<T>>(
        &self,
        parent: &mut Store<T>,
        child: &mut Store<T>,
    ) -> Result<ForkComponent<T>, Error> {
        let cells = self.at_rest::<W>(parent).await?;
        let grounds = self.grounds.fork()?;
        self.template.go_on::<W>(child, grounds, &cells).await
    }

    /// As [`fork`](ForkComponent::fork), into a store that `make` makes of the parent's.
    ///
    /// As [`ForkInstance::fork_with`](crate::ForkInstance::fork_with): `make` says what becomes of
    /// what lives outside of the program, and may refuse. It is called when the component's own
    /// state can be copied.
    ///
    /// # Errors
    /// [`Error::HostState`] when `make` refuses; as [`fork`](ForkComponent::fork) otherwise.
    ///
    /// # Panics
    /// As [`fork`](ForkComponent::fork).
    pub fn fork_with(
        &self,
        parent: &mut Store<T>,
        make: impl FnOnce(&mut Store<T>) -> wasmtime::Result<Store<T>>,
    ) -> Result<(Store<T>, ForkComponent<T>), Error> {
        now(self.at_rest::<Straight>(parent))?;
        let mut child = make(parent).map_err(Error::HostState)?;
        // What `make` did with the parent counts.
        let fork = self.fork(parent, &mut child)?;
        Ok((child, fork))
    }

    /// Makes a copy that never runs and from which any number of instances start. Takes time in
    /// proportion to what the instance changed; the starts then share all of it.
    ///
    /// # Errors
    /// [`Error::Memory`] when the budget is spent, the others as in [`fork`](ForkComponent::fork).
    ///
    /// # Panics
    /// When `store` is not the store of this instance.
    pub fn freeze(&self, store: &mut Store<T>) -> Result<ComponentSnapshot<T>, Error> {
        now(self.freeze_by::<Straight>(store))
    }

    pub(super) async fn freeze_by<W: Way<T>>(
        &self,
        store: &mut Store<T>,
    ) -> Result<ComponentSnapshot<T>, Error> {
        let cells = self.at_rest::<W>(store).await?;
        Ok(ComponentSnapshot {
            template: self.template.clone(),
            cells,
            grounds: self.grounds.freeze()?,
        })
    }

    /// The part of the state that is not in the memories.
    pub(super) async fn at_rest<W: Way<T>>(&self, store: &mut Store<T>) -> Result<Cells, Error> {
        self.check()?;
        if !self.rest.is_whole() {
            return Err(Error::HalfDone);
        }
        // A future that is dropped while the state is read leaves the component entered.
        let begun = self.rest.begin();
        let cells = self.template.read_state::<W>(store, &self.instance).await;
        begun.end();
        cells
    }
}

impl<T> fmt::Debug for ForkComponent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForkComponent")
            .field("space", self.grounds.first().space())
            .finish_non_exhaustive()
    }
}

/// The state of a component's instance at one moment. Cheap to clone; may be used from several
/// threads at once, each with its own store.
pub struct ComponentSnapshot<T: 'static> {
    pub(super) template: ComponentTemplate<T>,
    pub(super) cells: Cells,
    pub(super) grounds: Grounds,
}

impl<T> ComponentSnapshot<T> {
    /// Makes an instance that goes on from the snapshot.
    ///
    /// # Errors
    /// [`Error::Memory`] when the budget is spent, [`Error::Instantiate`] and [`Error::StoreLimit`]
    /// when the store's limits refuse, as in [`fork`](ForkComponent::fork).
    ///
    /// # Panics
    /// When the store belongs to another engine.
    pub fn instantiate(&self, store: &mut Store<T>) -> Result<ForkComponent<T>, Error> {
        now(self.instantiate_by::<Straight>(store))
    }

    pub(super) async fn instantiate_by<W: Way<T>>(
        &self,
        store: &mut Store<T>,
    ) -> Result<ForkComponent<T>, Error> {
        let grounds = self.grounds.fork()?;
        self.template.go_on::<W>(store, grounds, &self.cells).await
    }

    /// All frozen memories, in the order of [`ForkComponent::spaces`].
    pub fn spaces(&self) -> impl ExactSizeIterator<Item = SnapshotSpace<'_>> {
        self.grounds.iter().map(SnapshotSpace)
    }
}

impl<T> Clone for ComponentSnapshot<T> {
    fn clone(&self) -> Self {
        ComponentSnapshot {
            template: self.template.clone(),
            cells: self.cells.clone(),
            grounds: self.grounds.clone(),
        }
    }
}

impl<T> fmt::Debug for ComponentSnapshot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComponentSnapshot")
            .field("space", self.grounds.first().space())
            .finish_non_exhaustive()
    }
}
