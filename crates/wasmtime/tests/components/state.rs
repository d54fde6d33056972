//! Goal: all of the state of a component's core instances is in a fork: globals of each type in
//! each instance of a module, memories of several modules, data at addresses that are imported,
//! segments that were dropped. Method: as `forks.rs`.

use crate::common::{Call, ask, engine, equal_to_stock, memory, store, template};
use memfold_wasmtime::Error;
use wasmtime::component::Val;
use wasmtime::{Config, Engine, StoreLimitsBuilder};

/// Two instances of one module that work in a third one's memory at addresses that they import, and
/// have memories of their own, one of them empty at first, one with 64-bit addresses.
pub const SHARED: &str = r#"(component
    (core module $env (memory (export "memory") 1) (global (export "low") i32 (i32.const 64))
        (global (export "high") i32 (i32.const 1024)) (data (i32.const 0) "env"))
    (core module $lib (import "env" "memory" (memory $all 1)) (import "at" "base" (global $base i32))
        (memory $own 0 3) (memory $wide i64 1)
        (global $a (mut i32) (i32.const -1)) (global $b (mut i64) (i64.const -2))
        (global $c (mut f32) (f32.const nan:0x200000)) (global $d (mut f64) (f64.const -0.25))
        (data $data (memory $all) (global.get $base) "libs")
        (data $wides (memory $wide) (i64.const 65532) "wide")
        (data $p "passive") (elem $e func $s)
        (func $s (i32.store $all (i32.add (global.get $base) (i32.const 8))
            (i32.add (i32.const 1000) (i32.load $all (i32.add (global.get $base) (i32.const 8))))))
        (start $s)
        (func (export "step") (result i64)
            (global.set $a (i32.sub (global.get $a) (i32.const 1)))
            (global.set $b (i64.mul (global.get $b) (i64.const -7)))
            (global.set $c (f32.add (global.get $c) (f32.const 1)))
            (global.set $d (f64.mul (global.get $d) (f64.const 3)))
            (i64.store $wide (i64.const 16) (i64.add (i64.load $wide (i64.const 16)) (i64.const 1)))
            (i64.add (i64.add (i64.add (i64.extend_i32_s (global.get $a)) (global.get $b))
                (i64.add (i64.extend_i32_u (i32.reinterpret_f32 (global.get $c))) (i64.reinterpret_f64 (global.get $d))))
                (i64.add (i64.load $wide (i64.const 16)) (i64.extend_i32_u (i32.load $wide (i64.const 65532))))))
        (func (export "grow") (param i32) (result i32) (memory.grow $own (local.get 0)))
        (func (export "sizes") (result i32) (i32.add (memory.size $own) (i32.wrap_i64 (memory.size $wide))))
        (func (export "own") (param i32) (result i32)
            (i32.store8 $own (local.get 0) (i32.add (i32.load8_u $own (local.get 0)) (i32.const 1)))
            (i32.load8_u $own (local.get 0)))
        (func (export "word") (param i32) (result i32) (i32.load $all (local.get 0)))
        (func (export "init") (param i32) (memory.init $all $p (local.get 0) (i32.const 0) (i32.const 7)))
        (func (export "late") (memory.init $all $data (i32.const 0) (i32.const 0) (i32.const 1)))
        (func (export "drop") (data.drop $p) (elem.drop $e)))
    (core instance $env (instantiate $env))
    (alias core export $env "low" (core global $low))
    (alias core export $env "high" (core global $high))
    (core instance $one (instantiate $lib (with "env" (instance $env))
        (with "at" (instance (export "base" (global $low))))))
    (core instance $two (instantiate $lib (with "env" (instance $env))
        (with "at" (instance (export "base" (global $high))))))
    (func (export "step1") (result s64) (canon lift (core func $one "step")))
    (func (export "step2") (result s64) (canon lift (core func $two "step")))
    (func (export "grow1") (param "n" u32) (result s32) (canon lift (core func $one "grow")))
    (func (export "grow2") (param "n" u32) (result s32) (canon lift (core func $two "grow")))
    (func (export "sizes1") (result u32) (canon lift (core func $one "sizes")))
    (func (export "sizes2") (result u32) (canon lift (core func $two "sizes")))
    (func (export "own1") (param "n" u32) (result u32) (canon lift (core func $one "own")))
    (func (export "own2") (param "n" u32) (result u32) (canon lift (core func $two "own")))
    (func (export "word") (param "n" u32) (result u32) (canon lift (core func $two "word")))
    (func (export "init1") (param "n" u32) (canon lift (core func $one "init")))
    (func (export "init2") (param "n" u32) (canon lift (core func $two "init")))
    (func (export "late") (canon lift (core func $one "late")))
    (func (export "drop1") (canon lift (core func $one "drop"))))"#;

