//! The functions that `memfold-prepare` has put into a component, by which its state is read and
//! set: [`Accessor`].
//!
//! They run in the instance's store, which is at rest: we have it exclusively. What they do for a
//! fork is nothing of the program's, and takes none of its fuel ([`unmetered`]).

use crate::error::Error;
use memfold_prepare::PreparedComponent;
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, Instance, Lift, Lower, TypedFunc,
};
use wasmtime::{Store, Trap};

/// Where they are to be found.
pub(super) struct Accessor {
    get: ComponentExportIndex,
    set: ComponentExportIndex,
    grow: ComponentExportIndex,
    start: ComponentExportIndex,
    drop: ComponentExportIndex,
}

/// What `grow` answers when it is refused.
const REFUSED: u64 = u64::MAX;

impl Accessor {
    /// Finds them in the compiled component.
    pub(super) fn find(component: &Component, prepared: &PreparedComponent) -> Result<Self, Error> {
        let missing = || Error::WrongModule {
            export: prepared.accessor().to_owned(),
        };
        let instance = component.get_export_index(None, prepared.accessor());
        let instance = instance.ok_or_else(missing)?;
        let find = |name: &str| {
            component
                .get_export_index(Some(&instance), name)
                .ok_or_else(missing)
        };
        Ok(Accessor {
            get: find("get")?,
            set: find("set")?,
            grow: find("grow")?,
            start: find("start")?,
            drop: find("drop")?,
        })
    }

    /// The values of the first `count` cells. An instance that may not be entered any more is found
    /// out, whatever it has.
    pub(super) fn read<T>(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
        count: usize,
    ) -> Result<Vec<u64>, Error> {
        let get: TypedFunc<(u32,), (u64,)> = typed(store, instance, &self.get);
        if count == 0 {
            // What is to be dropped is dropped already.
            self.drop(store, instance)?;
        }
        let cells = 0..u32::try_from(count).expect("they have numbers of 32 bits");
        cells.map(|cell| Ok(call(store, &get, (cell,))?.0)).collect()
    }

    /// Sets the cells to these values.
    pub(super) fn write<T>(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
        values: &[u64],
    ) -> Result<(), Error> {
        let set: TypedFunc<(u32, u64), ()> = typed(store, instance, &self.set);
        let mut cells = (0..).zip(values);
        cells.try_for_each(|(cell, value)| call(store, &set, (cell, *value)))
    }

    /// Grows a memory by some of its pages. Whether it may.
    pub(super) fn grow<T>(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
        memory: u32,
        pages: u64,
    ) -> Result<bool, Error> {
        let grow: TypedFunc<(u32, u64), (u64,)> = typed(store, instance, &self.grow);
        Ok(call(store, &grow, (memory, pages))?.0 != REFUSED)
    }

    /// Does what instantiation left out.
    pub(super) fn start<T>(&self, store: &mut Store<T>, instance: &Instance) -> Result<(), Error> {
        run(store, instance, &self.start)
    }

    /// Drops the segments whose cells say so.
    pub(super) fn drop<T>(&self, store: &mut Store<T>, instance: &Instance) -> Result<(), Error> {
        run(store, instance, &self.drop)
    }
}

/// Calls an export without parameters and results.
pub(super) fn run<T>(
    store: &mut Store<T>,
    instance: &Instance,
    export: &ComponentExportIndex,
) -> Result<(), Error> {
    let function = typed(store, instance, export);
    call(store, &function, ())
}

fn typed<T, P, R>(store: &mut Store<T>, instance: &Instance, export: &ComponentExportIndex) -> TypedFunc<P, R>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    let function = instance.get_typed_func(&mut *store, export);
    function.expect("the template checked its exports")
}

/// Calls a function, and tells a component that nobody may enter any more from one that fails.
pub(super) fn call<T, P, R>(store: &mut Store<T>, function: &TypedFunc<P, R>, params: P) -> Result<R, Error>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    let outcome = function.call(&mut *store, params);
    outcome.map_err(|error| match error.downcast_ref::<Trap>() {
        Some(Trap::CannotEnterComponent) => Error::CannotEnter,
        _ => Error::Program(error),
    })
}

/// Does something that takes no fuel of the store's, if that has any.
pub(super) fn unmetered<T, R>(store: &mut Store<T>, what: impl FnOnce(&mut Store<T>) -> R) -> R {
    let fuel = store.get_fuel().ok();
    let set = |store: &mut Store<T>, fuel| store.set_fuel(fuel).expect("it has fuel");
    if fuel.is_some() {
        set(store, u64::MAX);
    }
    let done = what(store);
    if let Some(fuel) = fuel {
        set(store, fuel);
    }
    done
}
