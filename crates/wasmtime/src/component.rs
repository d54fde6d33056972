//! A component, compiled once, of which instances are made: [`ComponentTemplate`].
//!
//! As `template.rs` for core modules, but nothing inside of a component is seen from outside. What
//! its core instances have besides their memories is read and set by the functions that
//! `memfold-prepare` has put into it (`accessor.rs`); the memories are made in the order of the
//! core instances, so they get their spaces in that order. A cold start is a fork of empty spaces,
//! and then the function that does what instantiation left out. Handles cannot be copied, so a fork
//! is made only where there are none (`handles.rs`).

mod accessor;
#[cfg(feature = "async")]
mod fibers;
mod handles;
mod instance;
mod reset;
mod way;

pub use instance::{ComponentSnapshot, ForkComponent};

use crate::code::GuestCode;
use crate::config;
use crate::error::Error;
use crate::ground::{Ground, Grounds};
use crate::handoff::{self, Offer, Taken, Wanted};
use crate::way::{Straight, now};
use accessor::{Accessor, FuelAside};
use memfold::Memory;
use memfold_prepare::{Cell, PreparedComponent};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use wasmtime::Store;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, Instance, InstancePre, Linker};
use way::Way;

/// A component of which instances can be made and forked. Cheap to clone; may be used from several
/// threads at once.
///
/// An instance has a store of its own, for handles are counted by stores. A store that waits (its
/// epochs or its fuel yield, its limiter or host functions are asynchronous) needs the methods that
/// end in `_async`; what is not said to be asynchronous there fails in such a store.
///
/// ```
/// use memfold_wasmtime::{ComponentTemplate, configure, prepare_component};
/// use wasmtime::component::Linker;
/// use wasmtime::{Config, Engine, Store};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let memory = memfold::Memory::builder().budget_bytes(64 << 20).build()?;
/// let mut config = Config::new();
/// configure(&mut config, &memory);
/// let engine = Engine::new(&config)?;
///
/// let counter = wat::parse_str(
///     r#"(component
///         (core module $m (memory 1) (global $calls (mut i32) (i32.const 0))
///             (func (export "call") (result i32)
///                 (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
///                 (global.get $calls)))
///         (core instance $m (instantiate $m))
///         (func (export "call") (result u32) (canon lift (core func $m "call"))))"#,
/// )?;
/// let prepared = prepare_component(&counter)?;
/// let template = ComponentTemplate::new(&memory, &Linker::new(&engine), &prepared)?;
///
/// let mut store = Store::new(&engine, ());
/// let parent = template.instantiate(&mut store)?;
/// let call = parent.instance().get_typed_func::<(), (u32,)>(&mut store, "call")?;
/// assert_eq!(parent.call(&mut store, &call, ())?, (1,));
///
/// let snapshot = parent.freeze(&mut store)?;
/// for _ in 0..10 {
///     let mut store = Store::new(&engine, ());
///     let clone = snapshot.instantiate(&mut store)?;
///     let call = clone.instance().get_typed_func::<(), (u32,)>(&mut store, "call")?;
///     assert_eq!(clone.call(&mut store, &call, ())?, (2,));
/// }
/// # Ok(())
/// # }
/// ```
pub struct ComponentTemplate<T: 'static> {
    parts: Arc<Parts<T>>,
    /// Called in each fork.
    reseed: Option<ComponentExportIndex>,
}

struct Parts<T: 'static> {
    pre: InstancePre<T>,
    accessor: Accessor,
    /// In the order in which they are made.
    memories: Box<[Wanted]>,
    cells: Box<[Cell]>,
    /// The places of the cells that say which segments were dropped.
    drops: Range<usize>,
    /// Whether instantiation left something out.
    starts: bool,
    pristine: Grounds,
    code: Arc<GuestCode>,
}

/// The state of an instance besides its memories: its cells.
type Cells = Arc<[u64]>;

impl<T> ComponentTemplate<T> {
    /// Compiles the component for the linker's engine, and links its imports.
    ///
    /// `memory` holds its memories; the engine must be one that
    /// [`configure`](crate::configure) was applied to.
    ///
    /// # Errors
    /// [`Error::Compile`], [`Error::Link`], [`Error::NotConfigured`] and [`Error::Setting`] for the
    /// engine and the linker, [`Error::Memory`] when the budget has no room for its memories.
    pub fn new(memory: &Memory, linker: &Linker<T>, prepared: &PreparedComponent) -> Result<Self, Error> {
        let component = Component::from_binary(linker.engine(), prepared.wasm()).map_err(Error::Compile)?;
        ComponentTemplate::from_component(memory, linker, prepared, &component)
    }

