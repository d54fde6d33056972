//! memfold's side: instances of a snapshot, forked from one that was warmed up.

use super::{Run, WARM, linker, store};
use memfold::Memory;
use memfold_wasmtime::{ForkInstance, Snapshot, Template, configure, prepare};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::p1::WasiP1Ctx;

pub struct Ours {
    pub memory: Memory,
    pub engine: Engine,
    snapshot: Snapshot<WasiP1Ctx>,
}

/// An instance.
pub struct Guest {
    store: Store<WasiP1Ctx>,
    instance: ForkInstance<WasiP1Ctx>,
    run: Run,
}

impl Ours {
    /// With a budget in bytes, if any.
    pub fn new(wasm: &[u8], budget: Option<u64>) -> Self {
        let mut builder = Memory::builder();
        if let Some(bytes) = budget {
            builder = builder.budget_bytes(bytes);
        }
        let memory = builder.build().expect("userfaultfd works here");
        let mut config = Config::new();
        configure(&mut config, &memory);
        let engine = Engine::new(&config).expect("an engine");
        let prepared = prepare(wasm).expect("the program can be forked");
        let template = Template::new(&memory, &linker(&engine), &prepared).expect("it compiles");
        let mut first = store(&engine);
        let parent = template.instantiate(&mut first).expect("an instance");
        for name in WARM {
            let warm = parent.instance().get_typed_func::<(), ()>(&mut first, name);
            let warm = warm.expect("the program has it");
            parent.call(&mut first, &warm, ()).expect("it warms up");
        }
        let snapshot = parent.freeze(&mut first).expect("it fits");
        Self {
            memory,
            engine,
            snapshot,
        }
    }

    /// A new instance in a store that was made before.
    pub fn make(&self, mut store: Store<WasiP1Ctx>) -> Guest {
        let instance = self.snapshot.instantiate(&mut store).expect("room");
        let run = instance.instance().get_typed_func(&mut store, "run");
        let run = run.expect("the program has it");
        Guest { store, instance, run }
    }
}

impl super::Guest for Guest {
    fn call(&mut self, number: usize, call: usize) -> i64 {
        let args = (number as i32, call as i32);
        let answer = self.instance.call(&mut self.store, &self.run, args);
        i64::from(answer.expect("the program answers"))
    }
}
