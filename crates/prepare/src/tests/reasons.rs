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

/// The names of an import in the texts here.
fn names() -> (String, String) {
    ("env".to_owned(), "it".to_owned())
}

#[test]
fn imports_that_need_what_nobody_gave_are_refused() {
    let (module, name) = names();
    assert_eq!(
        reasons(r#"(module (import "env" "it" (table 1 (ref func))) (memory 1))"#),
        [Reason::ImportedTable { module, name }]
    );
    let (module, name) = names();
    assert_eq!(
        reasons(r#"(module (import "env" "it" (global (mut i32))) (memory 1))"#),
        [Reason::ImportedMutableGlobal { module, name }]
    );
    assert_eq!(
        reasons(r#"(module (import "env" "it" (memory 1 1 shared)))"#),
        [Reason::SharedMemory]
    );
    // Of another type, and only one of two.
    let wasm = module_with_globals();
    let refused = |given: Given| prepare_with(&wasm, &given).unwrap_err().reasons;
    let (module, name) = names();
    let missing = Reason::ImportedMutableGlobal { module, name };
    let given = Given::new().global("env", "it", Number::I64(1));
    let other = Reason::ImportedGlobal {
        module: "env".into(),
        name: "other".into(),
    };
    assert_eq!(refused(given.clone()), [missing, other.clone()]);
    assert_eq!(refused(given.global("env", "it", Number::I32(1))), [other]);
}

/// One that is mutable before one that is not.
fn module_with_globals() -> Vec<u8> {
    module(
        r#"(module (import "env" "it" (global $it (mut i32))) (import "env" "f" (func))
            (import "env" "other" (global $other f64)) (memory 1)
            (global $own i64 (i64.const 1)) (func (global.set $it (i32.const 1))))"#,
    )
}

#[test]
fn zeros_are_given_for_all() {
    let zeros = Given::new().zeros();
    prepare_with(&module_with_globals(), &zeros).unwrap();
    let vector = module(r#"(module (import "env" "it" (global (mut v128))) (memory 1))"#);
    assert!(prepare_with(&vector, &zeros).is_err());
}

#[test]
fn other_imports_are_fine() {
    prepared(r#"(module (import "e" "f" (func)) (import "e" "g" (global i32)) (memory 1))"#);
}

#[test]
fn unusual_memories_are_refused() {
    assert_eq!(reasons("(module (memory 1 2 shared))"), [Reason::SharedMemory]);
    // Once for all of a kind.
    assert_eq!(
        reasons("(module (memory 1) (memory 1 2 shared) (memory 1 2 shared))"),
        [Reason::SharedMemory]
    );
    let most = MOST_BYTES >> 16;
    let large = |memory, bytes| [Reason::LargeMemory { memory, bytes }];
    let more = u128::from(MOST_BYTES) + (1 << 16);
    assert_eq!(
        reasons(&format!("(module (memory i64 {}))", most + 1)),
        large(0, more)
    );
    assert_eq!(
        reasons(&format!("(module (memory 1) (memory i64 {}))", 1_u64 << 48)),
        large(1, 1 << 64)
    );
    assert_eq!(
        reasons(&format!("(module (memory i64 {} (pagesize 1)))", MOST_BYTES + 1)),
        large(0, u128::from(MOST_BYTES) + 1)
    );
    for fine in [
        format!("(memory i64 {most})"),
        format!("(memory {most})"),
        format!("(memory i64 0 {})", 1_u64 << 48),
    ] {
        prepared(&format!("(module {fine})"));
    }
}

/// A table stands before the globals that are the instance's own, so nothing in it can be of them.
#[test]
fn a_table_of_an_imported_global_is_refused_with_values() {
    let text = |more: &str| {
        module(&format!(
            r#"(module (import "env" "n" (global $n i32)) {more} (memory 1) (table $t 1 i31ref (ref.i31 (global.get $n))))"#
        ))
    };
    // Where the import stays one, it is fine.
    validate(&prepare(&text("")).unwrap());
    let more = r#"(import "env" "it" (global (mut i32)))"#;
    let refused = prepare_with(&text(more), &Given::new().zeros()).unwrap_err();
    assert_eq!(refused.reasons, [Reason::TableOfGlobal { table: 0 }]);
}

/// What is imported twice is one thing for whoever linked it, and would be two.
#[test]
fn what_is_imported_twice_is_refused() {
    let zeros = Given::new().zeros();
    let refused = |fields: &str| {
        let wasm = module(&format!("(module {fields} (memory 1))"));
        prepare_with(&wasm, &zeros).map_err(|refused| refused.reasons)
    };
    for ty in ["(memory 1)", "(table 1 funcref)", "(global (mut i32))"] {
        let import = format!(r#"(import "env" "it" {ty})"#);
        let (module, name) = names();
        assert_eq!(
            refused(&format!("{import} {import}")),
            Err(vec![Reason::ImportedTwice { module, name }])
        );
        let other = format!(r#"(import "env" "other" {ty})"#);
        assert!(refused(&format!("{import} {other}")).is_ok());
    }
    // Of what nobody changes there may be any number.
    let import = r#"(import "env" "it" (global i32))"#;
    let function = r#"(import "env" "f" (func))"#;
    let prepared = refused(&format!("{import} {function} {function} {import}")).unwrap();
    validate(&prepared);
    assert_eq!(prepared.own().len(), 1);
}

#[test]
fn a_memory_may_begin_empty_but_without_data() {
    let prepared = prepared(r#"(module (memory 0 3) (data (i32.const 0) ""))"#);
    assert_eq!(prepared.memories()[0].minimum_pages, 0);
    for data in ["(i32.const 0) \"x\"", "(i32.const 1) \"\""] {
        assert_eq!(
            reasons(&format!("(module (memory 0) (data {data}))")),
            [Reason::SegmentOutOfBounds { segment: 0 }]
        );
    }
}

#[test]
fn what_can_be_copied_or_seen_at_the_fork_is_no_reason() {
    for fields in [
        "(global (mut externref) (ref.null extern)) (global (mut anyref) (ref.null any))",
        "(func $f) (elem declare func $f) (global funcref (ref.func $f))",
        "(table $t 4 funcref) (func (table.set $t (i32.const 0) (ref.null func)))",
        "(table $t 4 externref) (func (drop (table.grow $t (ref.null extern) (i32.const 1))))",
        "(func $f) (elem $e func $f) (func (elem.drop $e))",
        "(data $d \"x\") (func (data.drop $d))",
        "(type $s (struct (field (mut i32)))) (func (struct.set $s 0 (struct.new_default $s) (i32.const 1)))",
        "(global (mut i31ref) (ref.i31 (i32.const 1)))",
        "(tag $t) (func (try_table (throw $t)))",
    ] {
        validate(&prepared(&format!("(module (memory 1) {fields})")));
    }
}

#[test]
fn garbage_collected_objects_in_initializers_are_refused() {
    let types = "(type $s (struct (field (mut i32))))";
    for (object, operator) in [
        ("(struct.new $s (i32.const 0))", "struct.new"),
        ("(struct.new_default $s)", "struct.new_default"),
    ] {
        let reason = one_reason(&format!(
            "{types} (global (ref $s) {object}) (global (ref $s) {object})"
        ));
        let Reason::Gc { site } = reason else {
            panic!("{reason}")
        };
        assert_eq!((site.operator, site.count), (operator, 2));
    }
    let types = "(type $s (array (mut i32)))";
    for object in [
        "(array.new $s (i32.const 0) (i32.const 1))",
        "(array.new_default $s (i32.const 1))",
        "(array.new_fixed $s 1 (i32.const 0))",
    ] {
        let reason = one_reason(&format!("{types} (global (ref $s) {object})"));
        assert!(matches!(reason, Reason::Gc { .. }), "{reason}");
    }
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
    let based = module(
        r#"(module (import "e" "g" (global $g i32)) (memory 1) (data (i32.add (global.get $g) (i32.const 2)) "b"))"#,
    );
    let given = Given::new().global("e", "g", Number::I32(40));
    let based = prepare_with(&based, &given).unwrap();
    validate(&based);
    assert_eq!(
        based.segments(),
        [Segment {
            memory: 0,
            offset: 42,
            bytes: b"b".to_vec()
        }]
    );
    let sum = prepared(
        r#"(module (memory 1)
            (data (i32.sub (i32.add (i32.const 8) (i32.mul (i32.const 3) (i32.const 5))) (i32.const 1)) "x"))"#,
    );
    assert_eq!(
        sum.segments(),
        [Segment {
            memory: 0,
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
            (import "e" "t" (table 1 (ref func)))
            (import "e" "m" (memory 1))
            (import "e" "g" (global (mut i32)))
            (memory i64 100000)
            (type $s (struct))
            (global (ref $s) (struct.new $s)))"#,
    );
    assert_eq!(all.len(), 4, "{all:?}");
    let text = NotForkable { reasons: all }.to_string();
    for part in [
        "table \"e\" \"t\"",
        "\"e\" \"g\"",
        "memory 1 begins with 6553600000 bytes",
        "struct.new",
    ] {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}
