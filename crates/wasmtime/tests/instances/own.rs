//! Goal: imports that nobody else has are the instance's own. Method: as a host of the stock engine
//! would define them; a host function that looks for the memory.

use crate::common::{Wasi, engine, linker, memory, store};
use crate::equal::{Call, equal_with};
use memfold_wasmtime::{Given, Number, Template, prepare_with};
use wasmtime::{
    Extern, Global, GlobalType, Linker, Memory, MemoryType, Mutability, Ref, RefType, Store, Table,
    TableType, Val, ValType,
};

/// What emscripten and its linker write: the memory, the table and the stack pointer are imported,
/// data and functions are put where imported numbers say.
const IMPORTS: &str = r#"(module
    (type $f (func (result i32)))
    (import "env" "memory" (memory 2 10))
    (import "env" "table" (table $t 6 12 funcref))
    (import "env" "__stack_pointer" (global $sp (mut i32)))
    (import "env" "__memory_base" (global $base i32))
    (import "env" "__table_base" (global $slots i32))
    (table $own 2 funcref)
    (global $mine (export "mine") (mut i64) (i64.const 9))
    (export "memory" (memory 0)) (export "table" (table $t)) (export "own" (table $own)) (export "sp" (global $sp))
    (data (global.get $base) "some data") (data $d "more")
    (elem (table $t) (global.get $slots) func $one $two)
    (func $one (result i32) (i32.const 1)) (func $two (result i32) (global.get $sp))
    (func (export "push") (param i32)
        (global.set $sp (i32.sub (global.get $sp) (i32.const 16)))
        (i32.store (global.get $sp) (local.get 0)) (global.set $mine (i64.const 10)))
    (func (export "load") (param i32) (result i32) (i32.load (i32.add (global.get $base) (local.get 0))))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "set") (param i32) (table.set $t (local.get 0) (ref.func $two)) (data.drop $d))
    (func (export "init") (param i32) (memory.init $d (local.get 0) (i32.const 0) (i32.const 4)))
    (func (export "call") (param i32) (result i32) (call_indirect $t (type $f) (local.get 0))))"#;

/// Goal: imports that nobody else has are the instance's own, and begin as a host would make them.
#[test]
fn imports_that_nobody_else_has_are_the_instances_own() {
    let given = Given::new()
        .global("env", "__stack_pointer", Number::I32(65_536))
        .global("env", "__memory_base", Number::I32(1024))
        .global("env", "__table_base", Number::I32(2));
    let define = |linker: &mut Linker<Wasi>, store: &mut Store<Wasi>| {
        let memory = Memory::new(&mut *store, MemoryType::new(2, Some(10))).unwrap();
        linker.define(&mut *store, "env", "memory", memory).unwrap();
        let table = TableType::new(RefType::FUNCREF, 6, Some(12));
        let table = Table::new(&mut *store, table, Ref::Func(None)).unwrap();
        linker.define(&mut *store, "env", "table", table).unwrap();
        for (name, mutability, value) in [
            ("__stack_pointer", Mutability::Var, 65_536),
            ("__memory_base", Mutability::Const, 1024),
            ("__table_base", Mutability::Const, 2),
        ] {
            let ty = GlobalType::new(ValType::I32, mutability);
            let global = Global::new(&mut *store, ty, Val::I32(value)).unwrap();
            linker.define(&mut *store, "env", name, global).unwrap();
        }
    };
    let calls: [Call; 9] = [
        ("load", &[0]),
        ("call", &[1]),
        ("call", &[2]),
        ("call", &[3]),
        ("call", &[5]),
        ("init", &[8]),
        ("push", &[5]),
        ("load", &[64_492]),
        ("grow", &[3]),
    ];
    equal_with(IMPORTS, &given, define, &[], &calls);
    equal_with(IMPORTS, &given, define, &calls, &calls);
    equal_with(IMPORTS, &given, define, &[("push", &[7]), ("set", &[5])], &calls);
}

/// Goal: a host function finds a memory that became the instance's own, in a fork as well.
#[test]
fn a_host_function_finds_the_memory() {
    let wasm = wat::parse_str(
        r#"(module (import "env" "memory" (memory 1)) (import "env" "peek" (func $peek (result i32)))
            (func (export "run") (param i32) (result i32) (i32.store (i32.const 16) (local.get 0)) (call $peek)))"#,
    );
    let prepared = prepare_with(&wasm.unwrap(), &Given::new()).unwrap();
    let memory = memory();
    let engine = engine(&memory);
    let mut linker = linker(&engine);
    let peek = move |mut caller: wasmtime::Caller<'_, Wasi>| {
        let memory = caller.get_export("memory").and_then(Extern::into_memory).unwrap();
        i32::from(memory.data(&caller)[16])
    };
    linker.func_wrap("env", "peek", peek).unwrap();
    let template = Template::new(&memory, &linker, &prepared).unwrap();
    let mut parent_store = store(&engine);
    let parent = template.instantiate(&mut parent_store).unwrap();
    let mut child_store = store(&engine);
    let child = parent.fork(&mut parent_store, &mut child_store).unwrap();
    for (store, instance, value) in [(&mut parent_store, &parent, 5), (&mut child_store, &child, 7)] {
        let run = instance
            .instance()
            .get_typed_func::<i32, i32>(&mut *store, "run")
            .unwrap();
        assert_eq!(instance.call(store, &run, value).unwrap(), value);
    }
}
