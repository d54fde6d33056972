//! Goal: forks of components answer as stock Wasmtime would, however many there are, whatever
//! becomes of their parents and their pages. Method: the same calls on an unmodified component of a
//! stock engine.

use crate::common::{
    ADAPTED, Call, answer, ask, engine, equal_to_stock, linker, memory, stock, store, template,
};
use memfold::Memory;
use memfold_wasmtime::{ComponentTemplate, Error, prepare_component};
use wasmtime::component::Val;

fn string(text: &str) -> [Val; 1] {
    [Val::String(text.into())]
}

#[test]
fn strings_and_adapters_go_on_in_forks() {
    let (ada, long) = (string("Ada"), string(&"long name ".repeat(9000)));
    let look: [Call<'_>; 8] = [
        ("greet", &ada),
        ("calls", &[]),
        ("size", &[]),
        ("stamp", &[Val::U32(200)]),
        ("at", &[Val::U32(200)]),
        ("at", &[Val::U32(204)]),
        ("at", &[Val::U32(208)]),
        ("at", &[Val::U32(216)]),
    ];
    equal_to_stock(ADAPTED, &[], &look);
    equal_to_stock(ADAPTED, &look, &look);
    // The memory grows, before the fork and after it.
    equal_to_stock(ADAPTED, &[("greet", &long), ("greet", &ada)], &look);
    equal_to_stock(
        ADAPTED,
        &[("grow", &[Val::U32(3)])],
        &[("greet", &long), ("size", &[])],
    );
    equal_to_stock(
        ADAPTED,
        &[("grow", &[Val::U32(3)])],
        &[("grow", &[Val::U32(4)]), ("grow", &[Val::U32(1)]), ("size", &[])],
    );
}

#[test]
fn two_hundred_forks_answer_for_themselves() {
    // Less than a fifth of what they would take each by itself.
    let memory = Memory::builder()
        .budget_bytes(24 << 20)
        .build()
        .expect("this machine lets us manage memory");
    let engine = engine(&memory);
    let template = template(&memory, &engine, ADAPTED);
    let mut warming = store(&engine);
    let parent = template.instantiate(&mut warming).expect("it starts");
    let warm = string(&"w".repeat(100_000));
    let greet = ("greet", &warm[..]);
    let warmed = ask(&mut warming, &parent, greet);
    assert!(warmed.is_some() && warmed == stock(ADAPTED, &[greet])[0]);
    let snapshot = parent.freeze(&mut warming).expect("it is at rest");
    drop((parent, warming));
    let mut forks: Vec<_> = (0..200)
        .map(|number| {
            let mut store = store(&engine);
            let fork = snapshot.instantiate(&mut store).expect("there is room");
            (number, store, fork)
        })
        .collect();
    drop(snapshot);
    let calls = |number: u32| (string(&format!("fork {number}")), [Val::U32(number * 4 + 200)]);
    for (number, store, fork) in &mut forks {
        let (name, address) = calls(*number);
        let asked: [Call<'_>; 4] = [
            ("greet", &name),
            ("stamp", &address),
            ("at", &address),
            ("calls", &[]),
        ];
        let answers: Vec<_> = asked.iter().map(|call| ask(store, fork, *call)).collect();
        let all = [&[greet], &asked[..]].concat();
        assert_eq!(answers, stock(ADAPTED, &all)[1..], "fork {number}");
    }
    // Nobody has seen what others did.
    for (number, store, fork) in &mut forks {
        let (_, address) = calls(*number);
        let right = ask(store, fork, ("at", &address));
        assert_eq!(right, Some(vec![Val::U32(101)]), "fork {number}");
    }
    drop(forks);
    assert!(memory.check().is_ok());
}

#[test]
fn typed_calls_and_host_state() {
    let memory = memory();
    let engine = engine(&memory);
    let template = template(&memory, &engine, ADAPTED);
    let mut warming = store(&engine);
    let parent = template.instantiate(&mut warming).expect("it starts");
    let greet = parent
        .instance()
        .get_typed_func::<(&str,), (String,)>(&mut warming, "greet")
        .expect("it has this type");
    let (said,) = parent.call(&mut warming, &greet, ("you",)).expect("it answers");
    assert_eq!(said, "hello, you");
    let (mut copy, fork) = parent
        .fork_with(&mut warming, |parent| {
            let mut child = store(parent.engine());
            child.data_mut().called = 40;
            Ok(child)
        })
        .expect("it is at rest");
    let stamp = fork
        .instance()
        .get_typed_func::<(u32,), (u32,)>(&mut copy, "stamp")
        .expect("it has this type");
    let (stamped,) = fork.call(&mut copy, &stamp, (0,)).expect("it answers");
    assert_eq!(stamped, 100 + 41);
    let refused = parent.fork_with(&mut warming, |_| Err(wasmtime::Error::msg("not now")));
    assert!(matches!(refused, Err(Error::HostState(_))));
}

#[test]
fn a_component_compiled_before_is_taken_and_another_refused() {
    let memory = memory();
    let engine = engine(&memory);
    let prepared = prepare_component(&crate::common::binary(ADAPTED)).expect("it can be forked");
    let compiled =
        wasmtime::component::Component::from_binary(&engine, prepared.wasm()).expect("it compiles");
    let template = ComponentTemplate::from_component(&memory, &linker(&engine), &prepared, &compiled);
    let template = template.expect("it is this one");
    let mut one = store(&engine);
    let instance = template.instantiate(&mut one).expect("it starts");
    assert!(answer(&mut one, instance.instance(), ("calls", &[])).is_some());
    let other = r#"(component (core module $m (memory 1)) (core instance (instantiate $m)))"#;
    let other = prepare_component(&crate::common::binary(other)).expect("it can be forked");
    let refused = ComponentTemplate::from_component(&memory, &linker(&engine), &other, &compiled);
    assert!(matches!(refused, Err(Error::WrongModule { .. })));
}
