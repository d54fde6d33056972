//! Goal: external references are copied as the embedder says, or refused by their place. Method:
//! data that counts its copies, in tables and globals of forks, snapshots and resets; a stock
//! engine's answers where no data is involved.

use crate::common::{Wasi, engine, linker, memory, store};
use crate::equal::{Call, equal_to_stock};
use memfold_wasmtime::{Error, ForkInstance, Place, Template, prepare};
use std::sync::Arc;
use wasmtime::{Engine, ExternRef, Ref, RootScope, Rooted, Store, Val};

/// What wasm-bindgen writes: a table of references that grows, slots that are taken and given back;
/// and a global.
const BINDGEN: &str = r#"(module (memory (export "memory") 1)
    (table $refs (export "refs") 4 externref)
    (global $last (export "last") (mut externref) (ref.null extern))
    (global $hidden (mut externref) (ref.null extern))
    (func (export "grow") (result i32) (table.grow $refs (ref.null extern) (i32.const 4)))
    (func (export "put") (param i32 externref)
        (table.set $refs (local.get 0) (local.get 1)) (global.set $last (local.get 1)))
    (func (export "hide") (param externref) (global.set $hidden (local.get 0)))
    (func (export "take") (param i32) (table.set $refs (local.get 0) (ref.null extern)))
    (func (export "forget") (global.set $last (ref.null extern)) (global.set $hidden (ref.null extern)))
    (func (export "is_null") (param i32) (result i32) (ref.is_null (table.get $refs (local.get 0))))
    (func (export "pass") (param externref) (result externref) (local.get 0)))"#;

/// Null references, and those that only pass by, are no matter.
#[test]
fn null_references_are_kept() {
    let calls: [Call; 5] = [
        ("is_null", &[0]),
        ("is_null", &[5]),
        ("take", &[1]),
        ("grow", &[]),
        ("is_null", &[7]),
    ];
    equal_to_stock(BINDGEN, &[], &calls);
    equal_to_stock(BINDGEN, &calls, &calls);
    equal_to_stock(BINDGEN, &[("forget", &[]), ("grow", &[]), ("grow", &[])], &calls);
}

struct Shared(u32);

/// Data of its own, in each store another.
struct Counted {
    of: u32,
    copies: u32,
}

struct Harness {
    engine: Engine,
    template: Template<Wasi>,
}

fn harness() -> Harness {
    let memory = memory();
    let engine = engine(&memory);
    let prepared = prepare(&wat::parse_str(BINDGEN).unwrap()).unwrap();
    let template = Template::new(&memory, &linker(&engine), &prepared).unwrap();
    let template = template
        .with_host_data(|shared: &Arc<Shared>| Ok(Arc::clone(shared)))
        .with_host_data(|Counted { of, copies }: &Counted| {
            if *of == 13 {
                return Err(wasmtime::Error::msg("thirteen stays here"));
            }
            Ok(Counted {
                of: *of,
                copies: copies + 1,
            })
        });
    Harness { engine, template }
}

impl Harness {
    fn store(&self) -> Store<Wasi> {
        store(&self.engine)
    }
}

fn call(store: &mut Store<Wasi>, of: &ForkInstance<Wasi>, name: &str, values: &[Val]) {
    let function = of.instance().get_func(&mut *store, name).unwrap();
    let mut results = vec![Val::I32(0); function.ty(&*store).results().len()];
    function.call(&mut *store, values, &mut results).unwrap();
}

/// Puts data into a slot and the global.
fn put<D: Send + Sync + 'static>(store: &mut Store<Wasi>, of: &ForkInstance<Wasi>, slot: i32, data: D) {
    let function = of.instance().get_func(&mut *store, "put").unwrap();
    let mut scope = RootScope::new(store);
    let data = ExternRef::new(&mut scope, data).unwrap();
    function
        .call(&mut scope, &[Val::I32(slot), data.into()], &mut [])
        .unwrap();
}

