//! How long a component takes to start and to answer for the first time, when it was warmed up
//! before: an instance of a snapshot, beside stock Wasmtime with its pooling allocator, which
//! instantiates a component into which wasmtime-wizer has baked the warm state.
//!
//! The components are those of `cargo xtask components`: one program in Rust, in Python and in
//! JavaScript. The sides take turns, and give equal answers. What wizer cannot bake is said. Each
//! turn makes a store, instantiates, calls once and drops both; timed are the start, and the start
//! with the call.

use memfold::Memory;
use memfold_benches::{is_smoke_test, percentiles};
use memfold_wasmtime::{ComponentSnapshot, ComponentTemplate, configure, prepare_component};
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use wasmtime::component::{Component, Instance, InstancePre, Lift, Linker, ResourceTable, TypedFunc};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView, p2};
use wasmtime_wizer::{ComponentInstanceState, Wizer};

/// What WASI needs.
struct Host {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

fn store(engine: &Engine) -> Store<Host> {
    Store::new(
        engine,
        Host {
            wasi: WasiCtxBuilder::new().build(),
            table: ResourceTable::new(),
        },
    )
}

fn linker(engine: &Engine) -> Linker<Host> {
    let mut linker = Linker::new(engine);
    p2::add_to_linker_sync(&mut linker).expect("nothing is defined twice");
    linker
}

type Run = TypedFunc<(u32, u32), (u64,)>;

fn run(store: &mut Store<Host>, instance: &Instance) -> Run {
    let run = instance.get_typed_func(&mut *store, "run");
    run.expect("the component has `run`")
}

fn warm(store: &mut Store<Host>, instance: &Instance) {
    let warm = instance.get_typed_func::<(), ()>(&mut *store, "warm");
    let warm = warm.expect("the component has `warm`");
    warm.call(store, ()).expect("`warm` returns");
}

/// The start, the start and the call, and the answer.
type Turn = (Duration, Duration, u64);

struct Ours {
    engine: Engine,
    snapshot: ComponentSnapshot<Host>,
}

impl Ours {
    fn new(wasm: &[u8]) -> Self {
        let memory = Memory::builder().build().expect("userfaultfd works here");
        let mut config = Config::new();
        let engine = Engine::new(configure(&mut config, &memory)).expect("an engine");
        let prepared = prepare_component(wasm).expect("the component can be forked");
        let template = ComponentTemplate::new(&memory, &linker(&engine), &prepared);
        let template = template.expect("it compiles");
        let mut warming = store(&engine);
        let parent = template.instantiate(&mut warming).expect("it starts");
        warm(&mut warming, parent.instance());
        let snapshot = parent.freeze(&mut warming).expect("it is at rest");
        Ours { engine, snapshot }
    }

    fn turn(&self, number: u32) -> Turn {
        let mut store = store(&self.engine);
        let begin = Instant::now();
        let instance = self.snapshot.instantiate(&mut store).expect("there is room");
        let start = begin.elapsed();
        let run = run(&mut store, instance.instance());
        let (answer,) = instance.call(&mut store, &run, (number, 0)).expect("it answers");
        (start, begin.elapsed(), answer)
    }
}

struct Stock {
    baked: InstancePre<Host>,
}

impl Stock {
    fn new(wasm: &[u8]) -> Result<Self> {
        let mut pool = PoolingAllocationConfig::default();
        pool.total_component_instances(8)
            .total_core_instances(200)
            .total_memories(16)
            .total_tables(64)
            .table_elements(100_000)
            .max_component_instance_size(16 << 20)
            .max_core_instance_size(16 << 20)
            .max_core_instances_per_component(100);
        let mut config = Config::new();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config)?;
        let component = Component::new(&engine, bake(wasm)?)?;
        let baked = linker(&engine).instantiate_pre(&component)?;
        Ok(Stock { baked })
    }

    fn turn(&self, number: u32) -> Turn {
        let mut store = store(self.baked.engine());
        let begin = Instant::now();
        let instance = self.baked.instantiate(&mut store).expect("the pool has room");
        let start = begin.elapsed();
        let run = run(&mut store, &instance);
        let (answer,) = run.call(&mut store, (number, 0)).expect("it answers");
        (start, begin.elapsed(), answer)
    }
}

