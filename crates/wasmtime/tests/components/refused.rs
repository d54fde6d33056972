//! Goal: a component that cannot be forked as it is, is refused by name, is as it was, and can be
//! forked when that is over. Method: components that hold a resource, change a table, trap.

use crate::common::{ask, engine, linker, memory, store, template};
use memfold_wasmtime::{ComponentTemplate, Error, prepare_component};
use wasmtime::Engine;
use wasmtime::component::ResourceAny;

/// It can hold a resource of the host's, and gives one of its own away.
pub const HOLDER: &str = r#"(component
    (import "thing" (type $thing (sub resource)))
    (import "make" (func $make (result (own $thing))))
    (core func $make' (canon lower (func $make)))
    (core func $drop' (canon resource.drop $thing))
    (type $mine (resource (rep i32)))
    (core func $new' (canon resource.new $mine))
    (core module $m (import "" "make" (func $make (result i32))) (import "" "drop" (func $drop (param i32)))
        (import "" "new" (func $new (param i32) (result i32)))
        (memory 1) (global $held (mut i32) (i32.const 0))
        (func (export "take") (global.set $held (call $make)))
        (func (export "put") (call $drop (global.get $held)))
        (func (export "give") (result i32) (call $new (i32.const 5))))
    (core instance $m (instantiate $m (with "" (instance (export "make" (func $make'))
        (export "drop" (func $drop')) (export "new" (func $new'))))))
    (export $mine' "mine" (type $mine))
    (func (export "take") (canon lift (core func $m "take")))
    (func (export "put") (canon lift (core func $m "put")))
    (func (export "give") (result (own $mine')) (canon lift (core func $m "give"))))"#;

#[test]
fn handles_are_in_the_way() {
    let memory = memory();
    let engine = engine(&memory);
    let template = template(&memory, &engine, HOLDER);
    let mut parent_store = store(&engine);
    let parent = template.instantiate(&mut parent_store).expect("it starts");
    let limit = parent_store.max_component_handles();
    let fork = |parent_store: &mut _| parent.fork(parent_store, &mut store(&engine)).map(drop);
    // Twice: handles are numbered anew.
    for _ in 0..2 {
        fork(&mut parent_store).expect("it holds nothing");
        ask(&mut parent_store, &parent, ("take", &[])).expect("it takes one");
        let refused = fork(&mut parent_store);
        assert!(matches!(refused, Err(Error::Handles)), "{refused:?}");
        assert!(matches!(parent.freeze(&mut parent_store), Err(Error::Handles)));
        ask(&mut parent_store, &parent, ("put", &[])).expect("it has one");
    }
    fork(&mut parent_store).expect("it holds nothing");
    // One of its own, which the host has.
    let give = parent
        .instance()
        .get_typed_func::<(), (ResourceAny,)>(&mut parent_store, "give")
        .expect("it has this type");
    let (given,) = parent.call(&mut parent_store, &give, ()).expect("it gives");
    assert!(matches!(fork(&mut parent_store), Err(Error::Handles)));
    given.resource_drop(&mut parent_store).expect("nobody has it");
    fork(&mut parent_store).expect("nobody holds anything");
    assert_eq!(parent_store.max_component_handles(), limit);
}

#[test]
fn a_changed_table_is_in_the_way() {
    let text = r#"(component (core module $m (memory 1) (table $t (export "functions") 2 funcref) (elem declare func $f)
            (func $f) (func (export "change") (table.set $t (i32.const 1) (ref.func $f))))
        (core instance $m (instantiate $m))
        (func (export "change") (canon lift (core func $m "change"))))"#;
    let memory = memory();
    let engine = engine(&memory);
    let template = template(&memory, &engine, text);
    let mut parent_store = store(&engine);
    let parent = template.instantiate(&mut parent_store).expect("it starts");
    parent
        .fork(&mut parent_store, &mut store(&engine))
        .expect("it is as it was");
    ask(&mut parent_store, &parent, ("change", &[])).expect("it does");
    let refused = parent.fork(&mut parent_store, &mut store(&engine));
    let refused = refused.expect_err("a table has changed");
    assert!(matches!(refused, Error::ChangedTable(_)), "{refused:?}");
    let said = refused.to_string();
    assert!(
        said.contains(r#"table 0 ("functions") of its core module 0"#),
        "{said}"
    );
    ask(&mut parent_store, &parent, ("change", &[])).expect("it goes on");
}

#[test]
fn after_a_trap_nobody_enters() {
    let text = r#"(component (core module $m (memory 1) (func (export "trap") unreachable) (func (export "fine")))
        (core instance $m (instantiate $m))
        (func (export "trap") (canon lift (core func $m "trap")))
        (func (export "fine") (canon lift (core func $m "fine"))))"#;
    let memory = memory();
    let engine = engine(&memory);
    let template = template(&memory, &engine, text);
    let mut parent_store = store(&engine);
    let parent = template.instantiate(&mut parent_store).expect("it starts");
    let typed = |name: &str, store: &mut _| {
        let function = parent.instance().get_typed_func::<(), ()>(store, name);
        function.expect("it has this type")
    };
    let (trap, fine) = (typed("trap", &mut parent_store), typed("fine", &mut parent_store));
    let failed = parent.call(&mut parent_store, &trap, ());
    assert!(matches!(failed, Err(Error::Program(_))), "{failed:?}");
    let again = parent.call(&mut parent_store, &fine, ());
    assert!(matches!(again, Err(Error::CannotEnter)), "{again:?}");
    let refused = parent.fork(&mut parent_store, &mut store(&engine));
    assert!(matches!(refused, Err(Error::CannotEnter)), "{refused:?}");
}

#[test]
fn data_outside_of_its_memory_fails_as_everywhere() {
    let text = r#"(component (core module $m (memory 1) (data (i32.const 65535) "too long"))
        (core instance (instantiate $m)))"#;
    let memory = memory();
    let engine = engine(&memory);
    let failed = template(&memory, &engine, text).instantiate(&mut store(&engine));
    assert!(matches!(failed, Err(Error::Program(_))), "{failed:?}");
}

#[test]
fn an_engine_without_memfold_is_refused() {
    let memory = memory();
    let engine = Engine::default();
    let text = "(component (core module $m (memory 1)) (core instance (instantiate $m)))";
    let prepared = prepare_component(&crate::common::binary(text)).expect("it can be forked");
    let refused = ComponentTemplate::new(&memory, &linker(&engine), &prepared);
    assert!(matches!(refused, Err(Error::NotConfigured)), "{refused:?}");
}
