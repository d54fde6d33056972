//! The functions that `memfold-prepare` has put into a component, by which its state is read and
//! set: [`Accessor`].
//!
//! They run in the instance's store, which is at rest: we have it exclusively. What they do for a
//! fork is nothing of the program's, and takes none of its fuel ([`FuelAside`]).

use super::way::Way;
use crate::error::Error;
use memfold_prepare::PreparedComponent;
use std::ops::{Deref, DerefMut};
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

/// What `set` takes: the number of a row, and its values.
type Row = (
    u32,
    u64,
    u64,
    u64,
    u64,
    u64,
    u64,
    u64,
    u64,
    u64,
    u64,
    u64,
    u64,
    u64,
    u64,
    u64,
);

/// How many values that are.
const ROW: usize = 15;

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
    pub(super) async fn read<T, W: Way<T>>(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
        count: usize,
    ) -> Result<Vec<u64>, Error> {
        let get: TypedFunc<(u32,), (u64,)> = typed(store, instance, &self.get);
        if count == 0 {
            // What is to be dropped is dropped already.
            self.drop::<T, W>(store, instance).await?;
        }
        let mut values = Vec::with_capacity(count);
        for cell in 0..u32::try_from(count).expect("they have numbers of 32 bits") {
            let (value,) = call::<T, W, _, _>(store, get, (cell,)).await?;
            values.push(value);
        }
        Ok(values)
    }

    /// Sets the cells to these values.
    pub(super) async fn write<T, W: Way<T>>(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
        values: &[u64],
    ) -> Result<(), Error> {
        let set: TypedFunc<Row, ()> = typed(store, instance, &self.set);
        for (number, values) in (0..).zip(values.chunks(ROW)) {
            call::<T, W, _, _>(store, set, row(number, values)).await?;
        }
        Ok(())
    }

    /// Grows a memory by some of its pages. Whether it may.
    pub(super) async fn grow<T, W: Way<T>>(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
        memory: u32,
        pages: u64,
    ) -> Result<bool, Error> {
        let grow: TypedFunc<(u32, u64), (u64,)> = typed(store, instance, &self.grow);
        let (before,) = call::<T, W, _, _>(store, grow, (memory, pages)).await?;
        Ok(before != REFUSED)
    }

    /// Does what instantiation left out.
    pub(super) async fn start<T, W: Way<T>>(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
    ) -> Result<(), Error> {
        run::<T, W>(store, instance, &self.start).await
    }

    /// Drops the segments whose cells say so.
    pub(super) async fn drop<T, W: Way<T>>(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
    ) -> Result<(), Error> {
        run::<T, W>(store, instance, &self.drop).await
    }
}

/// A row of cells; behind the last one it has zeros, which stand for none.
fn row(number: u32, values: &[u64]) -> Row {
    let mut v = [0; ROW];
    v[..values.len()].copy_from_slice(values);
    (
        number, v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12], v[13], v[14],
    )
}

/// Calls an export without parameters and results.
pub(super) async fn run<T, W: Way<T>>(
    store: &mut Store<T>,
    instance: &Instance,
    export: &ComponentExportIndex,
) -> Result<(), Error> {
    let function = typed(store, instance, export);
    call::<T, W, _, _>(store, function, ()).await
}

fn typed<T, P, R>(store: &mut Store<T>, instance: &Instance, export: &ComponentExportIndex) -> TypedFunc<P, R>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    let function = instance.get_typed_func(&mut *store, export);
    function.expect("the template checked its exports")
}

async fn call<T, W: Way<T>, P, R>(
    store: &mut Store<T>,
    function: TypedFunc<P, R>,
    params: P,
) -> Result<R, Error>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift + 'static,
{
    entered(W::call(function, store, params).await)
}

/// Tells a component that nobody may enter any more from one whose call has failed.
pub(super) fn entered<R>(outcome: wasmtime::Result<R>) -> Result<R, Error> {
    outcome.map_err(|error| match error.downcast_ref::<Trap>() {
        Some(Trap::CannotEnterComponent) => Error::CannotEnter,
        _ => Error::Program(error),
    })
}

/// A store whose fuel, if it has any, is put aside while something runs in it that is not the
/// program's: it has as much as there can be until this is dropped, and then what it had. So it has
/// as well when a future is dropped half-way.
pub(super) struct FuelAside<'a, T: 'static> {
    store: &'a mut Store<T>,
    fuel: Option<u64>,
}

impl<'a, T> FuelAside<'a, T> {
    pub(super) fn new(store: &'a mut Store<T>) -> Self {
        let fuel = store.get_fuel().ok();
        if fuel.is_some() {
            store.set_fuel(u64::MAX).expect("it has fuel");
        }
        FuelAside { store, fuel }
    }
}

impl<T> Deref for FuelAside<'_, T> {
    type Target = Store<T>;

    fn deref(&self) -> &Store<T> {
        self.store
    }
}

impl<T> DerefMut for FuelAside<'_, T> {
    fn deref_mut(&mut self) -> &mut Store<T> {
        self.store
    }
}

impl<T> Drop for FuelAside<'_, T> {
    fn drop(&mut self) {
        if let Some(fuel) = self.fuel {
            self.store.set_fuel(fuel).expect("it has fuel");
        }
    }
}
