//! A program, compiled once, of which instances are made: [`Template`].
//!
//! Immutable after it was built, and shared by all instances and snapshots.
//! It holds the *pristine* spaces: the memories as the data segments leave them.
//! A cold start is a fork of those, then the start function; a fork of a live
//! instance (`instance.rs`) takes the same way with other spaces.

use crate::code::GuestCode;
use crate::config;
use crate::error::Error;
use crate::ground::{Ground, Grounds};
use crate::handoff::{self, Offer, Wanted};
use crate::host_data::{Hooks, Placed};
use crate::instance::ForkInstance;
use crate::layout::{self, Layout};
use crate::reset::Irreversible;
use crate::state::State;
use crate::way::{Straight, Way, now};
use memfold::Memory;
use memfold_prepare::Prepared;
use std::fmt;
use std::sync::Arc;
use wasmtime::{Extern, ExternType, Instance, InstancePre, Linker, Module, ModuleExport, Store};

/// A program of which instances can be made and forked. Cheap to clone; may be
/// used from several threads at once.
pub struct Template<T: 'static> {
    parts: Arc<Parts<T>>,
    /// Called in each fork.
    reseed: Option<ModuleExport>,
    /// How host data is copied into forks.
    pub(crate) hooks: Hooks<T>,
}

struct Parts<T: 'static> {
    pre: InstancePre<T>,
    /// In the order of their indices.
    memories: Box<[(ModuleExport, Wanted)]>,
    layout: Layout,
    start: Option<ModuleExport>,
    pristine: Grounds,
    code: Arc<GuestCode>,
}

impl<T> Template<T> {
    /// Compiles the program for the linker's engine, and links its imports.
    ///
    /// `memory` holds its memories; the engine must be one that
    /// [`configure`](crate::configure) was applied to.
    ///
    /// # Errors
    /// [`Error::Compile`], [`Error::Link`], [`Error::NotConfigured`] and [`Error::Setting`] for the
    /// engine and the linker, [`Error::Memory`] when the budget has no room for
    /// the program's data.
    pub fn new(memory: &Memory, linker: &Linker<T>, prepared: &Prepared) -> Result<Self, Error> {
        let module = Module::from_binary(linker.engine(), prepared.wasm()).map_err(Error::Compile)?;
        Template::from_module(memory, linker, prepared, &module)
    }

    /// As [`new`](Template::new), with a module that was compiled before from
    /// [`Prepared::wasm`], such as one that was serialized.
    ///
    /// # Errors
    /// As [`new`](Template::new), and [`Error::WrongModule`] for another module, prepared ones
    /// included.
    pub fn from_module(
        memory: &Memory,
        linker: &Linker<T>,
        prepared: &Prepared,
        module: &Module,
    ) -> Result<Self, Error> {
        let export = |name: &str| layout::find(module, name);
        let plans = prepared.memories().iter();
        let memories = plans
            .map(|plan| Ok((export(&plan.export)?, Wanted::new(plan))))
            .collect::<Result<_, Error>>()?;
        let layout = Layout::new(module, prepared)?;
        let start = prepared.start().map(export).transpose()?;
        let pre = linker.instantiate_pre(module).map_err(Error::Link)?;
        config::check(linker.engine())?;
        let parts = Parts {
            pre,
            memories,
            layout,
            start,
            pristine: pristine(memory, prepared)?,
            code: Arc::new(GuestCode::new(module)?),
        };
        Ok(Template {
            parts: Arc::new(parts),
            reseed: None,
            hooks: Hooks::default(),
        })
    }

