//! Goal: in stores that wait, instances are what they are in others, and what is dropped half done
//! is not copied. Method: programs that call asynchronous host functions and are interrupted by
//! epochs and fuel; limiters that wait; all beside each other on one thread.

use crate::common::memory;
use memfold::Memory;
use memfold_wasmtime::{Error, ForkInstance, Snapshot, Template, configure, prepare};
use std::future::Future;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use wasmtime::{Caller, Config, Engine, Linker, ResourceLimiterAsync, Store, Trap};

const PROGRAM: &str = r#"(module
    (import "host" "wait" (func $wait (param i32) (result i32)))
    (memory (export "memory") 1 8) (memory $second 1 8)
    (table $table 1 8 funcref)
    (elem declare func $twice)
    (global $sum (mut i32) (i32.const 0))
    (func $twice (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
    (type $of (func (param i32) (result i32)))
    (func (export "warm")
        (drop (memory.grow (i32.const 2))) (drop (memory.grow $second (i32.const 1)))
        (drop (table.grow $table (ref.func $twice) (i32.const 3)))
        (global.set $sum (call $wait (i32.const 20)))
        (i32.store (i32.const 131072) (global.get $sum)) (i32.store $second (i32.const 65536) (global.get $sum)))
    (func (export "add") (param i32) (result i32)
        (global.set $sum (i32.add (global.get $sum)
            (call $wait (call_indirect $table (type $of) (local.get 0) (i32.const 2)))))
        (i32.store (i32.const 131072) (i32.add (i32.load $second (i32.const 65536)) (global.get $sum)))
        (i32.store $second (i32.const 65536) (i32.load (i32.const 131072)))
        (i32.load $second (i32.const 65536)))
    (func (export "spin") (param $rounds i32) (result i32)
        (global.set $sum (i32.const 0))
        (loop $again
            (global.set $sum (i32.add (global.get $sum) (i32.const 1)))
            (br_if $again (i32.lt_u (global.get $sum) (local.get $rounds))))
        (global.get $sum)))"#;

/// A limiter that waits once whenever it is asked.
#[derive(Default)]
struct Host {
    limit_pages: usize,
    asked: u32,
}

#[async_trait::async_trait]
impl ResourceLimiterAsync for Host {
    async fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        tokio::task::yield_now().await;
        self.asked += 1;
        Ok(desired <= self.limit_pages << 16)
    }

    async fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        tokio::task::yield_now().await;
        self.asked += 1;
        Ok(true)
    }
}

fn linker(engine: &Engine) -> Linker<Host> {
    let mut linker = Linker::new(engine);
    let added = linker.func_wrap_async("host", "wait", |_: Caller<'_, Host>, (value,): (i32,)| {
        Box::new(async move {
            tokio::task::yield_now().await;
            value + 1
        })
    });
    added.unwrap();
    linker
}

pub fn engine(memory: &Memory, set: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::new();
    set(&mut config);
    configure(&mut config, memory);
    Engine::new(&config).unwrap()
}

fn plain(engine: &Engine) -> Store<Host> {
    Store::new(
        engine,
        Host {
            limit_pages: 8,
            asked: 0,
        },
    )
}

fn limited(engine: &Engine, limit_pages: usize) -> Store<Host> {
    let mut store = plain(engine);
    store.data_mut().limit_pages = limit_pages;
    store.limiter_async(|host| host);
    store
}

fn template(memory: &Memory, engine: &Engine) -> Template<Host> {
    let prepared = prepare(&wat::parse_str(PROGRAM).unwrap()).unwrap();
    Template::new(memory, &linker(engine), &prepared).unwrap()
}

/// What a test begins with.
fn scene(set: impl FnOnce(&mut Config)) -> (Memory, Engine, Template<Host>) {
    let memory = memory();
    let engine = engine(&memory, set);
    let template = template(&memory, &engine);
    (memory, engine, template)
}

/// The trap in which a call has ended.
fn trap(ended: Result<i32, Error>) -> Trap {
    match ended {
        Err(Error::Program(error)) => *error.downcast_ref().expect("it is a trap"),
        other => panic!("{other:?}"),
    }
}

pub fn on_a_thread<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(future)
}

async fn call(
    store: &mut Store<Host>,
    instance: &ForkInstance<Host>,
    name: &str,
    value: i32,
) -> Result<i32, Error> {
    let function = instance.instance().get_typed_func(&mut *store, name).unwrap();
    instance.call_async(store, &function, (value,)).await
}

