//! Makes an engine take its memories from memfold: [`configure`], and the
//! [`probe`] that sees whether it does.
//!
//! Pure functions. An engine cannot be asked how it was configured, so
//! `template.rs` probes each engine once, by an instance of the smallest module.

use crate::creator::Creator;
use crate::error::Error;
use crate::handoff::{self, Offer};
use memfold::{Memory, SpaceSize};
use std::sync::Arc;
use wasmtime::{Config, Engine, Instance, InstanceAllocationStrategy, Module, Store};

/// Addresses that a memory can grow to. All that 32 bits can name, so that
/// compiled code needs no bounds checks.
pub(crate) const RESERVATION: u64 = 4 << 30;
/// Inaccessible addresses behind them.
pub(crate) const GUARD: u64 = 32 << 20;

/// Makes engines of this configuration take their memories from `memory`.
///
/// Call it last: it sets what a fork relies on (the memory creator, on-demand
/// allocation, 4 GiB of addresses for each memory and a guard behind them, no
/// memory images of Wasmtime's own), and later changes to these make
/// [`Template::new`](crate::Template::new) fail. All other settings are free.
///
/// Every memory of the engine is then held by `memory` and counts against its
/// budget, also those of modules that are not templates.
///
/// With WASI, leave `WasiCtxBuilder::allow_blocking_current_thread` at `false`:
/// set to `true` it hands addresses of the memory to the kernel, which answers
/// `EFAULT`, or a short count, for pages that are not resident. The same holds
/// for host functions of your own: copy, or pin the range first.
///
/// ```no_run
/// # fn example(memory: &memfold::Memory) -> wasmtime::Result<wasmtime::Engine> {
/// let mut config = wasmtime::Config::new();
/// memfold_wasmtime::configure(&mut config, memory);
/// let engine = wasmtime::Engine::new(&config)?;
/// # Ok(engine)
/// # }
/// ```
pub fn configure<'a>(config: &'a mut Config, memory: &Memory) -> &'a mut Config {
    config
        .with_host_memory(Arc::new(Creator::new(memory.clone())))
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        // With images of its own, Wasmtime panics on memories that it did not map.
        .memory_init_cow(false)
        .memory_reservation(RESERVATION)
        .memory_guard_size(GUARD)
        .memory_may_move(false)
        .signals_based_traps(true)
}

/// The size of a space that a memory of `len` bytes can stand in.
pub(crate) fn size(len: u64) -> SpaceSize {
    SpaceSize {
        len,
        reserve: RESERVATION + GUARD,
    }
}

/// `(module (memory 1))`
const SMALLEST: &[u8] = b"\0asm\x01\0\0\0\x05\x03\x01\0\x01";

/// Sees whether the engine takes its memories from us.
pub(crate) fn probe(engine: &Engine, memory: &Memory) -> Result<(), Error> {
    let module = Module::from_binary(engine, SMALLEST).map_err(Error::Compile)?;
    let space = Arc::new(memory.create(size(1 << 16))?);
    let mut store = Store::new(engine, ());
    let offered = handoff::offer(Offer { space, code: None });
    match Instance::new(&mut store, &module, &[]) {
        Ok(_) if offered.taken() => Ok(()),
        _ => Err(Error::NotConfigured),
    }
}
