//! The state of an instance besides its memory: mutable globals, tables that the program changed,
//! segments that it dropped. Read from one store, written to another ([`State`]).
//!
//! Immutable values that belong to no store: a reference is kept as the index of the function that
//! it is to. Whatever else a reference can be to lives in one store, and is refused by its place.

mod restore;

use crate::error::Error;
use crate::layout::{Layout, Table};
use crate::way::Way;
use memfold_prepare::Slot;
use std::collections::HashMap;
use std::fmt;
use wasmtime::{Extern, Instance, ModuleExport, Ref, Store, V128, Val};

/// The value of a global or of a slot of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    I32(i32),
    I64(i64),
    /// The bits of the number, so that every NaN stays what it is.
    F32(u32),
    F64(u64),
    V128(V128),
    Null(Kind),
    /// The function of this index in the module.
    Function(u32),
}

/// The hierarchies of reference types, each with a null of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Function,
    Extern,
    Any,
    Exception,
}

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
#[derive(Clone)]
pub(crate) struct State {
    globals: Box<[Value]>,
    /// `None` for a table that is as it was first.
    tables: Box<[Option<TableState>]>,
}

impl State {
    pub(crate) fn read<T>(store: &mut Store<T>, instance: &Instance, layout: &Layout) -> Result<Self, Error> {
        let mut names = Names {
            instance,
            layout,
            indices: None,
        };
        let globals: Box<[Value]> = layout
            .globals
            .iter()
            .map(|(index, export)| {
                let value = item(store, instance, export, Extern::into_global).get(&mut *store);
                let place = Place::Global { index: *index };
                names.value(store, value).map_err(|what| held(place, what))
            })
            .collect::<Result<_, _>>()?;
        let changed = |table: &&Table| globals[table.flag] != Value::I32(0);
        let tables = layout
            .tables
            .iter()
            .map(|table| {
                Some(table)
                    .filter(changed)
                    .map(|table| TableState::read(store, &mut names, table))
                    .transpose()
            })
            .collect::<Result<_, _>>()?;
        Ok(State { globals, tables })
    }

