//! Goal: in stores that wait, components are what they are in others, and what is dropped half done
//! is not copied. Method: as `instances/fibers.rs`: a component that calls an asynchronous host
//! function and is interrupted by epochs and fuel, a limiter that waits, all beside each other on
//! one thread; the right answers are those of stock Wasmtime, called asynchronously as well.

use crate::common::{binary, memory};
use memfold::Memory;
use memfold_wasmtime::{
    ComponentSnapshot, ComponentTemplate, Error, ForkComponent, configure, prepare_component,
};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use wasmtime::component::{Component, Instance, Linker, TypedFunc};
use wasmtime::{Config, Engine, ResourceLimiterAsync, Store, StoreContextMut, Trap};

const PROGRAM: &str = r#"(component
    (import "wait" (func $wait (param "value" u32) (result u32)))
    (core func $wait' (canon lower (func $wait)))
    (core module $m (import "" "wait" (func $wait (param i32) (result i32)))
        (memory 1 8) (memory $second 1 8) (global $sum (mut i32) (i32.const 0))
        (data (i32.const 8) "\07") (func $start (i32.store (i32.const 12) (i32.load8_u (i32.const 8)))) (start $start)
        (func (export "warm") (param i32) (result i32)
            (drop (memory.grow (i32.const 2))) (drop (memory.grow $second (i32.const 1)))
            (global.set $sum (call $wait (local.get 0)))
            (i32.store (i32.const 131072) (global.get $sum)) (i32.store $second (i32.const 65536) (global.get $sum))
            (global.get $sum))
        (func (export "add") (param i32) (result i32)
            (global.set $sum (i32.add (global.get $sum) (call $wait (local.get 0))))
            (i32.store (i32.const 131072)
                (i32.add (i32.load $second (i32.const 65536)) (i32.mul (global.get $sum) (i32.load (i32.const 12)))))
            (i32.store $second (i32.const 65536) (i32.load (i32.const 131072)))
            (i32.add (i32.load $second (i32.const 65536)) (memory.size)))
        (func (export "spin") (param $rounds i32) (result i32)
            (local $done i32)
            (loop $again
                (local.set $done (i32.add (local.get $done) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $done) (local.get $rounds))))
            (local.get $done)))
    (core instance $m (instantiate $m (with "" (instance (export "wait" (func $wait'))))))
    (func (export "warm") (param "value" u32) (result u32) (canon lift (core func $m "warm")))
    (func (export "add") (param "value" u32) (result u32) (canon lift (core func $m "add")))
    (func (export "spin") (param "rounds" u32) (result u32) (canon lift (core func $m "spin"))))"#;

/// A limiter that waits once whenever it is asked.
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
        Ok(true)
    }
}

fn linker(engine: &Engine) -> Linker<Host> {
    let mut linker = Linker::new(engine);
    let mut root = linker.root();
    let added = root.func_wrap_async("wait", |_: StoreContextMut<'_, Host>, (value,): (u32,)| {
        Box::new(async move {
            tokio::task::yield_now().await;
            Ok((value + 1,))
        })
    });
    added.unwrap();
    linker
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

/// What a test begins with.
fn scene(set: impl FnOnce(&mut Config)) -> (Memory, Engine, ComponentTemplate<Host>) {
    let memory = memory();
    let mut config = Config::new();
    set(&mut config);
    configure(&mut config, &memory);
    let engine = Engine::new(&config).unwrap();
    let prepared = prepare_component(&binary(PROGRAM)).unwrap();
    let template = ComponentTemplate::new(&memory, &linker(&engine), &prepared).unwrap();
    (memory, engine, template)
}

fn on_a_thread<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(future)
}

fn export(store: &mut Store<Host>, instance: &Instance, name: &str) -> TypedFunc<(u32,), (u32,)> {
    instance.get_typed_func(store, name).unwrap()
}

async fn call(
    store: &mut Store<Host>,
    instance: &ForkComponent<Host>,
    name: &str,
    value: u32,
) -> Result<u32, Error> {
    let function = export(store, instance.instance(), name);
    let (answer,) = instance.call_async(store, &function, (value,)).await?;
    Ok(answer)
}

async fn warmed(
    engine: &Engine,
    template: &ComponentTemplate<Host>,
) -> (Store<Host>, ForkComponent<Host>, ComponentSnapshot<Host>) {
    let mut store = limited(engine, 8);
    let parent = template.instantiate_async(&mut store).await.unwrap();
    assert_eq!(call(&mut store, &parent, "warm", 20).await.unwrap(), 21);
    let snapshot = parent.freeze_async(&mut store).await.unwrap();
    (store, parent, snapshot)
}

/// What a stock instance answers that was warmed up and then given these.
async fn right(values: &[u32]) -> Vec<u32> {
    let engine = Engine::default();
    let component = Component::new(&engine, binary(PROGRAM)).unwrap();
    let mut store = plain(&engine);
    let linker = linker(&engine);
    let instance = linker.instantiate_async(&mut store, &component).await.unwrap();
    let (warm, add) = (
        export(&mut store, &instance, "warm"),
        export(&mut store, &instance, "add"),
    );
    warm.call_async(&mut store, (20,)).await.unwrap();
    let mut answers = Vec::new();
    for value in values {
        answers.push(add.call_async(&mut store, (*value,)).await.unwrap().0);
    }
    answers
}

/// Forks of an instance and of its snapshot, each in a task of its own, which wait for each other
/// while they are made and while they run.
#[test]
fn forks_beside_each_other() {
    let (memory, engine, template) = scene(|_| ());
    on_a_thread(async {
        let (parent_store, parent, snapshot) = warmed(&engine, &template).await;
        let tasks: Vec<_> = (0..40)
            .map(|number| {
                let (snapshot, engine) = (snapshot.clone(), engine.clone());
                tokio::spawn(async move {
                    let mut store = limited(&engine, 3);
                    let clone = snapshot.instantiate_async(&mut store).await.unwrap();
                    let mut answers = Vec::new();
                    for value in [number, 5, 7] {
                        for space in clone.spaces() {
                            space.evict().unwrap();
                        }
                        answers.push(call(&mut store, &clone, "add", value).await.unwrap());
                    }
                    assert!(store.data().asked >= 4, "{}", store.data().asked);
                    answers
                })
            })
            .collect();
        for (number, task) in (0..).zip(tasks) {
            assert_eq!(task.await.unwrap(), right(&[number, 5, 7]).await);
        }
        let last = tokio::spawn(forks_of_each_kind(engine.clone(), parent_store, parent, snapshot));
        last.await.unwrap();
    });
    memory.check().unwrap();
}

async fn forks_of_each_kind(
    engine: Engine,
    mut parent_store: Store<Host>,
    parent: ForkComponent<Host>,
    snapshot: ComponentSnapshot<Host>,
) {
    let mut store = limited(&engine, 3);
    let fork = parent.fork_async(&mut parent_store, &mut store).await.unwrap();
    let answer = call(&mut store, &fork, "add", 9).await.unwrap();
    assert_eq!(answer, right(&[9]).await[0]);
    let (mut store, fork) = parent
        .fork_with_async(&mut parent_store, |parent| Ok(limited(parent.engine(), 3)))
        .await
        .unwrap();
    let answer = call(&mut store, &fork, "add", 4).await.unwrap();
    assert_eq!(answer, right(&[4]).await[0]);
    for value in [1, 6] {
        let answer = call(&mut parent_store, &parent, "add", value).await.unwrap();
        assert_eq!(answer, right(&[value]).await[0]);
        parent.reset_async(&mut parent_store, &snapshot).await.unwrap();
    }
}

/// While one fork waits for its limiter, other instances of the same component are made on the
/// thread.
#[test]
fn what_waits_keeps_its_memories() {
    let (_memory, engine, template) = scene(|_| ());
    on_a_thread(async {
        let (_parent_store, _parent, snapshot) = warmed(&engine, &template).await;
        let mut store = limited(&engine, 8);
        let mut waiting = Box::pin(snapshot.instantiate_async(&mut store));
        let polled = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        let mut other_store = plain(&engine);
        let fresh = template.instantiate_async(&mut other_store).await.unwrap();
        assert!(fresh.spaces().all(|space| space.len() == 1 << 16));
        let clone = waiting.await.unwrap();
        let answer = call(&mut store, &clone, "add", 3).await.unwrap();
        assert_eq!(answer, right(&[3]).await[0]);
        // And one that is refused is told how much there would have to be.
        let refused = snapshot.instantiate_async(&mut limited(&engine, 2)).await;
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
        let snapshot = parent.freeze_async(&mut parent_store).await.unwrap();

        let mut yielding = plain(&engine);
        yielding.set_epoch_deadline(1);
        yielding.epoch_deadline_async_yield_and_update(1);
        let fork = snapshot.instantiate_async(&mut yielding).await.unwrap();
        let mut yields = 0;
        {
            let mut spinning = pin!(call(&mut yielding, &fork, "spin", 1_000_000));
            let answer = std::future::poll_fn(|context| {
                engine.increment_epoch();
                let polled = spinning.as_mut().poll(context);
                yields += i32::from(polled.is_pending());
                polled
            });
            assert_eq!(answer.await.unwrap(), 1_000_000);
        }
        assert!(yields > 0);
        fork.reset_async(&mut yielding, &snapshot).await.unwrap();

        let mut trapping = plain(&engine);
        trapping.set_epoch_deadline(1);
        let fork = snapshot.instantiate_async(&mut trapping).await.unwrap();
        engine.increment_epoch();
        let ended = call(&mut trapping, &fork, "spin", u32::MAX).await;
        let Err(Error::Program(error)) = ended else {
            panic!("{ended:?}");
        };
        assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
        trapping.set_epoch_deadline(1000);
        let again = call(&mut trapping, &fork, "spin", 1).await;
        assert!(matches!(again, Err(Error::CannotEnter)), "{again:?}");
        let refused = fork.reset_async(&mut trapping, &snapshot).await;
        assert!(matches!(refused, Err(Error::CannotEnter)), "{refused:?}");
    });
}

#[test]
fn fuel_yields_and_a_fork_takes_none() {
    let (_memory, engine, template) = scene(|config| {
        config.consume_fuel(true);
    });
    on_a_thread(async {
        let mut store = plain(&engine);
        store.set_fuel(100_000).unwrap();
        store.fuel_async_yield_interval(Some(1000)).unwrap();
        let instance = template.instantiate_async(&mut store).await.unwrap();
        assert_eq!(call(&mut store, &instance, "spin", 1000).await.unwrap(), 1000);
        let left = store.get_fuel().unwrap();
        let mut child = plain(&engine);
        let fork = instance.fork_async(&mut store, &mut child).await.unwrap();
        let snapshot = fork.freeze_async(&mut child).await.unwrap();
        fork.reset_async(&mut child, &snapshot).await.unwrap();
        assert_eq!(
            (store.get_fuel().ok(), child.get_fuel().ok()),
            (Some(left), Some(0))
        );
        let ended = call(&mut store, &instance, "spin", 1 << 20).await;
        let Err(Error::Program(error)) = ended else {
            panic!("{ended:?}");
        };
        assert_eq!(error.downcast_ref(), Some(&Trap::OutOfFuel));
    });
}

/// A fork whose future is dropped while the parent's state is read.
#[test]
fn a_fork_that_is_dropped_leaves_the_fuel() {
    let (_memory, engine, template) = scene(|config| {
        config.consume_fuel(true);
    });
    on_a_thread(async {
        let (mut store, mut child) = (plain(&engine), plain(&engine));
        store.set_fuel(100_000).unwrap();
        let instance = template.instantiate_async(&mut store).await.unwrap();
        let left = store.get_fuel().unwrap();
        store.fuel_async_yield_interval(Some(1)).unwrap();
        {
            let mut fork = pin!(instance.fork_async(&mut store, &mut child));
            let polled = fork.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending());
        }
        assert_eq!(store.get_fuel().ok(), Some(left));
    });
}

#[test]
fn what_is_half_done_is_not_copied() {
    let (memory, engine, template) = scene(|_| ());
    on_a_thread(async {
        let (_parent_store, _parent, snapshot) = warmed(&engine, &template).await;
        let mut store = limited(&engine, 8);
        let clone = snapshot.instantiate_async(&mut store).await.unwrap();
        {
            let mut half = Box::pin(call(&mut store, &clone, "add", 1));
            let polled = half.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(polled, Poll::Pending));
        }
        let mut child = plain(&engine);
        let refused: [Result<(), Error>; 3] = [
            clone.freeze_async(&mut store).await.map(drop),
            clone.fork_async(&mut store, &mut child).await.map(drop),
            clone
                .fork_with_async(&mut store, |_| unreachable!())
                .await
                .map(drop),
        ];
        for refused in refused {
            assert!(matches!(refused, Err(Error::HalfDone)), "{refused:?}");
        }
    });
    drop((engine, template));
    memory.check().unwrap();
}

/// What cannot be done without waiting is an error, not a panic.
#[test]
fn a_store_that_waits_needs_the_other_methods() {
    let (_memory, engine, template) = scene(|_| ());
    let refused = template.instantiate(&mut limited(&engine, 8));
    assert!(matches!(refused, Err(Error::Instantiate(_))), "{refused:?}");
    on_a_thread(async {
        let (mut store, instance, snapshot) = warmed(&engine, &template).await;
        let refused = snapshot.instantiate(&mut limited(&engine, 8));
        assert!(matches!(refused, Err(Error::Instantiate(_))), "{refused:?}");
        let add = export(&mut store, instance.instance(), "add");
        let refused: [Result<(), Error>; 3] = [
            instance.call(&mut store, &add, (1,)).map(drop),
            instance.freeze(&mut store).map(drop),
            instance.reset(&mut store, &snapshot),
        ];
        for refused in refused {
            assert!(matches!(refused, Err(Error::Program(_))), "{refused:?}");
        }
        // Nothing of it has happened.
        let answer = call(&mut store, &instance, "add", 2).await.unwrap();
        assert_eq!(answer, right(&[2]).await[0]);
    });
}
