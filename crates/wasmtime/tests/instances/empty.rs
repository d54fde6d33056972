//! Goal: a program whose memory begins empty is forked like any other. Method: small modules in the
//! text format, and AssemblyScript's own shape; every answer is known.

use crate::common::{self, Stock, Wasi, engine, memory, run, warm};
use memfold_wasmtime::{Error, ForkInstance};
use wasmtime::{Store, Trap};

/// Grows when it is warmed up, as AssemblyScript's programs do; keeps its sum in the last word of
/// what it has.
const PROGRAM: &str = r#"(module (memory (export "memory") 0 8)
    (global $at (mut i32) (i32.const -4))
    (func $add (param i32)
        (i32.store (global.get $at) (i32.add (i32.load (global.get $at)) (local.get 0))))
    (func (export "warm")
        (drop (memory.grow (i32.const 2)))
        (global.set $at (i32.add (global.get $at) (i32.const 131072)))
        (call $add (i32.const 77)))
    (func (export "run") (param i32 i32) (result i32)
        (call $add (local.get 0))
        (i32.load (global.get $at)))
    (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#;

fn ask(store: &mut Store<Wasi>, of: &ForkInstance<Wasi>, name: &str, at: i32) -> Result<i32, Error> {
    let function = of
        .instance()
        .get_typed_func::<i32, i32>(&mut *store, name)
        .unwrap();
    of.call(store, &function, at)
}

#[track_caller]
fn is_out_of_bounds(store: &mut Store<Wasi>, of: &ForkInstance<Wasi>, at: i32) {
    let Err(Error::Program(error)) = ask(store, of, "load", at) else {
        panic!("nothing at {at} can be loaded")
    };
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::MemoryOutOfBounds));
}

/// Goal: an instance of no bytes traps at every address, is forked, and each grows by itself.
#[test]
fn no_byte_is_there_before_it_grows() {
    let memory = memory();
    let engine = engine(&memory);
    let template = common::template(&memory, &engine, &wat::parse_str(PROGRAM).unwrap());
    let mut store = common::store(&engine);
    let parent = template.instantiate(&mut store).unwrap();
    assert_eq!(parent.space().len(), 0);
    assert!(parent.space().is_empty() && parent.space().pin(0..1).is_err());
    for at in [0, 1, 4095, 4096, 65_536, 1 << 30, -1, -4096] {
        is_out_of_bounds(&mut store, &parent, at);
    }
    let snapshot = parent.freeze(&mut store).unwrap();
    assert_eq!(
        (snapshot.space().stats().len, snapshot.space().stats().absent),
        (0, 0)
    );
    let mut other = common::store(&engine);
    for fork in [
        parent.fork(&mut store, &mut other).unwrap(),
        snapshot.instantiate(&mut other).unwrap(),
    ] {
        is_out_of_bounds(&mut other, &fork, 0);
        assert_eq!(ask(&mut other, &fork, "grow", 1).unwrap(), 0);
        assert_eq!(ask(&mut other, &fork, "load", 0).unwrap(), 0);
        assert_eq!(ask(&mut other, &fork, "load", 65_535).unwrap(), 0);
        is_out_of_bounds(&mut other, &fork, 65_536);
        assert_eq!(ask(&mut other, &fork, "grow", 8).unwrap(), -1);
        assert_eq!(ask(&mut other, &fork, "grow", 7).unwrap(), 1);
        assert_eq!(ask(&mut other, &fork, "load", 8 * 65_536 - 1).unwrap(), 0);
    }
    is_out_of_bounds(&mut store, &parent, 0);
    drop((store, other));
    memory.check().unwrap();
}

/// Goal: forks of it answer as stock instances, also with every page swapped out before each call.
#[test]
fn forks_equal_stock() {
    let wasm = wat::parse_str(PROGRAM).unwrap();
    let stock = Stock::new(&wasm);
    let memory = memory();
    let engine = engine(&memory);
    let template = common::template(&memory, &engine, &wasm);
    let mut store = common::store(&engine);
    let parent = template.instantiate(&mut store).unwrap();
    warm(&mut store, parent.instance());
    let snapshot = parent.freeze(&mut store).unwrap();
    let mut word = [0; 4];
    snapshot.space().read(131_068, &mut word).unwrap();
    assert_eq!((u32::from_le_bytes(word), snapshot.space().len()), (77, 2 << 16));
    let mut evicted = 0;
    for clone in 1..4 {
        let mut child = common::store(&engine);
        let fork = match clone {
            1 => parent.fork(&mut store, &mut child).unwrap(),
            _ => snapshot.instantiate(&mut child).unwrap(),
        };
        for (call, right) in (0..).zip(stock.answers(clone, 5)) {
            evicted += fork.space().evict().unwrap();
            assert_eq!(run(&mut child, &fork, clone, call), right);
        }
    }
    assert!(
        evicted >= 3 * 4,
        "what was written was not swapped out: {evicted}"
    );
}

/// Goal: a pin is of bytes of the memory. Method: what is written by way of a pinned range is what
/// the program loads.
#[test]
fn a_pin_is_where_the_memory_is() {
    let memory = memory();
    let engine = engine(&memory);
    let template = common::template(&memory, &engine, &wat::parse_str(PROGRAM).unwrap());
    let mut store = common::store(&engine);
    let parent = template.instantiate(&mut store).unwrap();
    warm(&mut store, parent.instance());
    let pinned = parent.space().pin(131_068..131_072).unwrap();
    let memory = parent.instance().get_memory(&mut store, "memory").unwrap();
    assert_eq!(
        pinned.as_ptr().as_ptr(),
        memory.data_ptr(&store).wrapping_add(131_068)
    );
    assert!(parent.space().pin(131_072..131_073).is_err());
    assert!(parent.space().pin(0..u64::MAX).is_err());
}