const LOOK: [Call<'_>; 11] = [
    ("word", &[Val::U32(0)]),
    ("word", &[Val::U32(64)]),
    ("word", &[Val::U32(72)]),
    ("word", &[Val::U32(1024)]),
    ("word", &[Val::U32(1032)]),
    ("step1", &[]),
    ("step2", &[]),
    ("sizes1", &[]),
    ("sizes2", &[]),
    ("init2", &[Val::U32(500)]),
    ("word", &[Val::U32(500)]),
];

#[test]
fn each_instance_has_its_own() {
    equal_to_stock(SHARED, &[], &LOOK);
    equal_to_stock(SHARED, &LOOK, &LOOK);
    equal_to_stock(SHARED, &[("step1", &[]), ("step1", &[]), ("step2", &[])], &LOOK);
    let grown: [Call<'_>; 4] = [
        ("grow2", &[Val::U32(2)]),
        ("own2", &[Val::U32(131_071)]),
        ("grow1", &[Val::U32(1)]),
        ("own1", &[Val::U32(9)]),
    ];
    equal_to_stock(SHARED, &grown, &LOOK);
    equal_to_stock(
        SHARED,
        &grown,
        &[("own2", &[Val::U32(131_071)]), ("own1", &[Val::U32(9)])],
    );
    equal_to_stock(SHARED, &grown, &[("own1", &[Val::U32(65_536)])]);
}

/// Cells are set in rows: globals of each type stand at each place of a row, vectors across two.
#[test]
fn many_globals_are_all_copied() {
    let types = ["i32", "i64", "f32", "f64", "v128"];
    let mut globals = String::new();
    let (mut change, mut sum) = (String::new(), String::new());
    for number in 0..61 {
        let ty = types[number % types.len()];
        let zero = if ty == "v128" {
            "i64x2 0 0".to_owned()
        } else {
            "0".to_owned()
        };
        globals += &format!("(global $g{number} (mut {ty}) ({ty}.const {zero}))");
        let (new, bits) = match ty {
            "i32" => ("(i32.wrap_i64 (local.get 0))".to_owned(), "i64.extend_i32_u"),
            "i64" => ("(local.get 0)".into(), "i64.mul (i64.const 1)"),
            "f32" => (
                "(f32.convert_i64_u (local.get 0))".into(),
                "i64.extend_i32_u (i32.reinterpret_f32",
            ),
            "f64" => ("(f64.convert_i64_u (local.get 0))".into(), "i64.reinterpret_f64"),
            _ => (
                "(i64x2.replace_lane 1 (i64x2.splat (local.get 0)) (i64.const 9))".into(),
                "lanes",
            ),
        };
        change += &format!(
            "(local.set 0 (i64.add (local.get 0) (i64.const {number}))) (global.set $g{number} {new})"
        );
        let value = format!("(global.get $g{number})");
        let value = match ty {
            "v128" => format!("(i64.sub (i64x2.extract_lane 0 {value}) (i64x2.extract_lane 1 {value}))"),
            "f32" => format!("({bits} {value}))"),
            _ => format!("({bits} {value})"),
        };
        sum += &format!("(local.set 0 (i64.add (i64.mul (local.get 0) (i64.const 31)) {value}))");
    }
    let text = format!(
        r#"(component (core module $m (memory 1) {globals}
            (func (export "change") (param i64) {change}) (func (export "sum") (result i64) (local i64) {sum} (local.get 0)))
        (core instance $m (instantiate $m))
        (func (export "change") (param "by" u64) (canon lift (core func $m "change")))
        (func (export "sum") (result s64) (canon lift (core func $m "sum"))))"#
    );
    let change: Call<'_> = ("change", &[Val::U64(1_000_003)]);
    equal_to_stock(&text, &[change], &[("sum", &[])]);
    equal_to_stock(
        &text,
        &[("change", &[Val::U64(5)]), change],
        &[("sum", &[]), change, ("sum", &[])],
    );
}