    /// Brings a fresh instance into this state.
    pub(crate) async fn write<T, W: Way<T>>(
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
        self.write_globals(store, instance, layout);
        for (table, state) in layout.tables.iter().zip(&self.tables) {
            if let Some(state) = state {
                state.write::<T, W>(store, instance, layout, table).await?;
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

    fn write_globals<T>(&self, store: &mut Store<T>, instance: &Instance, layout: &Layout) {
        for ((_, export), value) in layout.globals.iter().zip(&self.globals) {
            let value = value.in_store(store, instance, layout);
            let set = item(store, instance, export, Extern::into_global).set(&mut *store, value);
            set.expect("the global is mutable and of the value's type");
        }
    }
}

impl TableState {
    fn read<T>(store: &mut Store<T>, names: &mut Names<'_>, table: &Table) -> Result<Self, Error> {
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
                .map_err(|what| held(place, what))?;
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
        instance: &Instance,
        layout: &Layout,
        table: &Table,
    ) -> Result<(), Error> {
        let handle = item(store, instance, &table.export, Extern::into_table);
        let first = handle.size(&*store);
        if self.size > first {
            let element = handle.ty(&*store).element().clone();
            let filler = if element.is_nullable() {
                Ref::null(element.heap_type())
            } else {
                // No slot that was added is null: each is among those that differ.
                let new = self.changed.iter().find(|(slot, _)| *slot >= first);
                let (_, value) = new.expect("a slot that was added differs");
                reference(value.in_store(store, instance, layout))
            };
            let grown = W::grow_table(handle, store, self.size - first, filler).await;
            grown.map_err(Error::Instantiate)?;
        }
        for (slot, value) in &self.changed {
            let value = reference(value.in_store(store, instance, layout));
            let set = handle.set(&mut *store, *slot, value);
            set.expect("the slot is there, and of the value's type");
        }
        Ok(())
    }
}

/// Names what references of one instance are to.
struct Names<'a> {
    instance: &'a Instance,
    layout: &'a Layout,
    /// The functions by their addresses; made for the first reference that is not null.
    indices: Option<HashMap<usize, u32>>,
}

impl Names<'_> {
    fn value<T>(&mut self, store: &mut Store<T>, value: Val) -> Result<Value, Foreign> {
        Ok(match value {
            Val::I32(value) => Value::I32(value),
            Val::I64(value) => Value::I64(value),
            Val::F32(bits) => Value::F32(bits),
            Val::F64(bits) => Value::F64(bits),
            Val::V128(value) => Value::V128(value),
            Val::FuncRef(function) => self.reference(store, Ref::Func(function))?,
            Val::ExternRef(data) => self.reference(store, Ref::Extern(data))?,
            Val::AnyRef(object) => self.reference(store, Ref::Any(object))?,
            Val::ExnRef(exception) => self.reference(store, Ref::Exn(exception))?,
            // `prepare` takes no module with continuations.
            Val::ContRef(_) => return Err(Foreign::Object),
        })
    }

    fn reference<T>(&mut self, store: &mut Store<T>, reference: Ref) -> Result<Value, Foreign> {
        match reference {
            Ref::Func(None) => Ok(Value::Null(Kind::Function)),
            Ref::Extern(None) => Ok(Value::Null(Kind::Extern)),
            Ref::Any(None) => Ok(Value::Null(Kind::Any)),
            Ref::Exn(None) => Ok(Value::Null(Kind::Exception)),
            Ref::Func(Some(function)) => {
                let address = function.to_raw(&mut *store).addr();
                let index = self.indices(store).get(&address).copied();
                index.map(Value::Function).ok_or(Foreign::Function)
            }
            Ref::Extern(Some(_)) => Err(Foreign::HostData),
            Ref::Any(Some(_)) => Err(Foreign::Object),
            Ref::Exn(Some(_)) => Err(Foreign::Exception),
        }
    }

    fn indices<T>(&mut self, store: &mut Store<T>) -> &HashMap<usize, u32> {
        let (instance, layout) = (self.instance, self.layout);
        self.indices.get_or_insert_with(|| {
            let address = |(index, export): &(u32, _)| {
                let function = item(store, instance, export, Extern::into_func);
                (function.to_raw(&mut *store).addr(), *index)
            };
            layout.functions().map(address).collect()
        })
    }
}

impl Value {
    /// The same for an instance in its store.
    fn in_store<T>(self, store: &mut Store<T>, instance: &Instance, layout: &Layout) -> Val {
        match self {
            Value::I32(value) => Val::I32(value),
            Value::I64(value) => Val::I64(value),
            Value::F32(bits) => Val::F32(bits),
            Value::F64(bits) => Val::F64(bits),
            Value::V128(value) => Val::V128(value),
            Value::Null(Kind::Function) => Val::FuncRef(None),
            Value::Null(Kind::Extern) => Val::ExternRef(None),
            Value::Null(Kind::Any) => Val::AnyRef(None),
            Value::Null(Kind::Exception) => Val::ExnRef(None),
            Value::Function(index) => {
                let export = layout.function(index).expect("it was found among these");
                Val::FuncRef(Some(item(store, instance, export, Extern::into_func)))
            }
        }
    }
}

fn reference(value: Val) -> Ref {
    value.ref_().expect("a table holds references")
}

fn held(place: Place, what: Foreign) -> Error {
    Error::Held { place, what }
}

/// What the module exports there.
fn item<T, I>(
    store: &mut Store<T>,
    instance: &Instance,
    export: &ModuleExport,
    into: fn(Extern) -> Option<I>,
) -> I {
    let item = instance.get_module_export(store, export).and_then(into);
    item.expect("the template checked its exports")
}
