//! Bringing an instance of a component back to a snapshot: [`ForkComponent::reset`].
//!
//! As for modules (`crate::reset`): what cannot be undone is looked for first, and a memory that
//! has grown is told that it is one page shorter than the snapshot's, and grows by that page. All
//! that is read and set goes through the component's own code (`accessor.rs`), so a component that
//! nobody can enter any more cannot be reset either.

use super::accessor::FuelAside;
use super::way::Way;
use super::{Cells, ComponentSnapshot, ForkComponent};
use crate::error::Error;
use crate::reset::Irreversible;
use crate::way::{Straight, now};
use wasmtime::Store;

impl<T> ForkComponent<T> {
    /// Brings the instance back to the snapshot that it was made of (or to a later one of its
    /// family), in its store, at its addresses. Takes time in proportion to what it wrote, and a
    /// call for each mutable global, by which it is read.
    ///
    /// All of the state that [`fork`](ForkComponent::fork) would copy is as in the snapshot
    /// afterwards: memories and their lengths, globals of the core instances, dropped segments. A
    /// memory failure that nobody has heard of is forgotten with what it damaged. *Not* touched is
    /// what lives outside of the component: the data of the store, fuel, deadline. As for a fork,
    /// some instructions run in the store, which take no fuel and heed the epoch deadline.
    ///
    /// Where a memory had grown, the store's limiter is asked whether it may grow by its last page.
    ///
    /// # Errors
    /// [`Error::Irreversible`] when the component has done since what cannot be undone,
    /// [`Error::ChangedTable`] and [`Error::Handles`] as in [`fork`](ForkComponent::fork): the
    /// instance is as it was, and can be dropped with its store instead. [`Error::CannotEnter`]
    /// after a trap. [`Error::StoreLimit`] when the limiter refuses, [`Error::Memory`] when memory
    /// that forks of the instance share cannot be moved, or is pinned. Of several memories the
    /// first ones may be reset by then: such an instance can be reset again, but not forked
    /// ([`Error::HalfDone`]).
    ///
    /// # Panics
    /// When `store` is not the store of this instance.
    ///
    /// ```
    /// # use memfold_wasmtime::{ComponentTemplate, configure, prepare_component};
    /// # use wasmtime::component::Linker;
    /// # use wasmtime::{Config, Engine, Store};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let memory = memfold::Memory::builder().budget_bytes(64 << 20).build()?;
    /// # let mut config = Config::new();
    /// # configure(&mut config, &memory);
    /// # let engine = Engine::new(&config)?;
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
    /// let mut warming = Store::new(&engine, ());
    /// let snapshot = template.instantiate(&mut warming)?.freeze(&mut warming)?;
    ///
    /// let mut store = Store::new(&engine, ());
    /// let instance = snapshot.instantiate(&mut store)?;
    /// let call = instance.instance().get_typed_func::<(), (u32,)>(&mut store, "call")?;
    /// for _request in 0..10 {
    ///     assert_eq!(instance.call(&mut store, &call, ())?, (1,));
    ///     instance.reset(&mut store, &snapshot)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn reset(&self, store: &mut Store<T>, to: &ComponentSnapshot<T>) -> Result<(), Error> {
        now(self.reset_by::<Straight>(store, to))
    }

    pub(super) async fn reset_by<W: Way<T>>(
        &self,
        store: &mut Store<T>,
        to: &ComponentSnapshot<T>,
    ) -> Result<(), Error> {
        if !self.template.is(&to.template) {
            return Err(Error::Irreversible(Irreversible::OtherTemplate));
        }
        let begun = self.rest.begin();
        if let Some(error) = self.obstacle::<W>(store, to).await {
            begun.end();
            return Err(error);
        }
        let mut aside = FuelAside::new(store);
        let before = self.grounds.lengths();
        let done = self.take_back::<W>(&mut aside, to).await;
        // Until the first memory is reset, all pages are there still.
        let whole = matches!(done, Err((_, 0))) && self.tell_back::<W>(&mut aside, &before).await;
        drop(aside);
        if let Err((error, _)) = done {
            if whole {
                begun.end();
            }
            return Err(error);
        }
        self.rest.restored();
        self.template.reseed::<W>(store, self).await
    }

    /// What keeps the instance from being brought back, if anything does.
    async fn obstacle<W: Way<T>>(&self, store: &mut Store<T>, to: &ComponentSnapshot<T>) -> Option<Error> {
        let cells: Cells = match self.template.read_state::<W>(store, &self.instance).await {
            Ok(cells) => cells,
            Err(error) => return Some(error),
        };
        let template = &self.template;
        let mut segments = template.dropped(&cells).zip(template.dropped(&to.cells));
        let obstacle = if segments.any(|(now, then)| now && !then) {
            Irreversible::DroppedSegment
        } else if self.grounds.have_begun_since(&to.grounds) {
            Irreversible::EmptyMemory
        } else {
            return None;
        };
        Some(Error::Irreversible(obstacle))
    }

    /// Memories and cells are what they are in the snapshot, or an error and how many of the
    /// memories are.
    async fn take_back<W: Way<T>>(
        &self,
        store: &mut Store<T>,
        to: &ComponentSnapshot<T>,
    ) -> Result<(), (Error, usize)> {
        let told = self.tell_lengths::<W>(store, &to.grounds.lengths()).await;
        told.map_err(|error| (error, 0))?;
        self.grounds.reset_to(&to.grounds)?;
        let written = self
            .template
            .write_state::<W>(store, &self.instance, &to.cells)
            .await;
        written.map_err(|error| (error, self.grounds.iter().count()))
    }

    /// Wasmtime takes the memories for so long from now on.
    async fn tell_lengths<W: Way<T>>(&self, store: &mut Store<T>, lengths: &[u64]) -> Result<(), Error> {
        for ((ground, &bytes), index) in self.grounds.iter().zip(lengths).zip(0..) {
            if bytes < ground.len() {
                ground.tell(bytes - self.template.page_bytes(index));
            }
            let memory = (index, ground);
            self.template
                .grow::<W>(store, &self.instance, memory, bytes)
                .await?;
        }
        Ok(())
    }

    /// Wasmtime takes the memories for as long as they were before they were told to be shorter.
    /// Whether it does: one that has grown meanwhile stays as it is.
    async fn tell_back<W: Way<T>>(&self, store: &mut Store<T>, lengths: &[u64]) -> bool {
        let accessor = &self.template.parts.accessor;
        let mut all = true;
        for ((ground, &bytes), index) in self.grounds.iter().zip(lengths).zip(0..) {
            all &= ground.tell_back(bytes)
                && matches!(
                    accessor.grow::<T, W>(store, &self.instance, index, 0).await,
                    Ok(true)
                );
        }
        all
    }
}
