//! Goal: each memory of a module is forked, whatever its kind: several of them, those that begin
//! empty, those with 64-bit addresses or with pages of one byte. Method: the same calls on an
//! unmodified module of a stock engine and in a fork made half-way (`equal.rs`); where memfold
//! refuses what stock would not, the answer is known.

use crate::common::{Wasi, engine, linker, memory, store};
use crate::equal::{Call, custom, equal_to_stock};
use memfold::Failure;
use memfold_wasmtime::{Error, ForkInstance, Template, prepare};
use wasmtime::{Store, StoreLimits, StoreLimitsBuilder};

/// Four memories of all kinds: one that is imported, with data; one that begins empty; one with
/// 64-bit addresses; one with pages of one byte that ends inside of a page of the machine.
const FOUR: &str = r#"(module
    (memory $a (export "a") 2 6) (memory $b (export "b") 0 5) (memory $c (export "c") i64 1)
    (memory $d (export "d") 5000 200000 (pagesize 1))
    (data (memory $d) (i32.const 4996) "last") (data (memory $a) (i32.const 100) "first")
    (data (memory $c) (i64.const 65532) "wide") (data $p "passive")
    (func (export "store") (param i32 i32 i32)
        (if (i32.eq (local.get 0) (i32.const 0)) (then (i32.store8 $a (local.get 1) (local.get 2))))
        (if (i32.eq (local.get 0) (i32.const 1)) (then (i32.store8 $b (local.get 1) (local.get 2))))
        (if (i32.eq (local.get 0) (i32.const 2))
            (then (i32.store8 $c (i64.extend_i32_u (local.get 1)) (local.get 2))))
        (if (i32.eq (local.get 0) (i32.const 3)) (then (i32.store8 $d (local.get 1) (local.get 2)))))
    (func (export "in_a") (param i32) (result i32) (i32.load $a (local.get 0)))
    (func (export "in_b") (param i32) (result i32) (i32.load $b (local.get 0)))
    (func (export "in_c") (param i32) (result i32) (i32.load $c (i64.extend_i32_u (local.get 0))))
    (func (export "far") (param i32) (result i32)
        (i32.load $c (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32))))
    (func (export "in_d") (param i32) (result i32) (i32.load8_u $d (local.get 0)))
    (func (export "sizes") (result i32 i32 i32 i32)
        (memory.size $a) (memory.size $b) (i32.wrap_i64 (memory.size $c)) (memory.size $d))
    (func (export "grow") (param i32 i32 i32 i32) (result i32 i32 i32 i32)
        (memory.grow $a (local.get 0)) (memory.grow $b (local.get 1))
        (i32.wrap_i64 (memory.grow $c (i64.extend_i32_u (local.get 2)))) (memory.grow $d (local.get 3)))
    (func (export "copy")
        (memory.copy $d $a (i32.const 10) (i32.const 96) (i32.const 20))
        (memory.copy $c $d (i64.const 40) (i32.const 4990) (i32.const 10))
        (memory.fill $d (i32.const 4000) (i32.const 7) (i32.const 900)))
    (func (export "init") (memory.init $d $p (i32.const 0) (i32.const 0) (i32.const 7)) (data.drop $p)))"#;

const LOOK: [Call; 14] = [
    ("sizes", &[]),
    ("in_a", &[100]),
    ("in_a", &[131_070]),
    ("in_b", &[0]),
    ("in_b", &[65_536]),
    ("in_c", &[65_532]),
    ("in_c", &[40]),
    ("far", &[1]),
    ("in_d", &[4999]),
    ("in_d", &[5000]),
    ("in_d", &[5001]),
    ("in_d", &[8191]),
    ("in_d", &[12]),
    ("init", &[]),
];

