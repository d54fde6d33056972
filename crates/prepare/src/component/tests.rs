//! Goal: what is made of a component is valid, has all of its state, and what cannot be is refused
//! by name. Method: components as text; that forks are equal is tested where instances are made
//! (`memfold-wasmtime`).

use super::*;

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("the test's component: {error}"))
}

fn prepared(text: &str) -> PreparedComponent {
    let prepared = prepare_component(&component(text)).unwrap_or_else(|refused| panic!("{refused}"));
    let valid = Validator::new_with_features(features()).validate_all(prepared.wasm());
    assert!(valid.is_ok(), "what was prepared is not valid: {:?}", valid.err());
    prepared
}

fn reasons(text: &str) -> Vec<Reason> {
    prepare_component(&component(text))
        .expect_err("it is refused")
        .reasons
}

/// Two instances of one module that share a third one's memory, all kinds of globals, a table that
/// is changed, a segment that is dropped, data at an address that is imported, a start function.
const ALL: &str = r#"(component
    (core module $env (memory (export "memory") 2) (table (export "table") 4 funcref)
        (global (export "base") i32 (i32.const 64)) (data (i32.const 0) "own"))
    (core module $lib (import "env" "memory" (memory 1)) (import "env" "table" (table $t 1 funcref))
        (import "env" "base" (global $base i32)) (memory $own 1 3)
        (global (mut i32) (i32.const 1)) (global (mut i64) (i64.const 2)) (global (mut f32) (f32.const 3))
        (global (mut f64) (f64.const 4)) (global $v (mut v128) (v128.const i64x2 5 6))
        (data (global.get $base) "shared") (data $p "passive") (data (memory $own) (i32.const 9) "")
        (elem (table $t) (i32.const 0) func $f)
        (func $f) (func $s (data.drop $p) (i32.store8 (i32.const 0) (i32.const 1))) (start $s)
        (func (export "set") (table.set $t (i32.const 0) (ref.null func))))
    (core instance $env (instantiate $env))
    (core instance $one (instantiate $lib (with "env" (instance $env))))
    (core instance (instantiate $lib (with "env" (instance $env))))
    (core module $unused (memory 1) (global (mut externref) (ref.null extern)))
    (func (export "set") (canon lift (core func $one "set"))))"#;

#[test]
fn all_of_the_state_is_reached() {
    let prepared = prepared(ALL);
    // That of the first module, and one of each instance of the second.
    let pages: Vec<u64> = prepared
        .memories()
        .iter()
        .map(|plan| plan.minimum_pages)
        .collect();
    assert_eq!(pages, [2, 1, 1]);
    // Six for the globals of each instance, then a table's flag of each, then a segment's.
    let copied = prepared.cells().iter().filter(|cell| **cell == Cell::Copied);
    assert_eq!((prepared.cells().len(), copied.count()), (16, 14));
    let table = ComponentTable {
        module: 1,
        table: 0,
        name: Some("table".into()),
    };
    assert_eq!(prepared.cells()[12], Cell::ChangedTable(table.clone()));
    assert_eq!(prepared.cells()[13], Cell::ChangedTable(table));
    assert_eq!(prepared.drops(), 14..16);
    assert!(prepared.starts());
    assert!(prepared.accessor().starts_with("memfold-x"));
}

#[test]
fn a_component_without_code_is_prepared() {
    let prepared = prepared("(component (core module $m (memory 0)) (core instance (instantiate $m)))");
    assert_eq!((prepared.memories().len(), prepared.cells().len()), (1, 0));
    assert!(!prepared.starts());
}

#[test]
fn another_component_has_another_name() {
    let name = |pages: u32| {
        let text = format!("(component (core module $m (memory {pages})) (core instance (instantiate $m)))");
        prepared(&text).accessor().to_owned()
    };
    assert_eq!(name(1), name(1));
    assert_ne!(name(1), name(2));
}

#[test]
fn what_cannot_be_forked_is_named() {
    let nested = r#"(component (component (core module $m (memory 1)) (core instance (instantiate $m))))"#;
    assert_eq!(reasons(nested), [Reason::NestedModule]);
    let imported =
        r#"(component (import "m" (core module $m (export "f" (func)))) (core instance (instantiate $m)))"#;
    assert_eq!(reasons(imported), [Reason::ForeignModule]);
    let asynchronous = r#"(component (core module $m (memory 1)) (core instance (instantiate $m))
        (type $s (stream u8)) (core func (canon stream.new $s)) (core func (canon waitable-set.new)))"#;
    let what = |what: &str| Reason::Asynchronous { what: what.into() };
    assert_eq!(
        reasons(asynchronous),
        [what("stream-new"), what("waitable-set-new")]
    );
    assert_eq!(reasons("(component)"), [Reason::NoMemory]);
}

#[test]
fn reasons_of_all_modules_are_listed() {
    let text = r#"(component
        (core module $a (memory 1 1 shared) (global (mut funcref) (ref.null func)))
        (core module $b (memory i64 65537) (type $s (struct)) (global (ref $s) (struct.new $s)))
        (core instance (instantiate $a)) (core instance (instantiate $b)))"#;
    let found = reasons(text);
    let named: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 4, "{named:?}");
    assert!(
        named[0].starts_with("in its core module 0: its memory is shared"),
        "{named:?}"
    );
    assert!(
        named[1].starts_with("in its core module 0: its mutable global 0"),
        "{named:?}"
    );
    assert!(
        named[2].starts_with("in its core module 1: its memory 0"),
        "{named:?}"
    );
    assert!(named[3].contains("struct.new"), "{named:?}");
    assert!(found.iter().all(|reason| !reason.help().is_empty()));
}

#[test]
fn modules_and_components_are_told_apart() {
    let module = component("(module (memory 1))");
    let refused = prepare_component(&module).expect_err("it is a module");
    assert_eq!(refused.reasons, [Reason::CoreModule]);
    for bytes in [&b""[..], b"\0asm", b"anything else"] {
        let refused = prepare_component(bytes).expect_err("it is nothing");
        assert!(matches!(refused.reasons[..], [Reason::Invalid { .. }]));
    }
}

/// A module inside that is cut short passes the validator.
#[test]
fn what_is_cut_short_is_invalid() {
    let bytes = component(ALL);
    for length in 0..bytes.len() {
        if let Ok(prepared) = prepare_component(&bytes[..length]) {
            // Cut between two sections.
            let valid = Validator::new_with_features(features()).validate_all(prepared.wasm());
            assert!(valid.is_ok(), "{length}: {:?}", valid.err());
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(at in 0_usize..4096, byte: u8, cut in 0_usize..4096) {
        let mut bytes = component(ALL);
        let len = bytes.len();
        bytes[at % len] = byte;
        bytes.truncate(len - cut % len * usize::from(cut % 2 == 0));
        if let Ok(prepared) = prepare_component(&bytes) {
            let valid = Validator::new_with_features(WasmFeatures::all()).validate_all(prepared.wasm());
            assert!(valid.is_ok(), "{:?}", valid.err());
        }
    }
}
