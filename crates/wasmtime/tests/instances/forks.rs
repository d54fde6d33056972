//! Goal: each promise of templates and forks. Method: small modules in the
//! text format, one promise per test.

use crate::common::{self, Wasi, engine, linker, memory, program, store, warm};
use memfold::Memory;
use memfold_wasmtime::{Error, ForkInstance, Template, prepare};
use wasmtime::{Engine, Instance, Module, Store, Trap, TypedFunc, WasmParams, WasmResults};

struct Harness {
    engine: Engine,
    template: Template<Wasi>,
}

fn harness(text: &str) -> Harness {
    let memory = memory();
    let engine = engine(&memory);
    let template = common::template(&memory, &engine, &wat::parse_str(text).unwrap());
    Harness { engine, template }
}

impl Harness {
    fn instance(&self) -> (Store<Wasi>, ForkInstance<Wasi>) {
        let mut store = store(&self.engine);
        let instance = self.template.instantiate(&mut store).unwrap();
        (store, instance)
    }

    fn fork(&self, store: &mut Store<Wasi>, of: &ForkInstance<Wasi>) -> (Store<Wasi>, ForkInstance<Wasi>) {
        let mut child = common::store(&self.engine);
        let fork = of.fork(store, &mut child).unwrap();
        (child, fork)
    }
}

fn function<P: WasmParams, R: WasmResults>(
    store: &mut Store<Wasi>,
    of: &ForkInstance<Wasi>,
    name: &str,
) -> TypedFunc<P, R> {
    of.instance().get_typed_func(store, name).unwrap()
}

fn call<P: WasmParams, R: WasmResults>(
    store: &mut Store<Wasi>,
    of: &ForkInstance<Wasi>,
    name: &str,
    p: P,
) -> R {
    let function = function(store, of, name);
    of.call(store, &function, p).unwrap()
}

/// Every kind of global, a memory with data, a table, and a start function.
const ALL_KINDS: &str = r#"(module
    (memory (export "memory") 1 10)
    (data (i32.const 100) "data")
    (global $a (mut i32) (i32.const 1))
    (global $b (mut i64) (i64.const 2))
    (global $c (mut f32) (f32.const 3))
    (global $d (mut f64) (f64.const 4))
    (global $e (mut v128) (v128.const i64x2 5 6))
    (global $fixed i32 (i32.const 7))
    (table 1 funcref) (elem (i32.const 0) $sum)
    (type $sum_type (func (result i64)))
    (func $start (i32.store (i32.const 200) (i32.add (i32.load (i32.const 200)) (i32.const 1))))
    (start $start)
    (func $sum (result i64)
        (i64.add (i64.extend_i32_s (global.get $a)) (i64.add (global.get $b)
        (i64.add (i64.trunc_f32_s (global.get $c)) (i64.add (i64.trunc_f64_s (global.get $d))
        (i64.add (i64x2.extract_lane 1 (global.get $e)) (i64.extend_i32_s (global.get $fixed))))))))
    (func (export "sum") (result i64) (call_indirect (type $sum_type) (i32.const 0)))
    (func (export "bump")
        (global.set $a (i32.add (global.get $a) (i32.const 1)))
        (global.set $b (i64.add (global.get $b) (i64.const 10)))
        (global.set $c (f32.add (global.get $c) (f32.const 100)))
        (global.set $d (f64.add (global.get $d) (f64.const 1000)))
        (global.set $e (i64x2.add (global.get $e) (v128.const i64x2 0 10000))))
    (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
    (func (export "store") (param i32 i32) (i32.store (local.get 0) (local.get 1)))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "pages") (result i32) (memory.size)))"#;