async fn warmed(engine: &Engine, template: &Template<Host>) -> (Store<Host>, ForkInstance<Host>) {
    let mut store = limited(engine, 8);
    let parent = template.instantiate_async(&mut store).await.unwrap();
    let warm = parent
        .instance()
        .get_typed_func::<(), ()>(&mut store, "warm")
        .unwrap();
    parent.call_async(&mut store, &warm, ()).await.unwrap();
    (store, parent)
}

/// What an instance answers that was warmed up and then called with these.
fn right(values: &[i32]) -> Vec<i32> {
    let (mut sum, mut stored) = (21, 21);
    let mut next = |value: &i32| {
        sum += 2 * value + 1;
        stored += sum;
        stored
    };
    values.iter().map(&mut next).collect()
}

/// Forks of an instance and of its snapshot, each in a task of its own, which wait for each other
/// while they are made and while they run.
#[test]
fn forks_beside_each_other() {
    let (memory, engine, template) = scene(|_| ());
    on_a_thread(async {
        let (mut parent_store, parent) = warmed(&engine, &template).await;
        let snapshot = parent.freeze(&mut parent_store).unwrap();
        let tasks: Vec<_> = (0..40)
            .map(|number| {
                let (snapshot, engine) = (snapshot.clone(), engine.clone());
                tokio::spawn(async move {
                    let mut store = limited(&engine, 3);
                    let clone = snapshot.instantiate_async(&mut store).await.unwrap();
                    let mut answers = Vec::new();
                    for value in [number, 5, 7] {
                        clone.space().evict().unwrap();
                        answers.push(call(&mut store, &clone, "add", value).await.unwrap());
                    }
                    assert!(store.data().asked >= 3, "{}", store.data().asked);
                    answers
                })
            })
            .collect();
        for (number, task) in (0..).zip(tasks) {
            assert_eq!(task.await.unwrap(), right(&[number, 5, 7]));
        }
        let last = tokio::spawn(forks_of_each_kind(engine, parent_store, parent, snapshot));
        last.await.unwrap();
    });
    memory.check().unwrap();
}

async fn forks_of_each_kind(
    engine: Engine,
    mut parent_store: Store<Host>,
    parent: ForkInstance<Host>,
    snapshot: Snapshot<Host>,
) {
    let mut store = limited(&engine, 3);
    let fork = parent.fork_async(&mut parent_store, &mut store).await.unwrap();
    assert_eq!(call(&mut store, &fork, "add", 9).await.unwrap(), right(&[9])[0]);
    let (mut store, fork) = parent
        .fork_with_async(&mut parent_store, |parent| Ok(limited(parent.engine(), 3)))
        .await
        .unwrap();
    assert_eq!(call(&mut store, &fork, "add", 4).await.unwrap(), right(&[4])[0]);
    assert_eq!(
        call(&mut parent_store, &parent, "add", 1).await.unwrap(),
        right(&[1])[0]
    );
    parent.reset_async(&mut parent_store, &snapshot).await.unwrap();
    assert_eq!(
        call(&mut parent_store, &parent, "add", 6).await.unwrap(),
        right(&[6])[0]
    );
}

/// While one fork waits for its limiter, other instances of the same module are made on the thread.
#[test]
fn what_waits_keeps_its_memory() {
    let (_memory, engine, template) = scene(|_| ());
    on_a_thread(async {
        let (mut parent_store, parent) = warmed(&engine, &template).await;
        let snapshot = parent.freeze(&mut parent_store).unwrap();
        let mut store = limited(&engine, 8);
        let mut waiting = Box::pin(snapshot.instantiate_async(&mut store));
        let polled = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        let mut other_store = plain(&engine);
        let fresh = template.instantiate_async(&mut other_store).await.unwrap();
        assert_eq!(fresh.space().len(), 1 << 16);
        let clone = waiting.await.unwrap();
        assert_eq!(call(&mut store, &clone, "add", 3).await.unwrap(), right(&[3])[0]);
    });
}

/// Goal as for limiters that answer at once: the error says how much there would have to be.
#[test]
fn a_limiter_that_waits_refuses() {
    let (_memory, engine, template) = scene(|_| ());
    on_a_thread(async {
        let (mut parent_store, parent) = warmed(&engine, &template).await;
        let mut store = limited(&engine, 2);
        let refused = parent.fork_async(&mut parent_store, &mut store).await;
        assert!(
            matches!(refused, Err(Error::StoreLimit { bytes: 196_608, .. })),
            "{refused:?}"
        );
    });
}

