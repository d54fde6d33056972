//! Goal: a fork has all of its parent's state, tables and dropped segments and references included.
//! Method: the same calls on an unmodified module of a stock engine and in a fork made half-way:
//! results, traps, globals, memories and tables are equal.

use crate::common::{self, engine, memory, store};
use crate::equal::{Call, equal_to_stock};
use memfold_wasmtime::{Error, Foreign, Place};
use wasmtime::{ExternRef, Ref, Val};

/// Tables of functions, changed by every instruction that can.
const TABLES: &str = r#"(module
    (type $f (func (result i32)))
    (import "wasi_snapshot_preview1" "sched_yield" (func $imported (result i32)))
    (memory (export "memory") 1)
    (table $t (export "t") 8 20 funcref)
    (table $other (export "other") 4 funcref)
    (table $fixed 2 funcref)
    (elem (table $t) (i32.const 1) func $one $two $imported)
    (elem (table $fixed) (i32.const 0) func $two $one)
    (elem $passive func $three $two)
    (func $one (result i32) (i32.const 1))
    (func $two (result i32) (i32.const 2))
    (func $three (result i32) (i32.const 3))
    (func (export "call") (param i32) (result i32) (call_indirect $t (type $f) (local.get 0)))
    (func (export "call_other") (param i32) (result i32) (call_indirect $other (type $f) (local.get 0)))
    (func (export "call_fixed") (param i32) (result i32) (call_indirect $fixed (type $f) (local.get 0)))
    (func (export "set") (param i32) (table.set $t (local.get 0) (ref.func $three)))
    (func (export "null") (param i32) (table.set $t (local.get 0) (ref.null func)))
    (func (export "grow") (param i32) (result i32) (table.grow $t (ref.func $two) (local.get 0)))
    (func (export "grow_null") (param i32) (result i32) (table.grow $t (ref.null func) (local.get 0)))
    (func (export "size") (result i32) (table.size $t))
    (func (export "fill") (param i32 i32) (table.fill $other (local.get 0) (ref.func $one) (local.get 1)))
    (func (export "copy") (param i32 i32 i32) (table.copy $other $t (local.get 0) (local.get 1) (local.get 2)))
    (func (export "init") (param i32 i32 i32) (table.init $t $passive (local.get 0) (local.get 1) (local.get 2)))
    (func (export "drop") (elem.drop $passive)))"#;

const CALLS: [Call; 14] = [
    ("call", &[0]),
    ("call", &[1]),
    ("call", &[2]),
    ("call", &[3]),
    ("call", &[5]),
    ("call", &[7]),
    ("call", &[9]),
    ("call", &[11]),
    ("call_other", &[0]),
    ("call_other", &[1]),
    ("call_other", &[3]),
    ("call_fixed", &[0]),
    ("size", &[]),
    ("call", &[50]),
];

#[test]
fn untouched_tables_are_built_again() {
    equal_to_stock(TABLES, &CALLS, &CALLS);
}

#[test]
fn each_change_of_a_table_is_copied() {
    let changes: [Call; 8] = [
        ("set", &[5]),
        ("null", &[1]),
        ("grow", &[3]),
        ("grow_null", &[2]),
        ("fill", &[1, 2]),
        ("copy", &[0, 1, 3]),
        ("init", &[6, 0, 2]),
        ("drop", &[]),
    ];
    for change in changes {
        equal_to_stock(TABLES, &[change], &CALLS);
    }
    // Traps change nothing.
    equal_to_stock(TABLES, &[("fill", &[3, 2]), ("init", &[7, 0, 2])], &CALLS);
    let more: Vec<Call> = changes
        .into_iter()
        .chain(CALLS)
        .chain(changes)
        .chain(CALLS)
        .collect();
    equal_to_stock(TABLES, &changes, &more);
}