/// Goal: a cold start has the data and ran the start function, once each.
#[test]
fn a_cold_start_is_complete() {
    let harness = harness(ALL_KINDS);
    for _ in 0..3 {
        let (mut store, instance) = harness.instance();
        assert_eq!(
            call::<_, i32>(&mut store, &instance, "load", 100),
            i32::from_le_bytes(*b"data")
        );
        assert_eq!(call::<_, i32>(&mut store, &instance, "load", 200), 1);
        assert_eq!(
            call::<_, i64>(&mut store, &instance, "sum", ()),
            1 + 2 + 3 + 4 + 6 + 7
        );
    }
}

/// Goal: a fork has its parent's globals and memory, and neither sees the other after that.
#[test]
fn a_fork_is_a_copy() {
    let harness = harness(ALL_KINDS);
    let (mut store, parent) = harness.instance();
    call::<_, ()>(&mut store, &parent, "bump", ());
    call::<_, ()>(&mut store, &parent, "store", (300, 42));
    let (mut child_store, child) = harness.fork(&mut store, &parent);
    assert_eq!(call::<_, i64>(&mut child_store, &child, "sum", ()), 23 + 11_111);
    assert_eq!(call::<_, i32>(&mut child_store, &child, "load", 300), 42);
    assert_eq!(
        call::<_, i32>(&mut child_store, &child, "load", 200),
        1,
        "the start function ran again"
    );

    call::<_, ()>(&mut store, &parent, "bump", ());
    call::<_, ()>(&mut store, &parent, "store", (300, 1));
    call::<_, ()>(&mut child_store, &child, "store", (304, 2));
    assert_eq!(call::<_, i64>(&mut child_store, &child, "sum", ()), 23 + 11_111);
    assert_eq!(call::<_, i32>(&mut child_store, &child, "load", 300), 42);
    assert_eq!(call::<_, i32>(&mut store, &parent, "load", 304), 0);
}

/// Goal: a snapshot keeps its moment, also when the instance is long gone.
#[test]
fn a_snapshot_outlives_its_instance() {
    let harness = harness(ALL_KINDS);
    let (mut store, instance) = harness.instance();
    call::<_, ()>(&mut store, &instance, "bump", ());
    call::<_, ()>(&mut store, &instance, "store", (300, 42));
    let snapshot = instance.freeze(&mut store).unwrap();
    call::<_, ()>(&mut store, &instance, "store", (300, 43));
    drop((store, instance));
    for _ in 0..3 {
        let mut store = common::store(&harness.engine);
        let clone = snapshot.clone().instantiate(&mut store).unwrap();
        assert_eq!(call::<_, i32>(&mut store, &clone, "load", 300), 42);
        assert_eq!(call::<_, i64>(&mut store, &clone, "sum", ()), 23 + 11_111);
        call::<_, ()>(&mut store, &clone, "store", (300, 0));
    }
}

/// Goal: a fork of a memory that has grown is as large, grows on, and stops at the module's limit.
#[test]
fn a_grown_memory_forks() {
    let harness = harness(ALL_KINDS);
    let (mut store, parent) = harness.instance();
    assert_eq!(call::<_, i32>(&mut store, &parent, "grow", 4), 1);
    call::<_, ()>(&mut store, &parent, "store", (5 * 65536 - 4, 9));
    let (mut child_store, child) = harness.fork(&mut store, &parent);
    assert_eq!(call::<_, i32>(&mut child_store, &child, "pages", ()), 5);
    assert_eq!(call::<_, i32>(&mut child_store, &child, "load", 5 * 65536 - 4), 9);
    assert_eq!(call::<_, i32>(&mut child_store, &child, "grow", 5), 5);
    assert_eq!(call::<_, i32>(&mut child_store, &child, "grow", 1), -1);
    assert_eq!(
        call::<_, i32>(&mut child_store, &child, "load", 10 * 65536 - 4),
        0
    );
    assert_eq!(call::<_, i32>(&mut store, &parent, "pages", ()), 5);
}