#[test]
fn several_memories_are_forked() {
    equal_to_stock(FOUR, &[], &LOOK);
    equal_to_stock(FOUR, &LOOK, &LOOK);
    let changes: [Call; 7] = [
        ("store", &[0, 70_000, 1]),
        ("store", &[1, 0, 2]),
        ("store", &[2, 5, 3]),
        ("store", &[3, 4999, 4]),
        ("grow", &[1, 2, 3, 4]),
        ("grow", &[0, 0, 0, 5000]),
        ("copy", &[]),
    ];
    for change in changes {
        equal_to_stock(FOUR, &[change], &LOOK);
    }
    let stores: [Call; 6] = [
        ("grow", &[1, 1, 1, 1]),
        ("store", &[1, 0, 2]),
        ("store", &[1, 65_535, 2]),
        ("store", &[3, 5000, 9]),
        ("store", &[3, 5001, 9]),
        ("store", &[0, 196_607, 9]),
    ];
    let after: Vec<Call> = stores.into_iter().chain(changes).chain(LOOK).collect();
    equal_to_stock(FOUR, &changes, &after);
    equal_to_stock(FOUR, &stores, &after);
    // Beyond what each may have.
    equal_to_stock(FOUR, &[("grow", &[5, 6, 0, 195_001])], &LOOK);
}

/// Goal: memories that are one and the same type get each its own space, in the right order, and
/// imported ones come first.
#[test]
fn memories_of_one_type_are_not_mixed_up() {
    let text = r#"(module (import "env" "m" (memory $a 1)) (memory $b (export "b") 1) (memory $c (export "c") 1)
        (export "memory" (memory $a))
        (data (memory $c) (i32.const 0) "c") (data (memory $a) (i32.const 0) "a") (data (memory $b) (i32.const 0) "b")
        (func (export "load") (result i32 i32 i32)
            (i32.load8_u $a (i32.const 0)) (i32.load8_u $b (i32.const 0)) (i32.load8_u $c (i32.const 0)))
        (func (export "add") (param i32 i32 i32)
            (i32.store8 $a (i32.const 0) (i32.add (i32.load8_u $a (i32.const 0)) (local.get 0)))
            (i32.store8 $b (i32.const 0) (i32.add (i32.load8_u $b (i32.const 0)) (local.get 1)))
            (i32.store8 $c (i32.const 0) (i32.add (i32.load8_u $c (i32.const 0)) (local.get 2)))))"#;
    let define = |linker: &mut wasmtime::Linker<Wasi>, store: &mut Store<Wasi>| {
        let ty = wasmtime::MemoryType::new(1, None);
        let memory = wasmtime::Memory::new(&mut *store, ty).unwrap();
        linker.define(&mut *store, "env", "m", memory).unwrap();
    };
    let given = memfold_wasmtime::Given::new();
    let (load, add): (Call, Call) = (("load", &[]), ("add", &[1, 10, 20]));
    crate::equal::equal_with(text, &given, define, &[], &[load, add, load]);
    crate::equal::equal_with(text, &given, define, &[add], &[load, add, load]);
}

/// What a module with this memory does, as far as memfold has addresses for it.
#[test]
fn wide_memories_end_where_the_addresses_do() {
    let text = |ty: &str| {
        format!(
            r#"(module (memory (export "memory") {ty})
            (func (export "size") (result i32) (i32.wrap_i64 (memory.size)))
            (func (export "grow") (param i32) (result i32)
                (i32.wrap_i64 (memory.grow (i64.extend_i32_u (local.get 0)))))
            (func (export "store") (param i32) (i64.store (i64.extend_i32_u (local.get 0)) (i64.const 7)))
            (func (export "load") (param i32) (result i32) (i32.load (i64.extend_i32_u (local.get 0))))
            (func (export "beyond") (param i32) (result i32)
                (i32.load (i64.add (i64.const 0x1_0000_0000) (i64.extend_i32_s (local.get 0))))))"#
        )
    };
    for ty in ["i64 1", "i64 0 9", "i64 1 100000", "i64 0 0x1000000000000"] {
        let calls: [Call; 6] = [
            ("grow", &[4]),
            ("store", &[65_530]),
            ("load", &[65_532]),
            ("beyond", &[0]),
            ("beyond", &[-1]),
            ("size", &[]),
        ];
        equal_to_stock(&text(ty), &calls, &calls);
    }
    // All that there are addresses for, and no page more.
    let memory = memory();
    let engine = engine(&memory);
    let prepared = prepare(&wat::parse_str(text("i64 1 100000")).unwrap()).unwrap();
    let template = Template::new(&memory, &linker(&engine), &prepared).unwrap();
    let mut parent_store = store(&engine);
    let parent = template.instantiate(&mut parent_store).unwrap();
    let snapshot = parent.freeze(&mut parent_store).unwrap();
    let mut store = store(&engine);
    let instance = snapshot.instantiate(&mut store).unwrap();
    let mut ask = |name: &str, at: i32| {
        let function = instance.instance().get_typed_func::<i32, i32>(&mut store, name);
        instance.call(&mut store, &function.unwrap(), at).unwrap()
    };
    assert_eq!(ask("grow", 65_536), -1);
    assert_eq!(ask("grow", 65_535), 1);
    assert_eq!((ask("grow", 1), ask("grow", 0)), (-1, 65_536));
    assert_eq!(ask("load", -4), 0);
    instance.reset(&mut store, &snapshot).unwrap();
    assert_eq!(instance.space().len(), 1 << 16);
}

