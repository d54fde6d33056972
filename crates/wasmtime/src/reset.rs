//! Bringing an instance back to a snapshot: [`ForkInstance::reset`].
//!
//! What cannot be undone from outside (a table that has grown, a segment that was dropped) is
//! looked for first, so that an instance that is refused is as it was. A memory's length is the
//! one thing that Wasmtime can only grow: its memory is told that it is one page shorter than the
//! snapshot, and grows by that page, by which Wasmtime learns the length.

use crate::error::Error;
use crate::ground::Ground;
use crate::instance::{ForkInstance, Snapshot};
use crate::way::{Straight, Way, now};
use std::fmt;
use wasmtime::{Memory, Store};

/// Why an instance cannot be brought back to a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Irreversible {
    /// The snapshot is another template's.
    OtherTemplate,
    /// The two have no memory in common: neither was made of the other, nor both of one instance.
    OtherMemory,
    /// The table of this index has grown since.
    GrownTable {
        /// The index of the table in the module.
        table: u32,
        /// Its slots in the snapshot.
        from: u64,
        /// Its slots now.
        to: u64,
    },
    /// The program has changed the table of this index, in which first stood something that cannot
    /// be put back: a function of the host's, or a reference that was imported.
    UnknownTable {
        /// The index of the table in the module.
        table: u32,
    },
    /// The program has dropped a segment since.
    DroppedSegment,
    /// A memory had no bytes in the snapshot, and has grown since.
    EmptyMemory,
}

impl fmt::Display for Irreversible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Irreversible::OtherTemplate => f.write_str("the snapshot is of another template"),
            Irreversible::OtherMemory => {
                f.write_str("it was not made of this snapshot, and shares no memory with it")
            }
            Irreversible::GrownTable { table, from, to } => {
                write!(f, "the table {table} has grown from {from} to {to} slots since")
            }
            Irreversible::UnknownTable { table } => write!(
                f,
                "the program has changed the table {table}, which held what cannot be put back"
            ),
            Irreversible::DroppedSegment => f.write_str("the program has dropped a segment since"),
            Irreversible::EmptyMemory => f.write_str("a memory of it was empty then, and has grown since"),
        }
    }
}

