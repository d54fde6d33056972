//! The values of an instance's mutable globals: read from one store, written
//! to another. Immutable values; no reference among them, by `prepare`.

use wasmtime::{Extern, Global, Instance, ModuleExport, Store, V128, Val};

/// The value of one global.
#[derive(Clone, Copy)]
enum Value {
    I32(i32),
    I64(i64),
    /// The bits of the number, so that every NaN stays what it is.
    F32(u32),
    F64(u64),
    V128(V128),
}

/// The values of all mutable globals, in the order of the template's exports.
#[derive(Clone)]
pub(crate) struct Globals(Box<[Value]>);

impl Globals {
    pub(crate) fn read<T>(store: &mut Store<T>, instance: &Instance, exports: &[ModuleExport]) -> Self {
        let value = |export| match global(store, instance, export).get(&mut *store) {
            Val::I32(value) => Value::I32(value),
            Val::I64(value) => Value::I64(value),
            Val::F32(bits) => Value::F32(bits),
            Val::F64(bits) => Value::F64(bits),
            Val::V128(value) => Value::V128(value),
            other => unreachable!("`prepare` refuses mutable globals with references, this is {other:?}"),
        };
        Globals(exports.iter().map(value).collect())
    }

    pub(crate) fn write<T>(&self, store: &mut Store<T>, instance: &Instance, exports: &[ModuleExport]) {
        assert_eq!(self.0.len(), exports.len(), "the values are another template's");
        for (export, value) in exports.iter().zip(&self.0) {
            let value = match *value {
                Value::I32(value) => Val::I32(value),
                Value::I64(value) => Val::I64(value),
                Value::F32(bits) => Val::F32(bits),
                Value::F64(bits) => Val::F64(bits),
                Value::V128(value) => Val::V128(value),
            };
            let set = global(store, instance, export).set(&mut *store, value);
            set.expect("the global is mutable and of the value's type");
        }
    }
}

fn global<T>(store: &mut Store<T>, instance: &Instance, export: &ModuleExport) -> Global {
    instance
        .get_module_export(store, export)
        .and_then(Extern::into_global)
        .expect("the template checked its exports")
}