fn slot(
    store: &mut RootScope<&mut Store<Wasi>>,
    of: &ForkInstance<Wasi>,
    slot: u64,
) -> Option<Rooted<ExternRef>> {
    let table = of.instance().get_table(&mut *store, "refs").unwrap();
    match table.get(&mut *store, slot).unwrap() {
        Ref::Extern(data) => data,
        other => panic!("{other:?}"),
    }
}

/// Which data of the host's own kind is in a slot.
fn counted(store: &mut Store<Wasi>, of: &ForkInstance<Wasi>, at: u64) -> (u32, u32) {
    let mut scope = RootScope::new(store);
    let data = slot(&mut scope, of, at).expect("not null");
    let data = data.data(&scope).unwrap().unwrap();
    let data = data.downcast_ref::<Counted>().expect("of this type");
    (data.of, data.copies)
}

/// Goal: each fork has copies of its own, in grown tables as well; one data in two places is one.
#[test]
fn host_data_is_copied_into_forks() {
    let harness = harness();
    let shared = Arc::new(Shared(5));
    let mut parent_store = harness.store();
    let parent = harness.template.instantiate(&mut parent_store).unwrap();
    call(&mut parent_store, &parent, "grow", &[]);
    put(&mut parent_store, &parent, 6, Counted { of: 7, copies: 0 });
    put(&mut parent_store, &parent, 2, Arc::clone(&shared));
    // The same data in slot 3 and, by `put`, in the global.
    {
        let put = parent.instance().get_func(&mut parent_store, "put").unwrap();
        let mut scope = RootScope::new(&mut parent_store);
        let data = slot(&mut scope, &parent, 2).unwrap();
        put.call(&mut scope, &[Val::I32(3), data.into()], &mut [])
            .unwrap();
    }
    let check = |store: &mut Store<Wasi>, fork: &ForkInstance<Wasi>, copies: u32| {
        assert_eq!(counted(store, fork, 6), (7, copies));
        let last = fork.instance().get_global(&mut *store, "last").unwrap();
        let mut scope = RootScope::new(store);
        assert!(slot(&mut scope, fork, 0).is_none() && slot(&mut scope, fork, 7).is_none());
        let (two, three) = (
            slot(&mut scope, fork, 2).unwrap(),
            slot(&mut scope, fork, 3).unwrap(),
        );
        let last = *last.get(&mut scope).externref().flatten().unwrap();
        assert!(
            Rooted::ref_eq(&scope, &two, &three).unwrap(),
            "one data became two"
        );
        assert!(Rooted::ref_eq(&scope, &two, &last).unwrap());
        let data = two.data(&scope).unwrap().unwrap();
        let data = data.downcast_ref::<Arc<Shared>>().expect("of this type");
        assert!(Arc::ptr_eq(data, &shared) && data.0 == 5);
    };
    check(&mut parent_store, &parent, 0);
    let mut child_store = harness.store();
    let child = parent.fork(&mut parent_store, &mut child_store).unwrap();
    check(&mut child_store, &child, 2);
    let mut grandchild_store = harness.store();
    let grandchild = child.fork(&mut child_store, &mut grandchild_store).unwrap();
    check(&mut grandchild_store, &grandchild, 4);
    let snapshot = parent.freeze(&mut parent_store).unwrap();
    let mut own_store = harness.store();
    let own = snapshot.instantiate(&mut own_store).unwrap();
    check(&mut own_store, &own, 2);
    // A reset brings it back, whatever stands there.
    for _ in 0..3 {
        call(&mut own_store, &own, "take", &[Val::I32(2)]);
        put(&mut own_store, &own, 6, Counted { of: 8, copies: 0 });
        own.reset(&mut own_store, &snapshot).unwrap();
        check(&mut own_store, &own, 2);
    }
    // Each goes its own way.
    put(&mut child_store, &child, 6, Counted { of: 9, copies: 0 });
    check(&mut parent_store, &parent, 0);
    check(&mut grandchild_store, &grandchild, 4);
}