impl<T> ForkInstance<T> {
    /// Brings the instance back to the snapshot that it was made of (or to a later one of its
    /// family), in its store, at its addresses. Takes time in proportion to what it wrote.
    ///
    /// All of the state that [`fork`](ForkInstance::fork) would copy is as in the snapshot
    /// afterwards: memory and its length, globals, tables. A memory failure that nobody has heard
    /// of is forgotten with what it damaged, so that an instance can be used again that has lost
    /// memory or trapped. *Not* touched is what lives outside of the program: the data of the
    /// store, fuel, deadline. Each slot of a table that the program has changed, before the
    /// snapshot or after it, is set anew.
    ///
    /// Where the memory had grown, the store's limiter is asked whether it may grow by its last
    /// page.
    ///
    /// # Errors
    /// [`Error::Irreversible`] when the program did since what cannot be undone: the instance is as
    /// it was, and can be dropped with its store instead. [`Error::StoreLimit`] when the limiter
    /// refuses, [`Error::Memory`] when memory that forks of the instance share cannot be moved, or
    /// is pinned; [`Error::HostState`] when host data is not copied. Of several memories the first
    /// ones may be reset by then: such an instance can be reset again, but not forked
    /// ([`Error::HalfDone`]).
    ///
    /// # Panics
    /// When `store` is not the store of this instance.
    ///
    /// ```
    /// # use memfold_wasmtime::{Template, configure, prepare};
    /// # use wasmtime::{Config, Engine, Linker, Store};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let memory = memfold::Memory::builder().budget_bytes(64 << 20).build()?;
    /// # let mut config = Config::new();
    /// # configure(&mut config, &memory);
    /// # let engine = Engine::new(&config)?;
    /// let counter = wat::parse_str(
    ///     r#"(module (memory 1) (global $calls (mut i32) (i32.const 0))
    ///         (func (export "call") (result i32)
    ///             (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    ///             (global.get $calls)))"#,
    /// )?;
    /// let template = Template::new(&memory, &Linker::new(&engine), &prepare(&counter)?)?;
    /// let mut warming = Store::new(&engine, ());
    /// let snapshot = template.instantiate(&mut warming)?.freeze(&mut warming)?;
    ///
    /// let mut store = Store::new(&engine, ());
    /// let instance = snapshot.instantiate(&mut store)?;
    /// let call = instance.instance().get_typed_func::<(), i32>(&mut store, "call")?;
    /// for _request in 0..10 {
    ///     assert_eq!(instance.call(&mut store, &call, ())?, 1);
    ///     instance.reset(&mut store, &snapshot)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn reset(&self, store: &mut Store<T>, to: &Snapshot<T>) -> Result<(), Error> {
        now(self.reset_by::<Straight>(store, to))
    }

    pub(crate) async fn reset_by<W: Way<T>>(
        &self,
        store: &mut Store<T>,
        to: &Snapshot<T>,
    ) -> Result<(), Error> {
        self.demand_own(store);
        if !self.template.is(&to.template) {
            return Err(Error::Irreversible(Irreversible::OtherTemplate));
        }
        let (before, after) = (self.grounds.lengths(), to.grounds.lengths());
        let empty = self.grounds.have_begun_since(&to.grounds);
        let empty = empty.then_some(Irreversible::EmptyMemory);
        let obstacle = self.template.obstacle(store, &self.instance, &to.state);
        if let Some(obstacle) = obstacle.or(empty) {
            return Err(Error::Irreversible(obstacle));
        }
        let placed = to.state.place(store)?;
        let begun = self.rest.begin();
        if let Err((error, done)) = self.reset_memories::<W>(store, to, &after).await {
            // Until the first memory is reset, all pages are there still.
            if done == 0 && self.tell_back::<W>(store, &before).await {
                begun.end();
            }
            return Err(error);
        }
        self.template.restore(store, &self.instance, &to.state, &placed);
        self.rest.restored();
        self.template.reseed::<W>(store, self).await
    }

    /// All memories are what they are in the snapshot, or an error and how many of them are.
    async fn reset_memories<W: Way<T>>(
        &self,
        store: &mut Store<T>,
        to: &Snapshot<T>,
        lengths: &[u64],
    ) -> Result<(), (Error, usize)> {
        let told = self.tell_lengths::<W>(store, lengths).await;
        told.map_err(|error| (error, 0))?;
        self.grounds.reset_to(&to.grounds)
    }

    /// Wasmtime takes the memories for so long from now on.
    async fn tell_lengths<W: Way<T>>(&self, store: &mut Store<T>, lengths: &[u64]) -> Result<(), Error> {
        for (index, (ground, len)) in self.grounds.iter().zip(lengths).enumerate() {
            let memory = self.template.memory(store, &self.instance, index);
            tell_length::<T, W>(store, memory, ground, *len).await?;
        }
        Ok(())
    }

    /// Wasmtime takes the memories for as long as they were before they were told to be shorter.
    /// Whether it does: one that has grown meanwhile stays as it is.
    async fn tell_back<W: Way<T>>(&self, store: &mut Store<T>, lengths: &[u64]) -> bool {
        let mut all = true;
        for (index, (ground, len)) in self.grounds.iter().zip(lengths).enumerate() {
            let memory = self.template.memory(store, &self.instance, index);
            all &= ground.tell_back(*len) && W::grow_memory(memory, store, 0).await.is_ok();
        }
        all
    }
}

/// Wasmtime takes the memory on this ground for so long from now on; when its growth is refused,
/// for any length. A length of 0 is that which it has.
async fn tell_length<T, W: Way<T>>(
    store: &mut Store<T>,
    memory: Memory,
    ground: &Ground,
    len: u64,
) -> Result<(), Error> {
    let (now, page) = (memory.data_size(&*store) as u64, memory.page_size(&*store));
    let pages = if len >= now {
        (len - now) / page
    } else {
        ground.tell(len - page);
        1
    };
    if pages == 0 {
        return Ok(());
    }
    let grown = W::grow_memory(memory, store, pages).await;
    grown.map_err(|reason| Error::StoreLimit { bytes: len, reason })
}
