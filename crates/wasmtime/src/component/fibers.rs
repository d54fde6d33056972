//! Components in stores that wait: the asynchronous calls of [`ComponentTemplate`],
//! [`ForkComponent`] and [`ComponentSnapshot`].
//!
//! As for modules (`crate::fibers`). That a component is frozen asynchronously, too, comes from its
//! state: it is read by the component's own code. No lock; each holds the store exclusively until
//! it has ended.

use super::accessor::entered;
use super::{ComponentSnapshot, ComponentTemplate, ForkComponent};
use crate::error::Error;
use crate::fibers::check;
use crate::way::OnFibers;
use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, Lift, Lower, TypedFunc};

impl<T: Send> ComponentTemplate<T> {
    /// As [`instantiate`](ComponentTemplate::instantiate), in a store that waits.
    ///
    /// # Errors
    /// As [`instantiate`](ComponentTemplate::instantiate), and [`Error::FiberStack`] when the
    /// engine's fibers have too little room.
    ///
    /// # Panics
    /// When the store belongs to another engine.
    pub async fn instantiate_async(&self, store: &mut Store<T>) -> Result<ForkComponent<T>, Error> {
        check(store.engine())?;
        self.instantiate_by::<OnFibers>(store).await
    }
}

impl<T: Send> ForkComponent<T> {
    /// As [`call`](ForkComponent::call), in a store that waits.
    ///
    /// A call whose future is dropped before it has ended is over, and the component is in the
    /// middle of what it did: from then on it cannot be forked or frozen, and where its code was
    /// running, nobody can enter it any more. Drop it with its store.
    ///
    /// # Errors
    /// As [`call`](ForkComponent::call). An epoch deadline that traps is [`Error::Program`] with
    /// [`wasmtime::Trap::Interrupt`].
    ///
    /// ```
    /// # use memfold_wasmtime::{ComponentTemplate, configure, prepare_component};
    /// # use wasmtime::component::Linker;
    /// # use wasmtime::{Config, Engine, Store};
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # let memory = memfold::Memory::builder().budget_bytes(64 << 20).build()?;
    /// let mut config = Config::new();
    /// configure(config.epoch_interruption(true), &memory);
    /// let engine = Engine::new(&config)?;
    /// let wasm = wat::parse_str(
    ///     r#"(component
    ///         (core module $m (memory 1) (func (export "work") (param i32) (result i32)
    ///             (i32.add (local.get 0) (i32.const 1))))
    ///         (core instance $m (instantiate $m))
    ///         (func (export "work") (param "on" u32) (result u32)
    ///             (canon lift (core func $m "work"))))"#,
    /// )?;
    /// let prepared = prepare_component(&wasm)?;
    /// let template = ComponentTemplate::new(&memory, &Linker::new(&engine), &prepared)?;
    /// let store = || {
    ///     let mut store = Store::new(&engine, ());
    ///     // Others run whenever the engine's epoch goes on.
    ///     store.epoch_deadline_async_yield_and_update(1);
    ///     store
    /// };
    /// let mut warming = store();
    /// let warm = template.instantiate_async(&mut warming).await?;
    /// let snapshot = warm.freeze_async(&mut warming).await?;
    ///
    /// let mut store = store();
    /// let plugin = snapshot.instantiate_async(&mut store).await?;
    /// let work = plugin.instance().get_typed_func::<(u32,), (u32,)>(&mut store, "work")?;
    /// assert_eq!(plugin.call_async(&mut store, &work, (6,)).await?, (7,));
    /// # Ok(())
    /// # }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build();
    /// # runtime.expect("it takes a thread").block_on(example()).expect("it works");
    /// ```
    pub async fn call_async<P, R>(
        &self,
        store: &mut Store<T>,
        function: &TypedFunc<P, R>,
        params: P,
    ) -> Result<R, Error>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift + 'static,
    {
        let begun = self.rest.begin();
        let outcome = function.call_async(&mut *store, params).await;
        begun.end();
        self.check()?;
        entered(outcome)
    }

    /// As [`fork`](ForkComponent::fork), from a store that waits into another one.
    ///
    /// When the future is dropped before it has ended, both are to be dropped with their stores:
    /// the parent may have been in the middle of telling its state.
    ///
    /// # Errors
    /// As [`fork`](ForkComponent::fork), and [`Error::FiberStack`].
    ///
    /// # Panics
    /// As [`fork`](ForkComponent::fork).
    pub async fn fork_async(
        &self,
        parent: &mut Store<T>,
        child: &mut Store<T>,
    ) -> Result<ForkComponent<T>, Error> {
        check(child.engine())?;
        self.fork_by::<OnFibers>(parent, child).await
    }

    /// As [`fork_with`](ForkComponent::fork_with), for stores that wait.
    ///
    /// # Errors
    /// As [`fork_with`](ForkComponent::fork_with), and [`Error::FiberStack`].
    ///
    /// # Panics
    /// As [`fork`](ForkComponent::fork).
    pub async fn fork_with_async(
        &self,
        parent: &mut Store<T>,
        make: impl FnOnce(&mut Store<T>) -> wasmtime::Result<Store<T>>,
    ) -> Result<(Store<T>, ForkComponent<T>), Error> {
        self.at_rest::<OnFibers>(parent).await?;
        let mut child = make(parent).map_err(Error::HostState)?;
        let fork = self.fork_async(parent, &mut child).await?;
        Ok((child, fork))
    }

    /// As [`freeze`](ForkComponent::freeze), in a store that waits.
    ///
    /// # Errors
    /// As [`freeze`](ForkComponent::freeze).
    ///
    /// # Panics
    /// As [`freeze`](ForkComponent::freeze).
    pub async fn freeze_async(&self, store: &mut Store<T>) -> Result<ComponentSnapshot<T>, Error> {
        self.freeze_by::<OnFibers>(store).await
    }

    /// As [`reset`](ForkComponent::reset), in a store that waits. When the future is dropped before
    /// it has ended, the instance is to be dropped with its store.
    ///
    /// # Errors
    /// As [`reset`](ForkComponent::reset).
    ///
    /// # Panics
    /// As [`reset`](ForkComponent::reset).
    pub async fn reset_async(&self, store: &mut Store<T>, to: &ComponentSnapshot<T>) -> Result<(), Error> {
        self.reset_by::<OnFibers>(store, to).await
    }
}

impl<T: Send> ComponentSnapshot<T> {
    /// As [`instantiate`](ComponentSnapshot::instantiate), in a store that waits.
    ///
    /// # Errors
    /// As [`instantiate`](ComponentSnapshot::instantiate), and [`Error::FiberStack`].
    ///
    /// # Panics
    /// When the store belongs to another engine.
    pub async fn instantiate_async(&self, store: &mut Store<T>) -> Result<ForkComponent<T>, Error> {
        check(store.engine())?;
        self.instantiate_by::<OnFibers>(store).await
    }
}
