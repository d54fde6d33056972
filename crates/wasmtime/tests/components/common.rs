//! What the tests of components share: engines, calls with values, and the answers of a stock
//! engine, which are right.

use memfold::Memory;
use memfold_wasmtime::{ComponentTemplate, ForkComponent, configure, prepare_component};
use wasmtime::component::{Component, Instance, Linker, Resource, ResourceType, Val};
use wasmtime::{Config, Engine, Store, StoreLimits};

/// The data of a store.
#[derive(Default)]
pub struct Host {
    /// How often the component has called `next`, which answers that.
    pub called: u32,
    pub limits: StoreLimits,
}

/// A resource of the host's.
pub struct Thing;

/// A manager without a budget.
pub fn memory() -> Memory {
    Memory::builder()
        .build()
        .expect("this machine lets us manage memory")
}

/// An engine whose memories are held by `memory`.
pub fn engine(memory: &Memory) -> Engine {
    let mut config = Config::new();
    configure(&mut config, memory);
    Engine::new(&config).expect("the configuration is valid")
}

pub fn store(engine: &Engine) -> Store<Host> {
    Store::new(engine, Host::default())
}

/// A linker with what components import: `next`, and the resource `thing` with `make`.
pub fn linker(engine: &Engine) -> Linker<Host> {
    let mut linker = Linker::new(engine);
    let mut root = linker.root();
    let next = |mut store: wasmtime::StoreContextMut<'_, Host>, (): ()| {
        store.data_mut().called += 1;
        Ok((store.data().called,))
    };
    root.func_wrap("next", next).expect("it is defined once");
    root.resource("thing", ResourceType::host::<Thing>(), |_, _| Ok(()))
        .expect("it is defined once");
    root.func_wrap("make", |_, (): ()| Ok((Resource::<Thing>::new_own(7),)))
        .expect("it is defined once");
    linker
}

pub fn binary(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("the test's component: {error}"))
}

pub fn template(memory: &Memory, engine: &Engine, text: &str) -> ComponentTemplate<Host> {
    let prepared = prepare_component(&binary(text)).unwrap_or_else(|refused| panic!("{refused}"));
    ComponentTemplate::new(memory, &linker(engine), &prepared).unwrap_or_else(|error| panic!("{error}"))
}

/// An export and what it is called with.
pub type Call<'a> = (&'a str, &'a [Val]);

/// Calls an export with any values. The answer, or that it has failed.
pub fn answer(store: &mut Store<Host>, instance: &Instance, (name, params): Call<'_>) -> Option<Vec<Val>> {
    let function = instance
        .get_func(&mut *store, name)
        .expect("there is such an export");
    let mut results = vec![Val::Bool(false); function.ty(&*store).results().len()];
    function
        .call(&mut *store, params, &mut results)
        .is_ok()
        .then_some(results)
}

/// The same of a fork, whose memory could be had.
pub fn ask(store: &mut Store<Host>, fork: &ForkComponent<Host>, call: Call<'_>) -> Option<Vec<Val>> {
    let answer = answer(store, fork.instance(), call);
    fork.check().expect("no memory was lost");
    answer
}

