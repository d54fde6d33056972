//! Goal: an instance of a component that is reset is what its snapshot's instances are, in its own
//! store, and one that cannot be is left as it was, for a reason that is told. Method: answers of
//! stock Wasmtime, of an instance that was used and reset; each obstacle by itself.

use crate::common::{ADAPTED, Call, Host, ask, engine, memory, stock, store, template};
use crate::refused::HOLDER;
use crate::state::SHARED;
use memfold::Memory;
use memfold_wasmtime::{ComponentSnapshot, Error, ForkComponent, Irreversible};
use wasmtime::component::Val;
use wasmtime::{Engine, Store, StoreLimitsBuilder};

struct Harness {
    memory: Memory,
    engine: Engine,
    snapshot: ComponentSnapshot<Host>,
    /// How often the host had been called.
    called: u32,
}

/// A component that was called so, then frozen.
fn harness(text: &str, before: &[Call<'_>]) -> Harness {
    let memory = memory();
    let engine = engine(&memory);
    let template = template(&memory, &engine, text);
    let mut warming = store(&engine);
    let parent = template.instantiate(&mut warming).expect("it starts");
    for call in before {
        assert!(ask(&mut warming, &parent, *call).is_some(), "{call:?}");
    }
    let snapshot = parent.freeze(&mut warming).expect("it is at rest");
    Harness {
        memory,
        engine,
        snapshot,
        called: warming.data().called,
    }
}

impl Harness {
    fn instance(&self) -> (Store<Host>, ForkComponent<Host>) {
        let mut store = store(&self.engine);
        let instance = self.snapshot.instantiate(&mut store).expect("there is room");
        (store, instance)
    }
}

/// An instance is used and reset again and again; each time it answers as a stock instance does
/// that was called in the way of the snapshot.
fn as_if_new(text: &str, before: &[Call<'_>], used: &[Call<'_>], look: &[Call<'_>]) {
    let harness = harness(text, before);
    let right = stock(text, &[before, look].concat());
    let (mut store, instance) = harness.instance();
    let lengths = |instance: &ForkComponent<Host>| instance.spaces().map(|space| space.len()).collect();
    let first: Vec<u64> = lengths(&instance);
    for round in 0..6 {
        // The host's own data is not the component's.
        store.data_mut().called = harness.called;
        let calls = if round % 2 == 0 { look } else { used };
        let answers: Vec<_> = calls
            .iter()
            .map(|call| ask(&mut store, &instance, *call))
            .collect();
        if round % 2 == 0 {
            assert_eq!(answers, right[before.len()..], "round {round}");
        }
        assert!(answers.iter().all(Option::is_some), "round {round}: {answers:?}");
        if round % 3 == 0 {
            let mut spaces = instance.spaces();
            spaces
                .try_for_each(|space| space.evict().map(drop))
                .expect("nothing is pinned");
        }
        instance.reset(&mut store, &harness.snapshot).expect("it can be");
        let now: Vec<u64> = lengths(&instance);
        assert_eq!(now, first, "round {round}");
    }
    // What was reset can be forked, like any other.
    let mut child = crate::common::store(&harness.engine);
    child.data_mut().called = harness.called;
    let fork = instance.fork(&mut store, &mut child).expect("it is at rest");
    let answers: Vec<_> = look.iter().map(|call| ask(&mut child, &fork, *call)).collect();
    assert_eq!(answers, right[before.len()..]);
    drop((fork, child, instance, store));
    let checked = harness.memory.check();
    assert!(checked.is_ok(), "{checked:?}");
}

#[test]
fn used_again_as_if_new() {
    let (ada, long) = (
        [Val::String("Ada".into())],
        [Val::String("long name ".repeat(9000))],
    );
    let look: [Call<'_>; 7] = [
        ("greet", &ada),
        ("calls", &[]),
        ("size", &[]),
        ("stamp", &[Val::U32(200)]),
        ("at", &[Val::U32(200)]),
        ("at", &[Val::U32(208)]),
        ("at", &[Val::U32(216)]),
    ];
    as_if_new(ADAPTED, &[], &look, &look);
    as_if_new(ADAPTED, &look, &look, &look);
    // A memory that has grown is as short as before, or as long.
    as_if_new(ADAPTED, &[("greet", &ada)], &[("greet", &long)], &look);
    as_if_new(ADAPTED, &[("greet", &long)], &[("grow", &[Val::U32(1)])], &look);
}

#[test]
fn each_instance_and_memory() {
    let used: [Call<'_>; 6] = [
        ("step1", &[]),
        ("step2", &[]),
        ("step2", &[]),
        ("init1", &[Val::U32(300)]),
        ("own1", &[Val::U32(9)]),
        ("grow1", &[Val::U32(1)]),
    ];
    let look: [Call<'_>; 7] = [
        ("sizes1", &[]),
        ("sizes2", &[]),
        ("word", &[Val::U32(300)]),
        ("own1", &[Val::U32(9)]),
        ("own1", &[Val::U32(65_535)]),
        ("step1", &[]),
        ("step2", &[]),
    ];
    as_if_new(SHARED, &[("grow1", &[Val::U32(1)])], &used, &look);
    as_if_new(SHARED, &[("grow1", &[Val::U32(2)]), ("step2", &[])], &used, &look);
}

#[test]
fn what_grew_is_out_of_bounds_again_and_zeros_when_it_grows() {
    let harness = harness(ADAPTED, &[]);
    let (mut store, instance) = harness.instance();
    let long = [Val::String("x".repeat(100_000))];
    assert!(ask(&mut store, &instance, ("greet", &long)).is_some());
    assert_ne!(
        ask(&mut store, &instance, ("at", &[Val::U32(70_000)])),
        Some(vec![Val::U32(0)])
    );
    instance.reset(&mut store, &harness.snapshot).expect("it can be");
    let grown = ask(&mut store, &instance, ("grow", &[Val::U32(1)]));
    assert_eq!(grown, Some(vec![Val::S32(1)]));
    assert_eq!(
        ask(&mut store, &instance, ("at", &[Val::U32(70_000)])),
        Some(vec![Val::U32(0)])
    );
    instance.reset(&mut store, &harness.snapshot).expect("it can be");
    assert_eq!(ask(&mut store, &instance, ("at", &[Val::U32(70_000)])), None);
    let refused = instance.reset(&mut store, &harness.snapshot);
    assert!(
        matches!(refused, Err(Error::CannotEnter)),
        "after a trap: {refused:?}"
    );
}

/// The instance is refused, and goes on as it was.
fn refused(harness: &Harness, did: Call<'_>, wanted: Irreversible) {
    let (mut store, instance) = harness.instance();
    assert!(ask(&mut store, &instance, did).is_some());
    let before = ask(&mut store, &instance, ("step1", &[]));
    match instance.reset(&mut store, &harness.snapshot) {
        Err(Error::Irreversible(found)) => assert_eq!(found, wanted),
        other => panic!("{did:?}: {other:?}"),
    }
    assert_ne!(ask(&mut store, &instance, ("step1", &[])), before);
    instance
        .fork(&mut store, &mut crate::common::store(&harness.engine))
        .expect("it is at rest");
}

#[test]
fn what_cannot_be_undone() {
    let first = harness(SHARED, &[]);
    refused(&first, ("drop1", &[]), Irreversible::DroppedSegment);
    refused(&first, ("grow1", &[Val::U32(1)]), Irreversible::EmptyMemory);
    // Of a template of its own.
    let other = harness(SHARED, &[]);
    let (mut store, instance) = first.instance();
    match instance.reset(&mut store, &other.snapshot) {
        Err(Error::Irreversible(Irreversible::OtherTemplate)) => (),
        other => panic!("{other:?}"),
    }
    // To where a segment was dropped, one can go.
    let (mut later_store, later) = first.instance();
    assert!(ask(&mut later_store, &later, ("drop1", &[])).is_some());
    let dropped = later.freeze(&mut later_store).expect("it is at rest");
    instance.reset(&mut store, &dropped).expect("it can be");
    assert_eq!(ask(&mut store, &instance, ("init1", &[Val::U32(800)])), None);
}

#[test]
fn handles_and_tables_are_in_the_way() {
    let holder = harness(HOLDER, &[]);
    let (mut store, instance) = holder.instance();
    assert!(ask(&mut store, &instance, ("take", &[])).is_some());
    let refused = instance.reset(&mut store, &holder.snapshot);
    assert!(matches!(refused, Err(Error::Handles)), "{refused:?}");
    assert!(ask(&mut store, &instance, ("put", &[])).is_some());
    instance
        .reset(&mut store, &holder.snapshot)
        .expect("it holds nothing");

    let text = r#"(component (core module $m (memory 1) (table $t 2 funcref) (elem declare func $f)
            (func $f) (func (export "change") (table.set $t (i32.const 1) (ref.func $f))))
        (core instance $m (instantiate $m))
        (func (export "change") (canon lift (core func $m "change"))))"#;
    let changing = harness(text, &[]);
    let (mut store, instance) = changing.instance();
    assert!(ask(&mut store, &instance, ("change", &[])).is_some());
    let refused = instance.reset(&mut store, &changing.snapshot);
    assert!(matches!(refused, Err(Error::ChangedTable(_))), "{refused:?}");
}

