//! The state of an instance besides its memory: mutable globals, tables that the program changed,
//! segments that it dropped. Read from one store, written to another ([`State`]).
//!
//! Immutable values that belong to no store (`value.rs`). What a reference is to that lives in one
//! store and that nobody copies is refused by its place. Read and written with the store
//! exclusively; no lock.

mod restore;
mod value;

use crate::error::Error;
use crate::host_data::{self, Copies, Hooks, Placed};
use crate::layout::{Layout, Table};
use crate::way::Way;
use memfold_prepare::Slot;
use std::fmt;
use value::{Names, Target, Value};
use wasmtime::{AsContextMut, Extern, Instance, ModuleExport, Ref, Store};

/// Where a reference stands that belongs to its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The mutable global of this index.
    Global {
        /// In the module.
        index: u32,
    },
    /// A slot of a table.
    Slot {
        /// The index of the table in the module.
        table: u32,
        /// The index of the slot in the table.
        slot: u64,
    },
}

/// What a reference is to that cannot be copied into another store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Foreign {
    /// Data of the host.
    HostData,
    /// A function of the host's, or of another instance.
    Function,
    /// An object of the garbage-collected heap.
    Object,
    /// An exception.
    Exception,
}

impl Foreign {
    /// What can be done about it, in half a sentence.
    pub(crate) fn help(self) -> &'static str {
        match self {
            Foreign::HostData => {
                "say how its type is copied (`Template::with_host_data`), fork the instance before it is there, or set \
                 the place to null"
            }
            Foreign::Function | Foreign::Object | Foreign::Exception => {
                "fork the instance before it is there, or set the place to null"
            }
        }
    }
}

/// Why a value cannot be copied.
enum Why {
    Foreign(Foreign),
    /// The embedder's function refused.
    Refused(wasmtime::Error),
}

impl From<Foreign> for Why {
    fn from(what: Foreign) -> Self {
        Why::Foreign(what)
    }
}

impl Why {
    fn at(self, place: Place, name: Option<&str>) -> Error {
        let name = name.map(str::to_owned);
        match self {
            Why::Foreign(what) => Error::Held { place, name, what },
            Why::Refused(reason) => Error::HostData { place, name, reason },
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Global { index } => write!(f, "the global {index}"),
            Place::Slot { table, slot } => write!(f, "slot {slot} of the table {table}"),
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Foreign::HostData => "a reference to data of the host",
            Foreign::Function => "a function that is not the module's own",
            Foreign::Object => "a garbage-collected object",
            Foreign::Exception => "an exception",
        })
    }
}

/// A table that the program has changed.
#[derive(Clone)]
struct TableState {
    size: u64,
    /// The slots that differ from those of a fresh instance.
    changed: Box<[(u64, Value)]>,
}

/// All of it, in the order of the template's layout.
pub(crate) struct State<T: 'static> {
    globals: Box<[Value]>,
    /// `None` for a table that is as it was first.
    tables: Box<[Option<TableState>]>,
    /// What references to host data are to.
    copies: Copies<T>,
}

impl<T> State<T> {
    pub(crate) fn read(
        store: &mut Store<T>,
        instance: &Instance,
        layout: &Layout,
        hooks: &Hooks<T>,
    ) -> Result<Self, Error> {
        let mut names = Names {
            instance,
            layout,
            hooks,
            copies: Copies::default(),
            indices: None,
        };
        let store = &mut host_data::scope(store);
        let globals = layout.globals.iter().map(|global| {
            let value = item(store, instance, &global.export, Extern::into_global).get(&mut *store);
            let place = Place::Global { index: global.index };
            let value = names.value(store, value);
            value.map_err(|why| why.at(place, global.name.as_deref()))
        });
        let globals: Box<[Value]> = globals.collect::<Result<_, _>>()?;
        let changed = |table: &&Table| globals[table.flag] != Value::I32(0);
        let tables = layout.tables.iter().map(|table| {
            let changed = Some(table).filter(changed);
            changed
                .map(|table| TableState::read(store, &mut names, table))
                .transpose()
        });
        let tables = tables.collect::<Result<_, _>>()?;
        names.copies.close();
        Ok(State {
            globals,
            tables,
            copies: names.copies,
        })
    }