/// Goal: where the engine was not told of small pages, its own refusal is told.
#[test]
fn an_engine_without_small_pages_says_so() {
    let memory = memory();
    let prepared = prepare(&wat::parse_str("(module (memory 70 (pagesize 1)))").unwrap()).unwrap();
    let engine = engine(&memory);
    let error = Template::new(&memory, &linker(&engine), &prepared).unwrap_err();
    assert!(matches!(error, Error::Compile(_)), "{error}");
    assert!(error.to_string().contains("custom page sizes"), "{error}");
}

/// Calls an export without results.
fn call<T>(
    store: &mut Store<T>,
    instance: &ForkInstance<T>,
    (name, values): Call,
) -> Result<Vec<wasmtime::Val>, Error> {
    let function = instance.instance().get_func(&mut *store, name).unwrap();
    let values: Vec<_> = values.iter().copied().map(wasmtime::Val::I32).collect();
    let mut results = vec![wasmtime::Val::I32(0); function.ty(&*store).results().len()];
    let outcome = function.call(&mut *store, &values, &mut results);
    instance.check()?;
    outcome.map_err(Error::Program)?;
    Ok(results)
}

/// Goal: a reset that fails between two memories is told, leaves an instance that is not forked,
/// and can be repeated. Method: a page of the second memory is pinned.
#[test]
fn a_reset_that_fails_half_way_can_be_repeated() {
    let memory = memory();
    let engine = custom(&memory);
    let prepared = prepare(&wat::parse_str(FOUR).unwrap()).unwrap();
    let template = Template::new(&memory, &linker(&engine), &prepared).unwrap();
    let mut parent_store = store(&engine);
    let parent = template.instantiate(&mut parent_store).unwrap();
    call(&mut parent_store, &parent, ("grow", &[0, 1, 0, 0])).unwrap();
    let snapshot = parent.freeze(&mut parent_store).unwrap();
    let mut own_store = store(&engine);
    let instance = snapshot.instantiate(&mut own_store).unwrap();
    for change in [
        ("store", &[0, 100, 1][..]),
        ("store", &[1, 0, 9]),
        ("grow", &[1, 1, 1, 1]),
    ] {
        call(&mut own_store, &instance, change).unwrap();
    }
    assert_eq!(instance.spaces().len(), 4);
    let second = instance.spaces().nth(1).unwrap();
    let pinned = second.pin(0..1).unwrap();
    let error = instance.reset(&mut own_store, &snapshot).unwrap_err();
    assert!(matches!(error, Error::Memory(_)), "{error}");
    let forked = instance.fork(&mut own_store, &mut store(&engine)).unwrap_err();
    assert!(matches!(forked, Error::HalfDone), "{forked}");
    assert!(matches!(instance.freeze(&mut own_store), Err(Error::HalfDone)));
    drop(pinned);
    instance.reset(&mut own_store, &snapshot).unwrap();
    let look = |store: &mut Store<Wasi>, instance: &ForkInstance<Wasi>| {
        let asked: [Call; 3] = [("sizes", &[]), ("in_a", &[100]), ("in_b", &[0])];
        asked.map(|ask| format!("{:?}", call(&mut *store, instance, ask).unwrap()))
    };
    let mut child_store = store(&engine);
    let child = instance.fork(&mut own_store, &mut child_store).unwrap();
    let right = look(&mut parent_store, &parent);
    assert_eq!(look(&mut own_store, &instance), right);
    assert_eq!(look(&mut child_store, &child), right);
    // Where the first cannot be reset, nothing was.
    call(&mut own_store, &instance, ("store", &[0, 100, 1])).unwrap();
    let changed = look(&mut own_store, &instance);
    let pinned = instance.space().pin(0..1).unwrap();
    instance.reset(&mut own_store, &snapshot).unwrap_err();
    instance.fork(&mut own_store, &mut child_store).unwrap();
    assert_eq!(look(&mut own_store, &instance), changed);
    drop(pinned);
}

