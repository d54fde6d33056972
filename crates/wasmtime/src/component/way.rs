//! How a component is called, on the caller's stack or on fibers: [`Way`], which is to components
//! what the trait of `crate::way` is to modules. Its two implementations stand there, too.
//!
//! No state, no lock; called by `component.rs` and `accessor.rs`.

#[cfg(feature = "async")]
use crate::way::OnFibers;
use crate::way::Straight;
use wasmtime::component::{ComponentNamedList, Instance, InstancePre, Lift, Lower, TypedFunc};
use wasmtime::{Result, Store};

/// What is done to a store that may run code of its component, or ask its limiter.
pub(crate) trait Way<T: 'static> {
    async fn instantiate(pre: &InstancePre<T>, store: &mut Store<T>) -> Result<Instance>;

    async fn call<P, R>(function: TypedFunc<P, R>, store: &mut Store<T>, params: P) -> Result<R>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift + 'static;
}

impl<T: 'static> Way<T> for Straight {
    async fn instantiate(pre: &InstancePre<T>, store: &mut Store<T>) -> Result<Instance> {
        pre.instantiate(store)
    }

    async fn call<P, R>(function: TypedFunc<P, R>, store: &mut Store<T>, params: P) -> Result<R>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift + 'static,
    {
        function.call(store, params)
    }
}

#[cfg(feature = "async")]
impl<T: Send + 'static> Way<T> for OnFibers {
    async fn instantiate(pre: &InstancePre<T>, store: &mut Store<T>) -> Result<Instance> {
        pre.instantiate_async(store).await
    }

    async fn call<P, R>(function: TypedFunc<P, R>, store: &mut Store<T>, params: P) -> Result<R>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift + 'static,
    {
        function.call_async(store, params).await
    }
}