/// The right answers: of an unmodified component on an engine that memfold has no part in.
pub fn stock(text: &str, calls: &[Call<'_>]) -> Vec<Option<Vec<Val>>> {
    let engine = Engine::default();
    let component = Component::new(&engine, binary(text)).expect("it compiles");
    let mut store = store(&engine);
    let instance = linker(&engine).instantiate(&mut store, &component);
    let instance = instance.expect("it is complete");
    calls
        .iter()
        .map(|call| answer(&mut store, &instance, *call))
        .collect()
}

/// Calls an instance, forks it, freezes it, forks the fork; then the parent and all copies answer
/// as an instance of a stock engine does that was called in the same way.
pub fn equal_to_stock(text: &str, before: &[Call<'_>], after: &[Call<'_>]) {
    let memory = memory();
    let engine = engine(&memory);
    let template = template(&memory, &engine, text);
    let mut parent_store = store(&engine);
    let parent = template.instantiate(&mut parent_store).expect("it starts");
    let all: Vec<Call<'_>> = before.iter().chain(after).copied().collect();
    let right = stock(text, &all);
    let (first, then) = right.split_at(before.len());
    for (call, right) in before.iter().zip(first) {
        assert_eq!(
            &ask(&mut parent_store, &parent, *call),
            right,
            "before the fork: {call:?}"
        );
    }
    let copy = |from: &Store<Host>| {
        let mut store = store(&engine);
        store.data_mut().called = from.data().called;
        store
    };
    let mut stores = [copy(&parent_store), copy(&parent_store), copy(&parent_store)];
    let fork = parent
        .fork(&mut parent_store, &mut stores[0])
        .expect("it is at rest");
    let snapshot = parent.freeze(&mut parent_store).expect("it is at rest");
    let [first_store, second_store, third_store] = &mut stores;
    let fork_of_fork = fork.fork(first_store, second_store).expect("it is at rest");
    let of_snapshot = snapshot.instantiate(third_store).expect("there is room");
    let copies = [
        ("the parent", &parent, &mut parent_store),
        ("its fork", &fork, first_store),
        ("the fork's fork", &fork_of_fork, second_store),
        ("that of the snapshot", &of_snapshot, third_store),
    ];
    for (which, instance, store) in copies {
        for space in instance.spaces() {
            space.evict().expect("nothing is pinned");
        }
        for (call, right) in after.iter().zip(then) {
            assert_eq!(&ask(store, instance, *call), right, "{which}: {call:?}");
        }
    }
    let checked = memory.check();
    assert!(checked.is_ok(), "{checked:?}");
}

/// A component as toolchains make them: a main module with an allocator that strings go through, an
/// adapter with globals of its own that works in the main module's memory, a shim whose table is
/// filled last, and a host function behind all of it.
pub const ADAPTED: &str = r#"(component
    (import "next" (func $next (result u32)))
    (core module $shim (table (export "$imports") 1 1 funcref)
        (func (export "0") (result i32) (call_indirect (result i32) (i32.const 0))))
    (core module $main (import "adapter" "stamp" (func $stamp (param i32) (result i32)))
        (memory (export "memory") 1 8) (global $heap (mut i32) (i32.const 1024))
        (global $calls (mut i64) (i64.const 0))
        (data (i32.const 16) "hello, ")
        (func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
            (global.set $heap (i32.add (local.get $at) (local.get 3)))
            (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536)))
                (then (drop (memory.grow (i32.shr_u (i32.add (local.get 3) (i32.const 65535)) (i32.const 16))))))
            (memory.copy (local.get $at) (local.get 0) (local.get 1))
            (local.get $at))
        (func (export "greet") (param $name i32) (param $len i32) (result i32)
            (local $out i32)
            (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
            (local.set $out (call $realloc (i32.const 0) (i32.const 0) (i32.const 1)
                (i32.add (local.get $len) (i32.const 16))))
            (memory.copy (i32.add (local.get $out) (i32.const 8)) (i32.const 16) (i32.const 7))
            (memory.copy (i32.add (local.get $out) (i32.const 15)) (local.get $name) (local.get $len))
            (i32.store (local.get $out) (i32.add (local.get $out) (i32.const 8)))
            (i32.store offset=4 (local.get $out) (i32.add (local.get $len) (i32.const 7)))
            ;; The next greeting begins with what was greeted.
            (i32.store8 (i32.const 16) (i32.load8_u (local.get $name)))
            (local.get $out))
        (func (export "calls") (result i64) (global.get $calls))
        (func (export "size") (result i32) (memory.size))
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "at") (param i32) (result i32) (i32.load (local.get 0)))
        (func (export "stamp") (param i32) (result i32) (call $stamp (local.get 0))))
    (core module $adapter (import "env" "memory" (memory 0)) (import "host" "next" (func $next (result i32)))
        (global $stamps (mut i32) (i32.const 100)) (global $half (mut f32) (f32.const 0.5))
        (global $wide (mut v128) (v128.const i64x2 1 2))
        (func (export "stamp") (param $at i32) (result i32)
            (global.set $stamps (i32.add (global.get $stamps) (call $next)))
            (global.set $half (f32.mul (global.get $half) (f32.const 1.5)))
            (global.set $wide (i64x2.add (global.get $wide) (i64x2.splat (i64.const 3))))
            (i32.store (local.get $at) (global.get $stamps))
            (f32.store offset=4 (local.get $at) (global.get $half))
            (v128.store offset=8 (local.get $at) (global.get $wide))
            (i32.add (global.get $stamps) (i32.trunc_f32_u (global.get $half)))))
    (core module $proxy (import "table" "t" (table 1 funcref)) (import "adapter" "stamp" (func $f (result i32)))
        (elem (i32.const 0) func $f))
    (core module $late (table (export "t") 1 1 funcref)
        (func (export "stamp") (param i32) (result i32)
            (call_indirect (param i32) (result i32) (local.get 0) (i32.const 0))))
    (core module $fill (import "" "t" (table 1 1 funcref)) (import "" "stamp" (func $f (param i32) (result i32)))
        (elem (i32.const 0) func $f))
    (core instance $late (instantiate $late))
    (core instance $main (instantiate $main (with "adapter" (instance $late))))
    (core instance $shim (instantiate $shim))
    (core func $next' (canon lower (func $next)))
    (core instance $adapter (instantiate $adapter (with "env" (instance $main))
        (with "host" (instance (export "next" (func $shim "0"))))))
    (core instance (instantiate $fill (with "" (instance (export "t" (table $late "t"))
        (export "stamp" (func $adapter "stamp"))))))
    (core instance (instantiate $proxy (with "table" (instance (export "t" (table $shim "$imports"))))
        (with "adapter" (instance (export "stamp" (func $next'))))))
    (func (export "greet") (param "name" string) (result string)
        (canon lift (core func $main "greet") (memory $main "memory") (realloc (func $main "cabi_realloc"))))
    (func (export "calls") (result u64) (canon lift (core func $main "calls")))
    (func (export "size") (result u32) (canon lift (core func $main "size")))
    (func (export "grow") (param "pages" u32) (result s32) (canon lift (core func $main "grow")))
    (func (export "at") (param "address" u32) (result u32) (canon lift (core func $main "at")))
    (func (export "stamp") (param "address" u32) (result u32) (canon lift (core func $main "stamp"))))"#;