/// Goal: data lives as long as a program, a snapshot or a store refers to it: a fork keeps none of
/// its parent's alive. Method: the counts of references to one data.
#[test]
fn forks_keep_no_data_alive() {
    let harness = harness();
    let shared = Arc::new(Shared(1));
    let mut parent_store = harness.store();
    let parent = harness.template.instantiate(&mut parent_store).unwrap();
    put(&mut parent_store, &parent, 1, Arc::clone(&shared));
    assert_eq!(Arc::strong_count(&shared), 2);
    for _ in 0..100 {
        let mut store = harness.store();
        let fork = parent.fork(&mut parent_store, &mut store).unwrap();
        assert_eq!(Arc::strong_count(&shared), 3);
        call(&mut store, &fork, "take", &[Val::I32(1)]);
        call(&mut store, &fork, "forget", &[]);
        store.gc(None).unwrap();
        assert_eq!(Arc::strong_count(&shared), 2, "the fork's copy is gone");
    }
    let snapshot = parent.freeze(&mut parent_store).unwrap();
    let mut store = harness.store();
    let instance = snapshot.instantiate(&mut store).unwrap();
    for _ in 0..10 {
        instance.reset(&mut store, &snapshot).unwrap();
    }
    store.gc(None).unwrap();
    assert_eq!(Arc::strong_count(&shared), 4, "parent, snapshot, instance, ours");
    call(&mut parent_store, &parent, "take", &[Val::I32(1)]);
    call(&mut parent_store, &parent, "forget", &[]);
    parent_store.gc(None).unwrap();
    drop((store, snapshot));
    assert_eq!(Arc::strong_count(&shared), 1);
}

/// Goal: what is not copied is refused at the fork, by its place and its name, and the instance
/// goes on.
#[test]
fn what_is_not_copied_is_refused_by_name() {
    let harness = harness();
    let mut parent_store = harness.store();
    let parent = harness.template.instantiate(&mut parent_store).unwrap();
    // Nobody said how.
    put(&mut parent_store, &parent, 3, "text");
    call(&mut parent_store, &parent, "forget", &[]);
    let error = parent.freeze(&mut parent_store).unwrap_err();
    assert!(
        matches!(&error, Error::Held { place: Place::Slot { table: 0, slot: 3 }, name: Some(name), .. } if name == "refs"),
        "{error}"
    );
    let text = error.to_string();
    for part in [
        "slot 3 of the table 0 (\"refs\") holds a reference to data of the host",
        "with_host_data",
    ] {
        assert!(text.contains(part), "{text}");
    }
    call(&mut parent_store, &parent, "take", &[Val::I32(3)]);
    parent.freeze(&mut parent_store).unwrap();
    // A global that has no name.
    {
        let hide = parent.instance().get_func(&mut parent_store, "hide").unwrap();
        let mut scope = RootScope::new(&mut parent_store);
        let data = ExternRef::new(&mut scope, 1_u8).unwrap();
        hide.call(&mut scope, &[data.into()], &mut []).unwrap();
    }
    let error = parent.freeze(&mut parent_store).unwrap_err();
    assert!(error.to_string().contains("the global 1 holds"), "{error}");
    call(&mut parent_store, &parent, "forget", &[]);
    // The embedder refuses.
    put(&mut parent_store, &parent, 2, Counted { of: 13, copies: 0 });
    let error = parent.fork(&mut parent_store, &mut harness.store()).unwrap_err();
    assert!(
        matches!(&error, Error::HostData { place: Place::Global { index: 0 }, name: Some(name), .. } if name == "last"),
        "{error}"
    );
    assert!(error.to_string().contains("thirteen stays here"), "{error}");
    put(&mut parent_store, &parent, 2, Counted { of: 14, copies: 0 });
    parent.fork(&mut parent_store, &mut harness.store()).unwrap();
}
