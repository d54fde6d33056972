//! Goal: a rewritten module has the exports, no start section, and emptied
//! segments. Method: small modules in the text format, read back.

use super::*;
use wasmparser::{ExternalKind, Payload};

/// The exports of a module: name, kind, index.
fn exports(wasm: &[u8]) -> Vec<(String, ExternalKind, u32)> {
    let mut exports = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ExportSection(section) = payload.unwrap() {
            exports.extend(
                section
                    .into_iter()
                    .map(Result::unwrap)
                    .map(|e| (e.name.to_owned(), e.kind, e.index)),
            );
        }
    }
    exports
}

#[test]
fn globals_memory_and_start_are_exported() {
    let prepared = prepared(
        r#"(module
            (import "e" "g" (global i32))
            (import "e" "f" (func $imported))
            (memory (export "memory") 2 5)
            (global (mut i32) (i32.const 1))
            (global i64 (i64.const 2))
            (global (export "pi") (mut f64) (f64.const 3))
            (func $start (nop))
            (start $start))"#,
    );
    validate(&prepared);
    assert_eq!(
        (prepared.memory().minimum_pages, prepared.memory().maximum_pages),
        (2, Some(5))
    );
    assert_eq!(
        prepared.globals().iter().map(|g| g.index).collect::<Vec<_>>(),
        [1, 3]
    );
    let text = |name: &str| name.to_owned();
    assert_eq!(
        exports(prepared.wasm()),
        [
            (text("memory"), ExternalKind::Memory, 0),
            (text("pi"), ExternalKind::Global, 3),
            (prepared.memory().export.clone(), ExternalKind::Memory, 0),
            (text("memfold:0:global1"), ExternalKind::Global, 1),
            (text("memfold:0:global3"), ExternalKind::Global, 3),
            (text("memfold:0:start"), ExternalKind::Func, 1),
        ]
    );
    assert!(prepared.memory().export.starts_with("memfold:0:memory:"));
    assert_eq!(prepared.start(), Some("memfold:0:start"));
    let starts = Parser::new(0)
        .parse_all(prepared.wasm())
        .any(|p| matches!(p.unwrap(), Payload::StartSection { .. }));
    assert!(!starts);
}

#[test]
fn exports_are_added_before_any_later_section() {
    for field in [
        "",
        "(func)",
        "(func $f) (start $f)",
        "(func $f) (table funcref (elem $f))",
        r#"(data (i32.const 0) "x")"#,
        r#"(data $d "x") (func (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)))"#,
        r#"(@custom "note" (after memory) "anything")"#,
    ] {
        let prepared = prepared(&format!("(module (memory 1) {field})"));
        validate(&prepared);
        assert_eq!(exports(prepared.wasm())[0].0, prepared.memory().export, "{field}");
    }
}

#[test]
fn names_never_collide() {
    let prepared = prepared(
        r#"(module (memory (export "memfold:0:memory") 1) (func (export "memfold:1:") (export "memfold:x:")))"#,
    );
    validate(&prepared);
    assert!(prepared.memory().export.starts_with("memfold:2:memory:"));
}

#[test]
fn modules_that_differ_have_different_names() {
    let name = |text: &str| prepared(text).memory.export;
    let one = name(r#"(module (memory 1) (data (i32.const 0) "x"))"#);
    assert_eq!(one, name(r#"(module (memory 1) (data (i32.const 0) "x"))"#));
    // What is rewritten is the same module: only the data beside it differ.
    assert_ne!(one, name(r#"(module (memory 1) (data (i32.const 0) "y"))"#));
    assert_ne!(one, name(r#"(module (memory 1) (data (i32.const 1) "x"))"#));
    // Serialized modules outlive the process that made them.
    let smallest = prepare(b"\0asm\x01\0\0\0\x05\x03\x01\0\x01").unwrap();
    assert_eq!(
        smallest.memory.export,
        "memfold:0:memory:38c013b8792aa45a6125935596d75229"
    );
}

#[test]
fn a_rewritten_module_can_be_prepared_again() {
    let once = prepared(r#"(module (memory 1) (global (mut i32) (i32.const 0)) (data (i32.const 0) "x"))"#);
    let twice = prepare(once.wasm()).unwrap();
    validate(&twice);
    assert!(twice.memory().export.starts_with("memfold:1:memory:"));
    assert!(twice.segments().is_empty());
}

#[test]
fn active_segments_become_empty_and_keep_their_indices() {
    let prepared = prepared(
        r#"(module (memory 1)
            (data (i32.const 4) "first") (data "passive") (data (i32.const 6) "over") (data (i32.const 0) "")
            (func (memory.init 1 (i32.const 0) (i32.const 0) (i32.const 1))))"#,
    );
    validate(&prepared);
    let mut lengths = Vec::new();
    for payload in Parser::new(0).parse_all(prepared.wasm()) {
        if let Payload::DataSection(section) = payload.unwrap() {
            lengths.extend(section.into_iter().map(|data| data.unwrap().data.len()));
        }
    }
    assert_eq!(lengths, [0, 7, 0, 0]);
    let segment = |offset, bytes: &[u8]| Segment {
        offset,
        bytes: bytes.to_vec(),
    };
    assert_eq!(prepared.segments(), [segment(4, b"first"), segment(6, b"over")]);
}
