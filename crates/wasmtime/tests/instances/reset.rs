//! Goal: an instance that is reset is what its snapshot's instances are, in its own store, and one
//! that cannot be is left as it was, for a reason that is told. Method: answers of a fresh instance
//! and of one that was used and reset; each obstacle by itself. (`equal.rs` resets after every
//! module of its own.)

use crate::common::{self, Wasi, engine, memory, store, template};
use memfold_wasmtime::{Error, ForkInstance, Irreversible, Snapshot};
use wasmtime::{Engine, Store};

const COUNTER: &str = r#"(module
    (memory (export "memory") 2 20) (table $t (export "t") 3 10 funcref)
    (func $f (result i32) (i32.const 7)) (elem (i32.const 0) func $f)
    (data $passive "bytes")
    (global $calls (mut i32) (i32.const 0))
    (func (export "call") (result i32)
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (i32.store (i32.const 70000) (i32.add (i32.load (i32.const 70000)) (i32.const 10)))
        (i32.add (global.get $calls) (i32.load (i32.const 70000))))
    (func (export "trap") (i32.store (i32.const 0) (i32.const 1)) unreachable)
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "size") (result i32) (memory.size))
    (func (export "beyond") (result i32) (i32.load (i32.const 131072)))
    (func (export "fill") (memory.fill (i32.const 131072) (i32.const 5) (i32.const 65536)))
    (func (export "grow_table") (result i32) (table.grow $t (ref.null func) (i32.const 2)))
    (func (export "null") (table.set $t (i32.const 0) (ref.null func)))
    (func (export "indirect") (result i32) (call_indirect $t (result i32) (i32.const 0)))
    (func (export "drop") (data.drop $passive)))"#;

struct Harness {
    engine: Engine,
    snapshot: Snapshot<Wasi>,
    memory: memfold::Memory,
}

/// Called once, then frozen.
fn harness() -> Harness {
    let memory = memory();
    let engine = engine(&memory);
    let template = template(&memory, &engine, &wat::parse_str(COUNTER).unwrap());
    let mut store = store(&engine);
    let parent = template.instantiate(&mut store).unwrap();
    assert_eq!(call(&mut store, &parent, "call"), Ok(11));
    let snapshot = parent.freeze(&mut store).unwrap();
    Harness {
        engine,
        snapshot,
        memory,
    }
}

/// What an export without parameters gives, or its trap.
fn call(store: &mut Store<Wasi>, instance: &ForkInstance<Wasi>, name: &str) -> Result<i32, String> {
    let exports = instance.instance();
    let outcome = match exports.get_typed_func::<(), i32>(&mut *store, name) {
        Ok(function) => instance.call(store, &function, ()),
        Err(_) => {
            let function = exports.get_typed_func::<(), ()>(&mut *store, name).unwrap();
            instance.call(store, &function, ()).map(|()| 0)
        }
    };
    outcome.map_err(|error| error.to_string())
}

fn grow(store: &mut Store<Wasi>, instance: &ForkInstance<Wasi>, pages: i32) -> i32 {
    let exports = instance.instance();
    let grow = exports.get_typed_func::<i32, i32>(&mut *store, "grow").unwrap();
    instance.call(store, &grow, pages).unwrap()
}

#[test]
fn used_again_as_if_new() {
    let Harness { engine, snapshot, .. } = harness();
    let mut store = store(&engine);
    let instance = snapshot.instantiate(&mut store).unwrap();
    let address = instance.space().len();
    for round in 0..200 {
        assert_eq!(call(&mut store, &instance, "call"), Ok(22), "round {round}");
        assert_eq!(call(&mut store, &instance, "call"), Ok(33), "round {round}");
        assert!(call(&mut store, &instance, "trap").is_err());
        if round % 7 == 0 {
            instance.space().evict().unwrap();
        }
        instance.reset(&mut store, &snapshot).unwrap();
        assert_eq!(instance.space().len(), address);
    }
    let memory = instance.instance().get_memory(&mut store, "memory").unwrap();
    assert!(memory.data(&store)[..65536].iter().all(|byte| *byte == 0));
}

/// Goal: a grown memory is as short as before: to the program, to Wasmtime, to bounds checks; and
/// what grows again is zeros.
#[test]
fn grown_memories_shrink() {
    let Harness { engine, snapshot, .. } = harness();
    let mut store = store(&engine);
    let instance = snapshot.instantiate(&mut store).unwrap();
    let memory = instance.instance().get_memory(&mut store, "memory").unwrap();
    for _ in 0..3 {
        assert_eq!(grow(&mut store, &instance, 4), 2);
        assert_eq!(call(&mut store, &instance, "fill"), Ok(0));
        assert_eq!(call(&mut store, &instance, "beyond"), Ok(0x0505_0505));
        instance.reset(&mut store, &snapshot).unwrap();
        assert_eq!(call(&mut store, &instance, "size"), Ok(2));
        assert_eq!(memory.data_size(&store), 2 << 16);
        let trap = call(&mut store, &instance, "beyond").unwrap_err();
        assert!(trap.contains("out of bounds"), "{trap}");
        assert!(call(&mut store, &instance, "fill").is_err());
        assert_eq!(grow(&mut store, &instance, 1), 2);
        assert_eq!(call(&mut store, &instance, "beyond"), Ok(0));
        instance.reset(&mut store, &snapshot).unwrap();
    }
    let fork = {
        let mut child = common::store(&engine);
        let fork = instance.fork(&mut store, &mut child).unwrap();
        call(&mut child, &fork, "size")
    };
    assert_eq!(fork, Ok(2));
}

#[test]
fn what_cannot_be_undone() {
    let Harness {
        engine,
        snapshot,
        memory,
    } = harness();
    let refused = |what: &str, wanted: Irreversible| {
        let mut store = store(&engine);
        let instance = snapshot.instantiate(&mut store).unwrap();
        call(&mut store, &instance, what).unwrap();
        grow(&mut store, &instance, 1);
        assert_eq!(call(&mut store, &instance, "call"), Ok(22));
        match instance.reset(&mut store, &snapshot) {
            Err(Error::Irreversible(found)) => assert_eq!(found, wanted),
            other => panic!("{what}: {other:?}"),
        }
        assert_eq!(call(&mut store, &instance, "size"), Ok(3));
        assert_eq!(call(&mut store, &instance, "call"), Ok(33), "as it was");
    };
    let (table, from, to) = (0, 3, 5);
    refused("grow_table", Irreversible::GrownTable { table, from, to });
    refused("drop", Irreversible::DroppedSegment);
    // An instance of the start, whose memory went its own way before it was frozen.
    let wasm = wat::parse_str(COUNTER).unwrap();
    let other = template(&memory, &engine, &wasm);
    let mut first_store = store(&engine);
    let first = other.instantiate(&mut first_store).unwrap();
    match first.reset(&mut first_store, &snapshot) {
        Err(Error::Irreversible(Irreversible::OtherTemplate)) => (),
        other => panic!("{other:?}"),
    }
    // A changed slot is put back.
    let mut store = store(&engine);
    let instance = snapshot.instantiate(&mut store).unwrap();
    for _ in 0..2 {
        assert_eq!(call(&mut store, &instance, "indirect"), Ok(7));
        call(&mut store, &instance, "null").unwrap();
        assert!(call(&mut store, &instance, "indirect").is_err());
        instance.reset(&mut store, &snapshot).unwrap();
    }
}
