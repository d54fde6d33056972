//! Without the feature `gc` no program has a reference to data of the host: there is nothing to
//! copy. What `some.rs` offers, without any.

use std::marker::PhantomData;
use wasmtime::{AsContext, AsContextMut, ExternRef, Result, Rooted, Store};

pub(crate) struct Hooks<T: 'static>(PhantomData<fn(T)>);

pub(crate) struct Copies<T: 'static>(PhantomData<fn(T)>);

#[allow(dead_code, reason = "as in `some.rs`")]
pub(crate) enum Uncopied {
    Unknown,
    Refused(wasmtime::Error),
}

pub(crate) struct Placed;

impl<T> Copies<T> {
    pub(crate) fn copy(
        &mut self,
        _store: impl AsContext<Data = T>,
        _hooks: &Hooks<T>,
        _reference: Rooted<ExternRef>,
    ) -> std::result::Result<usize, Uncopied> {
        Err(Uncopied::Unknown)
    }

    pub(crate) fn close(&mut self) {}

    pub(crate) fn place(&self, _store: &mut Store<T>) -> Result<Placed> {
        Ok(Placed)
    }
}

impl Placed {
    pub(crate) fn reference(&self, _store: impl AsContextMut, _place: usize) -> Option<Rooted<ExternRef>> {
        None
    }
}

pub(crate) fn scope<T>(store: &mut Store<T>) -> &mut Store<T> {
    store
}

impl<T> Clone for Hooks<T> {
    fn clone(&self) -> Self {
        Hooks(PhantomData)
    }
}

impl<T> Default for Hooks<T> {
    fn default() -> Self {
        Hooks(PhantomData)
    }
}

impl<T> Clone for Copies<T> {
    fn clone(&self) -> Self {
        Copies(PhantomData)
    }
}

impl<T> Default for Copies<T> {
    fn default() -> Self {
        Copies(PhantomData)
    }
}