/// Goal: an access outside the memory still traps, before and behind the end. Method: the last
/// word, and the next.
#[test]
fn out_of_bounds_traps() {
    let harness = harness(ALL_KINDS);
    let (mut store, instance) = harness.instance();
    let load = function::<i32, i32>(&mut store, &instance, "load");
    for at in [65_533, 65_536, 1 << 30, -4, -1] {
        let error = instance.call(&mut store, &load, at).unwrap_err();
        let Error::Program(error) = error else {
            panic!("{error}")
        };
        assert_eq!(
            error.downcast_ref::<Trap>(),
            Some(&Trap::MemoryOutOfBounds),
            "at {at}"
        );
    }
    assert_eq!(call::<_, i32>(&mut store, &instance, "load", 65_532), 0);
}

/// Goal: an instance goes on after a trap, and can be forked. Method: `touch` traps for one clone
/// number.
#[test]
fn a_trap_harms_nobody() {
    let memory = memory();
    let engine = engine(&memory);
    let template = common::template(&memory, &engine, &program("touch"));
    let mut store = common::store(&engine);
    let parent = template.instantiate(&mut store).unwrap();
    warm(&mut store, parent.instance());
    call::<_, ()>(&mut store, &parent, "trap_at", 7);
    let run = function::<(i32, i32), i32>(&mut store, &parent, "run");
    let error = parent.call(&mut store, &run, (7, 0)).unwrap_err();
    assert!(matches!(error, Error::Program(_)), "{error}");
    let mut child_store = common::store(&engine);
    let child = parent.fork(&mut store, &mut child_store).unwrap();
    assert_eq!(
        call::<_, i32>(&mut child_store, &child, "run", (1, 0)),
        parent.call(&mut store, &run, (1, 0)).unwrap()
    );
}

/// Goal: copies and fills by the host's code work on pages that are not there. Method: `touch`,
/// evicted.
#[test]
fn the_host_copies_evicted_pages() {
    let memory = memory();
    let engine = engine(&memory);
    let template = common::template(&memory, &engine, &program("touch"));
    let mut store = common::store(&engine);
    let instance = template.instantiate(&mut store).unwrap();
    let (arena, len) = (1 << 20, 1 << 20);
    call::<_, ()>(&mut store, &instance, "touch", (arena, len, 77));
    let right: i32 = call(&mut store, &instance, "sum", (arena, len));
    instance.space().evict().unwrap();
    call::<_, ()>(&mut store, &instance, "copy", (arena + len, arena, len));
    instance.space().evict().unwrap();
    call::<_, ()>(&mut store, &instance, "fill", (arena, 0, len));
    assert_eq!(
        call::<_, i32>(&mut store, &instance, "sum", (arena + len, len)),
        right
    );
    assert_eq!(call::<_, i32>(&mut store, &instance, "sum", (arena, len)), 0);
}

/// Goal: a module that was not prepared is refused, and so is another one that was, whose exports
/// have the same names.
#[test]
fn only_the_prepared_module_is_taken() {
    let memory = memory();
    let engine = engine(&memory);
    let original = wat::parse_str(ALL_KINDS).unwrap();
    let prepared = prepare(&original).unwrap();
    let other = prepare(&wat::parse_str(ALL_KINDS.replace("\"data\"", "\"DATA\"")).unwrap()).unwrap();
    for wrong in [&original[..], other.wasm()] {
        let wrong = Module::from_binary(&engine, wrong).unwrap();
        let error = Template::from_module(&memory, &linker(&engine), &prepared, &wrong).unwrap_err();
        assert!(matches!(error, Error::WrongModule { .. }), "{error}");
    }
    let right = Module::from_binary(&engine, prepared.wasm()).unwrap();
    Template::from_module(&memory, &linker(&engine), &prepared, &right).unwrap();
}

