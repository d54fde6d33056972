//! Makes an engine take its memories from memfold: [`configure`], and
//! [`check`], which sees whether it does.
//!
//! Pure functions. Most settings can be read from an engine; whether it asks *us* for memories
//! cannot, so it is made to ask, by the smallest module.

use crate::creator::Creator;
use crate::error::Error;
use crate::handoff::{self, Addresses};
use memfold::Memory;
use memfold_prepare::MOST_BYTES;
use std::fmt::Display;
use std::sync::Arc;
use wasmtime::{Config, Engine, Instance, InstanceAllocationStrategy, Module, Store};

/// Addresses that a memory can grow to. All that 32 bits can name, so that
/// compiled code needs no bounds checks.
pub(crate) const RESERVATION: u64 = MOST_BYTES;
/// Inaccessible addresses behind them.
pub(crate) const GUARD: u64 = 32 << 20;
/// The same behind the heaps for garbage-collected objects. Another number, because nothing else
/// tells the creator which of the two it makes.
pub(crate) const GC_GUARD: u64 = 16 << 20;

/// Makes engines of this configuration take their memories from `memory`.
///
/// Call it last: it sets what memfold relies on (the memory creator, on-demand allocation, traps by
/// signals, 4 GiB of addresses for each memory and for each heap of garbage-collected objects, with
/// a guard behind them, no memory images of Wasmtime's own). Later changes to these make [`check`]
/// and [`Template::new`](crate::Template::new) fail. All other settings are free.
///
/// Every memory of the engine is then held by `memory` and counts against its budget, also those of
/// modules that are not templates. An engine for such modules alone should be [`check`]ed.
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
        .gc_heap_reservation(RESERVATION)
        .gc_heap_guard_size(GC_GUARD)
        .gc_heap_may_move(false)
        .signals_based_traps(true)
}

/// Bytes of addresses that each memory of an instance takes: 4 GiB, and the guard behind them.
/// They cost no memory, but a process has only so many.
pub const ADDRESSES_PER_MEMORY: u64 = RESERVATION + GUARD;

/// `(module (memory 1))`
const SMALLEST: &[u8] = b"\0asm\x01\0\0\0\x05\x03\x01\0\x01";

/// Sees whether the engine is as [`configure`] leaves it. Costs less than a millisecond;
/// [`Template::new`](crate::Template::new) does it by itself.
///
/// With other settings, an engine works at first and fails later: an access that memfold cannot
/// resolve ends the process where traps are not made by signals, a module with data panics where
/// memories have images of Wasmtime's own.
///
/// # Errors
/// [`Error::NotConfigured`] when the engine does not ask memfold for its memories;
/// [`Error::Setting`] names the first setting that was changed after [`configure`];
/// [`Error::Compile`] when it cannot even compile a module of one memory.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let memory = memfold::Memory::builder().build()?;
/// let mut config = wasmtime::Config::new();
/// memfold_wasmtime::configure(&mut config, &memory).memory_init_cow(true);
/// let error = memfold_wasmtime::check(&wasmtime::Engine::new(&config)?).unwrap_err();
/// assert!(error.to_string().contains("memory_init_cow"));
/// # Ok(())
/// # }
/// ```
pub fn check(engine: &Engine) -> Result<(), Error> {
    let module = Module::from_binary(engine, SMALLEST).map_err(Error::Compile)?;
    let asked = handoff::ask(|| {
        // Refused by our creator; another one's memory goes with the store.
        let _ = Instance::new(&mut Store::new(engine, ()), &module, &[]);
    });
    let Some(Addresses { reservation, guard }) = asked else {
        return Err(Error::NotConfigured);
    };
    expect("signals_based_traps", engine.get_signals_based_traps(), true)?;
    expect("memory_init_cow", engine.get_memory_init_cow(), false)?;
    expect("memory_reservation", reservation, RESERVATION)?;
    expect("memory_guard_size", guard, GUARD)?;
    expect("memory_may_move", engine.get_memory_may_move(), false)?;
    expect(
        "gc_heap_reservation",
        engine.get_gc_heap_reservation(),
        RESERVATION,
    )?;
    expect("gc_heap_guard_size", engine.get_gc_heap_guard_size(), GC_GUARD)?;
    expect("gc_heap_may_move", engine.get_gc_heap_may_move(), false)
}

fn expect<T: PartialEq + Display>(setting: &'static str, found: T, wanted: T) -> Result<(), Error> {
    if found == wanted {
        return Ok(());
    }
    Err(Error::Setting {
        setting,
        found: found.to_string(),
        wanted: wanted.to_string(),
    })
}
