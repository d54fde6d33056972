//! What the tests of forks share: an engine on memfold, a stock engine for the
//! answers that are right, and the programs that `cargo xtask programs` builds.

use memfold::Memory;
use memfold_wasmtime::{ForkInstance, Template, configure, prepare};
use std::path::Path;
use wasmtime::{Cache, CacheConfig, Config, Engine, Instance, Linker, Module, Store};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::{self, WasiP1Ctx};

/// The data of a store: what WASI needs, for the programs that use it.
pub type Wasi = WasiP1Ctx;

/// A manager without a budget.
pub fn memory() -> Memory {
    Memory::builder()
        .build()
        .expect("this machine lets us manage memory")
}

/// What was compiled is kept for the next test: compiling SQLite takes longer than any test of it.
fn config() -> Config {
    let mut kept = CacheConfig::new();
    kept.with_directory(concat!(env!("CARGO_TARGET_TMPDIR"), "/compiled"));
    let mut config = Config::new();
    config.cache(Some(Cache::new(kept).expect("the folder can be written")));
    config
}

/// An engine whose memories are held by `memory`.
pub fn engine(memory: &Memory) -> Engine {
    let mut config = config();
    configure(&mut config, memory);
    Engine::new(&config).expect("the configuration is valid")
}

/// A store with a WASI context that sees nothing of the machine.
pub fn store(engine: &Engine) -> Store<Wasi> {
    Store::new(engine, WasiCtxBuilder::new().build_p1())
}

/// A linker with WASI in it.
pub fn linker(engine: &Engine) -> Linker<Wasi> {
    let mut linker = Linker::new(engine);
    p1::add_to_linker_sync(&mut linker, |wasi| wasi).expect("nothing is defined twice");
    linker
}

/// A template of a module in the binary format.
pub fn template(memory: &Memory, engine: &Engine, wasm: &[u8]) -> Template<Wasi> {
    let prepared = prepare(wasm).unwrap_or_else(|refused| panic!("{refused}"));
    Template::new(memory, &linker(engine), &prepared).unwrap_or_else(|error| panic!("{error}"))
}

/// A program that `cargo xtask programs` has built.
pub fn program(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../target/programs/{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{error}; `cargo xtask programs` builds {name}.wasm"))
}

/// Calls `_initialize`, if there is one, and `warm`.
pub fn warm(store: &mut Store<Wasi>, instance: &Instance) {
    if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut *store, "_initialize") {
        initialize.call(&mut *store, ()).expect("_initialize returns");
    }
    let warm = instance
        .get_typed_func::<(), ()>(&mut *store, "warm")
        .expect("the program has `warm`");
    warm.call(store, ()).expect("`warm` returns");
}

/// Calls `run` of a fork.
pub fn run(store: &mut Store<Wasi>, fork: &ForkInstance<Wasi>, clone: i32, call: i32) -> i32 {
    let run = fork
        .instance()
        .get_typed_func::<(i32, i32), i32>(&mut *store, "run")
        .expect("the program has `run`");
    fork.call(store, &run, (clone, call))
        .unwrap_or_else(|error| panic!("{error}"))
}

/// An unmodified module on an engine that memfold has no part in.
pub struct Stock {
    module: Module,
}

impl Stock {
    pub fn new(wasm: &[u8]) -> Self {
        let engine = Engine::new(&config()).expect("the configuration is valid");
        Stock {
            module: Module::new(&engine, wasm).expect("the program compiles"),
        }
    }

    /// The right answers: of an instance that was warmed and then called as this clone.
    pub fn answers(&self, clone: i32, calls: i32) -> Vec<i32> {
        let engine = self.module.engine();
        let mut store = store(engine);
        let instance = linker(engine)
            .instantiate(&mut store, &self.module)
            .expect("the program is complete");
        warm(&mut store, &instance);
        let run = instance
            .get_typed_func::<(i32, i32), i32>(&mut store, "run")
            .expect("the program has `run`");
        (0..calls)
            .map(|call| run.call(&mut store, (clone, call)).expect("`run` returns"))
            .collect()
    }
}