    /// As [`new`](ComponentTemplate::new), with a component that was compiled before from
    /// [`PreparedComponent::wasm`], such as one that was serialized.
    ///
    /// # Errors
    /// As [`new`](ComponentTemplate::new), and [`Error::WrongModule`] for another component,
    /// prepared ones included.
    pub fn from_component(
        memory: &Memory,
        linker: &Linker<T>,
        prepared: &PreparedComponent,
        component: &Component,
    ) -> Result<Self, Error> {
        let accessor = Accessor::find(component, prepared)?;
        let pre = linker.instantiate_pre(component).map_err(Error::Link)?;
        config::check(linker.engine())?;
        let plans = prepared.memories().iter();
        let pristine = plans.map(|plan| Ground::of_guest(memory, plan.minimum_bytes()));
        let pristine = Grounds::new(pristine.collect::<Result<_, _>>()?).freeze()?;
        let parts = Parts {
            pre,
            accessor,
            memories: prepared.memories().iter().map(Wanted::new).collect(),
            cells: prepared.cells().into(),
            drops: prepared.drops(),
            starts: prepared.starts(),
            pristine,
            code: Arc::new(GuestCode::of_component(component)?),
        };
        Ok(ComponentTemplate {
            parts: Arc::new(parts),
            reseed: None,
        })
    }

    /// The same template, whose instances have an export called in them each time that they become
    /// what another one is: in every fork, every instance of a snapshot, after every
    /// [`reset`](ForkComponent::reset); not in fresh instances.
    /// See [`Template::with_reseed`](crate::Template::with_reseed) for what it is for.
    ///
    /// # Errors
    /// [`Error::Reseed`] when the component itself exports no such function, without parameters and
    /// results.
    pub fn with_reseed(mut self, export: &str) -> Result<Self, Error> {
        let component = self.parts.pre.component();
        let found = component.get_export(None, export).filter(|(item, _)| match item {
            ComponentItem::ComponentFunc(ty) => ty.params().len() + ty.results().len() == 0,
            _ => false,
        });
        let missing = || Error::Reseed {
            export: export.to_owned(),
        };
        self.reseed = Some(found.ok_or_else(missing)?.1);
        Ok(self)
    }

    /// Makes a fresh instance: its data is written and its start functions run, as
    /// [`Linker::instantiate`] does. Each writes its data anew; to share it, make one, and others
    /// of it.
    ///
    /// # Errors
    /// [`Error::Memory`] when the budget is spent; [`Error::Instantiate`] when the store's limits
    /// refuse; [`Error::Program`] and [`Error::MemoryLost`] when a start function fails, or data
    /// lies outside of its memory.
    ///
    /// # Panics
    /// When the store belongs to another engine.
    pub fn instantiate(&self, store: &mut Store<T>) -> Result<ForkComponent<T>, Error> {
        now(self.instantiate_by::<Straight>(store))
    }

    async fn instantiate_by<W: Way<T>>(&self, store: &mut Store<T>) -> Result<ForkComponent<T>, Error> {
        let made = self.place::<W>(store, self.parts.pristine.fork()?).await?;
        if self.parts.starts {
            let outcome = self.parts.accessor.start::<T, W>(store, made.instance()).await;
            made.check()?;
            outcome?;
        }
        Ok(made)
    }

    /// An instance on these grounds; none of its code runs.
    async fn place<W: Way<T>>(
        &self,
        store: &mut Store<T>,
        grounds: Grounds,
    ) -> Result<ForkComponent<T>, Error> {
        // Whoever takes them tells them the component's first sizes.
        let lengths: Vec<u64> = grounds.iter().map(Ground::len).collect();
        let wanted = self.parts.memories.iter().copied();
        let offer = Offer::new(grounds.iter().cloned().zip(wanted).collect(), &self.parts.code);
        let making = W::instantiate(&self.parts.pre, store);
        let (instance, taken) = handoff::offering(offer, making).await;
        let instance = instance.map_err(Error::Instantiate)?;
        if taken != Taken::All {
            return Err(Error::NotConfigured);
        }
        // As for modules: the store's limiter is told as growth what the parent has more.
        for ((ground, bytes), index) in grounds.iter().zip(lengths).zip(0..) {
            self.grow::<W>(store, &instance, (index, ground), bytes).await?;
        }
        Ok(ForkComponent::new(self.clone(), instance, grounds))
    }