    /// The same template, whose instances have an export called in them each time that they become
    /// what another one is: in every fork, every instance of a snapshot, after every
    /// [`reset`](ForkInstance::reset); not in fresh instances.
    ///
    /// For programs that keep what must not be the same twice: whatever a program drew at random
    /// before a fork, all of its forks have. Seeds of hash tables let whoever talks to one fork
    /// guess those of others; keys, nonces and session numbers that are the same twice can undo
    /// what they are for. Such a program exports a function that draws anew; a program that does
    /// not is to be forked before it draws.
    ///
    /// The function runs in the fork's store, which takes fuel and heeds its deadline.
    ///
    /// # Errors
    /// [`Error::Reseed`] when there is no such export, without parameters and results.
    ///
    /// ```
    /// # use memfold_wasmtime::{Template, configure, prepare};
    /// # use wasmtime::{Config, Engine, Linker, Store};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let memory = memfold::Memory::builder().budget_bytes(64 << 20).build()?;
    /// # let mut config = Config::new();
    /// # configure(&mut config, &memory);
    /// # let engine = Engine::new(&config)?;
    /// let wasm = wat::parse_str(
    ///     r#"(module (import "host" "random" (func $random (result i64))) (memory 1)
    ///         (global $seed (export "seed") (mut i64) (i64.const 0))
    ///         (func (export "reseed") (global.set $seed (call $random))))"#,
    /// )?;
    /// let mut linker = Linker::new(&engine);
    /// linker.func_wrap("host", "random", |mut caller: wasmtime::Caller<'_, i64>| {
    ///     *caller.data_mut() += 1; // a better one, please
    ///     *caller.data()
    /// })?;
    /// let template = Template::new(&memory, &linker, &prepare(&wasm)?)?.with_reseed("reseed")?;
    /// let mut parent_store = Store::new(&engine, 40);
    /// let parent = template.instantiate(&mut parent_store)?;
    /// let mut store = Store::new(&engine, 70);
    /// let fork = parent.fork(&mut parent_store, &mut store)?;
    /// let seed = fork.instance().get_global(&mut store, "seed").expect("it is exported");
    /// assert_eq!(seed.get(&mut store).i64(), Some(71));
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_reseed(mut self, export: &str) -> Result<Self, Error> {
        let module = self.parts.pre.module();
        let fits = |ty: ExternType| {
            let function = ty
                .func()
                .is_some_and(|ty| ty.params().len() + ty.results().len() == 0);
            function.then_some(())
        };
        let found = module.get_export(export).and_then(fits);
        let found = found.and_then(|()| module.get_export_index(export));
        let missing = || Error::Reseed {
            export: export.to_owned(),
        };
        self.reseed = Some(found.ok_or_else(missing)?);
        Ok(self)
    }

    /// The instance has just become what another one is.
    pub(crate) async fn reseed<W: Way<T>>(
        &self,
        store: &mut Store<T>,
        instance: &ForkInstance<T>,
    ) -> Result<(), Error> {
        match &self.reseed {
            Some(export) => self.run::<W>(store, instance, export).await,
            None => Ok(()),
        }
    }

    /// Calls an export without parameters and results.
    async fn run<W: Way<T>>(
        &self,
        store: &mut Store<T>,
        instance: &ForkInstance<T>,
        export: &ModuleExport,
    ) -> Result<(), Error> {
        let function = instance.instance().get_module_export(&mut *store, export);
        let function = function.and_then(Extern::into_func);
        let function = function.expect("the template checked its exports");
        let outcome = W::call(function, store).await;
        instance.check()?;
        outcome.map_err(Error::Program)
    }

