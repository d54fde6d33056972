//! Instances whose stores wait: the asynchronous calls of [`Template`], [`ForkInstance`] and
//! [`Snapshot`].
//!
//! A store needs these when its epochs or its fuel yield, when its limiter is asynchronous, or when
//! the program imports asynchronous host functions. Each has the meaning of the method without
//! `_async`. They run on fibers, which stand on stacks of Wasmtime's own; a fault is answered
//! there, so a fiber needs room for one below what the program may use. No lock; each holds the
//! store exclusively until it has ended.

use crate::error::Error;
use crate::instance::{ForkInstance, Snapshot};
use crate::template::Template;
use crate::way::OnFibers;
use memfold::linux::FAULT_STACK_BYTES;
use wasmtime::{Engine, Store, TypedFunc, WasmParams, WasmResults};

/// Bytes of a fiber's stack that host code has below what the program may use: for a fault, and as
/// much again for what touches a page there (an asynchronous host function, Wasmtime's own
/// copying).
const ROOM: usize = 2 * FAULT_STACK_BYTES;

impl<T: Send> Template<T> {
    /// As [`instantiate`](Template::instantiate), in a store that waits.
    ///
    /// # Errors
    /// As [`instantiate`](Template::instantiate), and [`Error::FiberStack`] when the engine's
    /// fibers have too little room.
    ///
    /// # Panics
    /// When the store belongs to another engine.
    pub async fn instantiate_async(&self, store: &mut Store<T>) -> Result<ForkInstance<T>, Error> {
        check(store.engine())?;
        self.instantiate_by::<OnFibers>(store).await
    }
}

impl<T: Send> ForkInstance<T> {
    /// As [`call`](ForkInstance::call), in a store that waits.
    ///
    /// A call whose future is dropped before it has ended is over, and the program is in the middle
    /// of what it did: from then on the instance can be [`reset`](ForkInstance::reset_async) and
    /// called, but not forked or frozen.
    ///
    /// # Errors
    /// As [`call`](ForkInstance::call). An epoch deadline that traps is [`Error::Program`] with
    /// [`wasmtime::Trap::Interrupt`].
    ///
    /// ```
    /// # use memfold_wasmtime::{Template, configure, prepare};
    /// # use wasmtime::{Config, Engine, Linker, Store};
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # let memory = memfold::Memory::builder().budget_bytes(64 << 20).build()?;
    /// let mut config = Config::new();
    /// configure(config.epoch_interruption(true), &memory);
    /// let engine = Engine::new(&config)?;
    /// let wasm = wat::parse_str(r#"(module (memory 1) (func (export "work") (loop (br 0))))"#)?;
    /// let template = Template::new(&memory, &Linker::new(&engine), &prepare(&wasm)?)?;
    /// let mut store = Store::new(&engine, ());
    /// store.epoch_deadline_async_yield_and_update(1);
    /// let plugin = template.instantiate_async(&mut store).await?;
    /// let work = plugin.instance().get_typed_func::<(), ()>(&mut store, "work")?;
    /// // Others run whenever the engine's epoch goes on.
    /// plugin.call_async(&mut store, &work, ()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn call_async<P, R>(
        &self,
        store: &mut Store<T>,
        function: &TypedFunc<P, R>,
        params: P,
    ) -> Result<R, Error>
    where
        P: WasmParams + Sync,
        R: WasmResults + Sync,
    {
        let begun = self.rest.begin();
        let outcome = function.call_async(&mut *store, params).await;
        begun.end();
        self.check()?;
        outcome.map_err(Error::Program)
    }

    /// As [`fork`](ForkInstance::fork), into a store that waits.
    ///
    /// # Errors
    /// As [`fork`](ForkInstance::fork), and [`Error::FiberStack`].
    ///
    /// # Panics
    /// As [`fork`](ForkInstance::fork).
    pub async fn fork_async(
        &self,
        parent: &mut Store<T>,
        child: &mut Store<T>,
    ) -> Result<ForkInstance<T>, Error> {
        check(child.engine())?;
        self.fork_by::<OnFibers>(parent, child).await
    }

    /// As [`fork_with`](ForkInstance::fork_with), for stores that wait.
    ///
    /// # Errors
    /// As [`fork_with`](ForkInstance::fork_with), and [`Error::FiberStack`].
    ///
    /// # Panics
    /// As [`fork`](ForkInstance::fork).
    pub async fn fork_with_async(
        &self,
        parent: &mut Store<T>,
        make: impl FnOnce(&mut Store<T>) -> wasmtime::Result<Store<T>>,
    ) -> Result<(Store<T>, ForkInstance<T>), Error> {
        let mut child = self.store_of(parent, make)?;
        let fork = self.fork_async(parent, &mut child).await?;
        Ok((child, fork))
    }

    /// As [`reset`](ForkInstance::reset), in a store that waits. When the future is dropped before
    /// it has ended, the instance is to be reset again.
    ///
    /// # Errors
    /// As [`reset`](ForkInstance::reset).
    ///
    /// # Panics
    /// As [`reset`](ForkInstance::reset).
    pub async fn reset_async(&self, store: &mut Store<T>, to: &Snapshot<T>) -> Result<(), Error> {
        self.reset_by::<OnFibers>(store, to).await
    }
}

impl<T: Send> Snapshot<T> {
    /// As [`instantiate`](Snapshot::instantiate), in a store that waits.
    ///
    /// # Errors
    /// As [`instantiate`](Snapshot::instantiate), and [`Error::FiberStack`].
    ///
    /// # Panics
    /// When the store belongs to another engine.
    pub async fn instantiate_async(&self, store: &mut Store<T>) -> Result<ForkInstance<T>, Error> {
        check(store.engine())?;
        self.instantiate_by::<OnFibers>(store).await
    }
}

/// Whether a fault has room on the engine's fibers.
pub(crate) fn check(engine: &Engine) -> Result<(), Error> {
    let left = engine
        .get_async_stack_size()
        .saturating_sub(engine.get_max_wasm_stack());
    if left < ROOM {
        return Err(Error::FiberStack { left, needed: ROOM });
    }
    Ok(())
}