/// Goal: a memory that was empty cannot be made empty again, whichever it is.
#[test]
fn an_empty_memory_that_grew_is_not_reset() {
    let memory = memory();
    let engine = custom(&memory);
    let prepared = prepare(&wat::parse_str(FOUR).unwrap()).unwrap();
    let template = Template::new(&memory, &linker(&engine), &prepared).unwrap();
    let mut store = store(&engine);
    let snapshot = template
        .instantiate(&mut store)
        .unwrap()
        .freeze(&mut store)
        .unwrap();
    let instance = snapshot.instantiate(&mut store).unwrap();
    let mut change = |what: Call| call(&mut store, &instance, what).unwrap();
    change(("grow", &[1, 0, 0, 0]));
    change(("grow", &[0, 1, 0, 0]));
    let error = instance.reset(&mut store, &snapshot).unwrap_err();
    assert!(error.to_string().contains("was empty then"), "{error}");
    let sizes = call(&mut store, &instance, ("sizes", &[])).unwrap();
    assert_eq!(sizes[0].i32(), Some(3), "as it was");
}

/// Goal: each memory is a memory to the limiter of the fork's store.
#[test]
fn limits_are_asked_for_each() {
    let memory = memory();
    let engine = custom(&memory);
    let prepared = prepare(&wat::parse_str(FOUR).unwrap()).unwrap();
    let linker = wasmtime::Linker::<StoreLimits>::new(&engine);
    let template = Template::new(&memory, &linker, &prepared).unwrap();
    let limited = |limits: StoreLimitsBuilder| {
        let mut store = Store::new(&engine, limits.build());
        store.limiter(|limits| limits);
        store
    };
    let mut parent_store = limited(StoreLimitsBuilder::new());
    let parent = template.instantiate(&mut parent_store).unwrap();
    call(&mut parent_store, &parent, ("grow", &[0, 4, 0, 0])).unwrap();
    let mut fork = |limits| parent.fork(&mut parent_store, &mut limited(limits)).map(drop);
    fork(StoreLimitsBuilder::new().memory_size(4 << 16).memories(4)).unwrap();
    let error = fork(StoreLimitsBuilder::new().memory_size(3 << 16)).unwrap_err();
    assert!(
        matches!(error, Error::StoreLimit { bytes, .. } if bytes == 4 << 16),
        "{error}"
    );
    let error = fork(StoreLimitsBuilder::new().memories(3)).unwrap_err();
    assert!(matches!(error, Error::Instantiate(_)), "{error}");
}

/// Goal: a page of any memory that cannot be had ends the call. Method: a small budget, and stores
/// to all of the second memory.
#[test]
fn a_page_of_any_memory_may_be_lost() {
    let memory = memfold::Memory::builder().budget_bytes(8 << 20).build().unwrap();
    let engine = engine(&memory);
    let text = r#"(module (memory 1) (memory $big 400)
        (func (export "noise") (param $at i32) (param $seed i32)
            (loop $next
                (local.set $seed (i32.add (i32.mul (local.get $seed) (i32.const 1103515245)) (i32.const 12345)))
                (i32.store $big (local.get $at) (local.get $seed))
                (local.set $at (i32.add (local.get $at) (i32.const 4)))
                (br_if $next (i32.lt_u (local.get $at) (i32.const 26214400))))))"#;
    let prepared = prepare(&wat::parse_str(text).unwrap()).unwrap();
    let template = Template::new(&memory, &linker(&engine), &prepared).unwrap();
    let mut own_store = store(&engine);
    let instance = template.instantiate(&mut own_store).unwrap();
    let error = call(&mut own_store, &instance, ("noise", &[0, 1])).unwrap_err();
    assert!(
        matches!(
            error,
            Error::MemoryLost {
                failure: Failure::OverBudget { .. }
            }
        ),
        "{error}"
    );
    drop((own_store, instance));
    memory.check().unwrap();
}