/// The component with its warm state in it.
fn bake(wasm: &[u8]) -> Result<Vec<u8>> {
    let wizer = Wizer::new();
    let (context, instrumented) = wizer.instrument_component(wasm)?;
    let engine = Engine::default();
    let component = Component::new(&engine, instrumented)?;
    let mut store = store(&engine);
    let instance = linker(&engine).instantiate(&mut store, &component)?;
    warm(&mut store, &instance);
    let mut state = Warmed { store, instance };
    let mut baking = pin!(wizer.snapshot_component(&context, &mut state));
    match baking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(baked) => baked,
        Poll::Pending => unreachable!("nothing of it waits"),
    }
}

/// What wizer asks for the state.
struct Warmed {
    store: Store<Host>,
    instance: Instance,
}

impl Warmed {
    fn ask<R: Lift + Send + Sync + 'static, V>(
        &mut self,
        instance: &str,
        name: &str,
        use_it: impl FnOnce(&mut Store<Host>, R) -> V,
    ) -> V {
        let store = &mut self.store;
        let instance = self.instance.get_export_index(&mut *store, None, instance);
        let function = self
            .instance
            .get_export_index(&mut *store, instance.as_ref(), name);
        let function = function.expect("wizer has put it there");
        let function = self.instance.get_typed_func::<(), (R,)>(&mut *store, function);
        let called = function.expect("it has this type").call(&mut *store, ());
        use_it(store, called.expect("it answers").0)
    }
}

impl ComponentInstanceState for Warmed {
    async fn call_func_ret_list_u8(
        &mut self,
        instance: &str,
        name: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        self.ask(
            instance,
            name,
            |store, list: wasmtime::component::WasmList<u8>| {
                contents(list.as_le_slice(&*store));
            },
        );
    }

    async fn call_func_ret_s32(&mut self, instance: &str, name: &str) -> i32 {
        self.ask(instance, name, |_, value| value)
    }

    async fn call_func_ret_s64(&mut self, instance: &str, name: &str) -> i64 {
        self.ask(instance, name, |_, value| value)
    }

    async fn call_func_ret_f32(&mut self, instance: &str, name: &str) -> u32 {
        self.ask(instance, name, |_, value: f32| value.to_bits())
    }

    async fn call_func_ret_f64(&mut self, instance: &str, name: &str) -> u64 {
        self.ask(instance, name, |_, value: f64| value.to_bits())
    }
}

fn tell(side: &str, turns: &[Turn]) {
    let median = |of: fn(&Turn) -> Duration| percentiles(&mut turns.iter().map(of).collect::<Vec<_>>());
    let ((start, slow_start), (both, slow)) = (median(|turn| turn.0), median(|turn| turn.1));
    println!(
        "  {side}: start {start:.1} us (p99 {slow_start:.1}), with the first call {both:.1} us (p99 {slow:.1})"
    );
}

fn main() {
    let turns = if is_smoke_test() { 2 } else { 500 };
    for language in ["rust", "python", "javascript"] {
        let path = format!(
            "{}/../target/programs/{language}.wasm",
            env!("CARGO_MANIFEST_DIR")
        );
        // In a smoke test the others take minutes to compile.
        let wasm = match std::fs::read(Path::new(&path)) {
            Ok(wasm) if language == "rust" || !is_smoke_test() => wasm,
            _ => {
                println!("{language}: SKIPPED (`cargo xtask components` builds it)");
                continue;
            }
        };
        println!("{language}, {turns} turns");
        let ours = Ours::new(&wasm);
        let stock = Stock::new(&wasm);
        let (mut our_turns, mut stock_turns) = (Vec::new(), Vec::new());
        for number in 0..turns {
            our_turns.push(ours.turn(number));
            if let Ok(stock) = &stock {
                stock_turns.push(stock.turn(number));
            }
        }
        tell("memfold, of a snapshot", &our_turns);
        match stock {
            Ok(_) => {
                let differ = our_turns
                    .iter()
                    .zip(&stock_turns)
                    .filter(|(ours, stock)| ours.2 != stock.2);
                assert_eq!(differ.count(), 0, "answers differ");
                tell("stock, pooling, baked by wizer", &stock_turns);
            }
            Err(error) => println!("  stock: wizer does not bake it: {error:#}"),
        }
    }
}