#[test]
fn epochs_yield_and_trap() {
    let (_memory, engine, template) = scene(|config| {
        config.epoch_interruption(true);
    });
    on_a_thread(async {
        let mut parent_store = plain(&engine);
        parent_store.set_epoch_deadline(1000);
        let parent = template.instantiate_async(&mut parent_store).await.unwrap();
        let snapshot = parent.freeze(&mut parent_store).unwrap();

        let mut yielding = plain(&engine);
        yielding.set_epoch_deadline(1);
        yielding.epoch_deadline_async_yield_and_update(1);
        let fork = snapshot.instantiate_async(&mut yielding).await.unwrap();
        let yields = Mutex::new(0);
        {
            let mut spinning = pin!(call(&mut yielding, &fork, "spin", 1_000_000));
            let answer = std::future::poll_fn(|context| {
                engine.increment_epoch();
                let polled = spinning.as_mut().poll(context);
                *yields.lock().unwrap() += i32::from(polled.is_pending());
                polled
            });
            assert_eq!(answer.await.unwrap(), 1_000_000);
        }
        assert!(*yields.lock().unwrap() > 0);

        let mut trapping = plain(&engine);
        trapping.set_epoch_deadline(1);
        let fork = snapshot.instantiate_async(&mut trapping).await.unwrap();
        engine.increment_epoch();
        let ended = call(&mut trapping, &fork, "spin", i32::MAX).await;
        assert_eq!(trap(ended), Trap::Interrupt);
        trapping.set_epoch_deadline(1000);
        fork.reset_async(&mut trapping, &snapshot).await.unwrap();
        assert_eq!(call(&mut trapping, &fork, "spin", 10).await.unwrap(), 10);
    });
}

#[test]
fn fuel_yields_and_ends() {
    let (_memory, engine, template) = scene(|config| {
        config.consume_fuel(true);
    });
    on_a_thread(async {
        let mut store = plain(&engine);
        store.set_fuel(100_000).unwrap();
        store.fuel_async_yield_interval(Some(1000)).unwrap();
        let instance = template.instantiate_async(&mut store).await.unwrap();
        assert_eq!(call(&mut store, &instance, "spin", 100).await.unwrap(), 100);
        let ended = call(&mut store, &instance, "spin", 1 << 20).await;
        assert_eq!(trap(ended), Trap::OutOfFuel);
    });
}

/// A call that is dropped while it waits.
fn drop_half_done(store: &mut Store<Host>, instance: &ForkInstance<Host>) {
    let mut half = Box::pin(call(store, instance, "add", 1));
    let polled = half.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Pending));
}

#[test]
fn what_is_half_done_is_not_copied() {
    let (_memory, engine, template) = scene(|_| ());
    on_a_thread(async {
        let (mut parent_store, parent) = warmed(&engine, &template).await;
        let snapshot = parent.freeze(&mut parent_store).unwrap();
        let mut store = limited(&engine, 8);
        let clone = snapshot.instantiate_async(&mut store).await.unwrap();
        drop_half_done(&mut store, &clone);
        let refused: [Result<(), Error>; 3] = [
            clone.freeze(&mut store).map(drop),
            clone.fork(&mut store, &mut plain(&engine)).map(drop),
            clone.fork_with(&mut store, |_| unreachable!()).map(drop),
        ];
        for refused in refused {
            assert!(matches!(refused, Err(Error::HalfDone)), "{refused:?}");
        }
        // A whole call does not mend what the dropped one left.
        call(&mut store, &clone, "add", 2).await.unwrap();
        assert!(matches!(clone.freeze(&mut store), Err(Error::HalfDone)));
        clone.reset_async(&mut store, &snapshot).await.unwrap();
        clone.freeze(&mut store).unwrap();
        assert_eq!(call(&mut store, &clone, "add", 3).await.unwrap(), right(&[3])[0]);
    });
}

/// What cannot be done without waiting is an error, not a panic.
#[test]
fn a_store_that_waits_needs_the_other_methods() {
    let (_memory, engine, template) = scene(|_| ());
    let refused = template.instantiate(&mut limited(&engine, 8));
    assert!(matches!(refused, Err(Error::Instantiate(_))), "{refused:?}");
    on_a_thread(async {
        let (mut store, instance) = warmed(&engine, &template).await;
        let snapshot = instance.freeze(&mut store).unwrap();
        assert!(matches!(
            snapshot.instantiate(&mut limited(&engine, 8)),
            Err(Error::Instantiate(_))
        ));
        let add = instance.instance().get_typed_func::<i32, i32>(&mut store, "add");
        let refused = instance.call(&mut store, &add.unwrap(), 1);
        assert!(matches!(refused, Err(Error::Program(_))), "{refused:?}");
    });
}
