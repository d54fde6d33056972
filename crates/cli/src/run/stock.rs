//! Instances on plain Wasmtime, for comparison: [`Stock`]. Immutable, shared by all threads.
//!
//! memfold gives each instance memories, tables and, where they are stubs, globals of its own for
//! those that it imports. So that the same programs run here, they are made in each store.

use super::environment::Host;
use wasmtime::{
    Extern, ExternType, Global, Instance, InstancePre, Linker, Memory, Module, Ref, Result, Store, Table, Val,
};

/// A program that is ready to be instantiated.
pub(crate) enum Stock {
    /// All that it imports belongs to no store.
    Whole(InstancePre<Host>),
    /// It imports what has to be made in each.
    Parts { module: Module, linker: Linker<Host> },
}

impl Stock {
    /// Links what there is for all instances.
    pub(crate) fn new(linker: Linker<Host>, module: Module) -> Result<Self> {
        if module.imports().any(|import| is_made(&import.ty())) {
            return Ok(Stock::Parts { module, linker });
        }
        linker.instantiate_pre(&module).map(Stock::Whole)
    }

    /// An instance in this store.
    pub(crate) fn instantiate(&self, store: &mut Store<Host>) -> Result<Instance> {
        let (module, linker) = match self {
            Stock::Whole(pre) => return pre.instantiate(store),
            Stock::Parts { module, linker } => (module, linker),
        };
        let mut linker = linker.clone();
        linker.allow_shadowing(true);
        for import in module.imports() {
            if let Some(made) = make(&mut *store, import.ty())? {
                linker.define(&mut *store, import.module(), import.name(), made)?;
            }
        }
        linker.instantiate(store, module)
    }
}

fn is_made(ty: &ExternType) -> bool {
    matches!(
        ty,
        ExternType::Memory(_) | ExternType::Table(_) | ExternType::Global(_)
    )
}

/// What an instance of memfold's would have: zeros, and nulls. What has neither is not made.
fn make(store: &mut Store<Host>, ty: ExternType) -> Result<Option<Extern>> {
    Ok(match ty {
        ExternType::Memory(ty) if !ty.is_shared() => Some(Memory::new(store, ty)?.into()),
        ExternType::Table(ty) if ty.element().is_nullable() => {
            let null = Ref::null(ty.element().heap_type());
            Some(Table::new(store, ty, null)?.into())
        }
        ExternType::Global(ty) => match Val::default_for_ty(ty.content()) {
            Some(zero) => Some(Global::new(store, ty, zero)?.into()),
            None => None,
        },
        _ => None,
    })
}