    /// Copies of the host data that it refers to, in a store.
    pub(crate) fn place(&self, store: &mut Store<T>) -> Result<Placed, Error> {
        self.copies.place(store).map_err(Error::HostState)
    }

    /// Brings a fresh instance into this state.
    pub(crate) async fn write<W: Way<T>>(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
        layout: &Layout,
    ) -> Result<(), Error> {
        assert_eq!(
            self.globals.len(),
            layout.globals.len(),
            "the values are another template's"
        );
        let placed = &self.place(store)?;
        let target = Target {
            instance,
            layout,
            placed,
        };
        self.write_globals(store, target);
        for (table, state) in layout.tables.iter().zip(&self.tables) {
            if let Some(state) = state {
                state.write::<T, W>(store, target, table).await?;
            }
        }
        if let Some((drop, flags)) = &layout.drops
            && self.globals[flags.clone()]
                .iter()
                .any(|flag| *flag != Value::I32(0))
        {
            let drop = item(store, instance, drop, Extern::into_func);
            W::call(drop, store).await.map_err(Error::Instantiate)?;
        }
        Ok(())
    }

    fn write_globals(&self, store: &mut Store<T>, target: Target<'_>) {
        let store = &mut host_data::scope(store);
        for (global, value) in target.layout.globals.iter().zip(&self.globals) {
            let value = value.in_store(store, target);
            let handle = item(store, target.instance, &global.export, Extern::into_global);
            let set = handle.set(&mut *store, value);
            set.expect("the global is mutable and of the value's type");
        }
    }
}

impl TableState {
    fn read<T>(
        store: &mut impl AsContextMut<Data = T>,
        names: &mut Names<'_, T>,
        table: &Table,
    ) -> Result<Self, Error> {
        let handle = item(store, names.instance, &table.export, Extern::into_table);
        let size = handle.size(&*store);
        let mut changed = Vec::new();
        for slot in 0..size {
            let reference = handle
                .get(&mut *store, slot)
                .expect("the slot is inside the table");
            let place = Place::Slot {
                table: table.index,
                slot,
            };
            let value = names
                .reference(store, reference)
                .map_err(|why| why.at(place, table.name.as_deref()))?;
            let same = match table.contents.slot(slot) {
                Some(Slot::Null) => matches!(value, Value::Null(_)),
                Some(Slot::Function(index)) => value == Value::Function(index),
                // A slot that was added is filled with null where it can be.
                None => matches!(value, Value::Null(_)),
                Some(Slot::Unknown) => false,
            };
            if !same {
                changed.push((slot, value));
            }
        }
        Ok(TableState {
            size,
            changed: changed.into(),
        })
    }

    async fn write<T, W: Way<T>>(
        &self,
        store: &mut Store<T>,
        target: Target<'_>,
        table: &Table,
    ) -> Result<(), Error> {
        let handle = item(store, target.instance, &table.export, Extern::into_table);
        let first = handle.size(&*store);
        if self.size > first {
            let element = handle.ty(&*store).element().clone();
            let filler = if element.is_nullable() {
                Ref::null(element.heap_type())
            } else {
                // No slot that was added is null: each is among those that differ. A reference to
                // host data stays alive for as long as the store.
                let new = self.changed.iter().find(|(slot, _)| *slot >= first);
                let (_, value) = new.expect("a slot that was added differs");
                value.as_reference(store, target)
            };
            let grown = W::grow_table(handle, store, self.size - first, filler).await;
            grown.map_err(Error::Instantiate)?;
        }
        let store = &mut host_data::scope(store);
        for (slot, value) in &self.changed {
            let value = value.as_reference(store, target);
            let set = handle.set(&mut *store, *slot, value);
            set.expect("the slot is there, and of the value's type");
        }
        Ok(())
    }
}

/// What the module exports there.
fn item<I>(
    store: &mut impl AsContextMut,
    instance: &Instance,
    export: &ModuleExport,
    into: fn(Extern) -> Option<I>,
) -> I {
    let item = instance.get_module_export(store, export).and_then(into);
    item.expect("the template checked its exports")
}

impl<T> Clone for State<T> {
    fn clone(&self) -> Self {
        State {
            globals: self.globals.clone(),
            tables: self.tables.clone(),
            copies: self.copies.clone(),
        }
    }
}
