//! Goal: each rule refuses, by its name, and all at once. Method: one small
//! module in the text format per rule.

use super::*;

fn reasons(text: &str) -> Vec<Reason> {
    prepare(&module(text))
        .expect_err("the module must be refused")
        .reasons
}

/// The reason of a module with a memory and these fields.
fn one_reason(fields: &str) -> Reason {
    let mut reasons = reasons(&format!("(module (memory 1) {fields})"));
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    reasons.remove(0)
}

#[test]
fn what_is_not_a_module_is_invalid() {
    let whole = module("(module (memory 1) (func (export \"f\")))");
    for end in 0..whole.len() {
        // A module may end after its header, and after any section but a function section.
        if let Err(refused) = prepare(&whole[..end]) {
            assert!(
                matches!(refused.reasons[..], [Reason::Invalid { .. } | Reason::NoMemory]),
                "{refused}"
            );
        }
    }
    let refused = prepare(&whole[..whole.len() - 1]).unwrap_err();
    let [Reason::Invalid { offset, .. }] = refused.reasons[..] else {
        panic!("{refused}")
    };
    assert!(offset > 8 && offset <= whole.len());
}

#[test]
fn what_does_not_validate_is_invalid() {
    let refused = prepare(&module("(module (memory 1) (func (result i32)))")).unwrap_err();
    assert!(refused.to_string().contains("type mismatch"), "{refused}");
}

#[test]
fn a_component_is_refused() {
    assert_eq!(reasons("(component)"), [Reason::Component]);
}

#[test]
fn a_module_without_memory_is_refused() {
    assert_eq!(reasons("(module)"), [Reason::NoMemory]);
}