/// Goal: an import that is missing is the linker's error.
#[test]
fn a_missing_import_is_named() {
    let memory = memory();
    let engine = engine(&memory);
    let prepared =
        prepare(&wat::parse_str(r#"(module (import "no" "such" (func)) (memory 1))"#).unwrap()).unwrap();
    let error = Template::new(&memory, &linker(&engine), &prepared).unwrap_err();
    assert!(error.to_string().contains("such"), "{error}");
    assert!(matches!(error, Error::Link(_)));
}

/// Goal: a snapshot can be looked at, and forked without an instance; neither changes it. Method:
/// read it, write to the bare fork.
#[test]
fn a_snapshot_is_looked_at() {
    let harness = harness(ALL_KINDS);
    let (mut store, instance) = harness.instance();
    call::<_, ()>(&mut store, &instance, "store", (300, 42));
    let snapshot = instance.freeze(&mut store).unwrap();
    let word = |at| {
        let mut word = [0; 4];
        snapshot
            .space()
            .read(at, &mut word)
            .map(|()| i32::from_le_bytes(word))
    };
    let bare = snapshot.space().fork().unwrap();
    bare.write(300, &[7; 4]).unwrap();
    bare.grow(2 << 16).unwrap();
    assert_eq!((word(300).unwrap(), snapshot.space().len()), (42, 1 << 16));
    assert!(snapshot.space().evict().unwrap() > 0);
    assert_eq!(word(300).unwrap(), 42);
    assert!(word(65_533).is_err() && word(u64::MAX).is_err());
    assert!(snapshot.space().stats().len == 16);
}

/// Goal: a start function that traps is the program's failure, not ours.
#[test]
fn a_start_function_may_fail() {
    let harness = harness("(module (memory 1) (func $s (unreachable)) (start $s))");
    let error = harness
        .template
        .instantiate(&mut store(&harness.engine))
        .unwrap_err();
    let Error::Program(error) = error else {
        panic!("{error}")
    };
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::UnreachableCodeReached));
}

/// Goal: modules that are not templates run on the same engine, their memory held by memfold too.
#[test]
fn other_modules_share_the_engine() {
    let harness = harness(ALL_KINDS);
    let text = r#"(module (memory 1) (data (i32.const 8) "x") (func (export "f") (result i32) (i32.load8_u (i32.const 8))))"#;
    let module = Module::new(&harness.engine, wat::parse_str(text).unwrap()).unwrap();
    let mut store = store(&harness.engine);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let f = instance.get_typed_func::<(), i32>(&mut store, "f").unwrap();
    assert_eq!(f.call(&mut store, ()).unwrap(), i32::from(b'x'));
}

/// Goal: a store that is not the instance's is noticed, not read.
#[test]
#[should_panic(expected = "store")]
fn a_wrong_store_panics() {
    let harness = harness(ALL_KINDS);
    let (_store, instance) = harness.instance();
    let (mut other, _) = harness.instance();
    let _ = instance.freeze(&mut other);
}

/// Bytes held for pages, wherever they are.
fn held(memory: &Memory) -> u64 {
    let usage = memory.stats().usage;
    usage.private + usage.pool + usage.stored
}

/// Goal: nothing is left when stores, handles and templates are gone. Method: the manager's own
/// check and count.
#[test]
fn memory_is_given_back() {
    let memory = memory();
    let before = held(&memory);
    let engine = engine(&memory);
    let template = common::template(&memory, &engine, &wat::parse_str(ALL_KINDS).unwrap());
    let pristine = held(&memory);
    assert!(pristine > before);
    {
        let mut store = common::store(&engine);
        let parent = template.instantiate(&mut store).unwrap();
        call::<_, ()>(&mut store, &parent, "store", (300, 42));
        let snapshot = parent.freeze(&mut store).unwrap();
        let mut child_store = common::store(&engine);
        let child = snapshot.instantiate(&mut child_store).unwrap();
        call::<_, ()>(&mut child_store, &child, "store", (300, 43));
        assert!(held(&memory) > pristine);
    }
    assert!(held(&memory) <= pristine);
    drop(template);
    assert_eq!(held(&memory), before);
    memory.check().unwrap();
}