/// Goal: what was dropped stays dropped, and what was not can still be used.
#[test]
fn dropped_segments_stay_dropped() {
    let text = r#"(module (memory (export "memory") 1) (table (export "t") 4 funcref) (func $f)
        (data $a "alpha") (data $b "beta") (data $c (i32.const 100) "active") (elem $e func $f $f) (elem $g func $f)
        (func (export "a") (param i32) (memory.init $a (local.get 0) (i32.const 0) (i32.const 5)))
        (func (export "b") (param i32) (memory.init $b (local.get 0) (i32.const 0) (i32.const 4)))
        (func (export "c") (param i32) (memory.init $c (local.get 0) (i32.const 0) (i32.const 1)))
        (func (export "e") (table.init $e (i32.const 0) (i32.const 0) (i32.const 2)))
        (func (export "g") (table.init $g (i32.const 3) (i32.const 0) (i32.const 1)))
        (func (export "drop_a") (param i32) (if (local.get 0) (then (data.drop $a))))
        (func (export "drop_c") (data.drop $c))
        (func (export "drop_e") (elem.drop $e)))"#;
    let uses: [Call; 5] = [("a", &[0]), ("b", &[10]), ("c", &[20]), ("e", &[]), ("g", &[])];
    equal_to_stock(text, &[], &uses);
    equal_to_stock(text, &[("drop_a", &[0])], &uses);
    equal_to_stock(text, &[("drop_a", &[1]), ("drop_a", &[1])], &uses);
    equal_to_stock(text, &[("drop_e", &[]), ("drop_c", &[])], &uses);
    equal_to_stock(
        text,
        &uses,
        &[("drop_a", &[1]), ("drop_e", &[]), ("a", &[0]), ("e", &[])],
    );
}

#[test]
fn references_in_globals_are_copied() {
    let text = r#"(module (memory (export "memory") 1) (type $f (func (result i32)))
        (func $one (result i32) (i32.const 1)) (func $two (result i32) (i32.const 2)) (elem declare func $two)
        (global $any (export "any") (mut funcref) (ref.null func))
        (global $typed (mut (ref $f)) (ref.func $one))
        (global $host (export "host") (mut externref) (ref.null extern))
        (global $object (mut anyref) (ref.null any))
        (table $t 1 funcref)
        (func (export "set") (global.set $any (ref.func $two)) (global.set $typed (ref.func $two)))
        (func (export "back") (global.set $any (ref.null func)))
        (func (export "typed") (result i32) (call_ref $f (global.get $typed)))
        (func (export "any_call") (result i32)
            (table.set $t (i32.const 0) (global.get $any)) (call_indirect $t (type $f) (i32.const 0))))"#;
    let calls: [Call; 2] = [("typed", &[]), ("any_call", &[])];
    equal_to_stock(text, &[], &calls);
    equal_to_stock(text, &[("set", &[])], &calls);
    equal_to_stock(text, &[("set", &[]), ("any_call", &[]), ("back", &[])], &calls);
}

/// Goal: slots that cannot be null are copied, those that were added as well.
#[test]
fn tables_without_nulls_grow() {
    let text = r#"(module (memory 1) (type $f (func (result i32)))
        (func $one (result i32) (i32.const 1)) (func $two (result i32) (i32.const 2)) (elem declare func $two)
        (table $t 2 10 (ref $f) (ref.func $one))
        (func (export "grow") (result i32) (table.grow $t (ref.func $two) (i32.const 2)))
        (func (export "set") (param i32) (table.set $t (local.get 0) (ref.func $one)))
        (func (export "call") (param i32) (result i32) (call_ref $f (table.get $t (local.get 0)))))"#;
    let calls: [Call; 5] = [
        ("call", &[0]),
        ("call", &[1]),
        ("call", &[2]),
        ("call", &[3]),
        ("call", &[4]),
    ];
    equal_to_stock(text, &[("grow", &[])], &calls);
    equal_to_stock(text, &[("grow", &[]), ("set", &[3]), ("set", &[0])], &calls);
}

/// Goal: objects and exceptions are no reason against a fork as long as none is alive.
#[test]
fn objects_and_exceptions_come_and_go() {
    let text = r#"(module (memory 1) (type $s (struct (field (mut i32)))) (tag $t (param i32))
        (func (export "object") (param i32) (result i32) (local $s (ref null $s))
            (local.set $s (struct.new $s (local.get 0)))
            (struct.set $s 0 (local.get $s) (i32.add (i32.const 1) (struct.get $s 0 (local.get $s))))
            (struct.get $s 0 (local.get $s)))
        (func (export "caught") (param i32) (result i32)
            (block $h (result i32) (try_table (catch $t $h) (throw $t (local.get 0))) (i32.const 0)))
        (func (export "thrown") (throw $t (i32.const 1))))"#;
    let calls: [Call; 3] = [("object", &[5]), ("caught", &[7]), ("thrown", &[])];
    equal_to_stock(text, &calls, &calls);
}