#[test]
fn dropped_segments_stay_dropped() {
    let looks: [&[Call<'_>]; 4] = [
        &[("init1", &[Val::U32(800)])],
        &[("init2", &[Val::U32(800)]), ("word", &[Val::U32(800)])],
        // An active segment is gone from the start.
        &[("late", &[])],
        &LOOK,
    ];
    for look in looks {
        equal_to_stock(SHARED, &[], look);
        equal_to_stock(SHARED, &[("drop1", &[])], look);
    }
}

#[test]
fn the_store_s_limits_hold() {
    let memory = memory();
    let engine = engine(&memory);
    let template = template(&memory, &engine, SHARED);
    let mut parent_store = store(&engine);
    let parent = template.instantiate(&mut parent_store).expect("it starts");
    assert!(ask(&mut parent_store, &parent, ("grow1", &[Val::U32(2)])).is_some());
    let mut narrow = store(&engine);
    narrow.data_mut().limits = StoreLimitsBuilder::new().memory_size(65_536).build();
    narrow.limiter(|host| &mut host.limits);
    let refused = parent.fork(&mut parent_store, &mut narrow);
    assert!(
        matches!(refused, Err(Error::StoreLimit { bytes: 131_072, .. })),
        "{refused:?}"
    );
}

#[test]
fn a_fork_takes_no_fuel() {
    let memory = memory();
    let mut config = Config::new();
    memfold_wasmtime::configure(&mut config, &memory).consume_fuel(true);
    let engine = Engine::new(&config).expect("the configuration is valid");
    let template = template(&memory, &engine, SHARED);
    let mut parent_store = store(&engine);
    parent_store.set_fuel(100_000).expect("it has fuel");
    let parent = template.instantiate(&mut parent_store).expect("it starts");
    let left = parent_store.get_fuel().expect("it has fuel");
    assert!(left < 100_000, "starting is the program's own work");
    // The child has none at all.
    let mut child = store(&engine);
    parent.fork(&mut parent_store, &mut child).expect("it is at rest");
    assert_eq!(
        (parent_store.get_fuel().ok(), child.get_fuel().ok()),
        (Some(left), Some(0))
    );
}

#[test]
fn a_fork_draws_anew() {
    let text = r#"(component (import "next" (func $next (result u32))) (core func $next' (canon lower (func $next)))
        (core module $m (import "" "next" (func $next (result i32))) (memory 1)
            (global $seed (mut i32) (i32.const 0)) (func (export "reseed") (global.set $seed (call $next)))
            (func (export "seed") (result i32) (global.get $seed)))
        (core instance $m (instantiate $m (with "" (instance (export "next" (func $next'))))))
        (func (export "reseed") (canon lift (core func $m "reseed")))
        (func (export "seed") (result u32) (canon lift (core func $m "seed"))))"#;
    let memory = memory();
    let engine = engine(&memory);
    let plain = template(&memory, &engine, text);
    for unfit in ["seed", "none"] {
        let refused = plain.clone().with_reseed(unfit);
        assert!(matches!(refused, Err(Error::Reseed { .. })), "{unfit}");
    }
    let template = plain.with_reseed("reseed").expect("it is there");
    let mut parent_store = store(&engine);
    let parent = template.instantiate(&mut parent_store).expect("it starts");
    let mut child = store(&engine);
    child.data_mut().called = 8;
    let fork = parent.fork(&mut parent_store, &mut child).expect("it is at rest");
    assert_eq!(ask(&mut child, &fork, ("seed", &[])), Some(vec![Val::U32(9)]));
    assert_eq!(
        ask(&mut parent_store, &parent, ("seed", &[])),
        Some(vec![Val::U32(0)])
    );
}