#[test]
fn a_limiter_that_refuses_leaves_it_as_it_was() {
    let harness = harness(ADAPTED, &[]);
    let (mut store, instance) = harness.instance();
    store.limiter(|host| &mut host.limits);
    assert!(ask(&mut store, &instance, ("grow", &[Val::U32(3)])).is_some());
    store.data_mut().limits = StoreLimitsBuilder::new().memory_size(1000).build();
    let refused = instance.reset(&mut store, &harness.snapshot);
    assert!(
        matches!(refused, Err(Error::StoreLimit { bytes: 65_536, .. })),
        "{refused:?}"
    );
    assert_eq!(ask(&mut store, &instance, ("size", &[])), Some(vec![Val::U32(4)]));
    assert_eq!(
        ask(&mut store, &instance, ("at", &[Val::U32(200_000)])),
        Some(vec![Val::U32(0)])
    );
    store.data_mut().limits = StoreLimitsBuilder::new().build();
    instance.reset(&mut store, &harness.snapshot).expect("it can be");
    assert_eq!(ask(&mut store, &instance, ("size", &[])), Some(vec![Val::U32(1)]));
}

#[test]
fn a_reset_takes_no_fuel() {
    let memory = memory();
    let mut config = wasmtime::Config::new();
    memfold_wasmtime::configure(&mut config, &memory).consume_fuel(true);
    let engine = Engine::new(&config).expect("the configuration is valid");
    let template = template(&memory, &engine, SHARED);
    let mut one = store(&engine);
    one.set_fuel(100_000).expect("it has fuel");
    let parent = template.instantiate(&mut one).expect("it starts");
    let snapshot = parent.freeze(&mut one).expect("it is at rest");
    let left = one.get_fuel().expect("it has fuel");
    let mut two = store(&engine);
    let instance = snapshot.instantiate(&mut two).expect("there is room");
    two.set_fuel(left).expect("it has fuel");
    instance.reset(&mut two, &snapshot).expect("it can be");
    assert_eq!(two.get_fuel().ok(), Some(left));
}
