//! Whether Wasmtime is called on the caller's stack or on fibers: [`Way`].
//!
//! Instances are made, forked and reset by the same asynchronous code both ways. With [`Straight`]
//! nothing in it ever waits, so [`now`] has its result at once; with `OnFibers` it waits where a
//! limiter, a host function or an epoch of the store does. No state, no lock; called by
//! `template.rs`, `state.rs` and `reset.rs`.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use wasmtime::{Func, Instance, InstancePre, Memory, Ref, Result, Store, Table};

/// What is done to a store that may run code of its program, or ask its limiter.
pub(crate) trait Way<T: 'static> {
    async fn instantiate(pre: &InstancePre<T>, store: &mut Store<T>) -> Result<Instance>;

    async fn grow_memory(memory: Memory, store: &mut Store<T>, pages: u64) -> Result<()>;

    async fn grow_table(table: Table, store: &mut Store<T>, slots: u64, filler: Ref) -> Result<()>;

    /// Calls a function without parameters and results.
    async fn call(function: Func, store: &mut Store<T>) -> Result<()>;
}

/// On this stack.
pub(crate) struct Straight;

impl<T: 'static> Way<T> for Straight {
    async fn instantiate(pre: &InstancePre<T>, store: &mut Store<T>) -> Result<Instance> {
        pre.instantiate(store)
    }

    async fn grow_memory(memory: Memory, store: &mut Store<T>, pages: u64) -> Result<()> {
        memory.grow(store, pages).map(drop)
    }

    async fn grow_table(table: Table, store: &mut Store<T>, slots: u64, filler: Ref) -> Result<()> {
        table.grow(store, slots, filler).map(drop)
    }

    async fn call(function: Func, store: &mut Store<T>) -> Result<()> {
        function.typed::<(), ()>(&*store)?.call(store, ())
    }
}

/// On fibers, which can be suspended.
#[cfg(feature = "async")]
pub(crate) struct OnFibers;

#[cfg(feature = "async")]
impl<T: Send + 'static> Way<T> for OnFibers {
    async fn instantiate(pre: &InstancePre<T>, store: &mut Store<T>) -> Result<Instance> {
        pre.instantiate_async(store).await
    }

    async fn grow_memory(memory: Memory, store: &mut Store<T>, pages: u64) -> Result<()> {
        memory.grow_async(store, pages).await.map(drop)
    }

    async fn grow_table(table: Table, store: &mut Store<T>, slots: u64, filler: Ref) -> Result<()> {
        table.grow_async(store, slots, filler).await.map(drop)
    }

    async fn call(function: Func, store: &mut Store<T>) -> Result<()> {
        function.typed::<(), ()>(&*store)?.call_async(store, ()).await
    }
}

/// The result of what is done [`Straight`].
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("it waits for nothing"),
    }
}