    /// Wasmtime takes the memory of this index for so long, which is no less than it has.
    async fn grow<W: Way<T>>(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
        (index, ground): (u32, &Ground),
        bytes: u64,
    ) -> Result<(), Error> {
        let pages = (bytes - ground.len()) / self.page_bytes(index);
        let accessor = &self.parts.accessor;
        if pages > 0 && !accessor.grow::<T, W>(store, instance, index, pages).await? {
            let reason = wasmtime::Error::msg("the memory may not grow so far");
            return Err(Error::StoreLimit { bytes, reason });
        }
        Ok(())
    }

    /// Bytes of a page of the memory of this index.
    fn page_bytes(&self, index: u32) -> u64 {
        self.parts.memories[index as usize].page_bytes
    }

    /// What an instance at rest has besides its memories.
    async fn read_state<W: Way<T>>(&self, store: &mut Store<T>, instance: &Instance) -> Result<Cells, Error> {
        let parts = &*self.parts;
        let mut aside = FuelAside::new(store);
        let values = parts
            .accessor
            .read::<T, W>(&mut aside, instance, parts.cells.len());
        let values = values.await?;
        drop(aside);
        for (cell, value) in parts.cells.iter().zip(&values) {
            if let Cell::ChangedTable(table) = cell
                && *value != 0
            {
                return Err(Error::ChangedTable(table.clone()));
            }
        }
        if handles::any(store) {
            return Err(Error::Handles);
        }
        Ok(values.into())
    }

    /// Brings an instance, in which no segment was dropped that is not to be, into this state.
    async fn write_state<W: Way<T>>(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
        cells: &Cells,
    ) -> Result<(), Error> {
        let parts = &*self.parts;
        parts.accessor.write::<T, W>(store, instance, cells).await?;
        if self.dropped(cells).any(|dropped| dropped) {
            parts.accessor.drop::<T, W>(store, instance).await?;
        }
        Ok(())
    }

    /// Whether each segment was dropped.
    fn dropped(&self, cells: &Cells) -> impl Iterator<Item = bool> {
        cells[self.parts.drops.clone()]
            .iter()
            .map(|dropped| *dropped != 0)
    }

    /// An instance that goes on from this state, on grounds that hold its memories.
    async fn go_on<W: Way<T>>(
        &self,
        store: &mut Store<T>,
        grounds: Grounds,
        cells: &Cells,
    ) -> Result<ForkComponent<T>, Error> {
        let mut aside = FuelAside::new(store);
        let made = self.as_it_was::<W>(&mut aside, grounds, cells).await?;
        drop(aside);
        self.reseed::<W>(store, &made).await?;
        Ok(made)
    }

    async fn as_it_was<W: Way<T>>(
        &self,
        store: &mut Store<T>,
        grounds: Grounds,
        cells: &Cells,
    ) -> Result<ForkComponent<T>, Error> {
        let made = self.place::<W>(store, grounds).await?;
        self.write_state::<W>(store, made.instance(), cells).await?;
        Ok(made)
    }

    /// The instance has just become what another one is.
    async fn reseed<W: Way<T>>(&self, store: &mut Store<T>, made: &ForkComponent<T>) -> Result<(), Error> {
        let Some(reseed) = &self.reseed else {
            return Ok(());
        };
        let outcome = accessor::run::<T, W>(store, made.instance(), reseed).await;
        made.check()?;
        outcome
    }

    /// Whether this is that one.
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.parts, &other.parts)
    }
}

impl<T> Clone for ComponentTemplate<T> {
    fn clone(&self) -> Self {
        ComponentTemplate {
            parts: Arc::clone(&self.parts),
            reseed: self.reseed,
        }
    }
}

impl<T> fmt::Debug for ComponentTemplate<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComponentTemplate").finish_non_exhaustive()
    }
}
