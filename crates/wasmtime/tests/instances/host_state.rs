//! Goal: the host decides what becomes of its own state in a fork, and a program can draw anew what
//! must not be the same twice. Method: stores whose data, fuel and limits are compared; a program
//! that counts how often it was told; refusals, which leave nothing behind.

use crate::common::memory;
use memfold::Memory;
use memfold_wasmtime::{Error, ForkInstance, Template, configure, prepare};
use wasmtime::{Config, Engine, Linker, Store};

const PROGRAM: &str = r#"(module
    (memory (export "memory") 1)
    (global $told (export "told") (mut i32) (i32.const 0))
    (func (export "reseed") (global.set $told (i32.add (global.get $told) (i32.const 1)))
        (i32.store (i32.const 8) (global.get $told)))
    (func (export "fails") unreachable)
    (func (export "takes") (param i32))
    (func $start (global.set $told (i32.const 40)))
    (start $start))"#;

struct Tenant {
    name: &'static str,
    busy: bool,
}

fn harness() -> (Memory, Engine, Template<Tenant>) {
    let memory = memory();
    let mut config = Config::new();
    configure(config.consume_fuel(true), &memory);
    let engine = Engine::new(&config).unwrap();
    let prepared = prepare(&wat::parse_str(PROGRAM).unwrap()).unwrap();
    let template = Template::new(&memory, &Linker::new(&engine), &prepared).unwrap();
    (memory, engine, template)
}

fn store(engine: &Engine, name: &'static str) -> Store<Tenant> {
    let mut store = Store::new(engine, Tenant { name, busy: false });
    store.set_fuel(1000).unwrap();
    store
}

fn told(store: &mut Store<Tenant>, instance: &ForkInstance<Tenant>) -> Option<i32> {
    let told = instance.instance().get_global(&mut *store, "told").unwrap();
    told.get(&mut *store).i32()
}

#[test]
fn the_host_makes_the_store() {
    let (memory, engine, template) = harness();
    let mut parent_store = store(&engine, "parent");
    let parent = template.instantiate(&mut parent_store).unwrap();
    let left = parent_store.get_fuel().unwrap();
    assert!(left < 1000, "the start took fuel");
    let make = |parent: &mut Store<Tenant>| {
        if parent.data().busy {
            return Err(wasmtime::Error::msg("a request is under way"));
        }
        let mut child = store(parent.engine(), "child");
        child.set_fuel(parent.get_fuel()?)?;
        Ok(child)
    };
    let (mut child_store, child) = parent.fork_with(&mut parent_store, make).unwrap();
    assert_eq!(child_store.data().name, "child");
    assert_eq!(child_store.get_fuel().unwrap(), left);
    assert_eq!(told(&mut child_store, &child), Some(40));
    drop(child_store);
    drop(child);
    parent_store.data_mut().busy = true;
    let held = memory.stats().usage.total;
    for _ in 0..10 {
        let refused = parent.fork_with(&mut parent_store, make).map(drop).unwrap_err();
        assert!(matches!(refused, Error::HostState(_)));
        assert!(
            refused.to_string().contains("a request is under way"),
            "{refused}"
        );
    }
    assert_eq!(memory.stats().usage.total, held);
    memory.check().unwrap();
}

/// Goal: each fork, instance of a snapshot and reset is told once; a fresh instance is not.
#[test]
fn each_fork_draws_anew() {
    let (_memory, engine, template) = harness();
    let template = template.with_reseed("reseed").unwrap();
    let mut parent_store = store(&engine, "parent");
    let parent = template.instantiate(&mut parent_store).unwrap();
    assert_eq!(told(&mut parent_store, &parent), Some(40));
    let mut child_store = store(&engine, "child");
    let child = parent.fork(&mut parent_store, &mut child_store).unwrap();
    assert_eq!(told(&mut child_store, &child), Some(41));
    assert_eq!(told(&mut parent_store, &parent), Some(40));
    let snapshot = child.freeze(&mut child_store).unwrap();
    let mut clone_store = store(&engine, "clone");
    let clone = snapshot.instantiate(&mut clone_store).unwrap();
    for _ in 0..3 {
        assert_eq!(told(&mut clone_store, &clone), Some(42));
        let memory = clone.instance().get_memory(&mut clone_store, "memory").unwrap();
        assert_eq!(memory.data(&clone_store)[8], 42);
        clone.reset(&mut clone_store, &snapshot).unwrap();
    }
    clone_store.set_fuel(1).unwrap();
    let spent = clone.reset(&mut clone_store, &snapshot);
    assert!(matches!(spent, Err(Error::Program(_))), "it runs in the store");
}

#[test]
fn what_cannot_be_called_in_each_fork() {
    let (_memory, engine, template) = harness();
    for export in ["nothing", "memory", "takes"] {
        let refused = template.clone().with_reseed(export).map(drop).unwrap_err();
        assert!(matches!(&refused, Error::Reseed { export: named } if named == export));
    }
    let fails = template.with_reseed("fails").unwrap();
    let mut parent_store = store(&engine, "parent");
    let parent = fails.instantiate(&mut parent_store).unwrap();
    let failed = parent.fork(&mut parent_store, &mut store(&engine, "child"));
    assert!(matches!(failed, Err(Error::Program(_))));
}
