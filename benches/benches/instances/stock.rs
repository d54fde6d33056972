//! The rival: stock Wasmtime with its pooling allocator and images that the kernel copies on write.
//! What our side has in its snapshot, Wizer has baked into the module.

use super::{Run, WARM, linker, store};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use wasmparser::ValType;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, Module, PoolingAllocationConfig, Store, Val};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wizer::{InstanceState, SnapshotVal, Wizer};

pub struct Stock {
    pub engine: Engine,
    ready: wasmtime::InstancePre<WasiP1Ctx>,
}

/// An instance.
pub struct Guest {
    store: Store<WasiP1Ctx>,
    run: Run,
}

impl Stock {
    /// With room for so many instances.
    pub fn new(wasm: &[u8], most: usize) -> Self {
        let most = u32::try_from(most).expect("some hundreds");
        let mut pool = PoolingAllocationConfig::default();
        pool.total_core_instances(most)
            .total_memories(most)
            .total_tables(most)
            .max_memory_size(64 << 20)
            .max_unused_warm_slots(100);
        let mut config = Config::new();
        config
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
            .memory_init_cow(true)
            .memory_reservation(4 << 30)
            .memory_guard_size(32 << 20);
        let engine = Engine::new(&config).expect("an engine");
        let module = Module::new(&engine, warm(wasm)).expect("it compiles");
        let ready = linker(&engine).instantiate_pre(&module).expect("it links");
        Self { engine, ready }
    }

    /// A new instance in a store that was made before.
    pub fn make(&self, mut store: Store<WasiP1Ctx>) -> Guest {
        let instance = self.ready.instantiate(&mut store).expect("a place in the pool");
        let run = instance.get_typed_func(&mut store, "run");
        let run = run.expect("the program has it");
        Guest { store, run }
    }
}

impl super::Guest for Guest {
    fn call(&mut self, number: usize, call: usize) -> i64 {
        let args = (number as i32, call as i32);
        let answer = self.run.call(&mut self.store, args);
        i64::from(answer.expect("the program answers"))
    }
}

/// What Wizer reads the state from.
struct Warmed {
    store: Store<WasiP1Ctx>,
    instance: wasmtime::Instance,
}

impl InstanceState for Warmed {
    async fn global_get(&mut self, name: &str, _: ValType) -> SnapshotVal {
        let global = self.instance.get_global(&mut self.store, name);
        match global.expect("it is exported").get(&mut self.store) {
            Val::I32(value) => SnapshotVal::I32(value),
            Val::I64(value) => SnapshotVal::I64(value),
            Val::F32(bits) => SnapshotVal::F32(bits),
            Val::F64(bits) => SnapshotVal::F64(bits),
            other => panic!("the programs have no global {other:?}"),
        }
    }

    async fn memory_contents(&mut self, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        let memory = self.instance.get_memory(&mut self.store, name);
        contents(memory.expect("it is exported").data(&self.store));
    }
}

/// The module, warmed up.
fn warm(wasm: &[u8]) -> Vec<u8> {
    let wizer = Wizer::new();
    let (context, instrumented) = wizer.instrument(wasm).expect("Wizer takes it");
    let engine = Engine::default();
    let module = Module::new(&engine, instrumented).expect("it compiles");
    let mut store = store(&engine);
    let instance = linker(&engine)
        .instantiate(&mut store, &module)
        .expect("an instance");
    for name in WARM {
        let warm = instance.get_typed_func::<(), ()>(&mut store, name);
        let warm = warm.expect("the program has it");
        warm.call(&mut store, ()).expect("it warms up");
    }
    let mut warmed = Warmed { store, instance };
    let baked = pin!(wizer.snapshot(&context, &mut warmed));
    // Nothing in it waits for anything.
    match baked.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(baked) => baked.expect("it can be written"),
        Poll::Pending => unreachable!("the state is there"),
    }
}
