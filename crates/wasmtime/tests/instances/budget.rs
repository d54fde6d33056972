//! Goal: the budget is never exceeded, and where it is too small an instance
//! fails with an error that says so, alone. Method: more clones than fit, and a
//! program that fills its memory with bytes that do not compress.

use crate::common::{Stock, Wasi, engine, program, run, store, template, warm};
use memfold::Memory;
use memfold_wasmtime::{Error, ForkInstance, Template};
use std::time::Duration;
use wasmtime::{Engine, Store};

const MIB: u64 = 1 << 20;

fn memory_of(budget_bytes: u64) -> Memory {
    Memory::builder().budget_bytes(budget_bytes).build().unwrap()
}

fn assert_within_budget(memory: &Memory) {
    let usage = memory.stats().usage;
    assert!(usage.peak <= usage.limit, "{usage:?}");
}

/// Every invariant of the manager holds. Its reclaimer may be in the middle of a batch, which the
/// check reports as if frames were lost; so one of some checks has to pass, which it cannot if
/// anything really is.
fn assert_whole(memory: &Memory) {
    let mut violations = memory.check();
    for _ in 0..100 {
        if violations.is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
        violations = memory.check();
    }
    violations.unwrap();
}

/// Clones that would need several times the budget answer as they should.
fn many_clones_fit(name: &str, budget_bytes: u64, clones: i32) {
    const CALLS: i32 = 4;
    let wasm = program(name);
    let stock = Stock::new(&wasm);
    let memory = memory_of(budget_bytes);
    let engine = engine(&memory);
    let template = template(&memory, &engine, &wasm);
    let mut parent_store = store(&engine);
    let parent = template.instantiate(&mut parent_store).unwrap();
    warm(&mut parent_store, parent.instance());
    let snapshot = parent.freeze(&mut parent_store).unwrap();
    let mut all: Vec<_> = (0..clones)
        .map(|_| {
            let mut store = store(&engine);
            let clone = snapshot
                .instantiate(&mut store)
                .unwrap_or_else(|error| panic!("{error}"));
            (store, clone)
        })
        .collect();
    let mut answers = vec![Vec::new(); all.len()];
    for call in 0..CALLS {
        for (number, (store, clone)) in (0..).zip(&mut all) {
            answers[number as usize].push(run(store, clone, number, call));
        }
    }
    for number in (0..clones).step_by(37) {
        assert_eq!(
            answers[number as usize],
            stock.answers(number, CALLS),
            "{name}: clone {number}"
        );
    }
    assert_within_budget(&memory);
    drop(all);
    assert_whole(&memory);
}

#[test]
fn many_clones_of_lua_fit() {
    many_clones_fit("lua", 10 * MIB, 300);
}

#[test]
fn many_clones_of_sqlite_fit() {
    many_clones_fit("sqlite", 10 * MIB, 150);
}

#[test]
fn many_clones_of_quickjs_fit() {
    many_clones_fit("quickjs", 24 * MIB, 100);
}