#[test]
fn imports_that_others_can_change_are_refused() {
    let name = || ("env".to_owned(), "it".to_owned());
    let ((module, name), (module2, name2)) = (name(), name());
    assert_eq!(
        reasons(r#"(module (import "env" "it" (memory 1)))"#),
        [Reason::ImportedMemory {
            module: module.clone(),
            name: name.clone()
        }]
    );
    assert_eq!(
        reasons(r#"(module (import "env" "it" (table 1 funcref)) (memory 1))"#),
        [Reason::ImportedTable { module, name }]
    );
    assert_eq!(
        reasons(r#"(module (import "env" "it" (global (mut i32))) (memory 1))"#),
        [Reason::ImportedMutableGlobal {
            module: module2,
            name: name2
        }]
    );
}

#[test]
fn other_imports_are_fine() {
    prepared(r#"(module (import "e" "f" (func)) (import "e" "g" (global i32)) (memory 1))"#);
}

#[test]
fn unusual_memories_are_refused() {
    assert_eq!(reasons("(module (memory 1 2 shared))"), [Reason::SharedMemory]);
    assert_eq!(reasons("(module (memory i64 1))"), [Reason::Memory64]);
    assert_eq!(
        reasons("(module (memory 1 (pagesize 1)))"),
        [Reason::CustomPageSize { log2: 0 }]
    );
    assert_eq!(
        reasons("(module (memory 1) (memory 1))"),
        [Reason::SeveralMemories { count: 2 }]
    );
}

#[test]
fn a_memory_may_begin_empty_but_without_data() {
    let prepared = prepared(r#"(module (memory 0 3) (data (i32.const 0) ""))"#);
    assert_eq!(prepared.memory().minimum_pages, 0);
    for data in ["(i32.const 0) \"x\"", "(i32.const 1) \"\""] {
        assert_eq!(
            reasons(&format!("(module (memory 0) (data {data}))")),
            [Reason::SegmentOutOfBounds { segment: 0 }]
        );
    }
}

#[test]
fn references_in_mutable_globals_are_refused() {
    assert_eq!(
        one_reason("(global i32 (i32.const 0)) (global (mut externref) (ref.null extern))"),
        Reason::MutableReferenceGlobal { global: 1 }
    );
    prepared("(module (memory 1) (func $f) (elem declare func $f) (global funcref (ref.func $f)))");
}

#[test]
fn changing_a_table_is_refused() {
    let table = "(table $t 4 funcref) (func $f) (elem $e func $f)";
    for (operator, code) in [
        ("table.set", "(table.set $t (i32.const 0) (ref.null func))"),
        (
            "table.grow",
            "(drop (table.grow $t (ref.null func) (i32.const 1)))",
        ),
        (
            "table.fill",
            "(table.fill $t (i32.const 0) (ref.null func) (i32.const 1))",
        ),
        (
            "table.copy",
            "(table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 1))",
        ),
        (
            "table.init",
            "(table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1))",
        ),
    ] {
        let reason = one_reason(&format!("{table} (func {code} {code})"));
        let Reason::TableMutation { site } = reason else {
            panic!("{reason}")
        };
        assert_eq!((site.operator, site.count), (operator, 2));
    }
}

#[test]
fn dropping_a_segment_is_refused() {
    let reason = one_reason("(func $f) (elem $e func $f) (func (elem.drop $e))");
    assert!(matches!(
        reason,
        Reason::SegmentDrop {
            site: Site {
                operator: "elem.drop",
                count: 1,
                ..
            }
        }
    ));
    let reason = one_reason("(data $d \"x\") (func (data.drop $d))");
    assert!(matches!(
        reason,
        Reason::SegmentDrop {
            site: Site {
                operator: "data.drop",
                count: 1,
                ..
            }
        }
    ));
}

#[test]
fn garbage_collected_objects_are_refused() {
    let types =
        "(type $s (struct (field (mut i32)))) (type $a (array (mut i32))) (type $r (array (mut funcref)))
        (data $d \"abcd\") (func $f) (elem $e funcref (ref.func $f))";
    let array = "(ref.null $a)";
    let zero = "(i32.const 0)";
    for (operator, code) in [
        ("struct.new", format!("(drop (struct.new $s {zero}))")),
        ("struct.new_default", "(drop (struct.new_default $s))".to_owned()),
        ("struct.set", format!("(struct.set $s 0 (ref.null $s) {zero})")),
        ("array.new", format!("(drop (array.new $a {zero} {zero}))")),
        (
            "array.new_default",
            format!("(drop (array.new_default $a {zero}))"),
        ),
        ("array.new_fixed", format!("(drop (array.new_fixed $a 1 {zero}))")),
        (
            "array.new_data",
            format!("(drop (array.new_data $a $d {zero} {zero}))"),
        ),
        (
            "array.new_elem",
            format!("(drop (array.new_elem $r $e {zero} {zero}))"),
        ),
        ("array.set", format!("(array.set $a {array} {zero} {zero})")),
        (
            "array.fill",
            format!("(array.fill $a {array} {zero} {zero} {zero})"),
        ),
        (
            "array.copy",
            format!("(array.copy $a $a {array} {zero} {array} {zero} {zero})"),
        ),
        (
            "array.init_data",
            format!("(array.init_data $a $d {array} {zero} {zero} {zero})"),
        ),
        (
            "array.init_elem",
            format!("(array.init_elem $r $e (ref.null $r) {zero} {zero} {zero})"),
        ),
    ] {
        let reason = one_reason(&format!("{types} (func {code})"));
        let Reason::Gc { site } = reason else {
            panic!("{operator}: {reason}")
        };
        assert_eq!(site.operator, operator);
    }
}

#[test]
fn garbage_collected_objects_in_initializers_are_refused() {
    let types = "(type $s (struct (field (mut i32))))";
    let object = "(struct.new_default $s)";
    for fields in [
        format!("(global (ref $s) {object})"),
        format!("(table 1 (ref $s) {object})"),
        format!("(elem (ref $s) (item {object}))"),
    ] {
        assert!(
            matches!(one_reason(&format!("{types} {fields}")), Reason::Gc { .. }),
            "{fields}"
        );
    }
}

#[test]
fn segments_need_a_constant_address() {
    assert_eq!(
        reasons(
            r#"(module (import "e" "g" (global $g i32)) (memory 1) (data "a") (data (global.get $g) "b"))"#
        ),
        [Reason::NonConstantOffset { segment: 1 }]
    );
    let sum = prepared(
        r#"(module (memory 1)
            (data (i32.sub (i32.add (i32.const 8) (i32.mul (i32.const 3) (i32.const 5))) (i32.const 1)) "x"))"#,
    );
    assert_eq!(
        sum.segments(),
        [Segment {
            offset: 22,
            bytes: b"x".to_vec()
        }]
    );
}

#[test]
fn segments_that_cannot_be_written_are_refused() {
    assert_eq!(
        one_reason(r#"(data (i32.const 65535) "ab")"#),
        Reason::SegmentOutOfBounds { segment: 0 }
    );
    assert_eq!(
        one_reason(r#"(data (i32.const 65537) "")"#),
        Reason::SegmentOutOfBounds { segment: 0 }
    );
    assert_eq!(
        one_reason(r#"(data (i32.const -1) "a")"#),
        Reason::SegmentOutOfBounds { segment: 0 }
    );
    prepared(r#"(module (memory 1) (data (i32.const 65536) "") (data (i32.const 65535) "a"))"#);
}

#[test]
fn all_reasons_are_listed_at_once() {
    let all = reasons(
        r#"(module
            (import "e" "t" (table 1 funcref))
            (import "e" "m" (memory 1))
            (memory i64 1)
            (global (mut externref) (ref.null extern))
            (data $d "x")
            (func (table.set 0 (i32.const 0) (ref.null func)) (data.drop $d)))"#,
    );
    assert_eq!(all.len(), 7, "{all:?}");
    let text = NotForkable { reasons: all }.to_string();
    for part in [
        "table \"e\" \"t\"",
        "memory \"e\" \"m\"",
        "64-bit",
        "2 memories",
        "global 0",
        "table.set",
        "data.drop",
    ] {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}
