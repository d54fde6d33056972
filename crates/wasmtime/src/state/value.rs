//! A value of a global or of a slot, as it belongs to no store ([`Value`]), and what it is made of
//! and becomes in one: a reference is kept as the index of the function that it is to, or the place
//! of a copy of the host data that it is to.
//!
//! Called by `state.rs` and `restore.rs`, with the store exclusively.

use super::{Foreign, Why, item};
use crate::host_data::{Copies, Hooks, Placed, Uncopied};
use crate::layout::Layout;
use std::collections::HashMap;
use wasmtime::{AsContextMut, Extern, Instance, Ref, V128, Val};

/// The value of a global or of a slot of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    I32(i32),
    I64(i64),
    /// The bits of the number, so that every NaN stays what it is.
    F32(u32),
    F64(u64),
    V128(V128),
    Null(Kind),
    /// The function of this index in the module.
    Function(u32),
    /// Host data: the copy at this place among the state's.
    Host(usize),
}

/// The hierarchies of reference types, each with a null of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Function,
    Extern,
    Any,
    Exception,
}

/// Names what references of one instance are to.
pub(super) struct Names<'a, T: 'static> {
    pub(super) instance: &'a Instance,
    pub(super) layout: &'a Layout,
    pub(super) hooks: &'a Hooks<T>,
    /// The host data that was met.
    pub(super) copies: Copies<T>,
    /// The functions by their addresses; made for the first reference that is not null.
    pub(super) indices: Option<HashMap<usize, u32>>,
}

impl<T> Names<'_, T> {
    pub(super) fn value(
        &mut self,
        store: &mut impl AsContextMut<Data = T>,
        value: Val,
    ) -> Result<Value, Why> {
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
            Val::ContRef(_) => return Err(Foreign::Object.into()),
        })
    }

    pub(super) fn reference(
        &mut self,
        store: &mut impl AsContextMut<Data = T>,
        reference: Ref,
    ) -> Result<Value, Why> {
        match reference {
            Ref::Func(None) => Ok(Value::Null(Kind::Function)),
            Ref::Extern(None) => Ok(Value::Null(Kind::Extern)),
            Ref::Any(None) => Ok(Value::Null(Kind::Any)),
            Ref::Exn(None) => Ok(Value::Null(Kind::Exception)),
            Ref::Func(Some(function)) => {
                let address = function.to_raw(&mut *store).addr();
                let index = self.indices(store).get(&address).copied();
                index.map(Value::Function).ok_or(Foreign::Function.into())
            }
            Ref::Extern(Some(data)) => match self.copies.copy(&*store, self.hooks, data) {
                Ok(place) => Ok(Value::Host(place)),
                Err(Uncopied::Unknown) => Err(Foreign::HostData.into()),
                Err(Uncopied::Refused(error)) => Err(Why::Refused(error)),
            },
            Ref::Any(Some(_)) => Err(Foreign::Object.into()),
            Ref::Exn(Some(_)) => Err(Foreign::Exception.into()),
        }
    }

    fn indices(&mut self, store: &mut impl AsContextMut<Data = T>) -> &HashMap<usize, u32> {
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

/// An instance that gets values.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) instance: &'a Instance,
    pub(super) layout: &'a Layout,
    /// The host data, in the instance's store.
    pub(super) placed: &'a Placed,
}

impl Value {
    /// The same for an instance in its store.
    pub(super) fn in_store(self, store: &mut impl AsContextMut, target: Target<'_>) -> Val {
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
                let export = target.layout.function(index);
                let export = export.expect("it was found among these");
                Val::FuncRef(Some(item(store, target.instance, export, Extern::into_func)))
            }
            Value::Host(place) => Val::ExternRef(target.placed.reference(store, place)),
        }
    }

    /// The same for a slot of a table.
    pub(super) fn as_reference(self, store: &mut impl AsContextMut, target: Target<'_>) -> Ref {
        let value = self.in_store(store, target);
        value.ref_().expect("a table holds references")
    }
}