/// `noise` writes bytes that do not compress; `copy` has the host do it.
const NOISE: &str = r#"(module
    (memory (export "memory") 512)
    (func (export "noise") (param $at i32) (param $len i32) (param $x i64)
        (local $end i32)
        (local.set $end (i32.add (local.get $at) (local.get $len)))
        (loop $next
            (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
            (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
            (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
            (i64.store (local.get $at) (local.get $x))
            (local.set $at (i32.add (local.get $at) (i32.const 8)))
            (br_if $next (i32.lt_u (local.get $at) (local.get $end)))))
    (func (export "copy") (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2)))
    (func (export "load") (param i32) (result i64) (i64.load (local.get 0))))"#;

struct Harness {
    memory: Memory,
    engine: Engine,
    template: Template<Wasi>,
}

fn harness(budget_bytes: u64) -> Harness {
    let memory = memory_of(budget_bytes);
    let engine = engine(&memory);
    let template = template(&memory, &engine, &wat::parse_str(NOISE).unwrap());
    Harness {
        memory,
        engine,
        template,
    }
}

fn noise(
    store: &mut Store<Wasi>,
    instance: &ForkInstance<Wasi>,
    at: i32,
    len: u64,
    seed: i64,
) -> Result<(), Error> {
    let noise = instance
        .instance()
        .get_typed_func::<(i32, i32, i64), ()>(&mut *store, "noise")
        .unwrap();
    instance.call(store, &noise, (at, i32::try_from(len).unwrap(), seed))
}

fn load(store: &mut Store<Wasi>, instance: &ForkInstance<Wasi>, at: i32) -> Result<i64, Error> {
    let load = instance
        .instance()
        .get_typed_func::<i32, i64>(&mut *store, "load")
        .unwrap();
    instance.call(store, &load, at)
}

/// Goal: a program that needs more than there is fails with the reason; nobody else loses a byte;
/// room given back can be used.
#[test]
fn a_spent_budget_is_an_error() {
    let Harness {
        memory,
        engine,
        template,
    } = harness(8 * MIB);
    let mut bystander_store = store(&engine);
    let bystander = template.instantiate(&mut bystander_store).unwrap();
    noise(&mut bystander_store, &bystander, 0, 64 << 10, 11).unwrap();
    let before = load(&mut bystander_store, &bystander, 4096).unwrap();
    {
        let mut store = store(&engine);
        let greedy = template.instantiate(&mut store).unwrap();
        let error = noise(&mut store, &greedy, 0, 30 * MIB, 1).unwrap_err();
        assert!(matches!(error, Error::MemoryLost { .. }), "{error}");
        assert!(error.to_string().contains("budget"), "{error}");
        assert_within_budget(&memory);
    }
    // While the greedy one held everything, the bystander might have failed too: there is one
    // budget.
    assert_eq!(load(&mut bystander_store, &bystander, 4096).unwrap(), before);
    noise(&mut bystander_store, &bystander, 0, MIB, 12).unwrap();
    assert_within_budget(&memory);
    assert_whole(&memory);
}

/// Goal: the same when it is the host's code that copies for the program.
#[test]
fn a_spent_budget_in_a_copy_is_an_error() {
    let Harness {
        memory,
        engine,
        template,
    } = harness(4 * MIB);
    let mut store = store(&engine);
    let instance = template.instantiate(&mut store).unwrap();
    noise(&mut store, &instance, 0, MIB, 3).unwrap();
    let copy = instance
        .instance()
        .get_typed_func::<(i32, i32, i32), ()>(&mut store, "copy")
        .unwrap();
    // Different bytes for each block, so that equal content cannot save room.
    let block = 128 << 10;
    let outcome = (0..60).try_for_each(|number| {
        instance.call(
            &mut store,
            &copy,
            (MIB as i32 + number * block, 8 * number, block),
        )
    });
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::MemoryLost { .. }), "{error}");
    assert_within_budget(&memory);
    instance.check().unwrap();
    assert_whole(&memory);
}

/// Goal: threads that fault at the same time, each in its own clone, inside a budget. Method: forks
/// of one snapshot on four threads, each compared with what it wrote.
#[test]
fn threads_share_a_budget() {
    let Harness {
        memory,
        engine,
        template,
    } = harness(16 * MIB);
    let mut parent_store = store(&engine);
    let parent = template.instantiate(&mut parent_store).unwrap();
    noise(&mut parent_store, &parent, 0, MIB, 5).unwrap();
    let right = load(&mut parent_store, &parent, 512 << 10).unwrap();
    let snapshot = parent.freeze(&mut parent_store).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_i64 {
            let (snapshot, engine) = (&snapshot, &engine);
            scope.spawn(move || {
                for round in 0..20_i64 {
                    let mut store = store(engine);
                    let clone = snapshot.instantiate(&mut store).unwrap();
                    let seed = 1 + thread * 1000 + round;
                    noise(&mut store, &clone, 0, 256 << 10, seed).unwrap();
                    clone.space().evict().unwrap();
                    assert_eq!(load(&mut store, &clone, 512 << 10).unwrap(), right);
                    let first = load(&mut store, &clone, 0).unwrap();
                    noise(&mut store, &clone, 2 << 20, 8, seed).unwrap();
                    assert_eq!(load(&mut store, &clone, 2 << 20).unwrap(), first);
                }
            });
        }
    });
    assert_within_budget(&memory);
    assert_whole(&memory);
}