/// What `fork` says of a module with these fields after `call` ran, and that `freeze` says the
/// same.
fn refused(fields: &str, calls: &[&str], host: bool) -> (Place, Foreign) {
    let memory = memory();
    let engine = engine(&memory);
    let wasm = wat::parse_str(format!("(module (memory 1) {fields})")).unwrap();
    let template = common::template(&memory, &engine, &wasm);
    let mut store = store(&engine);
    let instance = template.instantiate(&mut store).unwrap();
    let mut child = common::store(&engine);
    // Before, it can be forked.
    instance.fork(&mut store, &mut child).unwrap();
    for name in calls {
        let function = instance.instance().get_func(&mut store, name).unwrap();
        let value = if host {
            vec![Val::ExternRef(Some(ExternRef::new(&mut store, 7_u32).unwrap()))]
        } else {
            vec![]
        };
        function.call(&mut store, &value, &mut []).unwrap();
    }
    assert!(matches!(instance.freeze(&mut store), Err(Error::Held { .. })));
    let mut child = common::store(&engine);
    match instance.fork(&mut store, &mut child) {
        Err(error @ Error::Held { place, what, .. }) => {
            assert!(error.to_string().contains("cannot be forked as it is"), "{error}");
            (place, what)
        }
        other => panic!("{other:?}"),
    }
}

/// Goal: what lives in one store is refused by its place, at the fork and not before.
#[test]
fn what_lives_in_one_store_is_refused_by_its_place() {
    let fields = r#"(table $t 4 externref)
        (func (export "keep") (param externref) (table.set $t (i32.const 2) (local.get 0)))"#;
    let place = Place::Slot { table: 0, slot: 2 };
    assert_eq!(refused(fields, &["keep"], true), (place, Foreign::HostData));
    let fields = r#"(global i32 (i32.const 0)) (global $g (mut externref) (ref.null extern))
        (func (export "keep") (param externref) (global.set $g (local.get 0)))"#;
    assert_eq!(
        refused(fields, &["keep"], true),
        (Place::Global { index: 1 }, Foreign::HostData)
    );
    let fields = r#"(type $s (struct)) (global $g (mut anyref) (ref.null any))
        (func (export "keep") (global.set $g (struct.new $s)))"#;
    assert_eq!(
        refused(fields, &["keep"], false),
        (Place::Global { index: 0 }, Foreign::Object)
    );
    let fields = r#"(tag $e) (table $t 2 exnref)
        (func (export "keep") (table.set $t (i32.const 1)
            (block $h (result exnref) (try_table (catch_all_ref $h) (throw $e)) (unreachable))))"#;
    let place = Place::Slot { table: 0, slot: 1 };
    assert_eq!(refused(fields, &["keep"], false), (place, Foreign::Exception));
}

/// Goal: a function of the host in a table is refused, and taken away again the instance forks.
#[test]
fn a_function_of_the_host_is_refused() {
    let memory = memory();
    let engine = engine(&memory);
    let wasm = wat::parse_str(
        r#"(module (memory 1) (table $t (export "t") 2 funcref)
            (func (export "touch") (table.set $t (i32.const 0) (ref.null func))))"#,
    );
    let template = common::template(&memory, &engine, &wasm.unwrap());
    let mut store = store(&engine);
    let instance = template.instantiate(&mut store).unwrap();
    let touch = instance
        .instance()
        .get_typed_func::<(), ()>(&mut store, "touch")
        .unwrap();
    instance.call(&mut store, &touch, ()).unwrap();
    let table = instance.instance().get_table(&mut store, "t").unwrap();
    let function = wasmtime::Func::wrap(&mut store, || {});
    table.set(&mut store, 1, Ref::Func(Some(function))).unwrap();
    let error = instance.freeze(&mut store).unwrap_err();
    let place = Place::Slot { table: 0, slot: 1 };
    assert!(
        matches!(error, Error::Held { place: found, what: Foreign::Function, .. } if found == place),
        "{error}"
    );
    table.set(&mut store, 1, Ref::Func(None)).unwrap();
    instance.freeze(&mut store).unwrap();
}
