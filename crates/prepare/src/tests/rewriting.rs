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
        (
            prepared.memories()[0].minimum_pages,
            prepared.memories()[0].maximum_pages
        ),
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
            (prepared.memories()[0].export.clone(), ExternalKind::Memory, 0),
            (text("memfold:0:global1"), ExternalKind::Global, 1),
            (text("memfold:0:global3"), ExternalKind::Global, 3),
            (text("memfold:0:start"), ExternalKind::Func, 1),
        ]
    );
    assert!(prepared.memories()[0].export.starts_with("memfold:0:memory0:"));
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
        assert_eq!(
            exports(prepared.wasm())[0].0,
            prepared.memories()[0].export,
            "{field}"
        );
    }
}

#[test]
fn names_never_collide() {
    let prepared = prepared(
        r#"(module (memory (export "memfold:0:memory") 1) (func (export "memfold:1:") (export "memfold:x:")))"#,
    );
    validate(&prepared);
    assert!(prepared.memories()[0].export.starts_with("memfold:2:memory0:"));
}

#[test]
fn modules_that_differ_have_different_names() {
    let name = |text: &str| prepared(text).memories[0].export.clone();
    let one = name(r#"(module (memory 1) (data (i32.const 0) "x"))"#);
    assert_eq!(one, name(r#"(module (memory 1) (data (i32.const 0) "x"))"#));
    // What is rewritten is the same module: only the data beside it differ.
    assert_ne!(one, name(r#"(module (memory 1) (data (i32.const 0) "y"))"#));
    assert_ne!(one, name(r#"(module (memory 1) (data (i32.const 1) "x"))"#));
    // Serialized modules outlive the process that made them.
    let smallest = prepare(b"\0asm\x01\0\0\0\x05\x03\x01\0\x01").unwrap();
    assert_eq!(
        smallest.memories[0].export,
        "memfold:0:memory0:490a64bfacba16016ccfe5b695136193"
    );
}

#[test]
fn a_rewritten_module_can_be_prepared_again() {
    let once = prepared(r#"(module (memory 1) (global (mut i32) (i32.const 0)) (data (i32.const 0) "x"))"#);
    let twice = prepare(once.wasm()).unwrap();
    validate(&twice);
    assert!(twice.memories()[0].export.starts_with("memfold:1:memory0:"));
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
        memory: 0,
        offset,
        bytes: bytes.to_vec(),
    };
    assert_eq!(prepared.segments(), [segment(4, b"first"), segment(6, b"over")]);
}

/// Each memory has its export, its type and its own segments, imported ones first.
#[test]
fn each_memory_is_planned() {
    let prepared = prepared(
        r#"(module (import "e" "f" (func)) (import "e" "m" (memory 2)) (memory $b i64 1 9)
            (memory $c (export "c") 100 (pagesize 1)) (memory $d 0 0)
            (data (memory $c) (i32.const 96) "last") (data (i32.const 4) "first") (data "passive")
            (data (memory $b) (i64.const 65535) "b") (data (memory $d) (i32.const 0) ""))"#,
    );
    validate(&prepared);
    let found: Vec<_> = prepared
        .memories()
        .iter()
        .map(|memory| {
            let sizes = (memory.minimum_pages, memory.maximum_pages, memory.page_bytes);
            (memory.index, sizes, memory.addresses)
        })
        .collect();
    let (narrow, wide) = (Addresses::Bits32, Addresses::Bits64);
    assert_eq!(
        found,
        [
            (0, (2, None, 65_536), narrow),
            (1, (1, Some(9), 65_536), wide),
            (2, (100, None, 1), narrow),
            (3, (0, Some(0), 65_536), narrow),
        ]
    );
    let segments: Vec<_> = prepared
        .segments()
        .iter()
        .map(|segment| (segment.memory, segment.offset, segment.bytes.as_slice()))
        .collect();
    assert_eq!(
        segments,
        [(2, 96, &b"last"[..]), (0, 4, b"first"), (1, 65_535, b"b")]
    );
    let exported = exports(prepared.wasm());
    for memory in prepared.memories() {
        let export = (memory.export.clone(), ExternalKind::Memory, memory.index);
        assert!(exported.contains(&export), "{export:?}");
    }
    assert!(exported.contains(&("memory".to_owned(), ExternalKind::Memory, 0)));
    // A byte further, each is out of bounds.
    for data in [
        "(memory $b) (i64.const 65536)",
        "(memory $c) (i32.const 100)",
        "(memory $b) (i64.const -1)",
    ] {
        let refused = prepare(&module(&format!(
            "(module (memory 5) (memory $b i64 1) (memory $c 100 (pagesize 1)) (data {data} \"x\"))"
        )));
        assert_eq!(
            refused.unwrap_err().reasons,
            [Reason::SegmentOutOfBounds { segment: 0 }]
        );
    }
}

/// What each instruction that is remembered sets, as the bodies of the rewritten module say.
#[test]
fn flags_follow_what_they_remember() {
    let prepared = prepared(
        r#"(module (memory 1) (global (mut i64) (i64.const 5)) (table 4 funcref) (table 4 funcref)
            (data $d "x") (func $f) (elem $e func $f)
            (func (export "a") (table.set 1 (i32.const 0) (ref.null func)) (nop))
            (func (data.drop $d) (elem.drop $e) (data.drop $d))
            (func (table.copy 1 0 (i32.const 0) (i32.const 0) (i32.const 1))))"#,
    );
    validate(&prepared);
    let table = &prepared.tables()[0];
    assert_eq!((prepared.tables().len(), table.index, table.flag), (1, 1, 1));
    let indices: Vec<u32> = prepared.globals().iter().map(|global| global.index).collect();
    assert_eq!(indices, [0, 1, 2, 3]);
    assert_eq!(prepared.drops().unwrap().flags, 2..4);
    let functions: Vec<u32> = prepared
        .functions()
        .iter()
        .map(|function| function.index)
        .collect();
    assert_eq!(functions, [0, 1]);
    let mut set = Vec::new();
    for payload in Parser::new(0).parse_all(prepared.wasm()) {
        let Payload::CodeSectionEntry(body) = payload.unwrap() else {
            continue;
        };
        let operators = body
            .get_operators_reader()
            .unwrap()
            .into_iter()
            .map(Result::unwrap);
        let flags = operators.filter_map(|operator| match operator {
            wasmparser::Operator::GlobalSet { global_index } => Some(global_index),
            _ => None,
        });
        set.push(flags.collect::<Vec<_>>());
    }
    assert_eq!(set, [vec![], vec![1], vec![2, 3, 2], vec![1], vec![]]);
}

/// Sections that the module does not have are put where they belong.
#[test]
fn missing_sections_are_made() {
    for fields in [
        "(tag) (data $d \"x\") (func (data.drop $d))",
        "(table 1 externref) (func (table.set 0 (i32.const 0) (ref.null extern)))",
        "(func $f) (elem $e func $f) (func (elem.drop $e)) (@custom \"note\" (after memory) \"anything\")",
        "(func $s (elem.drop 0)) (start $s) (elem func $s) (data (i32.const 0) \"x\")",
    ] {
        let once = prepared(&format!("(module (memory 1) {fields})"));
        validate(&once);
        validate(&prepare(once.wasm()).unwrap());
    }
}

#[test]
fn what_tables_hold_first_is_known() {
    let prepared = prepared(
        r#"(module (import "e" "g" (global $g i32)) (memory 1) (func $a) (func $b)
            (table $t 5 funcref) (table $u 3 funcref (ref.func $b)) (table $v 2 funcref)
            (elem (table $t) (i32.const 1) func $a $b) (elem (table $t) (i32.add (i32.const 1) (i32.const 1)) func $a)
            (elem (table $v) (global.get $g) func $a)
            (func (table.set $t (i32.const 0) (ref.null func)) (table.set $u (i32.const 0) (ref.null func))
                (table.set $v (i32.const 0) (ref.null func))))"#,
    );
    validate(&prepared);
    let slots = |table: usize| -> Vec<_> {
        let contents = &prepared.tables()[table].contents;
        (0..=contents.size).map(|slot| contents.slot(slot)).collect()
    };
    let (null, a, b) = (Some(Slot::Null), Some(Slot::Function(0)), Some(Slot::Function(1)));
    assert_eq!(slots(0), [null, a, a, null, null, None]);
    assert_eq!(slots(1), [b, b, b, None]);
    assert_eq!(slots(2), [Some(Slot::Unknown), Some(Slot::Unknown), None]);
}

/// The names of the imports, the first sizes of the tables, the values of the globals.
fn definitions(wasm: &[u8]) -> (Vec<String>, Vec<u64>, Vec<String>) {
    let (mut imports, mut sizes, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.unwrap() {
            Payload::ImportSection(section) => {
                imports.extend(
                    section
                        .into_imports()
                        .map(|import| import.unwrap().name.to_owned()),
                );
            }
            Payload::GlobalSection(section) => values.extend(section.into_iter().map(|global| {
                let global = global.unwrap();
                let operator = global.init_expr.get_operators_reader().read().unwrap();
                format!("{operator:?}")
            })),
            Payload::TableSection(section) => {
                sizes.extend(section.into_iter().map(|table| table.unwrap().ty.initial));
            }
            _ => {}
        }
    }
    (imports, sizes, values)
}

/// Imports that become the instance's own stand before what the module defines, so that every index
/// is what it was.
#[test]
fn imports_become_definitions() {
    let wasm = module(
        r#"(module (import "e" "f" (func $f)) (import "e" "m" (memory 2 3)) (import "e" "t" (table $t 4 5 funcref))
            (import "e" "g" (global $g (mut i32))) (import "e" "tag" (tag)) (import "e" "base" (global $base i32))
            (import "e" "long" (global $long (mut i64))) (import "e" "single" (global f32)) (import "e" "double" (global f64))
            (table $own 1 funcref) (global $sum i32 (global.get $base)) (global $mine (mut i32) (i32.const 5))
            (export "t" (table $own)) (export "long" (global $long)) (export "mine" (global $mine))
            (elem (table $t) (global.get $base) func $f) (data (global.get $base) "x")
            (func (export "run") (global.set $g (global.get $sum))))"#,
    );
    let given = Given::new()
        .global("e", "g", Number::I32(-7))
        .global("e", "base", Number::I32(3))
        .global("e", "long", Number::I64(1 << 40))
        .global("e", "single", Number::F32(1.5))
        .global("e", "double", Number::F64(-2.5));
    let prepared = prepare_with(&wasm, &given).unwrap();
    validate(&prepared);
    let (imports, sizes, values) = definitions(prepared.wasm());
    assert_eq!(sizes, [4, 1]);
    assert_eq!(imports, ["f", "tag"]);
    assert_eq!(values.len(), 7);
    for (value, part) in values
        .iter()
        .zip(["-7", "3", "1099511627776", "1.5", "-2.5", "GlobalGet", "5"])
    {
        // Decimal numbers are shown by their bits.
        let bits = match part {
            "1.5" => 1.5_f32.to_bits().to_string(),
            "-2.5" => (-2.5_f64).to_bits().to_string(),
            other => other.to_owned(),
        };
        assert!(value.contains(&bits), "{value}: {part}");
    }
    let own: Vec<&str> = prepared.own().iter().map(|own| own.name.as_str()).collect();
    assert_eq!(own, ["m", "t", "g", "base", "long", "single", "double"]);
    let indices: Vec<u32> = prepared.globals().iter().map(|global| global.index).collect();
    assert_eq!(indices, [0, 2, 6]);
    assert_eq!(
        (
            prepared.memories()[0].minimum_pages,
            prepared.memories()[0].maximum_pages
        ),
        (2, Some(3))
    );
    assert_eq!(prepared.segments()[0].offset, 3);
    // Another value makes another module.
    let other = prepare_with(&wasm, &given.global("e", "g", Number::I32(8))).unwrap();
    assert_ne!(other.memories()[0].export, prepared.memories()[0].export);
}