    /// Makes a fresh instance and runs its start function, as
    /// [`wasmtime::Instance::new`] does.
    ///
    /// # Errors
    /// [`Error::Memory`] when the budget is spent; [`Error::Instantiate`] when
    /// the store's limits refuse; [`Error::Program`] and [`Error::MemoryLost`]
    /// when the start function fails.
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
        let instance = self.place::<W>(store, self.parts.pristine.fork()?).await?;
        if let Some(start) = &self.parts.start {
            self.run::<W>(store, &instance, start).await?;
        }
        Ok(instance)
    }

    /// An instance on these grounds; none of its code runs.
    async fn place<W: Way<T>>(
        &self,
        store: &mut Store<T>,
        grounds: Grounds,
    ) -> Result<ForkInstance<T>, Error> {
        // Whoever takes them tells them the module's first sizes.
        let lengths: Vec<u64> = grounds.iter().map(Ground::len).collect();
        let wanted = self.parts.memories.iter().map(|(_, wanted)| *wanted);
        let offer = Offer::new(grounds.iter().cloned().zip(wanted).collect(), &self.parts.code);
        let making = W::instantiate(&self.parts.pre, store);
        // Who has taken them is seen by their addresses.
        let (instance, _) = handoff::offering(offer, making).await;
        let instance = instance.map_err(Error::Instantiate)?;
        for (place, ground) in grounds.iter().enumerate() {
            if self.memory(store, &instance, place).data_ptr(&*store) != ground.as_ptr() {
                return Err(Error::NotConfigured);
            }
        }
        // Wasmtime has made memories of the module's first sizes. That they are as large as the
        // parent's is told to it, and by it to the store's limiter, as growth; the pages are there
        // already.
        for (place, bytes) in lengths.into_iter().enumerate() {
            let memory = self.memory(store, &instance, place);
            let grown = (bytes - memory.data_size(&*store) as u64) / memory.page_size(&*store);
            if grown > 0 {
                let refused = |reason| Error::StoreLimit { bytes, reason };
                W::grow_memory(memory, store, grown).await.map_err(refused)?;
            }
        }
        Ok(ForkInstance::new(self.clone(), instance, grounds))
    }

    /// Where the instance's first memory begins.
    ///
    /// # Panics
    /// When the instance is not of this store.
    pub(crate) fn address(&self, store: &mut Store<T>, instance: &Instance) -> *mut u8 {
        self.memory(store, instance, 0).data_ptr(&*store)
    }

    /// The memory of this index.
    pub(crate) fn memory(&self, store: &mut Store<T>, instance: &Instance, index: usize) -> wasmtime::Memory {
        let (export, _) = &self.parts.memories[index];
        let memory = instance
            .get_module_export(&mut *store, export)
            .and_then(Extern::into_memory);
        memory.expect("the template checked its exports")
    }

    pub(crate) fn read_state(&self, store: &mut Store<T>, instance: &Instance) -> Result<State<T>, Error> {
        State::read(store, instance, &self.parts.layout, &self.hooks)
    }

    /// What keeps an instance from being brought into this state, if anything does.
    pub(crate) fn obstacle(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
        state: &State<T>,
    ) -> Option<Irreversible> {
        state.obstacle(store, instance, &self.parts.layout)
    }

    /// Brings an instance that nothing keeps from it into this state.
    pub(crate) fn restore(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
        state: &State<T>,
        placed: &Placed,
    ) {
        state.restore(store, instance, &self.parts.layout, placed);
    }

    /// Whether this is that one.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.parts, &other.parts)
    }

    /// An instance that goes on from this state, on grounds that hold its memories.
    pub(crate) async fn go_on<W: Way<T>>(
        &self,
        store: &mut Store<T>,
        grounds: Grounds,
        state: &State<T>,
    ) -> Result<ForkInstance<T>, Error> {
        let instance = self.place::<W>(store, grounds).await?;
        let layout = &self.parts.layout;
        state.write::<W>(store, instance.instance(), layout).await?;
        self.reseed::<W>(store, &instance).await?;
        Ok(instance)
    }
}

impl<T> Clone for Template<T> {
    fn clone(&self) -> Self {
        Template {
            parts: Arc::clone(&self.parts),
            reseed: self.reseed,
            hooks: self.hooks.clone(),
        }
    }
}

impl<T> fmt::Debug for Template<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").finish_non_exhaustive()
    }
}

/// The memories as the data segments leave them.
fn pristine(memory: &Memory, prepared: &Prepared) -> Result<Grounds, Error> {
    let mut grounds = Vec::new();
    for plan in prepared.memories() {
        let ground = Ground::of_guest(memory, plan.minimum_bytes())?;
        let own = prepared.segments().iter();
        for segment in own.filter(|segment| segment.memory == plan.index) {
            ground.write(segment.offset, &segment.bytes)?;
        }
        grounds.push(ground);
    }
    Ok(Grounds::new(grounds).freeze()?)
}
