//! A host of plug-ins: many tenants on one thread, of which none can stand in another's way.
//!
//! The plug-in is warmed up once. Each call runs in a fork of its own, whatever the last one left
//! behind; it may wait for the host, has to yield to others when its slice of time is over, and is
//! ended when it takes too long. All of that inside one budget.

use memfold_wasmtime::{Error, Snapshot, Template, configure, prepare};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wasmtime::{Caller, Config, Engine, Linker, Store, Trap, UpdateDeadline};

const PLUGIN: &str = r#"(module
    (import "host" "fetch" (func $fetch (param i32) (result i32)))
    (memory 16)
    (global $state (mut i32) (i32.const 0))
    (func (export "warm") (global.set $state (i32.const 1000)))
    (func (export "serve") (param $request i32) (result i32)
        (global.set $state (i32.add (global.get $state) (call $fetch (local.get $request))))
        (i32.store (i32.const 4096) (global.get $state))
        (if (i32.eq (local.get $request) (i32.const 13)) (then (loop (br 0))))
        (global.get $state)))"#;

/// Slices of 5 ms that a call may take.
const SLICES: u64 = 20;

/// What the host knows of a call: the slices that it has left.
struct Call {
    slices: u64,
}

fn store(engine: &Engine) -> Store<Call> {
    let mut store = Store::new(engine, Call { slices: SLICES });
    store.set_epoch_deadline(1);
    // At the end of each slice the others run; at the end of the last one the call is over.
    store.epoch_deadline_callback(|mut call| {
        let left = call.data().slices.checked_sub(1);
        Ok(left.map_or(UpdateDeadline::Interrupt, |left| {
            call.data_mut().slices = left;
            UpdateDeadline::Yield(1)
        }))
    });
    store
}

async fn serve(snapshot: Snapshot<Call>, engine: Engine, request: i32) -> Result<i32, Error> {
    let mut store = store(&engine);
    let fork = snapshot.instantiate_async(&mut store).await?;
    let serve = fork
        .instance()
        .get_typed_func(&mut store, "serve")
        .map_err(Error::Program)?;
    fork.call_async(&mut store, &serve, (request,)).await
}

async fn host(engine: &Engine, template: &Template<Call>) -> Result<(), Box<dyn std::error::Error>> {
    let mut warming = store(engine);
    let plugin = template.instantiate_async(&mut warming).await?;
    let warm = plugin.instance().get_typed_func::<(), ()>(&mut warming, "warm")?;
    plugin.call_async(&mut warming, &warm, ()).await?;
    let snapshot = plugin.freeze(&mut warming)?;

    let calls: Vec<_> = (0..200)
        .map(|request| tokio::spawn(serve(snapshot.clone(), engine.clone(), request)))
        .collect();
    for (request, call) in (0..).zip(calls) {
        match call.await? {
            Ok(answer) => assert_eq!(answer, 1000 + 2 * request),
            Err(Error::Program(error)) => {
                assert_eq!(request, 13);
                assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let memory = memfold::Memory::builder().budget_bytes(32 << 20).build()?;
    let mut config = Config::new();
    configure(config.epoch_interruption(true), &memory);
    let engine = Engine::new(&config)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap_async("host", "fetch", |_: Caller<'_, Call>, (request,): (i32,)| {
        Box::new(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            request * 2
        })
    })?;
    let template = Template::new(&memory, &linker, &prepare(&wat::parse_str(PLUGIN)?)?)?;

    let over = Arc::new(AtomicBool::new(false));
    let clock = std::thread::spawn({
        let (engine, over) = (engine.clone(), Arc::clone(&over));
        move || {
            // Relaxed, here and below: nothing else is passed by it.
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
                engine.increment_epoch();
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let served = runtime.block_on(host(&engine, &template));
    // Relaxed: as above.
    over.store(true, Ordering::Relaxed);
    clock.join().expect("the clock does not panic");
    served?;
    println!("199 calls answered, one ended that took too long");
    Ok(())
}

#[test]
fn it_runs() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
